//! Faults of copies, fills, functions, masks and selections.

use crate::activation::Activation;
use crate::backend::{Operand, TransformerBackend};
use crate::check;
use crate::elementary;
use crate::error::Result;
use crate::layout::Layout;
use crate::ops::{BinaryOp, UnaryOp};
use crate::pattern::AttentionPattern;
use crate::tensor::{Buffer, View, ViewMut};

use super::products::truncated;
use super::softmax::rough_exp;
use super::{Fault, Mutant};

pub(super) fn fill<B: TransformerBackend>(m: &Mutant<B>, mut out: ViewMut<'_, B::Buffer>, value: f64) -> Result<()> {
    if m.is(Fault::FillIgnoresStrides) && !out.layout.is_empty() {
        let (offset, end) = (out.layout.offset(), out.layout.end().min(out.buffer.len()));
        out.layout = Layout::contiguous(&[end])?.narrow(0, offset, end - offset)?;
    }
    m.inner.fill(out, value)
}

pub(super) fn copy<B: TransformerBackend>(m: &Mutant<B>, x: View<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>) -> Result<()> {
    match m.fault {
        Some(Fault::CopyTruncates) => {
            let dtype = out.dtype();
            m.replace(&Operand::Of(x), out, |values| values.iter().map(|&value| truncated(dtype, value)).collect())
        }
        Some(Fault::HarmlessCopy) => m.replace(&Operand::Of(x), out, <[f64]>::to_vec),
        Some(Fault::CopySkipsLast) => m.spoil(out, |out| m.inner.copy(x, out), keep_last),
        Some(Fault::OutputsMayRepeat) if x.shape() == out.shape() && check::output("copy", out.buffer, &out.layout).is_err() => {
            // The last of the rows that share one.
            let mut last = (x, out);
            for axis in 0..last.0.layout.rank() {
                if last.1.layout.strides()[axis] == 0 && last.1.shape()[axis] > 1 {
                    let at = last.1.shape()[axis] - 1;
                    last = (last.0.narrow(axis, at, 1)?, last.1.narrow(axis, at, 1)?);
                }
            }
            m.inner.copy(last.0, last.1)
        }
        _ => m.inner.copy(x, out),
    }
}

fn keep_last(before: &[f64], after: &mut [f64]) {
    if let (Some(before), Some(after)) = (before.last(), after.last_mut()) {
        *after = *before;
    }
}

pub(super) fn unary<B: TransformerBackend>(
    m: &Mutant<B>,
    mut op: UnaryOp,
    x: Operand<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let compute = m.inner.compute();
    let by = |out: ViewMut<'_, B::Buffer>, function: &dyn Fn(f64) -> f64| {
        m.replace(&x, out, |values| values.iter().map(|&value| function(value)).collect())
    };
    match (m.fault, op) {
        (Some(Fault::UnaryApproximatesGelu), UnaryOp::Activation(Activation::Gelu)) => op = UnaryOp::Activation(Activation::GeluTanh),
        (Some(Fault::UnaryReluDropsNan), UnaryOp::Activation(Activation::Relu)) => return by(out, &|x| x.max(0.0)),
        (Some(Fault::UnaryApproximatesExp), UnaryOp::Exp) => return by(out, &rough_exp),
        (Some(Fault::UnarySkipsLast), _) => return m.spoil(out, |out| m.inner.unary(op, x, out), keep_last),
        (Some(Fault::UnarySigmoidOverflows), UnaryOp::Sigmoid) => {
            return by(out, &|x| {
                let e = compute.round(x.exp());
                e / compute.round(1.0 + e)
            });
        }
        (Some(Fault::UnaryShiftsFirst), UnaryOp::Affine { scale, shift }) => return by(out, &|x| scale * (x + shift)),
        (Some(Fault::UnaryTakesExpForExp2), UnaryOp::Exp2) => op = UnaryOp::Exp,
        (Some(Fault::UnaryPolynomialEndsEarly), UnaryOp::ExpPolynomial { degree: degree @ 2.. }) => {
            op = UnaryOp::ExpPolynomial { degree: degree - 1 };
        }
        (Some(Fault::UnaryPolynomialIsNotReduced), UnaryOp::ExpPolynomial { degree }) => op = UnaryOp::ExpTaylor { degree },
        (Some(Fault::UnaryTableIsOffByOne), UnaryOp::ExpTable { bits }) => {
            return by(out, &|x| elementary::exp_table(x, bits) * 0.5f64.powi(bits as i32).exp2());
        }
        (Some(Fault::UnaryTableRoundsDown), UnaryOp::ExpTable { bits }) => {
            return by(out, &|x| elementary::exp_table(x - 0.5f64.powi(bits as i32 + 1) * std::f64::consts::LN_2, bits));
        }
        (Some(Fault::UnaryTaylorForgetsFactorials), UnaryOp::ExpTaylor { degree }) => {
            return by(out, &|x| (0..degree).fold(1.0, |sum, _| sum * x + 1.0));
        }
        (Some(Fault::UnaryForgetsSquare), UnaryOp::Activation(Activation::ReluSquared)) => op = UnaryOp::Activation(Activation::Relu),
        (Some(Fault::UnaryForgetsOne), UnaryOp::EluPlusOne) => return by(out, &|x| if x > 0.0 { x } else { x.exp() - 1.0 }),
        _ => {}
    }
    m.inner.unary(op, x, out)
}

pub(super) fn binary<B: TransformerBackend>(
    m: &Mutant<B>,
    op: BinaryOp,
    a: Operand<'_, B::Buffer>,
    b: View<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let function: fn(f64, f64) -> f64 = match (m.fault, op) {
        (Some(Fault::BinaryMaximumDropsNan), BinaryOp::Maximum) => f64::max,
        (Some(Fault::BinarySubtractsBackwards), BinaryOp::Subtract) => |a, b| b - a,
        (Some(Fault::BinaryLessIsLessOrEqual), BinaryOp::Less) => |a, b| f64::from(a <= b),
        (Some(Fault::BinaryEqualsNan), BinaryOp::Equal) => |a, b| f64::from(a == b || (a.is_nan() && b.is_nan())),
        _ => return m.inner.binary(op, a, b, out),
    };
    let shape = out.shape().to_vec();
    let stretched = |view: View<'_, B::Buffer>| m.get(view.with(|layout| layout.broadcast(&shape))?);
    let a = match a {
        Operand::Of(a) => stretched(a)?,
        Operand::InPlace => m.get(out.as_view())?,
    };
    let values = a.iter().zip(stretched(b)?).map(|(&a, b)| function(a, b)).collect();
    m.put(values, out)
}

pub(super) fn mask<B: TransformerBackend>(
    m: &Mutant<B>,
    pattern: &AttentionPattern,
    [mut query_offset, mut key_offset]: [usize; 2],
    scores: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    match m.fault {
        Some(Fault::MaskIsOffByOne) => query_offset += 1,
        Some(Fault::MaskIgnoresKeyOffset) => key_offset = 0,
        Some(Fault::MaskIsFinite) => {
            let work = |scores: ViewMut<'_, B::Buffer>| m.inner.mask(pattern, query_offset, key_offset, scores);
            return m.spoil(scores, work, |_, after| after.iter_mut().for_each(|score| *score = score.max(-1e4)));
        }
        _ => {}
    }
    m.inner.mask(pattern, query_offset, key_offset, scores)
}

pub(super) fn select<B: TransformerBackend>(
    m: &Mutant<B>,
    condition: View<'_, B::Buffer>,
    otherwise: f64,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let holds: fn(f64) -> bool = match m.fault {
        Some(Fault::SelectIsInverted) => |condition| condition == 0.0,
        Some(Fault::SelectWantsPositive) => |condition| condition > 0.0,
        _ => return m.inner.select(condition, otherwise, out),
    };
    let condition = m.get(condition.with(|layout| layout.broadcast(out.shape()))?)?;
    let choose = |(value, condition): (&f64, &f64)| if holds(*condition) { *value } else { otherwise };
    m.replace(&Operand::InPlace, out, |values| values.iter().zip(&condition).map(choose).collect())
}
