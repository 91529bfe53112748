//! Short ways to make engines and tensors.

use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::dtype::{DType, Precision};
use crossover_core::host::HostTensor;
use crossover_core::tensor::{Tensor, View};
use crossover_naive::NaiveBackend;
use crossover_naive::buffer::NaiveBuffer;

pub type T = Tensor<NaiveBuffer>;

/// The floating precisions, and two triples that have no name.
pub const FLOATING: [&str; 6] = ["f64", "f32", "bf16", "f16", "bf16/bf16/f64", "f16/f16/f64"];

pub fn engine(precision: &str) -> NaiveBackend {
    let precision: Precision = precision.parse().unwrap();
    NaiveBackend::new(&EngineConfig::new(precision, 3)).unwrap()
}

pub fn host(shape: &[usize], values: &[f64]) -> HostTensor {
    HostTensor::new(shape, values.to_vec()).unwrap()
}

/// A tensor in the storage type.
pub fn tensor(engine: &NaiveBackend, shape: &[usize], values: &[f64]) -> T {
    engine.upload(&host(shape, values), engine.storage()).unwrap()
}

pub fn integers(engine: &NaiveBackend, shape: &[usize], values: &[i32]) -> T {
    let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    engine.upload(&host(shape, &values), DType::I32).unwrap()
}

/// A tensor full of NaN, so that what is not written shows.
pub fn blank(engine: &NaiveBackend, shape: &[usize]) -> T {
    blank_of(engine, engine.storage(), shape)
}

pub fn blank_of(engine: &NaiveBackend, dtype: DType, shape: &[usize]) -> T {
    let mut tensor = engine.tensor(dtype, shape).unwrap();
    engine.fill(tensor.view_mut(), if dtype.is_float() { f64::NAN } else { -77.0 }).unwrap();
    tensor
}

pub fn values(engine: &NaiveBackend, tensor: &T) -> Vec<f64> {
    values_of(engine, tensor.view())
}

pub fn values_of(engine: &NaiveBackend, view: View<'_, NaiveBuffer>) -> Vec<f64> {
    engine.download(view).unwrap().values().to_vec()
}

/// Reproducible numbers in -1..1 without structure: the fractional parts of a quadratic sequence.
pub fn noise(seed: usize, count: usize) -> Vec<f64> {
    let golden = 0.618_033_988_749_894_9;
    (0..count)
        .map(|at| {
            let x = (at as f64 + 1.0) * golden * (seed as f64 + 1.5) + (at * at) as f64 * 0.137;
            2.0 * x.fract() - 1.0
        })
        .collect()
}

/// Small integers, exact in every type.
pub fn small_integers(seed: usize, count: usize) -> Vec<f64> {
    noise(seed, count).into_iter().map(|value| (value * 3.0).round()).collect()
}

pub fn rounded(dtype: DType, values: &[f64]) -> Vec<f64> {
    values.iter().map(|&value| dtype.round(value)).collect()
}

#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = found == expected || (found - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(close || (found.is_nan() && expected.is_nan()), "element {at}: {found} instead of {expected}");
    }
}
