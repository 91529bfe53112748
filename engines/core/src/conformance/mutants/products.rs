//! Faults of matrix products and layers.

use crate::activation::Activation;
use crate::backend::{Operand, PreparedWeight, TransformerBackend};
use crate::dtype::DType;
use crate::error::Result;
use crate::host::HostTensor;
use crate::layout::Layout;
use crate::ops::{BinaryOp, LinearSpec, MatmulSpec, UnaryOp};
use crate::quantize::{Int4Groups, Int8Rows};
use crate::sparse::{SparseWeight, Structure};
use crate::tensor::{Buffer, View, ViewMut};
use crate::weights::HostWeight;

use super::{Fault, Mutant};

/// A value cut off where it should be rounded.
pub(super) fn truncated(dtype: DType, value: f64) -> f64 {
    let rounded = dtype.round(value);
    if rounded.abs() <= value.abs() || !value.is_finite() {
        return rounded;
    }
    // One step toward zero: half a unit below the rounded value rounds to its neighbour.
    dtype.round(rounded * (1.0 - 2.0 * dtype.unit_roundoff()))
}

pub(super) fn matmul<B: TransformerBackend>(
    m: &Mutant<B>,
    fault: Fault,
    mut spec: MatmulSpec,
    [mut a, mut b]: [View<'_, B::Buffer>; 2],
    mut c: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let (lead, inner) = (a.layout.rank() - 2, a.layout.dim_from_end(0));
    let (rows, columns) = (c.layout.dim_from_end(1), c.layout.dim_from_end(0));
    match fault {
        Fault::MatmulTransposesSquare if inner == columns => b = b.transposed()?,
        Fault::MatmulSkipsLastRow if rows % 4 != 0 => {
            (a, c) = (a.narrow(lead, 0, rows - 1)?, c.narrow(lead, 0, rows - 1)?);
        }
        Fault::MatmulSkipsLastColumn if columns % 8 != 0 => {
            (b, c) = (b.narrow(lead + 1, 0, columns - 1)?, c.narrow(lead + 1, 0, columns - 1)?);
        }
        Fault::MatmulSkipsLastProduct if inner % 2 == 1 => {
            (a, b) = (a.narrow(lead + 1, 0, inner - 1)?, b.narrow(lead, 0, inner - 1)?);
        }
        Fault::MatmulKeepsStaleOutput if spec.beta == 0.0 => spec.beta = 1.0,
        Fault::MatmulIgnoresBeta => spec.beta = 0.0,
        Fault::MatmulIgnoresAlpha => spec.alpha = 1.0,
        Fault::MatmulReusesFirstBatch if lead > 0 && !b.layout.is_empty() => {
            let shape = b.shape().to_vec();
            let narrowed = (0..lead).try_fold(b, |b, axis| b.narrow(axis, 0, 1))?;
            b = narrowed.with(|layout| layout.broadcast(&shape))?;
        }
        Fault::MatmulIgnoresStrides | Fault::MatmulIgnoresOffset => {
            let offset = if fault == Fault::MatmulIgnoresOffset { 0 } else { a.layout.offset() };
            let end = (offset + a.layout.len()).min(a.buffer.len());
            let dense = Layout::contiguous(&[end])?.narrow(0, offset.min(end), end.saturating_sub(offset))?;
            if dense.len() == a.layout.len() {
                let shape = a.shape().to_vec();
                a = View { layout: dense.reshape(&shape)?, ..a };
            }
        }
        Fault::MatmulForgetsBetaWithoutProducts if inner == 0 => return Ok(()),
        Fault::MatmulWritesPastTheEnd if c.layout.end() < c.buffer.len() && !c.layout.is_empty() => {
            m.inner.matmul(spec, a, b, c.reborrow())?;
            let (end, length) = (c.layout.end(), c.buffer.len());
            let beyond = Layout::contiguous(&[length])?.narrow(0, end, 1)?;
            return m.inner.fill(ViewMut { buffer: c.buffer, layout: beyond }, 0.0);
        }
        Fault::HarmlessMatmul
        | Fault::MatmulSumsInF16
        | Fault::MatmulSumsInBf16
        | Fault::MatmulSkipsZeros
        | Fault::MatmulTruncates
        | Fault::MatmulDropsNan
        | Fault::MatmulDropsOneOf64
        | Fault::RepeatDrifts => return on_the_host(m, fault, spec, [a, b], c),
        _ => {}
    }
    m.inner.matmul(spec, a, b, c)
}

fn on_the_host<B: TransformerBackend>(
    m: &Mutant<B>,
    fault: Fault,
    spec: MatmulSpec,
    [a, b]: [View<'_, B::Buffer>; 2],
    c: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let (rows, columns, inner) = (c.layout.dim_from_end(1), c.layout.dim_from_end(0), a.layout.dim_from_end(0));
    let (dtype, a, b, before) = (c.dtype(), m.get(a)?, m.get(b)?, m.get(c.as_view())?);
    let drift = {
        let mut memory = m.memory.borrow_mut();
        memory.push(0.0);
        1.0 + memory.len() as f64 * dtype.unit_roundoff()
    };
    let element = |at: usize| {
        let (batch, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
        let mut sum = 0.0;
        for p in 0..inner {
            let (x, y) = (a[(batch * rows + row) * inner + p], b[(batch * inner + p) * columns + column]);
            let x = if fault == Fault::MatmulDropsNan && x.is_nan() { 0.0 } else { x };
            let skipped = (fault == Fault::MatmulSkipsZeros && x == 0.0) || (fault == Fault::MatmulDropsOneOf64 && p % 64 == 63);
            let product = if skipped { 0.0 } else { x * y };
            sum = match fault {
                Fault::MatmulSumsInF16 => DType::F16.round(sum + product),
                Fault::MatmulSumsInBf16 => DType::Bf16.round(sum + product),
                _ => sum + product,
            };
        }
        let value = spec.alpha * sum + if spec.beta == 0.0 { 0.0 } else { spec.beta * before[at] };
        match fault {
            Fault::MatmulTruncates => truncated(dtype, value),
            Fault::RepeatDrifts => value * drift,
            _ => value,
        }
    };
    m.put((0..before.len()).map(element).collect(), c)
}

/// Faults of how weights are packed.
pub(super) fn weight(fault: Option<Fault>, weight: &HostWeight) -> Result<HostWeight> {
    let mut weight = weight.clone();
    match (&mut weight, fault) {
        (HostWeight::Int8(codes), Some(Fault::LinearSharesInt8Scale)) => {
            let first = codes.scales.first().copied().unwrap_or(0.0);
            codes.scales.fill(first);
        }
        (HostWeight::Int8(codes), Some(Fault::LinearClampsInt8At126)) => {
            codes.codes.iter_mut().for_each(|code| *code = (*code).clamp(-126, 126));
        }
        (HostWeight::Int8(Int8Rows { codes, .. }), Some(Fault::CodesAreCut)) => codes.iter_mut().for_each(|code| *code = (*code).max(-127)),
        (HostWeight::Int4(Int4Groups { codes, .. }), Some(Fault::CodesAreCut)) => {
            codes.iter_mut().for_each(|code| *code = (*code).clamp(-7, 7));
        }
        (HostWeight::Int4(codes), Some(Fault::LinearShiftsInt4Groups)) => {
            let groups = codes.inputs.div_ceil(codes.group);
            codes.scales.chunks_mut(groups.max(1)).for_each(|row| row.rotate_left(1 % row.len().max(1)));
        }
        (HostWeight::Int4(codes), Some(Fault::LinearSwapsInt4Halves)) => {
            codes.codes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        }
        (HostWeight::Dense { values, .. }, Some(Fault::LinearTransposesSquare)) if values.shape()[0] == values.shape()[1] => {
            let size = values.shape()[0];
            let transposed = (0..size * size).map(|at| values.values()[at % size * size + at / size]).collect();
            *values = HostTensor::new(&[size, size], transposed)?;
        }
        (HostWeight::Sparse(sparse), Some(fault)) => stored(fault, sparse),
        (HostWeight::Palette(palette), Some(Fault::LinearIgnoresPaletteScale)) => palette.scales.fill(1.0),
        (HostWeight::Palette(palette), Some(Fault::LinearShiftsLevels)) if !palette.levels.is_empty() => palette.levels.rotate_left(1),
        _ => {}
    }
    Ok(weight)
}

/// Faults of how stored blocks are packed. What they leave behind still fits: it must be the values that give them away.
fn stored(fault: Fault, weight: &mut SparseWeight) {
    let (rows, columns) = weight.structure.block();
    match (fault, weight.structure) {
        (Fault::LinearDropsLastStored, _) => {
            for ends in weight.starts.windows(2).filter(|ends| ends[0] < ends[1]) {
                weight.values[ends[1] as usize * rows * columns - 1] = 0.0;
            }
        }
        (Fault::LinearSwapsBlockSides, _) => {
            for block in weight.values.chunks_mut(rows * columns) {
                let turned: Vec<f64> = (0..block.len()).map(|at| block[at % columns * rows + at / columns]).collect();
                block.copy_from_slice(&turned);
            }
        }
        (Fault::LinearStartsBlockRowEarly, _) if weight.starts.len() > 2 && weight.starts[1] > 0 => {
            let before = weight.clone();
            weight.starts[1] -= 1;
            if weight.check().is_err() {
                *weight = before;
            }
        }
        (Fault::LinearRepeatsFirstGroup, Structure::NofM { n, m }) => {
            for row in weight.columns.chunks_mut((n * (weight.inputs / m)).max(1)) {
                let first: Vec<u32> = row.iter().take(n).copied().collect();
                for (at, column) in row.iter_mut().enumerate() {
                    *column = (at / n * m) as u32 + first[at % n];
                }
            }
        }
        _ => {}
    }
}

pub(super) fn linear<B: TransformerBackend>(
    m: &Mutant<B>,
    spec: LinearSpec,
    x: View<'_, B::Buffer>,
    weight: &B::Weight,
    bias: Option<View<'_, B::Buffer>>,
    mut out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let plain = LinearSpec { activation: Activation::None };
    let int8 = m.inner.config().precision.activation == DType::I8;
    let (inputs, outputs) = (weight.inputs(), weight.outputs());
    let with_input = |change: &dyn Fn(&mut [f64]), out: ViewMut<'_, B::Buffer>| {
        let mut values = m.get(x)?;
        change(&mut values);
        let changed = m.inner.upload(&HostTensor::new(x.shape(), values)?, x.dtype())?;
        m.inner.linear(spec, changed.view(), weight, bias, out)
    };
    match m.fault {
        Some(Fault::LinearDropsBias) => m.inner.linear(spec, x, weight, None, out),
        Some(Fault::LinearActivatesBeforeBias) => {
            m.inner.linear(spec, x, weight, None, out.reborrow())?;
            bias.map_or(Ok(()), |bias| m.inner.binary(BinaryOp::Add, Operand::InPlace, bias, out))
        }
        Some(Fault::LinearApproximatesGelu) if spec.activation == Activation::Gelu => {
            m.inner.linear(plain, x, weight, bias, out.reborrow())?;
            m.inner.unary(UnaryOp::Activation(Activation::GeluTanh), Operand::InPlace, out)
        }
        Some(Fault::LinearSkipsLastOutput) if outputs % 8 != 0 => m.spoil(
            out,
            |out| m.inner.linear(spec, x, weight, bias, out),
            |before, after| {
                (outputs - 1..after.len()).step_by(outputs).for_each(|at| after[at] = before[at]);
            },
        ),
        Some(Fault::HarmlessLinear) if int8 => with_input(&|values| requantised(values, inputs, f64::round_ties_even), out),
        Some(Fault::LinearTruncatesInt8) if int8 => with_input(&|values| requantised(values, inputs, f64::trunc), out),
        Some(Fault::LinearSharesRowScale) if int8 => with_input(&|values| requantised(values, values.len(), f64::round_ties_even), out),
        Some(Fault::LinearDropsNan) => with_input(&|values| values.iter_mut().for_each(|x| *x = if x.is_nan() { 0.0 } else { *x }), out),
        _ => m.inner.linear(spec, x, weight, bias, out),
    }
}

/// Values on the grid of a scale for every `width` of them.
fn requantised(values: &mut [f64], width: usize, round: fn(f64) -> f64) {
    for row in values.chunks_mut(width.max(1)) {
        let scale = row.iter().fold(0.0f64, |largest, value| largest.max(value.abs())) / 127.0;
        if scale > 0.0 {
            // The largest stays where it is, whatever the last bit of the quotient says.
            row.iter_mut().for_each(|value| *value = round(*value / scale + 1e-9f64.copysign(*value)) * scale);
        }
    }
}
