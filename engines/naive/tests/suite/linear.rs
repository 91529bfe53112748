use crossover_core::activation::Activation;
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::dtype::{DType, Precision};
use crossover_core::host::HostTensor;
use crossover_core::ops::LinearSpec;
use crossover_core::palette::Palette;
use crossover_core::quantize::{self, Int8Rows};
use crossover_core::sparse::{SparseWeight, Structure};
use crossover_core::weights::HostWeight;

use crate::helpers::*;

const PLAIN: LinearSpec = LinearSpec { activation: Activation::None };

#[test]
fn a_layer_done_by_hand() {
    for precision in FLOATING {
        let engine = engine(precision);
        let dtype = engine.storage();
        let weight = host(&[2, 3], &[1.0, 0.0, -1.0, 2.0, 2.0, 2.0]);
        let weight = engine.prepare_weight(&HostWeight::Dense { values: weight, dtype }).unwrap();
        assert_eq!(weight.bytes(), dtype.bytes(6).unwrap());
        let x = tensor(&engine, &[2, 3], &[1.0, 2.0, 3.0, -4.0, 5.0, -6.0]);
        let bias = tensor(&engine, &[2], &[0.5, -20.0]);
        let mut y = blank(&engine, &[2, 2]);
        engine.linear(PLAIN, x.view(), &weight, Some(bias.view()), y.view_mut()).unwrap();
        assert_eq!(values(&engine, &y), [-1.5, -8.0, 2.5, -30.0]);
        engine.linear(LinearSpec { activation: Activation::Relu }, x.view(), &weight, Some(bias.view()), y.view_mut()).unwrap();
        assert_eq!(values(&engine, &y), [0.0, 0.0, 2.5, 0.0]);
    }
}

#[test]
fn tails_of_tiles_and_missing_inputs() {
    let engine = engine("f64");
    for (rows, inputs, outputs) in [(2, 300, 259), (3, 0, 4), (0, 3, 4), (2, 256, 1), (1, 1, 513)] {
        let (x, w, bias) = (noise(1, rows * inputs), noise(2, outputs * inputs), noise(3, outputs));
        let weight = HostWeight::for_precision(&host(&[outputs, inputs], &w), Precision::F64).unwrap();
        let weight = engine.prepare_weight(&weight).unwrap();
        let mut y = blank(&engine, &[rows, outputs]);
        let bias_tensor = tensor(&engine, &[outputs], &bias);
        engine.linear(PLAIN, tensor(&engine, &[rows, inputs], &x).view(), &weight, Some(bias_tensor.view()), y.view_mut()).unwrap();
        let expected: Vec<f64> = (0..rows * outputs)
            .map(|at| (at / outputs, at % outputs))
            .map(|(i, j)| (0..inputs).fold(0.0, |sum, p| sum + x[i * inputs + p] * w[j * inputs + p]) + bias[j])
            .collect();
        assert_eq!(values(&engine, &y), expected, "{rows} {inputs} {outputs}");
    }
}

#[test]
fn weights_are_dequantised_inside_the_product() {
    let (rows, inputs, outputs) = (2, 75, 5);
    let (x, w) = (rounded(DType::F32, &noise(4, rows * inputs)), host(&[outputs, inputs], &noise(5, outputs * inputs)));
    for (precision, bytes) in [("int8-weight", 375 + 20), ("int4", 188 + 4 * 5 * 3), ("bf16-weight", 750)] {
        let engine = engine(precision);
        let weight = HostWeight::for_precision(&w, engine.config().precision).unwrap();
        let held = weight.dequantized();
        let prepared = engine.prepare_weight(&weight).unwrap();
        assert_eq!(prepared.bytes(), bytes, "{precision}");
        assert_eq!(prepared.bytes(), weight.ideal_bytes(), "{precision}");
        let mut y = blank(&engine, &[rows, outputs]);
        engine.linear(PLAIN, tensor(&engine, &[rows, inputs], &x).view(), &prepared, None, y.view_mut()).unwrap();
        // code * scale, rounded to f32, is the dequantised value rounded to f32.
        let expected: Vec<f64> = (0..rows * outputs)
            .map(|at| (at / outputs, at % outputs))
            .map(|(i, j)| (0..inputs).fold(0f32, |sum, p| sum + x[i * inputs + p] as f32 * held.values()[j * inputs + p] as f32))
            .map(f64::from)
            .collect();
        assert_eq!(values(&engine, &y), expected, "{precision}");
    }
}

/// x W^T in f32, by the stored inputs of each row in ascending order.
fn by_hand_in_f32(x: &[f64], w: &HostTensor, stored: impl Fn(usize, usize) -> bool) -> Vec<f64> {
    let (outputs, inputs) = (w.shape()[0], w.shape()[1]);
    let sum = |row: &[f64], j: usize| {
        let products = (0..inputs).filter(|&p| stored(j, p)).map(|p| row[p] as f32 * w.values()[j * inputs + p] as f32);
        f64::from(products.fold(0f32, |sum, product| sum + product))
    };
    x.chunks(inputs).flat_map(|row| (0..outputs).map(move |j| (row, j))).map(|(row, j)| sum(row, j)).collect()
}

#[test]
fn sparse_products_take_the_stored_entries_in_order() {
    // Blocks of three straddle the tile of 256 inputs; the second block row is missing.
    let (rows, inputs, outputs) = (2, 528, 12);
    let (x, w) = (rounded(DType::F32, &noise(9, rows * inputs)), host(&[outputs, inputs], &noise(10, outputs * inputs)));
    for (structure, dtype, indices) in [
        (Structure::Unstructured, DType::F32, 4 * 13),
        (Structure::NofM { n: 2, m: 4 }, DType::Bf16, 4 * 13),
        (Structure::Blocks { rows: 4, columns: 3 }, DType::F32, 4 * 4),
        (Structure::Blocks { rows: 2, columns: 16 }, DType::F16, 4 * 7),
    ] {
        let (block_rows, columns) = structure.block();
        let keeps = |j: usize, p: usize| match structure {
            Structure::NofM { .. } => p % 4 == j % 3 || p % 4 == 3,
            _ => j / block_rows != 1 && (j / block_rows + p / columns) % 3 != 1,
        };
        let kept: Vec<bool> = (0..outputs * inputs).map(|at| keeps(at / inputs, at % inputs)).collect();
        let weight = SparseWeight::masked(&w, &kept, structure, dtype).unwrap();
        let held = weight.dequantized();
        let engine = engine("f32");
        let prepared = engine.prepare_weight(&HostWeight::Sparse(weight.clone())).unwrap();
        // Values, and four bytes for each start and each block column.
        assert_eq!(prepared.bytes(), dtype.bytes(weight.values.len()).unwrap() + indices + 4 * weight.columns.len(), "{structure:?}");
        let mut y = blank(&engine, &[rows, outputs]);
        engine.linear(PLAIN, tensor(&engine, &[rows, inputs], &x).view(), &prepared, None, y.view_mut()).unwrap();
        assert_eq!(values(&engine, &y), by_hand_in_f32(&x, &held, keeps), "{structure:?}");
    }
}

#[test]
fn what_is_not_stored_is_not_multiplied() {
    let engine = engine("f64");
    let w = host(&[2, 4], &[1.0; 8]);
    let kept = [true, false, false, true, false, false, true, false];
    let weight = SparseWeight::masked(&w, &kept, Structure::Unstructured, DType::F64).unwrap();
    let weight = engine.prepare_weight(&HostWeight::Sparse(weight)).unwrap();
    let x = tensor(&engine, &[1, 4], &[2.0, f64::NAN, 5.0, 3.0]);
    let mut y = blank(&engine, &[1, 2]);
    engine.linear(PLAIN, x.view(), &weight, None, y.view_mut()).unwrap();
    assert_eq!(values(&engine, &y), [5.0, 5.0]);
}

#[test]
fn a_palette_is_decoded_inside_the_product() {
    let (rows, inputs, outputs) = (2, 300, 5);
    let x = rounded(DType::F32, &noise(11, rows * inputs));
    let levels: Vec<f32> = noise(12, 16).iter().map(|&level| level as f32).collect();
    let codes = (0..outputs * inputs).map(|at| (at * 7 % 16) as u8).collect();
    let palette = Palette { outputs, inputs, codes, levels, scales: vec![1.0, 0.3, 7.0, 0.0, 1e-3] };
    let engine = engine("f32");
    let prepared = engine.prepare_weight(&HostWeight::Palette(palette.clone())).unwrap();
    assert_eq!(prepared.bytes(), 1500 + 4 * 16 + 4 * 5);
    let mut y = blank(&engine, &[rows, outputs]);
    engine.linear(PLAIN, tensor(&engine, &[rows, inputs], &x).view(), &prepared, None, y.view_mut()).unwrap();
    // level * scale in f32 is the exact product, rounded.
    assert_eq!(values(&engine, &y), by_hand_in_f32(&x, &palette.dequantized(), |_, _| true));
}

/// What the documentation of int8 x int8 says, by exact integers.
fn int8_by_hand(x: &[f64], weight: &Int8Rows, bias: &[f64]) -> Vec<f64> {
    let rows = x.chunks(weight.inputs).flat_map(|row| {
        let largest = row.iter().fold(0f32, |largest, value| largest.max((*value as f32).abs()));
        let scale = largest / 127.0;
        let codes: Vec<i64> =
            row.iter().map(|&value| if scale > 0.0 { (value as f32 / scale).round_ties_even() as i64 } else { 0 }).collect();
        (0..weight.outputs).map(move |j| {
            let sum: i64 = codes.iter().zip(&weight.codes[j * weight.inputs..]).map(|(&x, &w)| x * i64::from(w)).sum();
            f64::from(sum as f32 * (scale * weight.scales[j]) + bias[j] as f32)
        })
    });
    rows.collect()
}

#[test]
fn int8_products_are_exact_integers() {
    let engine = engine("int8");
    let (rows, inputs, outputs) = (3, 1000, 260);
    let mut x = rounded(DType::F32, &noise(6, rows * inputs));
    x[inputs..2 * inputs].fill(0.0);
    let codes = quantize::int8_rows(&host(&[outputs, inputs], &noise(7, outputs * inputs))).unwrap();
    let bias = rounded(DType::F32, &noise(8, outputs));
    let weight = engine.prepare_weight(&HostWeight::Int8(codes.clone())).unwrap();
    let (x_tensor, bias_tensor) = (tensor(&engine, &[rows, inputs], &x), tensor(&engine, &[outputs], &bias));
    let mut y = blank(&engine, &[rows, outputs]);
    engine.linear(PLAIN, x_tensor.view(), &weight, Some(bias_tensor.view()), y.view_mut()).unwrap();
    assert_eq!(values(&engine, &y), int8_by_hand(&x, &codes, &bias));
}

#[test]
fn the_largest_int8_sum_fits_and_a_longer_one_is_refused() {
    let engine = engine("int8");
    let longest = i32::MAX as usize / (127 * 127);
    for (inputs, fits) in [(longest, true), (longest + 1, false)] {
        let codes = Int8Rows { outputs: 1, inputs, codes: vec![-127; inputs], scales: vec![1.0] };
        let weight = engine.prepare_weight(&HostWeight::Int8(codes)).unwrap();
        let x = tensor(&engine, &[1, inputs], &vec![127.0; inputs]);
        let mut y = blank(&engine, &[1, 1]);
        let answer = engine.linear(PLAIN, x.view(), &weight, None, y.view_mut());
        assert_eq!(answer.is_ok(), fits, "{answer:?}");
        if fits {
            assert_eq!(values(&engine, &y), [f64::from(-((127 * 127 * longest) as f32))]);
        }
    }
}

#[test]
fn an_int8_row_without_a_scale_gives_nan_and_taints_no_other() {
    let engine = engine("int8");
    let weight = HostWeight::for_precision(&host(&[2, 3], &[1.0, -2.0, 0.5, 0.0, 0.0, 0.0]), engine.config().precision).unwrap();
    let weight = engine.prepare_weight(&weight).unwrap();
    for poison in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let x = tensor(&engine, &[2, 3], &[1.0, poison, 2.0, 1.0, 1.0, 1.0]);
        let mut y = blank(&engine, &[2, 2]);
        engine.linear(PLAIN, x.view(), &weight, None, y.view_mut()).unwrap();
        let nan: Vec<bool> = values(&engine, &y).iter().map(|value| value.is_nan()).collect();
        assert_eq!(nan, [true, true, false, false], "{poison}");
    }
}
