//! Trained weights from a safetensors file in the names that Hugging Face gives to BERT, GPT-2 and Llama.
//!
//! A folder holds `model.safetensors` (or several files and `model.safetensors.index.json`), `config.json` and `tokenizer.json`, as model
//! hubs lay them out. Tensors that the file cannot know, such as the
//! projections of a Linformer put into BERT, are still drawn from the seed. The file's own tensors must all have the shapes that the
//! cell's sizes promise; nothing is padded or cut except the table of positions, which is cut to the sequence length, and a layer that a
//! mixture has several of is repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crossover_core::axes::Axes;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use super::config;
use crate::descriptor::Placed;

/// What both decoders call a head of its own.
const HEAD: &str = "lm_head.weight";

/// Whose names a file uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `encoder.layer.0.attention.self.query.weight`.
    Bert,
    /// `h.0.attn.c_attn.weight`, matrices transposed, q, k and v in one.
    Gpt2,
    /// `model.layers.0.self_attn.q_proj.weight`.
    Llama,
}

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

/// The files of a folder, in full.
fn files(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|error| shape_error("weights", format!("{}: {error}", path.display())))
    };
    if folder.join(WHOLE).is_file() {
        return Ok(vec![read(WHOLE)?]);
    }
    let failed = |problem: String| shape_error("weights", format!("{}: {problem}", folder.join(INDEX).display()));
    let index: serde_json::Value = serde_json::from_slice(&read(INDEX)?).map_err(|error| failed(error.to_string()))?;
    let map = index.get("weight_map").and_then(serde_json::Value::as_object).ok_or_else(|| failed("it has no weight_map".to_owned()))?;
    let names: BTreeSet<&str> = map.values().filter_map(serde_json::Value::as_str).collect();
    names.into_iter().map(read).collect()
}

/// Those of the tensors that the folder's files have, by our names, for a model with these axes.
pub fn load(folder: &Path, naming: Naming, wanted: &[Placed], axes: &Axes) -> Result<HostInputs> {
    let failed = |problem: String| shape_error("weights", format!("{}: {problem}", folder.join(WHOLE).display()));
    config::check(folder, axes)?;
    let bytes = files(folder)?;
    let files = bytes.iter().map(|bytes| SafeTensors::deserialize(bytes)).collect::<std::result::Result<_, _>>();
    let reader = Reader { files: files.map_err(|error| failed(error.to_string()))?, prefixes: ["", "bert.", "transformer."] };
    reader.check_head(naming, wanted).map_err(failed)?;
    let mut found = BTreeMap::new();
    for tensor in wanted {
        if let Some(place) = naming.place(&tensor.name) {
            let values = reader.read(&place, &tensor.shape).map_err(|problem| failed(format!("{}: {problem}", tensor.name)))?;
            found.insert(tensor.name.clone().into_owned(), values);
        }
    }
    if found.is_empty() {
        return Err(failed(format!("none of its tensors belongs to the model (names as in {naming:?})")));
    }
    Ok(found)
}

/// Where a tensor of ours stands in a file.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    name: String,
    /// Stored as [inputs, outputs].
    transposed: bool,
    /// This part of three along the outputs.
    third: Option<usize>,
    /// More rows than wanted may be there.
    cut: bool,
    /// A tensor whose first row is added to every row.
    plus_row_of: Option<&'static str>,
    /// The architecture has no such tensor: ours is zero.
    zero: bool,
}

impl Naming {
    /// `None` for a tensor that such files do not have.
    fn place(self, ours: &str) -> Option<Place> {
        let plain = |name: String| Place { name, transposed: false, third: None, cut: false, plus_row_of: None, zero: false };
        if let Some(rest) = ours.strip_prefix("layers.") {
            let (layer, part) = rest.split_once('.')?;
            return self.in_layer(layer, part);
        }
        let theirs = match (self, ours) {
            (Self::Bert, "embedding.tokens") => "embeddings.word_embeddings.weight",
            (Self::Bert, "embedding.positions") => {
                let name = "embeddings.position_embeddings.weight".to_owned();
                return Some(Place { cut: true, plus_row_of: Some("embeddings.token_type_embeddings.weight"), ..plain(name) });
            }
            (Self::Bert, "embedding.norm.gamma") => "embeddings.LayerNorm.weight",
            (Self::Bert, "embedding.norm.beta") => "embeddings.LayerNorm.bias",
            (Self::Gpt2 | Self::Llama, "head") => HEAD,
            (Self::Gpt2, "embedding.tokens") => "wte.weight",
            (Self::Gpt2, "embedding.positions") => return Some(Place { cut: true, ..plain("wpe.weight".to_owned()) }),
            (Self::Gpt2, "final_norm.gamma") => "ln_f.weight",
            (Self::Gpt2, "final_norm.beta") => "ln_f.bias",
            (Self::Llama, "embedding.tokens") => "model.embed_tokens.weight",
            (Self::Llama, "final_norm.gamma") => "model.norm.weight",
            // Llama's norm shifts nothing; one that is put in its place may.
            (Self::Llama, "final_norm.beta") => return Some(Place { zero: true, ..plain(String::new()) }),
            _ => return None,
        };
        Some(plain(theirs.to_owned()))
    }

    fn in_layer(self, layer: &str, part: &str) -> Option<Place> {
        let (module, parameter) = match part {
            "ffn.b1" => ("ffn.w1", "bias"),
            "ffn.b2" => ("ffn.w2", "bias"),
            "ffn.w1" | "ffn.w2" | "ffn.w3" => (part, "weight"),
            _ => match part.rsplit_once('.')? {
                (module, "weight" | "gamma") => (module, "weight"),
                (module, "bias" | "beta") => (module, "bias"),
                _ => return None,
            },
        };
        let third = ["q", "k", "v"].iter().position(|which| *which == module);
        let theirs = match (self, module) {
            (Self::Bert, "q") => "attention.self.query",
            (Self::Bert, "k") => "attention.self.key",
            (Self::Bert, "v") => "attention.self.value",
            (Self::Bert, "o") => "attention.output.dense",
            (Self::Bert, "attention_norm") => "attention.output.LayerNorm",
            (Self::Bert, "ffn.w1") => "intermediate.dense",
            (Self::Bert, "ffn.w2") => "output.dense",
            (Self::Bert, "ffn_norm") => "output.LayerNorm",
            (Self::Gpt2, "q" | "k" | "v") => "attn.c_attn",
            (Self::Gpt2, "o") => "attn.c_proj",
            (Self::Gpt2, "attention_norm") => "ln_1",
            (Self::Gpt2, "ffn.w1") => "mlp.c_fc",
            (Self::Gpt2, "ffn.w2") => "mlp.c_proj",
            (Self::Gpt2, "ffn_norm") => "ln_2",
            (Self::Llama, "q") => "self_attn.q_proj",
            (Self::Llama, "k") => "self_attn.k_proj",
            (Self::Llama, "v") => "self_attn.v_proj",
            (Self::Llama, "o") => "self_attn.o_proj",
            (Self::Llama, "attention_norm") => "input_layernorm",
            (Self::Llama, "ffn.w1") => "mlp.gate_proj",
            (Self::Llama, "ffn.w3") => "mlp.up_proj",
            (Self::Llama, "ffn.w2") => "mlp.down_proj",
            (Self::Llama, "ffn_norm") => "post_attention_layernorm",
            _ => return None,
        };
        let stem = match self {
            Self::Bert => "encoder.layer",
            Self::Gpt2 => "h",
            Self::Llama => "model.layers",
        };
        let gpt2 = self == Self::Gpt2;
        Some(Place {
            name: format!("{stem}.{layer}.{theirs}.{parameter}"),
            transposed: gpt2 && parameter == "weight" && !module.ends_with("norm"),
            third: third.filter(|_| gpt2),
            cut: false,
            plus_row_of: None,
            // Llama has biases at most in its projections.
            zero: self == Self::Llama && parameter == "bias" && !["q", "k", "v", "o"].contains(&module),
        })
    }
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
        match (self.values(HEAD), self.values(table)) {
            (Err(_), _) if untied => Err(format!("it has no {HEAD}: set head = tied")),
            (Ok((head, _)), Ok((table, _))) if !untied && head != table => {
                Err(format!("its head ({HEAD}) is not its token table: set head = untied"))
            }
            _ => Ok(()),
        }
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
            let part = values.len() / 3;
            values = values[third * part..(third + 1) * part].to_vec();
            found[0] /= 3;
        }
        if let (true, &[rows, width]) = (place.cut, &found[..])
            && rows >= shape[0]
        {
            values.truncate(shape[0] * width);
            found[0] = shape[0];
        }
        // Experts start as the trained layer each (Komatsuzaki et al. 2023, section 3).
        if let Some((&count, one)) = shape.split_first().filter(|(_, one)| found == *one) {
            values = values.repeat(count);
            found = [&[count], one].concat();
        }
        if found != shape {
            return Err(format!("{} has the shape {found:?}, the cell's sizes ask for {shape:?}", place.name));
        }
        if let Some(name) = place.plus_row_of {
            let (row, _) = self.values(name)?;
            let width = shape.last().copied().unwrap_or(1);
            values.iter_mut().enumerate().for_each(|(at, value)| *value += row[at % width]);
        }
        HostTensor::new(shape, values).map_err(|error| error.to_string())
    }

    fn values(&self, name: &str) -> std::result::Result<(Vec<f64>, Vec<usize>), String> {
        let named = self.prefixes.iter().map(|prefix| format!("{prefix}{name}"));
        let mut places = named.flat_map(|name| self.files.iter().map(move |file| file.tensor(&name)));
        let view = places.find_map(|found| match found {
            Ok(view) => Some(Ok(view)),
            Err(SafeTensorError::TensorNotFound(_)) => None,
            Err(error) => Some(Err(error.to_string())),
        });
        let view = view.ok_or_else(|| format!("the tensor {name:?} is missing"))??;
        Ok((widened(&view)?, view.shape().to_vec()))
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

    fn name_of(naming: Naming, ours: &str) -> Option<String> {
        naming.place(ours).map(|place| place.name)
    }

    #[test]
    fn our_names_stand_for_theirs() {
        for (naming, ours, theirs) in [
            (Naming::Bert, "layers.3.q.bias", "encoder.layer.3.attention.self.query.bias"),
            (Naming::Bert, "layers.0.ffn.w2", "encoder.layer.0.output.dense.weight"),
            (Naming::Bert, "layers.0.ffn_norm.beta", "encoder.layer.0.output.LayerNorm.bias"),
            (Naming::Gpt2, "layers.11.ffn.b1", "h.11.mlp.c_fc.bias"),
            (Naming::Gpt2, "layers.1.attention_norm.gamma", "h.1.ln_1.weight"),
            (Naming::Llama, "layers.2.ffn.w3", "model.layers.2.mlp.up_proj.weight"),
        ] {
            assert_eq!(name_of(naming, ours).as_deref(), Some(theirs));
        }
        // A component's own projections are in no such file.
        assert_eq!(name_of(Naming::Bert, "layers.0.attention.e"), None);
        let fused = Naming::Gpt2.place("layers.0.k.weight").unwrap();
        assert_eq!((fused.name.as_str(), fused.transposed, fused.third), ("h.0.attn.c_attn.weight", true, Some(1)));
    }

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
        let tensors = [wanted("layers.0.k.weight", &[2, 2]), wanted("layers.0.v.bias", &[2])];
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
