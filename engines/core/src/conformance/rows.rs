//! Rows: reductions, running sums, gather, scatter, sorting, top-k, and convolution along the sequence.

use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::error::EngineError;
use crate::ops::{OpSpec, ReduceOp};
use crate::reference::{Arithmetic, gamma};

use super::Property;
use super::cases::Fill;
use super::compare::{Target, storing};
use super::trial::{Outcome, Trial, fail};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    vec![
        Property { name: "reduce", operation: "reduce", check: reduce },
        Property { name: "cumulative-sum", operation: "cumulative-sum", check: cumulative_sum },
        Property { name: "cumulative-count", operation: "cumulative-sum", check: cumulative_count },
        Property { name: "gather", operation: "gather", check: gather },
        Property { name: "scatter", operation: "scatter", check: scatter },
        Property { name: "argsort", operation: "argsort", check: argsort },
        Property { name: "top-k", operation: "top-k", check: top_k },
        Property { name: "convolution", operation: "convolution", check: convolution },
    ]
}

const REDUCTIONS: [ReduceOp; 5] = [ReduceOp::Sum, ReduceOp::Mean, ReduceOp::Max, ReduceOp::Min, ReduceOp::ArgMax];

fn reduce<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    for op in REDUCTIONS {
        let [outer, rows, width] = t.source.sizes_within([0, 0, 1], 1 << 12);
        let shape = t.source.choose(&[vec![width], vec![rows, width], vec![outer.min(4), rows, width]]);
        let x_type = t.float_type();
        // Whole numbers have ties.
        // Rows without a positive value show who begins a maximum at zero.
        let fill = t.source.choose(&[Fill::Normal(2.0), Fill::Integers(2), Fill::Around(100.0), Fill::Around(-100.0)]);
        let mut x = t.input(x_type, &shape, fill)?;
        if matches!(op, ReduceOp::Max | ReduceOp::Min) && t.source.one_in(3) {
            let mut values = x.values;
            values.iter_mut().for_each(|value| *value = if t.source.one_in(40) { f64::NAN } else { *value });
            x = t.given(x_type, &shape, &values)?;
        }
        let dtype = if op == ReduceOp::ArgMax { DType::I32 } else { t.float_type() };
        let mut out = t.output(dtype, &shape[..shape.len() - 1])?;
        let result = t.engine.reduce(op, x.view(), out.view_mut());
        let operation = OpSpec::Reduce { rows: x.values.len() / width, width, op };
        t.done(&operation, result)?;
        let found = t.read(&out)?;
        let targets: Vec<Target> = x.values.chunks(width).map(|row| reduced(op, row, [t.compute(), dtype])).collect();
        t.compare(dtype, &found, &targets)?;
    }
    Ok(())
}

fn reduced(op: ReduceOp, row: &[f64], [compute, out]: [DType; 2]) -> Target {
    let sum = |row: &[f64]| Arithmetic::EXACT.sum(row.iter().copied());
    let magnitude: f64 = row.iter().map(|value| value.abs()).sum();
    let count = row.len() as f64;
    // A NaN is neither larger nor smaller, and must show all the same.
    let extreme = |choose: fn(f64, f64) -> f64| {
        if row.iter().any(|value| value.is_nan()) { f64::NAN } else { row.iter().copied().fold(row[0], choose) }
    };
    match op {
        ReduceOp::Sum => Target::sum(sum(row), row.len(), magnitude, compute, out),
        ReduceOp::Mean => Target::sum(sum(row) / count, row.len() + 1, magnitude / count, compute, out),
        ReduceOp::Max => Target::exact(out.round(extreme(f64::max))),
        ReduceOp::Min => Target::exact(out.round(extreme(f64::min))),
        ReduceOp::ArgMax => {
            let best = (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
            Target::exact(best as f64)
        }
    }
}

fn cumulative_sum<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, width] = t.source.sizes_within([0, 0], 1 << 12);
    let (x_type, dtype) = (t.float_type(), t.float_type());
    let x = t.input(x_type, &[rows, width], Fill::Normal(2.0))?;
    let mut out = t.output(dtype, &[rows, width])?;
    let result = t.engine.cumulative_sum(x.view(), out.view_mut());
    t.done(&OpSpec::CumulativeSum { rows, width }, result)?;
    let found = t.read(&out)?;
    let mut targets = Vec::with_capacity(found.len());
    for row in x.values.chunks(width.max(1)) {
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for (at, value) in row.iter().enumerate() {
            (sum, magnitude) = (sum + value, magnitude + value.abs());
            targets.push(Target::sum(sum, at + 1, magnitude, t.compute(), dtype));
        }
    }
    t.compare(dtype, &found, &targets)
}

/// Routing counts with it, so integers must be exact, also beyond what f32 can count.
fn cumulative_count<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, width] = t.source.sizes_within([0, 0], 1 << 12);
    let largest = t.source.choose(&[1, 9_000_001]);
    let x = t.input(DType::I32, &[rows, width], Fill::Integers(largest))?;
    let mut out = t.output(DType::I32, &[rows, width])?;
    let result = t.engine.cumulative_sum(x.view(), out.view_mut());
    t.done(&OpSpec::CumulativeSum { rows, width }, result)?;
    let found = t.read(&out)?;
    let mut targets = Vec::with_capacity(found.len());
    for row in x.values.chunks(width.max(1)) {
        let mut sum = 0.0;
        for value in row {
            sum += value;
            targets.push(Target::exact(sum));
        }
    }
    t.compare(DType::I32, &found, &targets)
}

/// Random indices into a table of so many rows, and once in a while a wrong one.
fn indices<B: TransformerBackend>(t: &mut Trial<'_, B>, count: usize, rows: usize) -> (Vec<f64>, bool) {
    let mut indices: Vec<f64> = (0..count).map(|_| t.source.below(rows) as f64).collect();
    let wrong = t.source.one_in(5) && count > 0;
    if wrong {
        let at = t.source.below(count);
        indices[at] = t.source.choose(&[-1.0, rows as f64]);
    }
    (indices, wrong)
}

/// A wrong index is a typed error.
fn refuses<T>(wrong: bool, result: crate::error::Result<T>) -> Outcome<Option<crate::error::Result<T>>> {
    match result {
        Err(EngineError::Index { .. }) if wrong => Ok(None),
        Ok(_) if wrong => fail("an index outside the table was followed"),
        Err(error) if wrong => fail(format!("an index outside the table gave another error: {error}")),
        other => Ok(Some(other)),
    }
}

fn gather<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, count, width] = t.source.sizes_within([1, 0, 1], 1 << 13);
    let dtype = t.float_type();
    let table = t.input(dtype, &[rows, width], Fill::Normal(2.0))?;
    let (indices, wrong) = indices(t, count, rows);
    let index = t.given(DType::I32, &[count], &indices)?;
    let mut out = t.output(dtype, &[count, width])?;
    let result = t.engine.gather_rows(table.view(), index.view(), out.view_mut());
    let Some(result) = refuses(wrong, result)? else { return t.read(&out).map(drop) };
    t.done(&OpSpec::GatherRows { rows: count, width }, result)?;
    let found = t.read(&out)?;
    let row = |&index: &f64| table.values[index as usize * width..][..width].iter().map(|&value| Target::exact(value));
    let targets: Vec<Target> = indices.iter().flat_map(row).collect();
    t.compare(dtype, &found, &targets)
}

fn scatter<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, count, width] = t.source.sizes_within([1, 0, 1], 1 << 13);
    let (x_type, dtype) = (t.float_type(), t.float_type());
    // Sums of ones and fours are exact in every type.
    let exact = t.source.one_in(2);
    let x = t.input(x_type, &[count, width], if exact { Fill::Integers(1) } else { Fill::Normal(2.0) })?;
    let (indices, wrong) = indices(t, count, rows);
    let index = t.given(DType::I32, &[count], &indices)?;
    let before = t.source.values(Fill::Integers(4), rows * width);
    let mut out = t.output_of(dtype, &[rows, width], &before)?;
    let result = t.engine.scatter_add_rows(x.view(), index.view(), out.view_mut());
    let Some(result) = refuses(wrong, result)? else { return t.read(&out).map(drop) };
    t.done(&OpSpec::ScatterAddRows { rows: count, width }, result)?;
    let found = t.read(&out)?;
    // The sums stand in the output, so each addition may round to its type.
    let (mut sums, mut magnitudes, mut terms) = (before.clone(), before.iter().map(|v| v.abs()).collect::<Vec<_>>(), vec![0; rows]);
    for (at, &index) in indices.iter().enumerate() {
        terms[index as usize] += 1;
        for channel in 0..width {
            let value = x.values[at * width + channel];
            sums[index as usize * width + channel] += value;
            magnitudes[index as usize * width + channel] += value.abs();
        }
    }
    let target = |at: usize| {
        let terms = 2 * terms[at / width];
        let error = gamma(terms, dtype.unit_roundoff()) * magnitudes[at];
        Target::within(sums[at], if exact || terms == 0 { 0.0 } else { error + storing(dtype, sums[at]) + dtype.smallest_normal() })
    };
    let targets: Vec<Target> = (0..found.len()).map(target).collect();
    t.compare(dtype, &found, &targets)
}

fn argsort<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, width] = t.source.sizes_within([0, 0], 1 << 12);
    let largest = t.source.choose(&[0, 2, 1000, i32::MAX as usize]);
    let keys = t.input(DType::I32, &[rows, width], Fill::Integers(largest))?;
    let mut out = t.output(DType::I32, &[rows, width])?;
    let result = t.engine.stable_argsort(keys.view(), out.view_mut());
    t.done(&OpSpec::StableArgSort { rows, width }, result)?;
    let found = t.read(&out)?;
    let order = |row: &[f64]| {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[a].total_cmp(&row[b]));
        order.into_iter().map(|at| Target::exact(at as f64)).collect::<Vec<_>>()
    };
    let targets: Vec<Target> = keys.values.chunks(width.max(1)).flat_map(order).collect();
    t.compare(DType::I32, &found, &targets)
}

fn top_k<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, width] = t.source.sizes_within([0, 1], 1 << 12);
    let k = t.source.choose(&[0, 1, 2, 5, width / 2, width]).min(width);
    let x_type = t.float_type();
    let fill = t.source.choose(&[Fill::Normal(2.0), Fill::Integers(2)]);
    let x = t.input(x_type, &[rows, width], fill)?;
    let (mut values, mut indices) = (t.output(x_type, &[rows, k])?, t.output(DType::I32, &[rows, k])?);
    let result = t.engine.top_k(x.view(), values.view_mut(), indices.view_mut());
    t.done(&OpSpec::TopK { rows, width, k }, result)?;
    let (values, indices) = (t.read(&values)?, t.read(&indices)?);
    let best = |row: &[f64]| {
        let mut order: Vec<usize> = (0..row.len()).collect();
        // Stable, so ties keep the lower index first. (Minus zero equals zero.)
        order.sort_by(|&a, &b| row[b].partial_cmp(&row[a]).unwrap_or(std::cmp::Ordering::Equal));
        order.truncate(k);
        order.into_iter().map(|at| (row[at], at as f64)).collect::<Vec<_>>()
    };
    let best: Vec<(f64, f64)> = x.values.chunks(width).flat_map(best).collect();
    t.compare(x_type, &values, &best.iter().map(|best| Target::exact(best.0)).collect::<Vec<_>>())?;
    t.compare(DType::I32, &indices, &best.iter().map(|best| Target::exact(best.1)).collect::<Vec<_>>())
}

fn convolution<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [batch, n, channels] = t.source.sizes_within([0, 0, 1], 1 << 11);
    let (batch, kernel, causal) = (batch.min(3), t.source.choose(&[1, 2, 3, 4, 7]), t.source.one_in(2));
    let types = [t.float_type(), t.float_type(), t.float_type()];
    let x = t.input(types[0], &[batch, n, channels], Fill::Normal(1.0))?;
    let filter = t.input(types[1], &[channels, kernel], Fill::Normal(1.0))?;
    let mut out = t.output(types[2], &[batch, n, channels])?;
    let result = t.engine.depthwise_conv(x.view(), filter.view(), causal, out.view_mut());
    t.done(&OpSpec::DepthwiseConv { rows: batch * n, channels, kernel }, result)?;
    let found = t.read(&out)?;
    let left = if causal { kernel - 1 } else { (kernel - 1) / 2 };
    let mut targets = Vec::with_capacity(found.len());
    for at in 0..found.len() {
        let (channel, time, first) = (at % channels, at / channels % n, at / (channels * n) * n);
        let inside = (0..kernel).filter(|tap| (time + tap).checked_sub(left).is_some_and(|source| source < n));
        let term = |tap: usize| (filter.values[channel * kernel + tap], x.values[(first + time + tap - left) * channels + channel]);
        let terms: Vec<(f64, f64)> = inside.map(term).collect();
        let magnitude = terms.iter().map(|(a, b)| (a * b).abs()).sum();
        targets.push(Target::sum(Arithmetic::EXACT.dot(terms.into_iter()), kernel + 1, magnitude, t.compute(), types[2]));
    }
    t.compare(types[2], &found, &targets)
}
