use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::layout::Layout;
use crossover_core::ops::{NormKind, NormSpec, ReduceOp, SoftmaxAlgorithm};
use crossover_naive::NaiveBackend;

use crate::helpers::*;

const SOFTMAXES: [SoftmaxAlgorithm; 3] = [SoftmaxAlgorithm::Naive, SoftmaxAlgorithm::Stable, SoftmaxAlgorithm::Online];

fn softmax(engine: &NaiveBackend, algorithm: SoftmaxAlgorithm, row: &[f64]) -> Vec<f64> {
    let x = tensor(engine, &[row.len()], row);
    let mut out = blank(engine, &[row.len()]);
    engine.softmax(algorithm, Operand::Of(x.view()), out.view_mut()).unwrap();
    let mut place = x;
    engine.softmax(algorithm, Operand::InPlace, place.view_mut()).unwrap();
    let found = values(engine, &out);
    assert_close(&values(engine, &place), &found, 0.0);
    found
}

fn softmax_by_hand(row: &[f64]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|x| (x - largest).exp()).sum();
    row.iter().map(|x| (x - largest).exp() / sum).collect()
}

#[test]
fn the_three_softmaxes_agree_where_nothing_overflows() {
    for precision in FLOATING {
        let engine = engine(precision);
        let unit = engine.storage().unit_roundoff();
        for count in [1, 2, 3, 63, 64, 65, 130] {
            let row = rounded(engine.storage(), &noise(1, count).iter().map(|x| 6.0 * x).collect::<Vec<_>>());
            for algorithm in SOFTMAXES {
                let found = softmax(&engine, algorithm, &row);
                assert_close(&found, &softmax_by_hand(&row), 200.0 * engine.compute().unit_roundoff() + unit);
                assert!((found.iter().sum::<f64>() - 1.0).abs() <= (count as f64 + 8.0) * unit);
            }
        }
    }
}

#[test]
fn softmax_at_the_extremes() {
    let engine = engine("f32");
    let (masked, largest) = (f64::NEG_INFINITY, f64::from(f32::MAX));
    for algorithm in SOFTMAXES {
        // A masked key beside others, and a row of nothing else.
        assert_eq!(softmax(&engine, algorithm, &[0.0, masked, 0.0]), [0.5, 0.0, 0.5], "{algorithm:?}");
        assert_eq!(softmax(&engine, algorithm, &[masked; 3]), [0.0; 3], "{algorithm:?}");
        assert!(softmax(&engine, algorithm, &[0.0, f64::NAN, 1.0]).iter().all(|value| value.is_nan()), "{algorithm:?}");
        let tiny = f64::from(f32::from_bits(1));
        assert_eq!(softmax(&engine, algorithm, &[tiny, -tiny]), [0.5, 0.5]);
    }
    for algorithm in [SoftmaxAlgorithm::Stable, SoftmaxAlgorithm::Online] {
        for shift in [88.0, 89.0, -88.0, -89.0, 1e30, -1e30] {
            assert_eq!(softmax(&engine, algorithm, &[shift, shift]), [0.5, 0.5], "{algorithm:?} {shift}");
        }
        assert_eq!(softmax(&engine, algorithm, &[-largest, largest, largest]), [0.0, 0.5, 0.5]);
        assert_eq!(softmax(&engine, algorithm, &[-largest, -largest]), [0.5, 0.5]);
        assert_eq!(softmax(&engine, algorithm, &[masked, -largest]), [0.0, 1.0]);
        // inf - inf is NaN, and the sum takes it everywhere.
        assert!(softmax(&engine, algorithm, &[0.0, f64::INFINITY, 1.0]).iter().all(|value| value.is_nan()));
    }
    // The naive form shows its seed: it overflows at 89, and inf / inf stands beside zeros.
    assert_eq!(softmax(&engine, SoftmaxAlgorithm::Naive, &[88.0, 0.0])[0], 1.0);
    let overflown = softmax(&engine, SoftmaxAlgorithm::Naive, &[89.0, 0.0]);
    assert!(overflown[0].is_nan() && overflown[1] == 0.0);
    assert!(softmax(&engine, SoftmaxAlgorithm::Naive, &[-200.0, -200.0])[0].is_nan());
}

#[test]
fn softmax_along_a_stride() {
    let engine = engine("f64");
    let x = tensor(&engine, &[2, 3], &[0.0, 1.0, 2.0, 0.0, 3.0, 2.0]);
    let mut out = blank(&engine, &[2, 3]);
    let target = out.view_mut().with(Layout::transposed).unwrap();
    engine.softmax(SoftmaxAlgorithm::Stable, Operand::Of(x.view().transposed().unwrap()), target).unwrap();
    let found = values(&engine, &out);
    let far = 1.0 / (1.0 + 2f64.exp());
    assert_close(&found, &[0.5, far, 0.5, 0.5, 1.0 - far, 0.5], 1e-15);
}

fn normalize(engine: &NaiveBackend, spec: NormSpec, shape: &[usize], x: &[f64], gamma: Option<&[f64]>, beta: Option<&[f64]>) -> Vec<f64> {
    let width = shape[shape.len() - 1];
    let [gamma, beta] = [gamma, beta].map(|values| values.map(|values| tensor(engine, &[width], values)));
    let weights = NormWeights { gamma: gamma.as_ref().map(|t| t.view()), beta: beta.as_ref().map(|t| t.view()) };
    let x = tensor(engine, shape, x);
    let mut out = blank(engine, shape);
    engine.normalize(spec, Operand::Of(x.view()), weights, out.view_mut()).unwrap();
    let mut place = x;
    engine.normalize(spec, Operand::InPlace, weights, place.view_mut()).unwrap();
    assert_eq!(values(engine, &place), values(engine, &out));
    values(engine, &out)
}

#[test]
fn norms_done_by_hand() {
    let engine = engine("f64");
    let layer = NormSpec { kind: NormKind::Layer, epsilon: 0.0 };
    // Mean 3, variance 4.
    let row = [1.0, 1.0, 5.0, 5.0];
    assert_eq!(normalize(&engine, layer, &[1, 4], &row, None, None), [-1.0, -1.0, 1.0, 1.0]);
    let (gamma, beta) = ([1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]);
    assert_eq!(normalize(&engine, layer, &[1, 4], &row, Some(&gamma), Some(&beta)), [9.0, 18.0, 33.0, 44.0]);
    assert_eq!(normalize(&engine, layer, &[1, 4], &row, Some(&gamma), None), [-1.0, -2.0, 3.0, 4.0]);
    assert_eq!(normalize(&engine, layer, &[1, 4], &row, None, Some(&beta)), [9.0, 19.0, 31.0, 41.0]);
    let damped = NormSpec { epsilon: 12.0, ..layer };
    assert_eq!(normalize(&engine, damped, &[1, 4], &row, None, None), [-0.5, -0.5, 0.5, 0.5]);
    let rms = NormSpec { kind: NormKind::Rms, epsilon: 0.0 };
    assert_eq!(normalize(&engine, rms, &[2, 2], &[5.0, -5.0, 1.0, 7.0], None, None), [1.0, -1.0, 0.2, 1.4]);
    let group = NormSpec { kind: NormKind::Group { groups: 2 }, epsilon: 0.0 };
    assert_eq!(normalize(&engine, group, &[1, 4], &[0.0, 2.0, 10.0, 30.0], Some(&gamma), None), [-1.0, 2.0, -3.0, 4.0]);
}

#[test]
fn a_large_mean_does_not_cancel_and_half_does_not_overflow() {
    let f32_engine = engine("f32");
    let layer = NormSpec { kind: NormKind::Layer, epsilon: 1e-5 };
    let row: Vec<f64> = (0..300).map(|at| 1e4 + f64::from(at % 2)).collect();
    let found = normalize(&f32_engine, layer, &[300], &row, None, None);
    let expected: Vec<f64> = (0..300).map(|at| (f64::from(at % 2) - 0.5) / (0.25 + 1e-5f64).sqrt()).collect();
    assert_close(&found, &expected, 1e-6);
    // 300^2 is beyond f16; the square is taken in f32.
    let half = engine("f16");
    let found = normalize(&half, NormSpec { kind: NormKind::Rms, epsilon: 0.0 }, &[2], &[300.0, -300.0], None, None);
    assert_eq!(found, [1.0, -1.0]);
}

fn reduce(engine: &NaiveBackend, op: ReduceOp, shape: &[usize], x: &[f64]) -> Vec<f64> {
    let dtype = if op == ReduceOp::ArgMax { DType::I32 } else { engine.storage() };
    let mut out = blank_of(engine, dtype, &shape[..shape.len() - 1]);
    engine.reduce(op, tensor(engine, shape, x).view(), out.view_mut()).unwrap();
    values(engine, &out)
}

#[test]
fn reductions_done_by_hand() {
    let engine = engine("f32");
    let x = [1.0, 5.0, 5.0, -4.0, -7.0, 0.0, -1.0, -2.0];
    assert_eq!(reduce(&engine, ReduceOp::Sum, &[2, 4], &x), [7.0, -10.0]);
    assert_eq!(reduce(&engine, ReduceOp::Mean, &[2, 4], &x), [1.75, -2.5]);
    assert_eq!(reduce(&engine, ReduceOp::Max, &[2, 4], &x), [5.0, 0.0]);
    assert_eq!(reduce(&engine, ReduceOp::Min, &[2, 4], &x), [-4.0, -7.0]);
    assert_eq!(reduce(&engine, ReduceOp::ArgMax, &[2, 4], &x), [1.0, 1.0]);
    let with_nan = [1.0, f64::NAN, 3.0, f64::NAN];
    assert!(reduce(&engine, ReduceOp::Max, &[4], &with_nan)[0].is_nan());
    assert!(reduce(&engine, ReduceOp::Min, &[4], &with_nan)[0].is_nan());
    assert_eq!(reduce(&engine, ReduceOp::ArgMax, &[4], &with_nan), [1.0]);
    assert_eq!(reduce(&engine, ReduceOp::Max, &[2], &[f64::NEG_INFINITY; 2]), [f64::NEG_INFINITY]);
    assert_eq!(reduce(&engine, ReduceOp::Sum, &[0, 4], &[]), [0.0; 0]);
    // Over a piece and a tail.
    let long: Vec<f64> = (0..130).map(f64::from).collect();
    assert_eq!(reduce(&engine, ReduceOp::Sum, &[130], &long), [8385.0]);
    assert_eq!(reduce(&engine, ReduceOp::ArgMax, &[130], &long), [129.0]);
}

#[test]
fn a_sum_of_bf16_is_kept_in_f32() {
    let engine = engine("bf16");
    // In bf16, 256 + 1 = 256; a running sum in it would never move.
    let mut row = vec![256.0];
    row.extend([1.0; 64]);
    assert_eq!(reduce(&engine, ReduceOp::Sum, &[65], &row), [320.0]);
    let mut out = blank(&engine, &[65]);
    engine.cumulative_sum(tensor(&engine, &[65], &row).view(), out.view_mut()).unwrap();
    let expected: Vec<f64> = (0..65).map(|at| DType::Bf16.round(256.0 + f64::from(at))).collect();
    assert_eq!(values(&engine, &out), expected);
}

#[test]
fn running_sums_of_integers_and_of_rows() {
    let engine = engine("f32");
    let x = integers(&engine, &[2, 3], &[1, -2, 3, 16_777_217, 1, 1]);
    let mut out = blank_of(&engine, DType::I32, &[2, 3]);
    engine.cumulative_sum(x.view(), out.view_mut()).unwrap();
    assert_eq!(values(&engine, &out), [1.0, -1.0, 2.0, 16_777_217.0, 16_777_218.0, 16_777_219.0]);
    let x = tensor(&engine, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let mut out = blank(&engine, &[2, 2]);
    engine.cumulative_sum(x.view().transposed().unwrap(), out.view_mut()).unwrap();
    assert_eq!(values(&engine, &out), [1.0, 4.0, 2.0, 6.0]);
}

#[test]
fn convolution_against_plain_loops() {
    let engine = engine("f64");
    for (batch, n, channels, kernel) in [(2, 5, 3, 3), (1, 4, 70, 2), (1, 2, 1, 5), (1, 1, 1, 1), (2, 0, 3, 3)] {
        let (x, filter) = (noise(1, batch * n * channels), noise(2, channels * kernel));
        for causal in [false, true] {
            let left = if causal { kernel - 1 } else { (kernel - 1) / 2 };
            let mut expected = vec![0.0; batch * n * channels];
            for (b, t) in (0..batch).flat_map(|b| (0..n).map(move |t| (b, t))) {
                for (c, j) in (0..channels).flat_map(|c| (0..kernel).map(move |j| (c, j))) {
                    if let Some(source) = (t + j).checked_sub(left).filter(|&source| source < n) {
                        expected[(b * n + t) * channels + c] += filter[c * kernel + j] * x[(b * n + source) * channels + c];
                    }
                }
            }
            let mut out = blank(&engine, &[batch, n, channels]);
            let x = tensor(&engine, &[batch, n, channels], &x);
            engine.depthwise_conv(x.view(), tensor(&engine, &[channels, kernel], &filter).view(), causal, out.view_mut()).unwrap();
            assert_eq!(values(&engine, &out), expected, "{batch} {n} {channels} {kernel} {causal}");
        }
    }
}
