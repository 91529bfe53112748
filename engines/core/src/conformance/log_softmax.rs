//! Log-softmax: against f64, under shifts that are exact, at the extremes, and with operands that do not fit.

use crate::backend::{Operand, TransformerBackend};
use crate::dtype::DType;
use crate::error::EngineError;
use crate::ops::OpSpec;

use super::Property;
use super::cases::Fill;
use super::compare::{Target, storing};
use super::place::Placed;
use super::softmax::{relative_errors, rows, weights};
use super::trial::{Outcome, Trial, fail};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    let property = |name, check| Property { name, operation: "log-softmax", check };
    vec![
        property("log-softmax", against_f64),
        property("log-softmax-shift", invariant_under_shifts),
        property("log-softmax-extremes", extremes),
        property("log-softmax-operands", wrong_operands),
    ]
}

/// Exact results of a row with what an engine may be off by: two differences, each rounded once, and a logarithm that is as far off as the sum
/// below it. A row of only minus infinity keeps it.
fn targets(row: &[f64], [compute, out]: [DType; 2]) -> Vec<Target> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return vec![Target::exact(f64::NEG_INFINITY); row.len()];
    }
    let u = compute.unit_roundoff();
    let logarithm = row.iter().map(|x| libm::exp(x - largest)).sum::<f64>().ln();
    let (_, of_sum) = relative_errors(row, &weights(row), &vec![0.0; row.len()], u);
    let of_logarithm = -(-of_sum.min(0.5)).ln_1p() + 4.0 * u * logarithm;
    let target = |&x: &f64| {
        if x == f64::NEG_INFINITY {
            return Target::exact(x);
        }
        let value = (x - largest) - logarithm;
        if value == f64::NEG_INFINITY {
            // Beyond the numbers of f64 itself: any finite answer would lie within an infinite error.
            return Target::exact(value);
        }
        let error = u * (x - largest).abs() + of_logarithm + u * value.abs();
        Target::within(value, error + storing(out, value) + compute.smallest_normal())
    };
    row.iter().map(target).collect()
}

fn log_softmax<B: TransformerBackend>(t: &mut Trial<'_, B>, x: &Placed<B::Buffer>) -> Outcome<(DType, Vec<f64>)> {
    let (lead, classes) = x.shape().split_at(x.shape().len() - 1);
    let operation = OpSpec::LogSoftmax { rows: lead.iter().product(), classes: classes[0] };
    t.map_with_scratch(&operation, x, |engine, x, out, scratch| engine.log_softmax(x, out, scratch))
}

/// Of all rows, as they stand in the operand.
fn hold<B: TransformerBackend>(t: &mut Trial<'_, B>, x: &Placed<B::Buffer>) -> Outcome {
    let (out, found) = log_softmax(t, x)?;
    let width = x.shape().last().copied().unwrap_or(1);
    let expected: Vec<Target> = x.values.chunks(width.max(1)).flat_map(|row| targets(row, [t.compute(), out])).collect();
    t.compare(out, &found, &expected)
}

fn against_f64<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (spread, masks) = (t.source.choose(&[0.01, 1.0, 8.0, 100.0]), t.source.one_in(3));
    let x = rows(t, 0, spread, masks)?;
    hold(t, &x)
}

/// Eighths plus a whole number: every difference from the largest is exact in every type, so that the shift leaves nothing. With large ones a
/// logarithm that the largest entry is added to loses its digits.
fn invariant_under_shifts<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, width] = t.source.sizes([1, 1]);
    let dtype = t.storage();
    let row: Vec<f64> = t.source.values(Fill::Integers(12), rows * width).iter().map(|value| value / 8.0).collect();
    let shifts: &[f64] = if dtype.unit_roundoff() < 1e-6 { &[1.0, -8.0, 4096.0, -65536.0] } else { &[1.0, -2.0, 4.0, -8.0, 12.0] };
    let shift = t.source.choose(shifts);
    for shift in [0.0, shift] {
        let values: Vec<f64> = row.iter().map(|value| value + shift).collect();
        let x = t.given(dtype, &[rows, width], &values)?;
        hold(t, &x)?;
    }
    Ok(())
}

fn extremes<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let dtype = t.storage();
    let (largest, masked) = (dtype.largest(), f64::NEG_INFINITY);
    let tiny = 2.0 * dtype.unit_roundoff() * dtype.smallest_normal();
    let width = t.source.size(3, 65);
    let cases: [&[f64]; 14] = [
        &[masked],
        &[tiny, -tiny, 0.0],
        &[0.0, masked],
        &[80.0, -80.0],
        &[-80.0, masked],
        &[89.0, 88.0],
        &[-89.0, -88.0],
        &[-200.0, masked],
        // Probabilities below the smallest number have a logarithm all the same.
        &[0.0, -1000.0],
        &[largest],
        &[-largest],
        &[-largest, masked],
        &[largest, 0.0],
        &[largest, -largest, 0.0],
    ];
    for pattern in cases {
        let row: Vec<f64> = (0..width).map(|at| pattern[at % pattern.len()]).collect();
        let x = t.given(dtype, &[1, width], &row)?;
        hold(t, &x)?;
    }
    let at = t.source.below(width);
    // One plus infinity: the limit, or an honest NaN; no number that looks as if all were well. A NaN is that of its row alone.
    for (special, limit) in [(f64::INFINITY, Some(0.0)), (f64::NAN, None)] {
        let mut values = vec![0.0; 2 * width];
        values[at] = special;
        let x = t.given(dtype, &[2, width], &values)?;
        let (out, found) = log_softmax(t, &x)?;
        let (row, other) = found.split_at(width);
        let honest = |(place, value): (usize, &f64)| {
            value.is_nan() || limit.is_some_and(|limit| *value == if place == at { limit } else { f64::NEG_INFINITY })
        };
        if !row.iter().enumerate().all(honest) {
            return fail(format!("one {special} among zeros, at {at}, gives {row:?}"));
        }
        t.compare(out, other, &targets(&values[width..], [t.compute(), out]))?;
    }
    Ok(())
}

/// Operands of another shape, and integers: typed errors, the same on every engine, before anything is kept.
fn wrong_operands<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (storage, [rows, width]) = (t.storage(), t.source.sizes([1, 1]));
    let x = t.input(storage, &[rows, width], Fill::Normal(1.0))?;
    for shape in [vec![rows, width + 1], vec![rows + 1, width], vec![width]] {
        let mut out = t.output(storage, &shape)?;
        match t.engine.log_softmax(Operand::Of(x.view()), out.view_mut(), &mut t.scratch) {
            Err(EngineError::Shape { .. }) => t.nothing_is_kept()?,
            other => return fail(format!("{:?} into {shape:?}: {other:?}, expected a shape error", [rows, width])),
        }
    }
    let mut scalar = t.output(storage, &[])?;
    let of_a_scalar = t.engine.log_softmax(Operand::InPlace, scalar.view_mut(), &mut t.scratch);
    if !matches!(of_a_scalar, Err(EngineError::Shape { .. })) {
        return fail(format!("a scalar, which has no rows: {of_a_scalar:?}, expected a shape error"));
    }
    let integers = t.given(DType::I32, &[rows, width], &vec![1.0; rows * width])?;
    let (mut out, mut of_integers) = (t.output(storage, &[rows, width])?, t.output(DType::I32, &[rows, width])?);
    let expected = EngineError::ElementType { operation: "log-softmax", expected: storage, found: DType::I32 };
    let answers = [
        t.engine.log_softmax(Operand::Of(integers.view()), out.view_mut(), &mut t.scratch),
        t.engine.log_softmax(Operand::Of(x.view()), of_integers.view_mut(), &mut t.scratch),
    ];
    match answers.iter().find(|answer| answer.as_ref().err() != Some(&expected)) {
        Some(other) => fail(format!("integers: {other:?}, expected {expected:?}")),
        None => t.nothing_is_kept(),
    }
}
