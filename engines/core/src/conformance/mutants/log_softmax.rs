//! Faults of log-softmax.

use crate::arena::Arena;
use crate::backend::{Operand, TransformerBackend};
use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::ViewMut;

use super::{Fault, Mutant};

pub(super) fn log_softmax<B: TransformerBackend>(
    m: &Mutant<B>,
    x: Operand<'_, B::Buffer>,
    mut out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let Some(fault) = m.fault.filter(|fault| fault.operation() == "log-softmax") else {
        return m.inner.log_softmax(x, out, scratch);
    };
    let (width, compute) = (out.layout.dim_from_end(0).max(1), m.inner.compute());
    let given = m.get_operand(&x, &out)?;
    // What is refused stays refused.
    m.inner.log_softmax(x, out.reborrow(), scratch)?;
    m.put(given.chunks(width).flat_map(|row| of_row(fault, row, compute)).collect(), out)
}

fn of_row(fault: Fault, row: &[f64], compute: DType) -> Vec<f64> {
    let row: Vec<f64> = row.iter().map(|&x| if fault == Fault::LogSoftmaxDropsNan && x.is_nan() { f64::NEG_INFINITY } else { x }).collect();
    if row.iter().all(|&x| x == f64::NEG_INFINITY) {
        let filled = if fault == Fault::LogSoftmaxFillsMaskedRows { -(row.len() as f64).ln() } else { f64::NEG_INFINITY };
        return vec![filled; row.len()];
    }
    let largest = if fault == Fault::LogSoftmaxIsNotShifted { 0.0 } else { row.iter().copied().fold(f64::NEG_INFINITY, f64::max) };
    let exponentials: Vec<f64> = row.iter().map(|&x| compute.round((x - largest).exp())).collect();
    let seen = if fault == Fault::LogSoftmaxSkipsTail && row.len() > 8 { row.len() / 8 * 8 } else { row.len() };
    let sum = compute.round(exponentials[..seen].iter().sum());
    let element = |(&x, exponential): (&f64, &f64)| match fault {
        Fault::LogSoftmaxTakesLogOfSoftmax => compute.round(exponential / sum).ln(),
        Fault::LogSoftmaxAddsMaximum => x - compute.round(largest + sum.ln()),
        _ => (x - largest) - sum.ln(),
    };
    row.iter().zip(&exponentials).map(element).collect()
}
