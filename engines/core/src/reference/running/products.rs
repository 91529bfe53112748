//! Sums of products: dense panels, and the operations that are one product.
//!
//! For C = A B three products are taken in one pass: the values, A^2 (var B + c B^2) and var A (B^2 + var B), where c = K u^2 / 2
//! stands for the roundings of the sum (see [`summing`](super::estimate::summing)); c (A B)^2 follows at the end. The loops go over
//! contiguous rows in the order row, inner, column, four inner steps at a time, so that the compiler vectorises them.

use super::buffer::Block;
use super::estimate::{Estimate, square};
use crate::check::MatmulSizes;
use crate::dtype::DType;
use crate::ops::MatmulSpec;

/// Stands for an unknown variance inside a product, where infinity times an exact zero would be no number.
const UNKNOWN: f64 = 1e300;
/// What cannot have come from anything but an unknown variance.
const UNKNOWN_SUM: f64 = 1e200;
/// Inner steps and columns handled together, so that a tile of B stays in the cache.
const INNER: usize = 64;
const COLUMNS: usize = 256;
/// Multiply-adds from which a second thread pays.
const PARALLEL: usize = 1 << 22;

/// The right operand of a product, [inner, columns], with what its variances need.
pub(super) struct Panel {
    inner: usize,
    columns: usize,
    values: Vec<f64>,
    /// var B + c B^2.
    carried: Vec<f64>,
    /// B^2 + var B.
    spread: Vec<f64>,
    rounding: f64,
}

impl Panel {
    /// [inner, columns] in row-major order; sums are kept with unit roundoff `u`. `extra_units` roundings of a single factor come on top.
    pub(super) fn new(inner: usize, columns: usize, block: Block, u: f64, extra_units: f64) -> Self {
        let rounding = 0.5 * inner as f64 * u * u;
        let of_term = rounding + square(extra_units * u);
        let variances = || block.variances.iter().map(|&variance| variance.min(UNKNOWN));
        let carried = block.values.iter().zip(variances()).map(|(value, variance)| variance + of_term * value * value).collect();
        let spread = block.values.iter().zip(variances()).map(|(value, variance)| variance + value * value).collect();
        Self { inner, columns, values: block.values, carried, spread, rounding }
    }
}

/// A [rows, inner] times a panel: values and variances before anything is stored. `threads` is how many may help.
pub(super) fn multiply(a: &Block, panel: &Panel, threads: usize) -> Block {
    let columns = panel.columns;
    let rows = a.values.len().checked_div(panel.inner).unwrap_or(0);
    let mut out = Block { values: vec![0.0; rows * columns], variances: vec![0.0; rows * columns] };
    if out.values.is_empty() {
        return out;
    }
    let exact = a.is_exact();
    let helpers = if rows * columns * panel.inner >= PARALLEL { threads.clamp(1, rows) } else { 1 };
    let share = rows.div_ceil(helpers);
    let parts = out.values.chunks_mut(share * columns).zip(out.variances.chunks_mut(share * columns)).enumerate();
    std::thread::scope(|scope| {
        let mut own = None;
        for (part, (values, variances)) in parts {
            let work = move || {
                multiply_rows(a, part * share, exact, panel, values, variances);
                finish(a, part * share, panel, values, variances);
            };
            if part + 1 < helpers {
                scope.spawn(work);
            } else {
                own = Some(work);
            }
        }
        if let Some(mut work) = own {
            work();
        }
    });
    out
}

fn multiply_rows(a: &Block, first_row: usize, exact: bool, panel: &Panel, values: &mut [f64], variances: &mut [f64]) {
    let (inner, columns) = (panel.inner, panel.columns);
    for column in (0..columns).step_by(COLUMNS) {
        let width = COLUMNS.min(columns - column);
        for step in (0..inner).step_by(INNER) {
            let depth = INNER.min(inner - step);
            for row in 0..values.len() / columns {
                let from = (first_row + row) * inner + step;
                let into = row * columns + column..row * columns + column + width;
                let factors = &a.values[from..from + depth];
                add_rows(&mut values[into.clone()], factors, |x| x, (&panel.values, columns, step, column));
                add_rows(&mut variances[into.clone()], factors, |x| x * x, (&panel.carried, columns, step, column));
                if !exact {
                    let factors = &a.variances[from..from + depth];
                    add_rows(&mut variances[into], factors, |x| x.min(UNKNOWN), (&panel.spread, columns, step, column));
                }
            }
        }
    }
}

/// sums[j] += sum over p of factor(p) * matrix[step + p, column + j], with the matrix given as (values, row length, step, column).
fn add_rows(sums: &mut [f64], factors: &[f64], of: impl Fn(f64) -> f64, (matrix, length, step, column): (&[f64], usize, usize, usize)) {
    let width = sums.len();
    let row = |p: usize| &matrix[(step + p) * length + column..][..width];
    let mut p = 0;
    while p + 4 <= factors.len() {
        let [f0, f1, f2, f3] = [of(factors[p]), of(factors[p + 1]), of(factors[p + 2]), of(factors[p + 3])];
        let (r0, r1, r2, r3) = (row(p), row(p + 1), row(p + 2), row(p + 3));
        for (j, sum) in sums.iter_mut().enumerate() {
            *sum += (f0 * r0[j] + f1 * r1[j]) + (f2 * r2[j] + f3 * r3[j]);
        }
        p += 4;
    }
    for (p, &factor) in factors.iter().enumerate().skip(p) {
        let factor = of(factor);
        for (sum, value) in sums.iter_mut().zip(row(p)) {
            *sum += factor * value;
        }
    }
}

/// Adds the roundings of the sums, and turns what is unknown into infinity.
fn finish(a: &Block, first_row: usize, panel: &Panel, values: &[f64], variances: &mut [f64]) {
    let unknown_columns: Vec<bool> = unknown_columns(panel);
    for (row, (values, variances)) in values.chunks(panel.columns).zip(variances.chunks_mut(panel.columns)).enumerate() {
        let from = (first_row + row) * panel.inner;
        let row_known = a.variances[from..from + panel.inner].iter().all(|&variance| variance < UNKNOWN);
        for ((&value, variance), &unknown) in values.iter().zip(variances).zip(&unknown_columns) {
            *variance += panel.rounding * value * value;
            if !value.is_finite() {
                *variance = if row_known && !unknown { 0.0 } else { f64::INFINITY };
            } else if variance.is_nan() || *variance > UNKNOWN_SUM {
                *variance = f64::INFINITY;
            }
        }
    }
}

fn unknown_columns(panel: &Panel) -> Vec<bool> {
    let mut unknown = vec![false; panel.columns];
    for row in panel.carried.chunks(panel.columns) {
        for (unknown, &carried) in unknown.iter_mut().zip(row) {
            *unknown |= carried >= UNKNOWN;
        }
    }
    unknown
}

/// C = alpha A B + beta C, stored as `dtype`; the blocks hold all batches, and C is there where beta is not 0.
pub(super) fn matmul(
    spec: MatmulSpec,
    sizes: MatmulSizes,
    [a, b]: [Block; 2],
    before: Option<&Block>,
    (compute, dtype): (DType, DType),
    threads: usize,
) -> Block {
    let MatmulSizes { batch, m, n, k } = sizes;
    let mut out = Block::with_capacity(batch * m * n);
    for (at, (a, b)) in batches(a, batch, m * k).zip(batches(b, batch, k * n)).enumerate() {
        let panel = Panel::new(k, n, b, compute.unit_roundoff(), 0.0);
        let product = if k == 0 { Block { values: vec![0.0; m * n], variances: vec![0.0; m * n] } } else { multiply(&a, &panel, threads) };
        for (place, product) in product.iter().enumerate() {
            let before = before.map_or(Estimate::exact(0.0), |before| before.get(at * m * n + place));
            out.push(epilogue(spec, product, before, compute).stored_as(dtype));
        }
    }
    out
}

/// The batches of a block one after the other, each of them copied; a single one is the block itself, as it may be large.
fn batches(block: Block, batch: usize, size: usize) -> Box<dyn Iterator<Item = Block>> {
    if batch == 1 {
        return Box::new(std::iter::once(block));
    }
    Box::new((0..batch).map(move |at| Block {
        values: block.values[at * size..(at + 1) * size].to_vec(),
        variances: block.variances[at * size..(at + 1) * size].to_vec(),
    }))
}

/// alpha product + beta before, with the factors rounded to the compute type.
fn epilogue(spec: MatmulSpec, product: Estimate, before: Estimate, compute: DType) -> Estimate {
    let MatmulSpec { alpha, beta } = spec;
    let mut result = product;
    if alpha != 1.0 {
        let value = alpha * product.value;
        result = Estimate::computed(value, alpha * alpha * product.variance, product.is_known()).rounded_in(compute, 2.0);
    }
    if beta != 0.0 {
        let added = beta * before.value;
        let rounding = if beta == 1.0 { 0.0 } else { square(2.0 * compute.unit_roundoff() * added) };
        let variance = result.variance + beta * beta * before.variance + rounding;
        result = Estimate::computed(result.value + added, variance, result.is_known() && before.is_known());
    }
    if alpha == 1.0 && beta == 0.0 { overflowing(result, compute) } else { result.rounded_in(compute, 1.0) }
}

/// A sum that already carries its roundings: only its range is left to look at.
pub(super) fn overflowing(result: Estimate, compute: DType) -> Estimate {
    if result == Estimate::exact(0.0) {
        return result;
    }
    let rounded = result.rounded_in(compute, 1.0);
    if rounded.value.is_finite() && rounded.is_known() {
        return Estimate { variance: result.variance.max(square(compute.smallest_normal())), ..result };
    }
    rounded
}

/// sum over j of filter[c, j] x[b, t + j - left, c], with nothing outside the sequence; stored as `dtype`.
pub(super) fn depthwise_conv(
    (batch, n, channels, kernel): (usize, usize, usize, usize),
    x: &Block,
    filter: &Block,
    causal: bool,
    (compute, dtype): (DType, DType),
) -> Block {
    let left = if causal { kernel - 1 } else { (kernel - 1) / 2 };
    let u = compute.unit_roundoff();
    let mut out = Block::with_capacity(batch * n * channels);
    for b in 0..batch {
        for t in 0..n {
            for c in 0..channels {
                let taps = left.saturating_sub(t)..kernel.min(n + left - t);
                let pairs = taps.map(|j| (filter.get(c * kernel + j), x.get((b * n + t + j - left) * channels + c)));
                out.push(overflowing(sum_of_products(pairs, u), compute).stored_as(dtype));
            }
        }
    }
    out
}

/// A sum of products with its roundings in unit roundoff `u`.
pub(super) fn sum_of_products(pairs: impl Iterator<Item = (Estimate, Estimate)>, u: f64) -> Estimate {
    let (mut sum, mut squares, mut carried, mut terms, mut known) = (0.0, 0.0, 0.0, 0, true);
    for (a, b) in pairs {
        let term = super::elementwise::product(a, b);
        sum += term.value;
        squares += term.value * term.value;
        carried += term.variance;
        known &= term.is_known();
        terms += 1;
    }
    Estimate::computed(sum, carried + super::estimate::summing(terms, u, sum, squares), known)
}
