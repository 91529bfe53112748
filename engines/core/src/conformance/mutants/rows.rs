//! Faults of reductions, running sums, gather, scatter, sorting, top-k and convolution.

use crate::backend::{Operand, TransformerBackend};
use crate::dtype::DType;
use crate::error::Result;
use crate::host::HostTensor;
use crate::ops::ReduceOp;
use crate::tensor::{View, ViewMut};

use super::{Fault, Mutant};

pub(super) fn reduce<B: TransformerBackend>(
    m: &Mutant<B>,
    op: ReduceOp,
    x: View<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let (width, storage) = (x.layout.dim_from_end(0).max(1), m.inner.storage());
    let by_rows = |out: ViewMut<'_, B::Buffer>, row: &dyn Fn(&[f64]) -> f64| {
        let values = m.get(x)?.chunks(width).map(row).collect();
        m.put(values, out)
    };
    match (m.fault, op) {
        (Some(Fault::ReduceMeanIsSum), ReduceOp::Mean) => m.inner.reduce(ReduceOp::Sum, x, out),
        (Some(Fault::ReduceArgMaxIsLast), ReduceOp::ArgMax) => {
            by_rows(out, &|row| (1..row.len()).fold(0, |best, at| if row[at] >= row[best] { at } else { best }) as f64)
        }
        (Some(Fault::ReduceMaximumStartsAtZero), ReduceOp::Max) => by_rows(out, &|row| {
            if row.iter().any(|x| x.is_nan()) { f64::NAN } else { row.iter().copied().fold(0.0, f64::max) }
        }),
        (Some(Fault::ReduceMaximumDropsNan), ReduceOp::Max) => by_rows(out, &|row| row.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        (Some(Fault::ReduceSumsInStorage), ReduceOp::Sum) => by_rows(out, &|row| row.iter().fold(0.0, |sum, x| storage.round(sum + x))),
        _ => m.inner.reduce(op, x, out),
    }
}

pub(super) fn cumulative_sum<B: TransformerBackend>(m: &Mutant<B>, x: View<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>) -> Result<()> {
    let width = x.layout.dim_from_end(0).max(1);
    let integers = x.dtype() == DType::I32;
    let running = |x: &[f64], step: &dyn Fn(f64, f64) -> (f64, f64)| -> Vec<f64> {
        let row = |row: &[f64]| {
            row.iter()
                .scan(0.0, |sum, &x| {
                    let (next, shown) = step(*sum, x);
                    *sum = next;
                    Some(shown)
                })
                .collect::<Vec<f64>>()
        };
        x.chunks(width).flat_map(row).collect()
    };
    match m.fault {
        Some(Fault::HarmlessSum) => m.replace(&Operand::Of(x), out, |x| running(x, &|sum, x| (sum + x, sum + x))),
        Some(Fault::CumulativeIsExclusive) => m.replace(&Operand::Of(x), out, |x| running(x, &|sum, x| (sum + x, sum))),
        Some(Fault::CumulativeCountsInF32) if integers => m.replace(&Operand::Of(x), out, |x| {
            running(x, &|sum, x| {
                let next = DType::F32.round(sum + x);
                (next, next)
            })
        }),
        _ => m.inner.cumulative_sum(x, out),
    }
}

/// Changed indices, on the engine.
fn reindexed<B: TransformerBackend>(
    m: &Mutant<B>,
    indices: View<'_, B::Buffer>,
    change: impl Fn(f64) -> f64,
) -> Result<crate::tensor::Tensor<B::Buffer>> {
    let changed = m.get(indices)?.into_iter().map(change).collect();
    m.inner.upload(&HostTensor::new(indices.shape(), changed)?, DType::I32)
}

pub(super) fn gather<B: TransformerBackend>(
    m: &Mutant<B>,
    table: View<'_, B::Buffer>,
    indices: View<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let last = table.layout.dim_from_end(1) as f64 - 1.0;
    match m.fault {
        Some(Fault::GatherIsOffByOne) => {
            let next = reindexed(m, indices, |index| if index >= 0.0 && index < last { index + 1.0 } else { index })?;
            m.inner.gather_rows(table, next.view(), out)
        }
        Some(Fault::GatherClamps) => {
            let clamped = reindexed(m, indices, |index| index.clamp(0.0, last))?;
            m.inner.gather_rows(table, clamped.view(), out)
        }
        _ => m.inner.gather_rows(table, indices, out),
    }
}

pub(super) fn scatter<B: TransformerBackend>(
    m: &Mutant<B>,
    x: View<'_, B::Buffer>,
    indices: View<'_, B::Buffer>,
    mut out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    match m.fault {
        Some(Fault::ScatterOverwrites) => {
            let (width, rows, values, chosen) = (x.layout.dim_from_end(0), out.shape()[0], m.get(x)?, m.get(indices)?);
            let before = m.get(out.as_view())?;
            m.spoil(
                out,
                |out| m.inner.scatter_add_rows(x, indices, out),
                |_, after| {
                    for (at, &index) in chosen.iter().enumerate().filter(|(_, index)| (0.0..rows as f64).contains(*index)) {
                        for channel in 0..width {
                            let place = index as usize * width + channel;
                            after[place] = before[place] + values[at * width + channel];
                        }
                    }
                },
            )
        }
        Some(Fault::ScatterStartsAtZero) => {
            m.inner.fill(out.reborrow(), 0.0)?;
            m.inner.scatter_add_rows(x, indices, out)
        }
        _ => m.inner.scatter_add_rows(x, indices, out),
    }
}

pub(super) fn argsort<B: TransformerBackend>(m: &Mutant<B>, keys: View<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>) -> Result<()> {
    let width = keys.layout.dim_from_end(0).max(1);
    let by = |out: ViewMut<'_, B::Buffer>, order: &dyn Fn((f64, usize), (f64, usize)) -> std::cmp::Ordering| {
        let sorted = |row: &[f64]| {
            let mut indices: Vec<usize> = (0..row.len()).collect();
            indices.sort_by(|&a, &b| order((row[a], a), (row[b], b)));
            indices.into_iter().map(|at| at as f64).collect::<Vec<f64>>()
        };
        m.replace(&Operand::Of(keys), out, |keys| keys.chunks(width).flat_map(sorted).collect())
    };
    match m.fault {
        Some(Fault::SortIsUnstable) => by(out, &|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))),
        Some(Fault::SortDescends) => by(out, &|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))),
        _ => m.inner.stable_argsort(keys, out),
    }
}

pub(super) fn top_k<B: TransformerBackend>(
    m: &Mutant<B>,
    x: View<'_, B::Buffer>,
    mut values: ViewMut<'_, B::Buffer>,
    mut indices: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let (k, width) = (values.layout.dim_from_end(0).max(1), x.layout.dim_from_end(0).max(1));
    match m.fault {
        Some(Fault::TopKAscends) => {
            m.inner.top_k(x, values.reborrow(), indices.reborrow())?;
            for out in [values, indices] {
                m.spoil(out, |_| Ok(()), |_, after| after.chunks_mut(k).for_each(<[f64]>::reverse))?;
            }
            Ok(())
        }
        Some(Fault::TopKPrefersLater) if !values.layout.is_empty() => {
            let best = |row: &[f64]| {
                let mut order: Vec<usize> = (0..row.len()).rev().collect();
                order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
                order.truncate(k);
                order.into_iter().map(|at| at as f64).collect::<Vec<f64>>()
            };
            let chosen = m.get(x)?.chunks(width).flat_map(best).collect();
            m.inner.top_k(x, values, indices.reborrow())?;
            m.put(chosen, indices)
        }
        _ => m.inner.top_k(x, values, indices),
    }
}

pub(super) fn convolution<B: TransformerBackend>(
    m: &Mutant<B>,
    x: View<'_, B::Buffer>,
    filter: View<'_, B::Buffer>,
    causal: bool,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let (kernel, channels, n) = (filter.layout.dim_from_end(0), x.layout.dim_from_end(0), x.layout.dim_from_end(1));
    let left = match m.fault {
        Some(Fault::ConvolutionPadsRight) if causal => 0,
        Some(Fault::ConvolutionCentresLeft) if !causal => kernel / 2,
        Some(Fault::ConvolutionFlips | Fault::HarmlessConvolution) if causal => kernel - 1,
        Some(Fault::ConvolutionFlips | Fault::HarmlessConvolution) => (kernel - 1) / 2,
        _ => return m.inner.depthwise_conv(x, filter, causal, out),
    };
    let flips = m.is(Fault::ConvolutionFlips);
    let (values, taps) = (m.get(x)?, m.get(filter)?);
    let element = |at: usize| {
        let (channel, time, first) = (at % channels, at / channels % n, at / (channels * n) * n);
        let inside = (0..kernel).filter(|tap| (time + tap).checked_sub(left).is_some_and(|source| source < n));
        let tap_of = |tap: usize| taps[channel * kernel + if flips { kernel - 1 - tap } else { tap }];
        inside.map(|tap| tap_of(tap) * values[(first + time + tap - left) * channels + channel]).sum::<f64>()
    };
    m.put((0..values.len()).map(element).collect(), out)
}
