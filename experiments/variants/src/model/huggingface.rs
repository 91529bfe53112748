//! Trained weights from a safetensors file in the names that Hugging Face gives to BERT, GPT-2 and Llama.
//!
//! A folder holds `model.safetensors` (or several files and `model.safetensors.index.json`), `config.json` and `tokenizer.json`, as model
//! hubs lay them out. Tensors that the file cannot know, such as the
//! projections of a Linformer put into BERT, are still drawn from the seed. The file's own tensors must all have the shapes that the
//! cell's sizes promise; nothing is padded or cut except the table of positions, which is cut to the sequence length, and a layer that a
//! mixture has several of is repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use crossover_core::axes::Axes;
use crossover_core::error::{EngineError, Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use super::config;
use super::naming::{HEAD, Naming, Place};
use crate::descriptor::Placed;

/// One file, or the index of several.
const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The folder that an axis names: as it stands, or seen from a folder above the current one (a test runs in its crate).
pub fn folder(named: &str) -> Result<PathBuf> {
    let path = Path::new(named);
    let here = std::env::current_dir().unwrap_or_default();
    let holds = |folder: &PathBuf| folder.join(WHOLE).is_file() || folder.join(INDEX).is_file();
    here.ancestors().map(|above| above.join(path)).find(holds).ok_or_else(|| {
        let missing = format!("there is no {named}/{WHOLE} here or in a folder above; `just models` fetches all-MiniLM-L6-v2");
        shape_error("weights", missing)
    })
}

/// The files of a folder, in full, each with its path.
fn files(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let read = |name: &str| {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|error| failed(&path, error))?;
        Ok((path, bytes))
    };
    if folder.join(WHOLE).is_file() {
        return Ok(vec![read(WHOLE)?]);
    }
    let (path, bytes) = read(INDEX)?;
    let index: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| failed(&path, error))?;
    let map = index.get("weight_map").and_then(serde_json::Value::as_object).ok_or_else(|| failed(&path, "it has no weight_map"))?;
    let names: BTreeSet<&str> = map.values().filter_map(serde_json::Value::as_str).collect();
    names.into_iter().map(read).collect()
}

fn failed(path: &Path, problem: impl Display) -> EngineError {
    shape_error("weights", format!("{}: {problem}", path.display()))
}

/// Those of the tensors that the folder's files have, by our names, for a model with these axes.
pub fn load(folder: &Path, naming: Naming, wanted: &[Placed], axes: &Axes) -> Result<HostInputs> {
    config::check(folder, naming, axes)?;
    let bytes = files(folder)?;
    let opened = bytes.iter().map(|(path, bytes)| SafeTensors::deserialize(bytes).map_err(|error| failed(path, error)));
    let reader = Reader { files: opened.collect::<Result<_>>()?, prefixes: ["", "bert.", "transformer."] };
    // What several files hold together is said of their index.
    let whole = folder.join(if folder.join(WHOLE).is_file() { WHOLE } else { INDEX });
    reader.check_head(naming, wanted).and_then(|()| reader.check_biases(naming, wanted)).map_err(|problem| failed(&whole, problem))?;
    let mut found = BTreeMap::new();
    for tensor in wanted {
        if let Some(place) = naming.place(&tensor.name) {
            let values = reader.read(&place, &tensor.shape).map_err(|problem| failed(&whole, format!("{}: {problem}", tensor.name)))?;
            found.insert(tensor.name.clone().into_owned(), values);
        }
    }
    if found.is_empty() {
        return Err(failed(&whole, format!("none of its tensors belongs to the model (names as in {naming:?})")));
    }
    Ok(found)
}

struct Reader<'a> {
    files: Vec<SafeTensors<'a>>,
    /// A model saved with a task's head has its body under such a name.
    prefixes: [&'static str; 3],
}

impl Reader<'_> {
    /// A tied head is the token table; a file with another one would give other logits.
    fn check_head(&self, naming: Naming, wanted: &[Placed]) -> std::result::Result<(), String> {
        let table = match naming {
            Naming::Bert => return Ok(()),
            Naming::Gpt2 => "wte.weight",
            Naming::Llama => "model.embed_tokens.weight",
        };
        let untied = wanted.iter().any(|tensor| tensor.name == "head");
        match (self.find(HEAD)?, self.find(table)?) {
            (None, _) if untied => Err(format!("it has no {HEAD}: set head = tied")),
            (Some(head), Some(table)) if !untied && widened(&head)? != widened(&table)? => {
                Err(format!("its head ({HEAD}) is not its token table: set head = untied"))
            }
            _ => Ok(()),
        }
    }

    /// A trained bias that nobody asks for, beside a weight that is: another model. (Feed-forward layers and norms without one may be what
    /// an experiment puts in their place; a Llama's own have none, so that nothing could take it.)
    fn check_biases(&self, naming: Naming, wanted: &[Placed]) -> std::result::Result<(), String> {
        let layers = wanted.iter().filter_map(|tensor| tensor.name.strip_prefix("layers.")?.split_once('.'));
        for (layer, part) in layers {
            let (own, way_out) = match part {
                "q.weight" | "k.weight" | "v.weight" | "o.weight" => (part.replace("weight", "bias"), "set biases = yes"),
                "ffn.w1" | "ffn.w2" | "ffn.w3" if naming == Naming::Llama => (part.replace('w', "b"), "which is not supported"),
                _ => continue,
            };
            if wanted.iter().any(|tensor| tensor.name == format!("layers.{layer}.{own}")) && !own.starts_with("ffn") {
                continue;
            }
            // The bias of `ffn.w3` has no name of ours: it stands beside its weight.
            let place = naming.in_layer(layer, part).map(|weight| weight.name.replace(".weight", ".bias"));
            if let Some(theirs) = place.filter(|theirs| matches!(self.find(theirs), Ok(Some(_)))) {
                return Err(format!("it has {theirs:?}, and the cell has no such bias: {way_out}"));
            }
        }
        Ok(())
    }

    fn read(&self, place: &Place, shape: &[usize]) -> std::result::Result<HostTensor, String> {
        if place.zero {
            return HostTensor::new(shape, vec![0.0; shape.iter().product()]).map_err(|error| error.to_string());
        }
        let (mut values, mut found) = self.values(&place.name)?;
        if let (true, &[rows, columns]) = (place.transposed, &found[..]) {
            values = (0..values.len()).map(|at| values[at % rows * columns + at / rows]).collect();
            found = vec![columns, rows];
        }
        if let Some(third) = place.third {
            let outputs = found.first_mut().filter(|outputs| outputs.is_multiple_of(3));
            let outputs = outputs.ok_or_else(|| format!("{} does not hold three matrices side by side", place.name))?;
            *outputs /= 3;
            let part = values.len() / 3;
            values = values[third * part..(third + 1) * part].to_vec();
        }
        if let (true, &[rows, width], &[first, _]) = (place.cut, &found[..], shape)
            && rows >= first
        {
            values.truncate(first * width);
            found[0] = first;
        }
        // Experts start as the trained layer each (Komatsuzaki et al. 2023, section 3).
        if let Some((&count, one)) = shape.split_first().filter(|(_, one)| place.repeated && found == *one) {
            values = values.repeat(count);
            found = [&[count], one].concat();
        }
        if found != shape {
            return Err(format!("{} has the shape {found:?}, the cell's sizes ask for {shape:?}", place.name));
        }
        if let Some(name) = place.plus_row_of {
            let (rows, found) = self.values(name)?;
            let width = shape.last().copied().unwrap_or(1);
            let row = rows.get(..width).filter(|_| found.get(1..) == Some(&[width][..]));
            let row = row.ok_or_else(|| format!("{name} has the shape {found:?}, expected rows of {width}"))?;
            values.chunks_mut(width.max(1)).flat_map(|values| values.iter_mut().zip(row)).for_each(|(value, added)| *value += added);
        }
        HostTensor::new(shape, values).map_err(|error| error.to_string())
    }

    fn values(&self, name: &str) -> std::result::Result<(Vec<f64>, Vec<usize>), String> {
        let view = self.find(name)?.ok_or_else(|| format!("the tensor {name:?} is missing"))?;
        Ok((widened(&view)?, view.shape().to_vec()))
    }

    fn find(&self, name: &str) -> std::result::Result<Option<TensorView<'_>>, String> {
        let named = self.prefixes.iter().map(|prefix| format!("{prefix}{name}"));
        let mut places = named.flat_map(|name| self.files.iter().map(move |file| file.tensor(&name)));
        places
            .find_map(|found| match found {
                Ok(view) => Some(Ok(view)),
                Err(SafeTensorError::TensorNotFound(_)) => None,
                Err(error) => Some(Err(error.to_string())),
            })
            .transpose()
    }
}

fn widened(view: &TensorView<'_>) -> std::result::Result<Vec<f64>, String> {
    let bytes = view.data();
    // Each chunk has the length that the conversion takes.
    match view.dtype() {
        Dtype::F64 => Ok(bytes.as_chunks::<8>().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()),
        Dtype::F32 => Ok(bytes.as_chunks::<4>().0.iter().map(|chunk| f64::from(f32::from_le_bytes(*chunk))).collect()),
        Dtype::F16 => Ok(bytes.as_chunks::<2>().0.iter().map(|chunk| f16::from_le_bytes(*chunk).to_f64()).collect()),
        Dtype::BF16 => Ok(bytes.as_chunks::<2>().0.iter().map(|chunk| bf16::from_le_bytes(*chunk).to_f64()).collect()),
        other => Err(format!("its type {other:?} is no floating type")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(tensors: &[(&str, &[usize])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let data: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, shape)| {
                let count: usize = shape.iter().product();
                ((*name).to_owned(), shape.to_vec(), (0..count).flat_map(|at| (at as f32).to_le_bytes()).collect())
            })
            .collect();
        let views = data.iter().map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
        folder
    }

    fn wanted(name: &'static str, shape: &[usize]) -> Placed {
        let (role, draw) = (crate::descriptor::Role::Weight, crate::descriptor::DrawRule::FanIn);
        Placed { name: name.into(), role, shape: shape.to_vec(), draw, form: None }
    }

    #[test]
    fn gpt2_keeps_q_k_and_v_side_by_side_and_transposed() {
        let folder = file(&[("transformer.h.0.attn.c_attn.weight", &[2, 6]), ("transformer.h.0.attn.c_attn.bias", &[6])]);
        let tensors = [wanted("layers.0.k.weight", &[2, 2]), wanted("layers.0.k.bias", &[2]), wanted("layers.0.v.bias", &[2])];
        let loaded = load(folder.path(), Naming::Gpt2, &tensors, &Axes::new()).unwrap();
        // Columns 2 and 3 of [[0..5], [6..11]], as rows.
        assert_eq!(loaded["layers.0.k.weight"].values(), [2.0, 8.0, 3.0, 9.0]);
        assert_eq!(loaded["layers.0.v.bias"].values(), [4.0, 5.0]);
    }

    #[test]
    fn every_expert_starts_as_the_trained_layer() {
        let folder = file(&[("encoder.layer.0.output.dense.weight", &[2, 2])]);
        let loaded = load(folder.path(), Naming::Bert, &[wanted("layers.0.ffn.w2", &[3, 2, 2])], &Axes::new()).unwrap();
        assert_eq!(loaded["layers.0.ffn.w2"].values(), [0.0, 1.0, 2.0, 3.0].repeat(3));
    }

    #[test]
    fn positions_are_cut_and_carry_the_first_token_type() {
        let folder = file(&[("embeddings.position_embeddings.weight", &[4, 2]), ("embeddings.token_type_embeddings.weight", &[2, 2])]);
        let loaded = load(folder.path(), Naming::Bert, &[wanted("embedding.positions", &[2, 2])], &Axes::new()).unwrap();
        assert_eq!(loaded["embedding.positions"].values(), [0.0, 2.0, 2.0, 4.0]);
    }

    #[test]
    fn llama_has_no_shifts_and_its_head_is_tied_or_not() {
        let body: &[(&str, &[usize])] = &[("model.norm.weight", &[2]), ("model.embed_tokens.weight", &[2, 2])];
        let tied = file(&[body, &[("lm_head.weight", &[2, 2])]].concat());
        let tensors = [wanted("final_norm.gamma", &[2]), wanted("final_norm.beta", &[2])];
        let loaded = load(tied.path(), Naming::Llama, &tensors, &Axes::new()).unwrap();
        assert_eq!((loaded["final_norm.gamma"].values(), loaded["final_norm.beta"].values()), (&[0.0, 1.0][..], &[0.0, 0.0][..]));
        let untied = file(&[body, &[("lm_head.weight", &[1, 2])]].concat());
        let error = load(untied.path(), Naming::Llama, &tensors, &Axes::new()).unwrap_err().to_string();
        assert!(error.contains("set head = untied"), "{error}");
        let loaded = load(untied.path(), Naming::Llama, &[wanted("head", &[1, 2])], &Axes::new()).unwrap();
        assert_eq!(loaded["head"].values(), [0.0, 1.0]);
        let error = load(file(body).path(), Naming::Llama, &[wanted("head", &[1, 2])], &Axes::new()).unwrap_err().to_string();
        assert!(error.contains("set head = tied"), "{error}");
    }

    #[test]
    fn several_files_are_one_model() {
        let (first, second) = (file(&[("wte.weight", &[2, 2])]), file(&[("ln_f.weight", &[2])]));
        let folder = tempfile::tempdir().unwrap();
        for (from, to) in [(first, "a.safetensors"), (second, "b.safetensors")] {
            fs::copy(from.path().join(WHOLE), folder.path().join(to)).unwrap();
        }
        fs::write(folder.path().join(INDEX), r#"{"weight_map": {"wte.weight": "a.safetensors", "ln_f.weight": "b.safetensors"}}"#).unwrap();
        let tensors = [wanted("embedding.tokens", &[2, 2]), wanted("final_norm.gamma", &[2])];
        assert_eq!(load(folder.path(), Naming::Gpt2, &tensors, &Axes::new()).unwrap().len(), 2);
        fs::write(folder.path().join(INDEX), "{}").unwrap();
        let error = load(folder.path(), Naming::Gpt2, &tensors, &Axes::new()).unwrap_err().to_string();
        assert!(error.contains("has no weight_map"), "{error}");
    }

    #[test]
    fn malformed_files_are_errors() {
        let scalar = file(&[("h.0.attn.c_attn.weight", &[])]);
        let odd = file(&[("h.0.attn.c_attn.bias", &[7])]);
        let refused =
            |folder: &tempfile::TempDir, naming, tensor| load(folder.path(), naming, &[tensor], &Axes::new()).unwrap_err().to_string();
        for (folder, name, shape) in [(&scalar, "layers.0.q.weight", &[1, 1][..]), (&odd, "layers.0.q.bias", &[2])] {
            let error = refused(folder, Naming::Gpt2, wanted(name, shape));
            assert!(error.contains("does not hold three matrices"), "{error}");
        }
        let positions: (&str, &[usize]) = ("embeddings.position_embeddings.weight", &[4, 3]);
        for types in [&[2, 2][..], &[2, 4], &[3], &[], &[0, 3], &[1, 3, 1]] {
            let narrow = file(&[positions, ("embeddings.token_type_embeddings.weight", types)]);
            let error = refused(&narrow, Naming::Bert, wanted("embedding.positions", &[2, 3]));
            assert!(error.contains("expected rows of 3"), "{types:?}: {error}");
        }
        let whole = tempfile::tempdir().unwrap();
        fs::write(whole.path().join("part.safetensors"), "no such file").unwrap();
        fs::write(whole.path().join(INDEX), r#"{"weight_map": {"wte.weight": "part.safetensors"}}"#).unwrap();
        let error = refused(&whole, Naming::Gpt2, wanted("embedding.tokens", &[2, 2]));
        assert!(error.contains("part.safetensors"), "{error}");
        // Nothing but a mixture's layer is repeated.
        let norm = file(&[("model.norm.weight", &[2])]);
        let error = refused(&norm, Naming::Llama, wanted("final_norm.gamma", &[3, 2]));
        assert!(error.contains("has the shape [2], the cell's sizes ask for [3, 2]"), "{error}");
    }

    #[test]
    fn a_bias_that_nobody_takes_is_refused() {
        let weight: (&str, &[usize]) = ("model.layers.0.self_attn.q_proj.weight", &[2, 2]);
        let biased = file(&[weight, ("model.layers.0.self_attn.q_proj.bias", &[2])]);
        let taken = [wanted("layers.0.q.weight", &[2, 2]), wanted("layers.0.q.bias", &[2])];
        assert_eq!(load(biased.path(), Naming::Llama, &taken, &Axes::new()).unwrap().len(), 2);
        let error = load(biased.path(), Naming::Llama, &taken[..1], &Axes::new()).unwrap_err().to_string();
        assert!(error.contains("self_attn.q_proj.bias") && error.contains("set biases = yes"), "{error}");
        for (weight, bias) in [("gate_proj", "ffn.w1"), ("up_proj", "ffn.w3")] {
            let [weight, theirs] = ["weight", "bias"].map(|part| format!("model.layers.0.mlp.{weight}.{part}"));
            let biased = file(&[(&weight, &[2, 2]), (&theirs, &[2])]);
            let zero =
                [wanted(if bias == "ffn.w1" { "layers.0.ffn.w1" } else { "layers.0.ffn.w3" }, &[2, 2]), wanted("layers.0.ffn.b1", &[2])];
            let error = load(biased.path(), Naming::Llama, &zero, &Axes::new()).unwrap_err().to_string();
            assert!(error.contains("which is not supported"), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let folder = file(&[("encoder.layer.0.output.dense.weight", &[2, 3])]);
        let error = load(folder.path(), Naming::Bert, &[wanted("layers.0.ffn.w2", &[2, 4])], &Axes::new()).unwrap_err().to_string();
        assert!(error.contains("layers.0.ffn.w2: encoder.layer.0.output.dense.weight has the shape [2, 3]"), "{error}");
        let error = load(folder.path(), Naming::Bert, &[wanted("layers.1.ffn.w2", &[2, 3])], &Axes::new()).unwrap_err().to_string();
        assert!(error.contains("\"encoder.layer.1.output.dense.weight\" is missing"), "{error}");
        let error = load(folder.path(), Naming::Bert, &[wanted("layers.0.attention.e", &[2, 3])], &Axes::new()).unwrap_err().to_string();
        assert!(error.contains("none of its tensors belongs to the model"), "{error}");
    }
}
