//! Layer, RMS and group normalisation over rows, and the same after the addition of a residual.
//!
//! The variance is the mean of squared differences from the mean, in a second pass: the one-pass form mean(x^2) - mean(x)^2 cancels
//! when the mean is large. Then (x - mean) / sqrt(variance + eps) * gamma + beta, with one division a row. With a residual, the first pass
//! writes the sum to where it is kept, or to scratch where nobody wants it, and the others read it there. (Not to the output's row: its lines
//! are still on their way from memory then, and the first pass would wait for them.)
//!
//! A row is too long for the processor to look past it, so that it would wait for memory at the start of each: the first
//! pass asks for the lines of the output, the others for those of the next row.
//!
//! # What bounds it
//! Reading the input (and the residual) once, and writing the output (and the sum) once. The passes after the first find the row in the
//! first-level cache, where they take about 3 of the 25 cycles that moving 16 singles through memory takes at 20 GB/s.

use crossover_core::backend::{NormWeights, Operand};
use crossover_core::error::Result;
use crossover_core::ops::{NormKind, NormSpec};
use crossover_core::tensor::{View, ViewMut};

use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::gemm::Engine;
use crate::rowwise::{Part, RowKernel, for_each_row};
use crate::sweep::{SquaresAround, Sum, fold_and_ask};
use crate::vector::{Lanes, Vector};

/// Number of groups already checked to divide the width.
pub(crate) fn normalize<E: Lanes + Plain>(
    engine: &Engine,
    spec: NormSpec,
    x: Operand<'_, SimdBuffer>,
    weights: NormWeights<'_, SimdBuffer>,
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let [gamma, beta] = for_all_rows(weights, out.shape())?;
    let norm = Norm::new(spec, weights);
    for_each_row::<E, _, 4>(engine, &norm, [Part::Write(out), x.into(), gamma, beta])
}

/// The same of x + residual, which is written to `sum` if there is one.
pub(crate) fn add_norm<E: Lanes + Plain>(
    engine: &Engine,
    spec: NormSpec,
    [x, residual]: [View<'_, SimdBuffer>; 2],
    weights: NormWeights<'_, SimdBuffer>,
    sum: Option<ViewMut<'_, SimdBuffer>>,
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let [gamma, beta] = for_all_rows(weights, out.shape())?;
    let norm = AddNorm(Norm::new(spec, weights));
    let sum = sum.map_or(Part::Scratch, Part::Write);
    for_each_row::<E, _, 6>(engine, &norm, [Part::Write(out), sum, Part::Read(x), Part::Read(residual), gamma, beta])
}

/// The weights, repeated for every row.
fn for_all_rows<'a>(weights: NormWeights<'a, SimdBuffer>, shape: &[usize]) -> Result<[Part<'a>; 2]> {
    let part = |weight: Option<View<'a, SimdBuffer>>| match weight {
        None => Ok(Part::Absent),
        Some(weight) => weight.with(|layout| layout.broadcast(shape)).map(Part::Read),
    };
    Ok([part(weights.gamma)?, part(weights.beta)?])
}

#[derive(Clone, Copy)]
struct Norm {
    groups: usize,
    centres: bool,
    epsilon: f64,
    has_gamma: bool,
    has_beta: bool,
}

impl Norm {
    fn new(spec: NormSpec, weights: NormWeights<'_, SimdBuffer>) -> Self {
        Self {
            groups: if let NormKind::Group { groups } = spec.kind { groups } else { 1 },
            centres: spec.kind != NormKind::Rms,
            epsilon: spec.epsilon,
            has_gamma: weights.gamma.is_some(),
            has_beta: weights.beta.is_some(),
        }
    }

    /// Normalises `count` elements from x to out, given their sum; `next` is asked for.
    #[inline(always)]
    unsafe fn part<V: Vector>(
        &self,
        [out, x, gamma, beta]: [*mut V::Element; 4],
        next: [*mut V::Element; 2],
        sum: V::Element,
        count: usize,
    ) {
        let number = V::Element::from_f64(count as f64);
        let mean = if self.centres { sum / number } else { V::Element::ZERO };
        // SAFETY: the caller's promise.
        unsafe {
            let variance = fold_and_ask::<V, _, true>(SquaresAround(mean), x, next[0], count).sum() / number;
            let factor = V::Element::ONE / (variance + V::Element::from_f64(self.epsilon)).sqrt();
            let scaling = Scaling { mean: V::splat(mean), factor: V::splat(factor), next: next[1] };
            match (self.has_gamma, self.has_beta) {
                (false, false) => scaling.write::<false, false>([out, x, gamma, beta], count),
                (false, true) => scaling.write::<false, true>([out, x, gamma, beta], count),
                (true, false) => scaling.write::<true, false>([out, x, gamma, beta], count),
                (true, true) => scaling.write::<true, true>([out, x, gamma, beta], count),
            }
        }
    }
}

impl<E: Lanes> RowKernel<E, 4> for Norm {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, _: usize, operands: [*mut E; 4], width: usize) {
        let count = width / self.groups;
        for group in 0..self.groups {
            let part = operands.map(|row| row.wrapping_add(group * count));
            // SAFETY: a part of the rows that the caller promises.
            unsafe {
                let sum = if self.centres { fold_and_ask::<V, _, true>(Sum, part[1], part[0], count).sum() } else { E::ZERO };
                self.part::<V>(part, [part[1].wrapping_add(width); 2], sum, count);
            }
        }
    }
}

/// Vectors that are written together.
const TOGETHER: usize = 2;

/// What is known of a row before its last pass.
struct Scaling<V: Vector> {
    mean: V,
    factor: V,
    next: *mut V::Element,
}

impl<V: Vector> Scaling<V> {
    #[inline(always)]
    unsafe fn write<const GAMMA: bool, const BETA: bool>(&self, [out, x, gamma, beta]: [*mut V::Element; 4], count: usize) {
        let mut at = 0;
        // SAFETY: all accesses are below `count`, by the caller's promise; weights are only read where there are any.
        unsafe {
            while at + TOGETHER * V::LANES <= count {
                let mut normal = [V::zero(); TOGETHER];
                for (place, normal) in normal.iter_mut().enumerate() {
                    let at = at + place * V::LANES;
                    if V::begins_line(place) {
                        V::prefetch(self.next.wrapping_add(at));
                    }
                    let gamma = if GAMMA { V::load(gamma.add(at)) } else { self.mean };
                    let beta = if BETA { V::load(beta.add(at)) } else { self.mean };
                    *normal = self.of::<GAMMA, BETA>(V::load(x.add(at)), gamma, beta);
                }
                for (place, normal) in normal.into_iter().enumerate() {
                    normal.store(out.add(at + place * V::LANES));
                }
                at += TOGETHER * V::LANES;
            }
            while at < count {
                let rest = V::LANES.min(count - at);
                let gamma = if GAMMA { V::load_first(gamma.add(at), rest) } else { self.mean };
                let beta = if BETA { V::load_first(beta.add(at), rest) } else { self.mean };
                self.of::<GAMMA, BETA>(V::load_first(x.add(at), rest), gamma, beta).store_first(out.add(at), rest);
                at += rest;
            }
        }
    }

    #[inline(always)]
    fn of<const GAMMA: bool, const BETA: bool>(&self, x: V, gamma: V, beta: V) -> V {
        let normal = x.sub(self.mean).mul(self.factor);
        match (GAMMA, BETA) {
            (false, false) => normal,
            (true, false) => normal.mul(gamma),
            (false, true) => normal.add(beta),
            (true, true) => normal.mul_add(gamma, beta),
        }
    }
}

/// The second operand is where the sum goes.
struct AddNorm(Norm);

impl<E: Lanes> RowKernel<E, 6> for AddNorm {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, _: usize, operands: [*mut E; 6], width: usize) {
        let count = width / self.0.groups;
        for group in 0..self.0.groups {
            let [out, sum, x, residual, gamma, beta] = operands.map(|row| row.wrapping_add(group * count));
            // SAFETY: a part of the rows that the caller promises.
            unsafe {
                let total = add::<V>([sum, x, residual], out, count);
                self.0.part::<V>([out, sum, gamma, beta], [x, residual].map(|row| row.wrapping_add(width)), total, count);
            }
        }
    }
}

/// out = x + y, and the sum of it; `ask` is asked for.
#[inline(always)]
unsafe fn add<V: Vector>([out, x, y]: [*mut V::Element; 3], ask: *const V::Element, count: usize) -> V::Element {
    let (mut totals, mut at) = ([V::zero(); 4], 0);
    // SAFETY: all accesses are below `count`, by the caller's promise.
    unsafe {
        while at + 4 * V::LANES <= count {
            for (chain, total) in totals.iter_mut().enumerate() {
                let place = at + chain * V::LANES;
                if V::begins_line(chain) {
                    V::prefetch(ask.wrapping_add(place));
                }
                let sum = V::load(x.add(place)).add(V::load(y.add(place)));
                sum.store(out.add(place));
                *total = total.add(sum);
            }
            at += 4 * V::LANES;
        }
        while at < count {
            let width = V::LANES.min(count - at);
            let sum = V::load_first(x.add(at), width).add(V::load_first(y.add(at), width));
            sum.store_first(out.add(at), width);
            totals[0] = totals[0].add(sum);
            at += width;
        }
    }
    totals[0].add(totals[1]).add(totals[2].add(totals[3])).sum()
}
