//! Weights for the tests.

use crossover_core::host::HostTensor;
use crossover_core::inputs::{Distribution, Draw, draw};
use proptest::prelude::*;

/// A weight with independent standard normal entries.
pub fn normal(rows: usize, columns: usize, seed: u64) -> HostTensor {
    draw("w", &[rows, columns], Draw::Normal { deviation: 1.0 }, Distribution::Gaussian, seed).unwrap()
}

/// A weight from its values.
pub fn matrix(rows: usize, columns: usize, values: Vec<f64>) -> HostTensor {
    HostTensor::new(&[rows, columns], values).unwrap()
}

/// Small weights of any shape, with zeros and ties.
pub fn weights(largest: usize) -> impl Strategy<Value = HostTensor> {
    (1..=largest, 1..=largest).prop_flat_map(|(rows, columns)| {
        let entry = prop_oneof![4 => -100.0..100.0f64, 1 => Just(0.0), 1 => Just(1.5)];
        prop::collection::vec(entry, rows * columns).prop_map(move |values| matrix(rows, columns, values))
    })
}

/// The largest difference of two tensors of one shape.
pub fn distance(left: &HostTensor, right: &HostTensor) -> f64 {
    assert_eq!(left.shape(), right.shape());
    left.values().iter().zip(right.values()).fold(0.0, |largest, (a, b)| (a - b).abs().max(largest))
}

/// Weights that every transform must refuse: one with a NaN, one with an infinity.
pub fn not_finite() -> [HostTensor; 2] {
    [f64::NAN, f64::NEG_INFINITY].map(|bad| {
        let mut values = vec![1.0; 16];
        values[5] = bad;
        matrix(4, 4, values)
    })
}
