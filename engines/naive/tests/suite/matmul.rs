use crossover_core::backend::TransformerBackend;
use crossover_core::dtype::DType;
use crossover_core::layout::Layout;
use crossover_core::ops::MatmulSpec;
use crossover_core::tensor::View;
use proptest::prelude::*;

use crate::helpers::*;

/// C = A B in f64, in plain index order.
fn product(m: usize, k: usize, n: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let element = |i: usize, j: usize| (0..k).fold(0.0, |sum, p| sum + a[i * k + p] * b[p * n + j]);
    (0..m * n).map(|at| element(at / n, at % n)).collect()
}

#[test]
fn a_product_done_by_hand() {
    let engine = engine("f32");
    let a = tensor(&engine, &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let b = tensor(&engine, &[3, 2], &[7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
    let mut c = tensor(&engine, &[2, 2], &[1.0, 1.0, 1.0, 1.0]);
    engine.matmul(MatmulSpec { alpha: 2.0, beta: -1.0 }, a.view(), b.view(), c.view_mut()).unwrap();
    assert_eq!(values(&engine, &c), [115.0, 127.0, 277.0, 307.0]);
}

#[test]
fn integer_products_are_exact_in_every_type() {
    for precision in FLOATING {
        let engine = engine(precision);
        for (m, k, n) in [(1, 1, 1), (3, 7, 5), (2, 300, 3), (5, 8, 300), (1, 259, 257)] {
            // Sparse enough that every sum stays below 256, the last integer that bf16 counts to.
            let a: Vec<f64> = small_integers(1, m * k).iter().enumerate().map(|(at, v)| if at % 11 == 0 { *v } else { 0.0 }).collect();
            let b = small_integers(2, k * n);
            let mut c = blank(&engine, &[m, n]);
            engine
                .matmul(MatmulSpec::PLAIN, tensor(&engine, &[m, k], &a).view(), tensor(&engine, &[k, n], &b).view(), c.view_mut())
                .unwrap();
            let expected = product(m, k, n, &a, &b);
            assert!(expected.iter().all(|value| value.abs() <= 256.0));
            assert_eq!(values(&engine, &c), expected, "{precision} {m} {k} {n}");
        }
    }
}

#[test]
fn sums_are_rounded_once_to_the_output() {
    for (precision, dtype) in [("bf16", DType::Bf16), ("f16", DType::F16)] {
        let engine = engine(precision);
        // Products of short mantissas over few terms are exact in f32, so the only rounding is the last.
        let (a, b) = (rounded(dtype, &[1.5, 0.125, 3.0]), rounded(dtype, &[1.25, 0.0078125, 0.75]));
        let exact = product(1, 3, 1, &a, &b)[0] * 1.0;
        let mut c = blank(&engine, &[1, 1]);
        engine.matmul(MatmulSpec::PLAIN, tensor(&engine, &[1, 3], &a).view(), tensor(&engine, &[3, 1], &b).view(), c.view_mut()).unwrap();
        assert_eq!(values(&engine, &c), [dtype.round(exact)]);
        assert_ne!(dtype.round(exact), exact, "the example must need rounding");
        // The same product into the compute type keeps everything.
        let mut wide = blank_of(&engine, DType::F32, &[1, 1]);
        engine
            .matmul(MatmulSpec::PLAIN, tensor(&engine, &[1, 3], &a).view(), tensor(&engine, &[3, 1], &b).view(), wide.view_mut())
            .unwrap();
        assert_eq!(values(&engine, &wide), [exact]);
    }
}

#[test]
fn sums_go_in_index_order_without_fusing() {
    let engine = engine("f32");
    let count = 517;
    let (a, b) = (rounded(DType::F32, &noise(3, count)), rounded(DType::F32, &noise(4, count)));
    let expected = a.iter().zip(&b).fold(0f32, |sum, (&a, &b)| sum + a as f32 * b as f32);
    let row = tensor(&engine, &[1, count], &a);
    // A dense column (summed along it) and a row of a wider matrix (summed across it) must agree to the bit.
    let column = tensor(&engine, &[count, 1], &b);
    let wide: Vec<f64> = b.iter().flat_map(|&b| [b, -b]).collect();
    let wide = tensor(&engine, &[count, 2], &wide);
    let turned = tensor(&engine, &[1, count], &b);
    for view in [column.view(), wide.view().narrow(1, 0, 1).unwrap(), turned.view().transposed().unwrap()] {
        let mut c = blank(&engine, &[1, 1]);
        engine.matmul(MatmulSpec::PLAIN, row.view(), view, c.view_mut()).unwrap();
        assert_eq!(values(&engine, &c), [f64::from(expected)]);
    }
}

#[test]
fn beta_zero_does_not_read_and_no_inputs_leave_beta_c() {
    let engine = engine("f64");
    let (a, b) = (tensor(&engine, &[2, 1], &[1.0, 2.0]), tensor(&engine, &[1, 2], &[3.0, 4.0]));
    let mut c = blank(&engine, &[2, 2]);
    engine.matmul(MatmulSpec::PLAIN, a.view(), b.view(), c.view_mut()).unwrap();
    assert_eq!(values(&engine, &c), [3.0, 4.0, 6.0, 8.0]);
    let (a, b) = (tensor(&engine, &[2, 0], &[]), tensor(&engine, &[0, 2], &[]));
    engine.matmul(MatmulSpec { alpha: 5.0, beta: 0.5 }, a.view(), b.view(), c.view_mut()).unwrap();
    assert_eq!(values(&engine, &c), [1.5, 2.0, 3.0, 4.0]);
    engine.matmul(MatmulSpec::PLAIN, a.view(), b.view(), c.view_mut()).unwrap();
    assert_eq!(values(&engine, &c), [0.0; 4]);
}

#[test]
fn a_nan_stays_in_its_row() {
    for precision in FLOATING {
        let engine = engine(precision);
        let mut a = noise(5, 12);
        a[5] = f64::NAN;
        let (a, b) = (tensor(&engine, &[3, 4], &a), tensor(&engine, &[4, 5], &noise(6, 20)));
        let mut c = blank(&engine, &[3, 5]);
        engine.matmul(MatmulSpec::PLAIN, a.view(), b.view(), c.view_mut()).unwrap();
        let nan: Vec<bool> = values(&engine, &c).iter().map(|value| value.is_nan()).collect();
        assert_eq!(nan, [[false; 5], [true; 5], [false; 5]].concat(), "{precision}");
    }
}

#[test]
fn batches_broadcast_and_outputs_may_be_strided() {
    let engine = engine("f64");
    let a = noise(7, 2 * 3 * 4);
    let b = noise(8, 4 * 5);
    let (a_tensor, b_tensor) = (tensor(&engine, &[2, 3, 4], &a), tensor(&engine, &[4, 5], &b));
    let shared = b_tensor.view().with(|layout| layout.broadcast(&[2, 4, 5])).unwrap();
    // C is written transposed, into the middle of a wider buffer.
    let mut c = blank(&engine, &[2, 7, 3]);
    let target = c.view_mut().narrow(1, 1, 5).unwrap().with(Layout::transposed).unwrap();
    engine.matmul(MatmulSpec::PLAIN, a_tensor.view(), shared, target).unwrap();
    let found = values(&engine, &c);
    for batch in 0..2 {
        let expected = product(3, 4, 5, &a[batch * 12..], &b);
        for (row, column) in (0..7).flat_map(|row| (0..3).map(move |column| (row, column))) {
            let value = found[(batch * 7 + row) * 3 + column];
            match row.checked_sub(1).filter(|&j| j < 5) {
                Some(j) => assert_eq!(value, expected[column * 5 + j]),
                None => assert!(value.is_nan(), "the margin was written"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_and_orientation_gives_the_plain_sum(
        m in 0usize..6, k in 0usize..40, n in 0usize..40, turned: [bool; 3], alpha in -2.0..2.0f64, beta in -2.0..2.0f64, seed in 0usize..1000,
    ) {
        let engine = engine("f64");
        let (a, b, c) = (noise(seed, m * k), noise(seed + 1, k * n), noise(seed + 2, m * n));
        // A matrix stored by columns, seen by rows.
        let stored = |rows: usize, columns: usize, values: &[f64], turned: bool| {
            if !turned {
                return tensor(&engine, &[rows, columns], values);
            }
            let by_columns: Vec<f64> = (0..columns).flat_map(|j| (0..rows).map(move |i| values[i * columns + j])).collect();
            let mut stored = tensor(&engine, &[columns, rows], &by_columns);
            stored.layout = stored.layout.transposed().unwrap();
            stored
        };
        let (a_tensor, b_tensor) = (stored(m, k, &a, turned[0]), stored(k, n, &b, turned[1]));
        let mut c_tensor = stored(m, n, &c, turned[2]);
        engine.matmul(MatmulSpec { alpha, beta }, a_tensor.view(), b_tensor.view(), c_tensor.view_mut()).unwrap();
        let expected: Vec<f64> = product(m, k, n, &a, &b).iter().zip(&c).map(|(sum, c)| alpha * sum + beta * c).collect();
        let found = engine.download(View { buffer: &c_tensor.buffer, layout: c_tensor.layout }).unwrap();
        prop_assert_eq!(found.values(), &expected[..]);
    }
}
