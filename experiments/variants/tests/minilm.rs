//! The loader on real weights: our encoder with all-MiniLM-L6-v2's weights and tokenizer gives PyTorch's sentence embeddings.
//!
//! The weights are fetched by `just models` and never committed; what PyTorch makes of them is (`fixtures/make_minilm.py`). Without the
//! weights the test is skipped, and says so, except in CI.

use std::fs;
use std::path::{Path, PathBuf};

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::host::HostTensor;
use crossover_naive::NaiveBackend;
use crossover_variants::cell::prepare;
use crossover_variants::inputs::CellInputs;
use crossover_variants::model::{presets, text};
use crossover_variants::registry::find;
use crossover_variants::resolve::resolve;
use safetensors::SafeTensors;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Token numbers (-1 beyond the end) and embeddings, row by row.
fn fixture() -> (Vec<Vec<u32>>, Vec<Vec<f64>>) {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/minilm.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (ids, embeddings) = (file.tensor("ids").unwrap(), file.tensor("embeddings").unwrap());
    let numbers: Vec<i32> = ids.data().as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
    let values: Vec<f64> = embeddings.data().as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect();
    let rows = |row: &[i32]| row.iter().filter_map(|id| u32::try_from(*id).ok()).collect();
    (numbers.chunks(ids.shape()[1]).map(rows).collect(), values.chunks(embeddings.shape()[1]).map(<[f64]>::to_vec).collect())
}

fn embedding(tokens: &[u32], weights: &Path) -> HostTensor {
    let entry = find("model/minilm-sentences").unwrap();
    let mut given = Axes::new();
    given.insert("n".into(), AxisValue::Int(tokens.len() as i64));
    given.insert("weights".into(), weights.to_str().unwrap().into());
    let axes = resolve(entry.descriptor, &given).unwrap();
    let mut drawn = entry.draw(&axes).unwrap();
    let values = tokens.iter().map(|id| f64::from(*id)).collect();
    drawn.insert("tokens".into(), HostTensor::new(&[1, tokens.len()], values).unwrap());
    let inputs = CellInputs::new(&entry, &axes, drawn).unwrap();
    let mut cell = prepare::<NaiveBackend, presets::Sentences>(&axes, &inputs).unwrap();
    cell.call_poisoned().unwrap();
    cell.output().unwrap()
}

#[test]
fn sentences_are_embedded_as_pytorch_embeds_them() {
    let weights = project().join("experiments/models/all-MiniLM-L6-v2");
    if !weights.join("model.safetensors").is_file() {
        assert!(std::env::var_os("CI").is_none(), "CI fetches the weights: just models");
        println!("skipped: the weights are not there (just models)");
        return;
    }
    let (ids, expected) = fixture();
    let sentences = fs::read_to_string(project().join("experiments/texts/sentences.txt")).unwrap();
    assert_eq!(sentences.lines().count(), ids.len());
    let mut least: f64 = 1.0;
    for ((sentence, ids), expected) in sentences.lines().zip(&ids).zip(&expected) {
        assert_eq!(&text::tokens(&weights, sentence).unwrap(), ids, "{sentence}");
        let ours = embedding(ids, &weights);
        let dot: f64 = ours.values().iter().zip(expected).map(|(a, b)| a * b).sum();
        let lengths: f64 = [ours.values(), expected].iter().map(|row| row.iter().map(|x| x * x).sum::<f64>().sqrt()).product();
        least = least.min(dot / lengths);
        assert!(dot / lengths >= 0.999_999, "{sentence}: cosine {}", dot / lengths);
    }
    println!("least cosine to PyTorch over {} sentences, in f32: {least:.9}", ids.len());
}
