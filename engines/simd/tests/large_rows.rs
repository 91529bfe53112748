//! Operations by rows over more elements than the suite's sizes reach: enough to wake threads, rows of several pieces. Small integers, so
//! that every order of summation gives the same bits.

mod common;

use crossover_core::backend::{EngineConfig, Operand, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::EngineError;
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::ops::{BinaryOp, ReduceOp};
use crossover_core::tensor::{Tensor, View};
use crossover_simd::SimdBackend;
use crossover_simd::buffer::SimdBuffer;

use common::integers;

const ROWS: usize = 70;
const WIDTH: usize = 1100;

/// Runs a check on all paths, alone and on threads, in both types of 32 and 16 bits; those that narrow share the kernels.
fn on_each(check: impl Fn(&SimdBackend)) {
    let mut paths = 0;
    for isa in IsaChoice::ALL {
        for (precision, threads) in [("f32", 1), ("f32", 3), ("bf16", 3)] {
            match SimdBackend::new(&EngineConfig { isa, ..EngineConfig::new(precision.parse().unwrap(), threads) }) {
                Ok(engine) => {
                    check(&engine);
                    paths += 1;
                }
                Err(EngineError::Unsupported { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(paths >= 6, "auto and scalar are everywhere");
}

fn tensor(engine: &SimdBackend, dtype: DType, shape: &[usize], values: Vec<f64>) -> Tensor<SimdBuffer> {
    engine.upload(&HostTensor::new(shape, values).unwrap(), dtype).unwrap()
}

/// [rows, columns] as the transposed view of a tensor that holds columns behind each other.
fn by_columns(engine: &SimdBackend, [rows, columns]: [usize; 2], values: &[f64]) -> Tensor<SimdBuffer> {
    let turned = (0..rows * columns).map(|at| values[at % rows * columns + at / rows]).collect();
    tensor(engine, engine.storage(), &[columns, rows], turned)
}

fn assert_same(engine: &SimdBackend, what: &str, found: View<'_, SimdBuffer>, expected: &[f64]) {
    let dtype = found.dtype();
    let found = engine.download(found).unwrap();
    let wrong = found.values().iter().zip(expected).position(|(found, &expected)| *found != dtype.round(expected));
    assert!(found.len() == expected.len() && wrong.is_none(), "{what} at {wrong:?}, of {:?}", engine.config());
}

/// The extremes of a row stand twice, mostly behind its first pieces: the first of equals is the one that is meant.
#[test]
fn long_rows_are_reduced() {
    let mut values = integers(1, ROWS * WIDTH);
    for (row, values) in values.chunks_mut(WIDTH).enumerate() {
        for at in [row * 97 % WIDTH, row * 211 % WIDTH] {
            (values[at], values[WIDTH - 1 - at]) = (7.0, -7.0);
        }
    }
    let of_rows = |reduce: &dyn Fn(&[f64]) -> f64| -> Vec<f64> { values.chunks(WIDTH).map(reduce).collect() };
    let expected = [
        (ReduceOp::Sum, of_rows(&|row| row.iter().sum())),
        (ReduceOp::Max, of_rows(&|row| row.iter().copied().fold(row[0], f64::max))),
        (ReduceOp::Min, of_rows(&|row| row.iter().copied().fold(row[0], f64::min))),
        (ReduceOp::ArgMax, of_rows(&|row| (1..WIDTH).fold(0, |best, at| if row[at] > row[best] { at } else { best }) as f64)),
    ];
    on_each(|engine| {
        let x = tensor(engine, engine.storage(), &[ROWS, WIDTH], values.clone());
        for (op, expected) in &expected {
            let dtype = if *op == ReduceOp::ArgMax { DType::I32 } else { engine.storage() };
            let mut out = engine.tensor(dtype, &[ROWS]).unwrap();
            engine.reduce(*op, x.view(), out.view_mut()).unwrap();
            assert_same(engine, &format!("{op:?}"), out.view(), expected);
        }
    });
}

#[test]
fn elements_are_added_and_copied_in_pieces() {
    let (a, b) = (integers(1, ROWS * WIDTH), integers(2, ROWS * WIDTH));
    let sums: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    let with_row: Vec<f64> = a.iter().enumerate().map(|(at, a)| a + b[at % WIDTH]).collect();
    on_each(|engine| {
        let x = tensor(engine, engine.storage(), &[ROWS, WIDTH], a.clone());
        let (dense, columns) = (tensor(engine, engine.storage(), &[ROWS, WIDTH], b.clone()), by_columns(engine, [ROWS, WIDTH], &b));
        let columns = columns.view().transposed().unwrap();
        let row = dense.view().narrow(0, 0, 1).unwrap();
        for (what, addend, expected) in [("dense", dense.view(), &sums), ("by columns", columns, &sums), ("one row", row, &with_row)] {
            let mut out = engine.tensor(engine.storage(), &[ROWS, WIDTH]).unwrap();
            engine.binary(BinaryOp::Add, Operand::Of(x.view()), addend, out.view_mut()).unwrap();
            assert_same(engine, what, out.view(), expected);
        }
        let mut out = engine.tensor(engine.storage(), &[ROWS, WIDTH]).unwrap();
        engine.copy(columns, out.view_mut()).unwrap();
        assert_same(engine, "copy", out.view(), &b);
    });
}

/// One element stands for all, and is loaded once for pieces that are full and once for the shorter last ones: tasks begin with either.
#[test]
fn one_element_meets_rows_of_several_pieces() {
    let [rows, whole, shown] = [16, 6000, 5000];
    let values = integers(1, rows * whole);
    let expected: Vec<f64> = values.chunks(whole).flat_map(|row| &row[..shown]).map(|value| 3.0 * value).collect();
    on_each(|engine| {
        let x = tensor(engine, engine.storage(), &[rows, whole], values.clone());
        let three = tensor(engine, engine.storage(), &[1], vec![3.0]);
        let mut out = engine.tensor(engine.storage(), &[rows, shown]).unwrap();
        engine.binary(BinaryOp::Multiply, Operand::Of(x.view().narrow(1, 0, shown).unwrap()), three.view(), out.view_mut()).unwrap();
        assert_same(engine, "times one element", out.view(), &expected);
    });
}

#[test]
fn many_rows_are_gathered_and_scattered() {
    const TABLE: usize = 40;
    let (table, x) = (integers(1, TABLE * WIDTH), integers(2, ROWS * WIDTH));
    let chosen: Vec<usize> = (0..ROWS).map(|row| row * row % TABLE).collect();
    let gathered: Vec<f64> = chosen.iter().flat_map(|&row| &table[row * WIDTH..][..WIDTH]).copied().collect();
    let mut scattered = table.clone();
    for (row, &to) in chosen.iter().enumerate() {
        scattered[to * WIDTH..][..WIDTH].iter_mut().zip(&x[row * WIDTH..]).for_each(|(sum, x)| *sum += x);
    }
    // Every other element of twice as many.
    let spread: Vec<f64> = chosen.iter().flat_map(|&row| [row as f64, -1.0]).collect();
    on_each(|engine| {
        let dense = tensor(engine, engine.storage(), &[TABLE, WIDTH], table.clone());
        let columns = by_columns(engine, [TABLE, WIDTH], &table);
        let indices = tensor(engine, DType::I32, &[ROWS, 2], spread.clone());
        let indices = indices.view().with(|layout| layout.narrow(1, 0, 1)?.merge(0)).unwrap();
        for table in [dense.view(), columns.view().transposed().unwrap()] {
            let mut out = engine.tensor(engine.storage(), &[ROWS, WIDTH]).unwrap();
            engine.gather_rows(table, indices, out.view_mut()).unwrap();
            assert_same(engine, "gather", out.view(), &gathered);
        }
        let (dense, columns) = (tensor(engine, engine.storage(), &[ROWS, WIDTH], x.clone()), by_columns(engine, [ROWS, WIDTH], &x));
        for x in [dense.view(), columns.view().transposed().unwrap()] {
            let mut out = tensor(engine, engine.storage(), &[TABLE, WIDTH], table.clone());
            engine.scatter_add_rows(x, indices, out.view_mut()).unwrap();
            assert_same(engine, "scatter", out.view(), &scattered);
        }
    });
}

#[test]
fn long_sequences_of_many_channels_are_convolved() {
    let [batch, n, channels, kernel] = [2, 150, 130, 4];
    let (x, filter) = (integers(1, batch * n * channels), integers(2, channels * kernel));
    let convolved = |left: usize| -> Vec<f64> {
        let at = |at: usize| (at / channels / n, at / channels % n, at % channels);
        let tap = |(b, t, c): (usize, usize, usize), j: usize| {
            let from = (t + j).checked_sub(left).filter(|&from| from < n);
            from.map_or(0.0, |from| filter[c * kernel + j] * x[(b * n + from) * channels + c])
        };
        (0..x.len()).map(|place| (0..kernel).map(|j| tap(at(place), j)).sum()).collect()
    };
    let expected = [(true, convolved(kernel - 1)), (false, convolved((kernel - 1) / 2))];
    on_each(|engine| {
        let (x, filter) = (
            tensor(engine, engine.storage(), &[batch, n, channels], x.clone()),
            tensor(engine, engine.storage(), &[channels, kernel], filter.clone()),
        );
        for (causal, expected) in &expected {
            let mut out = engine.tensor(engine.storage(), &[batch, n, channels]).unwrap();
            engine.depthwise_conv(x.view(), filter.view(), *causal, out.view_mut()).unwrap();
            assert_same(engine, "convolution", out.view(), expected);
        }
    });
}
