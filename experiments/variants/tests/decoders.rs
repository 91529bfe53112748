//! The loader on checkpoints in Hugging Face's layout: a GPT-2 and a Llama give the logits, and choose the tokens, that they do in PyTorch.
//!
//! The folders under `fixtures` hold small models with drawn weights and what transformers makes of them (`fixtures/make_decoders.py`).

use std::fs;
use std::path::{Path, PathBuf};

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::host::HostTensor;
use crossover_naive::NaiveBackend;
use crossover_variants::cell::prepare;
use crossover_variants::inputs::CellInputs;
use crossover_variants::model::presets;
use crossover_variants::registry::find;
use crossover_variants::resolve::resolve;
use crossover_variants::variant::Variant;
use safetensors::SafeTensors;

const TOKENS: usize = 12;
const STEPS: usize = 8;
const VOCABULARY: usize = 96;
const SIZES: [(&str, i64); 6] = [("batch", 2), ("layers", 2), ("d_model", 32), ("heads", 4), ("vocabulary", 96), ("d_ff", 64)];
/// What makes `model/decode` a Llama.
const LLAMA: [(&str, &str); 5] =
    [("position", "rope"), ("norm", "rms-norm(shift=no)"), ("ffn", "swiglu"), ("biases", "no"), ("head", "untied")];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Tokens, logits and the tokens that follow.
fn expected(name: &str) -> [Vec<f64>; 3] {
    let bytes = fs::read(folder(name).join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let whole = |name: &str| {
        let view = file.tensor(name).unwrap();
        view.data().as_chunks::<4>().0.iter().map(|bytes| f64::from(i32::from_le_bytes(*bytes))).collect()
    };
    let logits = file.tensor("logits").unwrap();
    let logits = logits.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    [whole("tokens"), logits, whole("greedy")]
}

fn axes<V: Variant>(weights: &str, given: &[(&str, AxisValue)]) -> Result<Axes, String> {
    let mut all = Axes::new();
    all.extend(SIZES.iter().map(|(name, value)| ((*name).to_owned(), AxisValue::Int(*value))));
    all.insert("precision".into(), "f64".into());
    all.insert("weights".into(), folder(weights).to_str().unwrap().into());
    all.extend(given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    resolve(find(V::DESCRIPTOR.name).unwrap().descriptor, &all).map_err(|error| error.to_string())
}

/// Llama's sizes that are not GPT-2's.
fn llama() -> [(&'static str, AxisValue); 3] {
    [("kv_heads", 2.into()), ("d_ff", 48.into()), ("rope_base", AxisValue::Float(500.0))]
}

fn run<V: Variant>(axes: &Axes, tokens: &[(&str, HostTensor)]) -> Vec<f64> {
    let entry = find(V::DESCRIPTOR.name).unwrap();
    let mut drawn = entry.draw(axes).unwrap_or_else(|error| panic!("{error}"));
    drawn.extend(tokens.iter().map(|(name, values)| ((*name).to_owned(), values.clone())));
    let inputs = CellInputs::new(&entry, axes, drawn).unwrap();
    let mut cell = prepare::<NaiveBackend, V>(axes, &inputs).unwrap();
    cell.call_poisoned().unwrap();
    cell.output().unwrap().values().to_vec()
}

fn columns(tokens: &[f64], columns: std::ops::Range<usize>) -> HostTensor {
    let values = tokens.chunks(TOKENS).flat_map(|row| row[columns.clone()].to_vec()).collect();
    HostTensor::new(&[2, columns.len()], values).unwrap()
}

fn logits_agree<V: Variant>(name: &str, given: &[(&str, AxisValue)], tolerance: f64) {
    let [tokens, logits, _] = expected(name);
    let axes = axes::<V>(name, &[given, &[("n", AxisValue::Int(TOKENS as i64))]].concat()).unwrap();
    let ours = run::<V>(&axes, &[("tokens", columns(&tokens, 0..TOKENS))]);
    assert_eq!(ours.len(), logits.len());
    let largest = ours.iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(largest < tolerance && ours.iter().all(|value| value.is_finite()), "{name}: {largest:e}");
    println!("{name}: largest difference of a logit to PyTorch in f64: {largest:e}");
}

#[test]
fn gpt2_gives_the_logits_of_pytorch() {
    logits_agree::<presets::Decoder>("tiny-gpt2", &[], 1e-12);
}

#[test]
fn llama_gives_the_logits_of_pytorch() {
    // Transformers makes the tables of rotations in f32, whatever the model is in.
    logits_agree::<presets::LlamaLike>("tiny-llama", &llama(), 1e-5);
}

/// With the cache and without.
#[test]
fn greedy_steps_choose_the_tokens_of_pytorch() {
    let text = |pairs: &[(&'static str, &str)]| pairs.iter().map(|(name, value)| (*name, AxisValue::from(*value))).collect::<Vec<_>>();
    for (name, given) in [("tiny-gpt2", Vec::new()), ("tiny-llama", [&llama()[..], &text(&LLAMA)[..]].concat())] {
        let [tokens, _, chosen] = expected(name);
        // The last token of PyTorch's prompt is the first that our steps are given.
        let sizes = [("n", AxisValue::Int(TOKENS as i64 - 1)), ("steps", AxisValue::Int(STEPS as i64)), ("choice", "greedy".into())];
        let given = [&given[..], &sizes[..]].concat();
        let inputs = [("prompt", columns(&tokens, 0..TOKENS - 1)), ("tokens", columns(&tokens, TOKENS - 1..TOKENS))];
        let best = |row: &[f64]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as f64;
        let ours = |logits: Vec<f64>| logits.chunks(VOCABULARY).map(best).collect::<Vec<f64>>();
        assert_eq!(ours(run::<presets::Decode>(&axes::<presets::Decode>(name, &given).unwrap(), &inputs)), chosen, "{name}");
        let recompute = axes::<presets::DecodeRecompute>(name, &given).unwrap();
        assert_eq!(ours(run::<presets::DecodeRecompute>(&recompute, &inputs)), chosen, "{name}");
    }
}

/// What the file says and the axes do not is an error that tells what to set.
#[test]
fn another_base_and_another_head_are_not_read_silently() {
    let entry = find(presets::LlamaLike::DESCRIPTOR.name).unwrap();
    let n = ("n", AxisValue::Int(TOKENS as i64));
    let [kv_heads, d_ff, base] = llama();
    for (given, wanted) in [
        (vec![n.clone(), kv_heads.clone(), d_ff.clone()], "set rope_base = 500"),
        (vec![n.clone(), kv_heads, d_ff.clone(), base.clone(), ("head", "tied".into())], "set head = untied"),
        (vec![n, ("kv_heads", 4.into()), d_ff, base], "set kv_heads = 2"),
    ] {
        let axes = axes::<presets::LlamaLike>("tiny-llama", &given).unwrap();
        let error = entry.draw(&axes).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
