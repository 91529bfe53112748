//! Products of several blocks in every direction, which the suite's sizes do not reach: small integers, so that every order of summation
//! gives the same bits.

mod common;

use crossover_core::activation::Activation;
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::EngineError;
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::ops::{LinearSpec, MatmulSpec};
use crossover_core::weights::HostWeight;
use crossover_simd::SimdBackend;

use common::integers;

/// m, n, k: several blocks of k, several of m, edges everywhere, few rows (in one group and in two), few columns.
const SHAPES: [[usize; 3]; 9] =
    [[700, 75, 530], [97, 200, 257], [5, 300, 1100], [8, 75, 530], [7, 40, 768], [8, 33, 256], [7, 40, 65], [333, 3, 700], [29, 1500, 300]];

/// A B with B [k, n].
fn product([m, n, k]: [usize; 3], a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for (row, c) in c.chunks_mut(n).enumerate() {
        for step in 0..k {
            let factor = a[row * k + step];
            c.iter_mut().zip(&b[step * n..]).for_each(|(c, b)| *c += factor * b);
        }
    }
    c
}

fn turned(values: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

fn check(engine: &SimdBackend, shape: [usize; 3]) {
    let [m, n, k] = shape;
    let rounded = |values: Vec<f64>| -> Vec<f64> { values.into_iter().map(|value| engine.storage().round(value)).collect() };
    let tensor =
        |shape: &[usize], values: &[f64]| engine.upload(&HostTensor::new(shape, values.to_vec()).unwrap(), engine.storage()).unwrap();
    let (a, b, before) = (integers(1, m * k), integers(2, k * n), integers(3, m * n));
    let expected = product(shape, &a, &b);
    let summed = rounded(expected.iter().zip(&before).map(|(sum, before)| sum + before).collect());
    let (rows_a, columns_a) = (tensor(&[m, k], &a), tensor(&[k, m], &turned(&a, k)));
    let (rows_b, columns_b) = (tensor(&[k, n], &b), tensor(&[n, k], &turned(&b, n)));
    for a in [rows_a.view(), columns_a.view().transposed().unwrap()] {
        for b in [rows_b.view(), columns_b.view().transposed().unwrap()] {
            let mut c = tensor(&[m, n], &before);
            engine.matmul(MatmulSpec::ACCUMULATE, a, b, c.view_mut()).unwrap();
            assert!(engine.download(c.view()).unwrap().values() == summed, "{shape:?} of {:?}", engine.config());
            let mut c = tensor(&[n, m], &turned(&before, n));
            engine.matmul(MatmulSpec::ACCUMULATE, a, b, c.view_mut().with(|layout| layout.transposed()).unwrap()).unwrap();
            assert!(engine.download(c.view()).unwrap().values() == turned(&summed, n), "{shape:?} turned, of {:?}", engine.config());
        }
    }
}

/// Every row (and every group of an int4 weight) has the largest code, so that codes are the integers themselves. That of every other
/// output is negative: its first partial sums are, and an activation that came too early would show.
fn check_layer(engine: &SimdBackend, [m, n, k]: [usize; 3]) {
    let precision = engine.config().precision;
    let whole = |seed: usize, rows: usize, largest: f64, every: usize| {
        let mut values = integers(seed, rows * k);
        values.chunks_mut(k).for_each(|row| row.iter_mut().step_by(every).for_each(|value| *value = largest));
        values
    };
    let (largest, every) = if precision.weight == DType::I4 { (7.0, 32) } else { (127.0, k) };
    let (x, mut w, bias) = (whole(1, m, 127.0, k), whole(2, n, largest, every), integers(4, n));
    for row in w.chunks_mut(k).skip(1).step_by(2) {
        row.iter_mut().step_by(every).for_each(|value| *value = -largest);
    }
    let sums = product([m, n, k], &x, &turned(&w, k));
    let round = |value: f64| engine.storage().round(value);
    let expected: Vec<f64> = sums.iter().enumerate().map(|(at, sum)| round((sum + bias[at % n]).max(0.0))).collect();
    let tensor =
        |shape: &[usize], values: &[f64]| engine.upload(&HostTensor::new(shape, values.to_vec()).unwrap(), engine.storage()).unwrap();
    let weight = HostWeight::for_precision(&HostTensor::new(&[n, k], w).unwrap(), precision).unwrap();
    let weight = engine.prepare_weight(&weight).unwrap();
    let (x, bias, mut out) = (tensor(&[m, k], &x), tensor(&[n], &bias), tensor(&[m, n], &vec![f64::NAN; m * n]));
    engine.linear(LinearSpec { activation: Activation::Relu }, x.view(), &weight, Some(bias.view()), out.view_mut()).unwrap();
    assert!(engine.download(out.view()).unwrap().values() == expected, "linear {:?} of {:?}", [m, n, k], engine.config());
}

#[test]
fn blocks_of_every_direction_meet_exactly() {
    let mut paths = 0;
    for isa in IsaChoice::ALL {
        let cases = [("f32", 1), ("f32", 3), ("f64", 1), ("bf16", 1), ("bf16", 3), ("f16", 1), ("int8", 1), ("int8", 3)];
        for (precision, threads) in cases.into_iter().chain([("int4", 1), ("int8-weight", 1), ("bf16-weight", 2)]) {
            match SimdBackend::new(&EngineConfig { isa, ..EngineConfig::new(precision.parse().unwrap(), threads) }) {
                Ok(engine) => {
                    for shape in SHAPES {
                        check_layer(&engine, shape);
                        // Where weights alone are narrow, products of activations are those of f32.
                        if !precision.starts_with("int") && precision != "bf16-weight" {
                            check(&engine, shape);
                        }
                    }
                    paths += 1;
                }
                Err(EngineError::Unsupported { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(paths >= 22, "auto and scalar are everywhere");
}
