//! Matrix products: property 1 (componentwise), 2 (exact), 3 (Freivalds), 6 (beta and K = 0), 7 (NaN stays in its row).

use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::ops::{MatmulSpec, OpSpec};
use crate::reference::Arithmetic;

use super::Property;
use super::cases::Fill;
use super::compare::Target;
use super::place::Placed;
use super::trial::{Outcome, Trial, fail};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    let matmul = |name, check| Property { name, operation: "matmul", check };
    vec![
        matmul("gemm", componentwise),
        matmul("gemm-exact", exact),
        matmul("gemm-beta", beta_and_empty_sums),
        matmul("gemm-nan", nan_stays_in_its_row),
        matmul("freivalds", freivalds),
    ]
}

/// Leading dimensions, rows, columns and inner length of a product.
struct Sizes {
    lead: Vec<usize>,
    m: usize,
    n: usize,
    k: usize,
}

impl Sizes {
    fn draw<B: TransformerBackend>(t: &mut Trial<'_, B>, least: [usize; 3]) -> Self {
        let [m, n, k] = t.source.sizes(least);
        let lead = t.source.choose(&[vec![], vec![], vec![2], vec![1, 3], vec![2, 1]]);
        // Small products mostly: the batch multiplies the work.
        let lead = if m * n * k > 1 << 12 { vec![] } else { lead };
        Self { lead, m, n, k }
    }

    fn batch(&self) -> usize {
        self.lead.iter().product()
    }

    fn shape(&self, rows: usize, columns: usize) -> Vec<usize> {
        [&self.lead[..], &[rows, columns]].concat()
    }

    fn operation(&self) -> OpSpec {
        OpSpec::Matmul { batch: self.batch(), m: self.m, n: self.n, k: self.k }
    }

    /// Runs `visit` with the two factors of each element of C, in order.
    fn each(&self, a: &[f64], b: &[f64], mut visit: impl FnMut(usize, &mut dyn Iterator<Item = (f64, f64)>)) {
        let Self { m, n, k, .. } = *self;
        for at in 0..self.batch() * m * n {
            let (batch, row, column) = (at / (m * n), at / n % m, at % n);
            let (a, b) = (&a[(batch * m + row) * k..], &b[batch * k * n..]);
            visit(at, &mut (0..k).map(|p| (a[p], b[p * n + column])));
        }
    }
}

/// Runs a product into an output that holds `c`, and returns what it became.
fn multiply<B: TransformerBackend>(
    t: &mut Trial<'_, B>,
    spec: MatmulSpec,
    sizes: &Sizes,
    [a, b]: [&Placed<B::Buffer>; 2],
    (dtype, c): (DType, &[f64]),
) -> Outcome<Vec<f64>> {
    let mut out = t.output_of(dtype, &sizes.shape(sizes.m, sizes.n), c)?;
    let result = t.engine.matmul(spec, a.view(), b.view(), out.view_mut());
    t.done(&sizes.operation(), result)?;
    t.read(&out)
}

fn componentwise<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let sizes = Sizes::draw(t, [0, 0, 0]);
    let spec = MatmulSpec { alpha: t.source.choose(&[1.0, 1.0, 0.125, -0.7]), beta: t.source.choose(&[0.0, 0.0, 1.0, -0.3]) };
    let types = [t.float_type(), t.float_type(), t.float_type()];
    let a = t.input(types[0], &sizes.shape(sizes.m, sizes.k), Fill::Normal(1.0))?;
    let b = t.input(types[1], &sizes.shape(sizes.k, sizes.n), Fill::Normal(1.0))?;
    let count = sizes.batch() * sizes.m * sizes.n;
    // With beta = 0, what stands in C must not be read.
    let c: Vec<f64> = if spec.beta == 0.0 { vec![f64::NAN; count] } else { t.source.values(Fill::Normal(2.0), count) };
    let c: Vec<f64> = c.into_iter().map(|value| types[2].round(value)).collect();
    let found = multiply(t, spec, &sizes, [&a, &b], (types[2], &c))?;
    let mut targets = Vec::with_capacity(count);
    sizes.each(&a.values, &b.values, |at, terms| {
        let terms: Vec<(f64, f64)> = terms.collect();
        let before = if spec.beta == 0.0 { 0.0 } else { spec.beta * c[at] };
        let magnitude: f64 = spec.alpha.abs() * terms.iter().map(|(x, y)| (x * y).abs()).sum::<f64>() + before.abs();
        let value = spec.alpha * Arithmetic::EXACT.dot(terms.into_iter()) + before;
        targets.push(Target::sum(value, sizes.k + 3, magnitude, t.compute(), types[2]));
    });
    t.compare(types[2], &found, &targets)
}

/// Whole numbers so small that no sum in the accumulator is rounded: only the store may round, and it rounds once.
fn exact<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let sizes = Sizes::draw(t, [1, 1, 1]);
    let bound = 40;
    let spec = t.source.choose(&[MatmulSpec::PLAIN, MatmulSpec::ACCUMULATE, MatmulSpec::scaled(-0.5)]);
    let dtype = t.float_type();
    let a = t.input(t.storage(), &sizes.shape(sizes.m, sizes.k), Fill::Integers(bound))?;
    let b = t.input(t.storage(), &sizes.shape(sizes.k, sizes.n), Fill::Integers(bound))?;
    let c = t.source.values(Fill::Integers(100), sizes.batch() * sizes.m * sizes.n);
    let found = multiply(t, spec, &sizes, [&a, &b], (dtype, &c))?;
    let mut targets = Vec::with_capacity(c.len());
    sizes.each(&a.values, &b.values, |at, terms| {
        let product: f64 = terms.map(|(x, y)| x * y).sum();
        let before = if spec.beta == 0.0 { 0.0 } else { spec.beta * c[at] };
        targets.push(Target::exact(dtype.round(spec.alpha * product + before)));
    });
    t.compare(dtype, &found, &targets)
}

fn beta_and_empty_sums<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut sizes = Sizes::draw(t, [1, 1, 0]);
    sizes.k = 0;
    let dtype = t.float_type();
    let a = t.input(t.storage(), &sizes.shape(sizes.m, 0), Fill::Normal(1.0))?;
    let b = t.input(t.storage(), &sizes.shape(0, sizes.n), Fill::Normal(1.0))?;
    let c: Vec<f64> = t.source.values(Fill::Integers(50), sizes.batch() * sizes.m * sizes.n);
    for (beta, c) in [(0.0, vec![f64::NAN; c.len()]), (1.0, c.clone()), (0.5, c.clone())] {
        let found = multiply(t, MatmulSpec { alpha: 1.0, beta }, &sizes, [&a, &b], (dtype, &c))?;
        let targets: Vec<Target> = c.iter().map(|c| Target::exact(if beta == 0.0 { 0.0 } else { beta * c })).collect();
        t.compare(dtype, &found, &targets)?;
    }
    Ok(())
}

fn nan_stays_in_its_row<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let sizes = Sizes::draw(t, [1, 1, 1]);
    let Sizes { m, n, k, .. } = sizes;
    let dtype = t.float_type();
    let mut values = [t.source.values(Fill::Normal(1.0), sizes.batch() * m * k), t.source.values(Fill::Normal(1.0), sizes.batch() * k * n)];
    // One NaN in A or in B, that meets zeros only: 0 times NaN is NaN, too.
    let (batch, row, column) = (t.source.below(sizes.batch()), t.source.below(m), t.source.below(n));
    let inner = t.source.below(k);
    let in_a = t.source.one_in(2);
    if in_a {
        values[1][batch * k * n..(batch + 1) * k * n].fill(0.0);
        values[0][(batch * m + row) * k + inner] = f64::NAN;
    } else {
        (0..m).for_each(|row| values[0][(batch * m + row) * k + inner] = 0.0);
        values[1][(batch * k + inner) * n + column] = f64::NAN;
    }
    let a = t.given(t.storage(), &sizes.shape(m, k), &values[0])?;
    let b = t.given(t.storage(), &sizes.shape(k, n), &values[1])?;
    let found = multiply(t, MatmulSpec::PLAIN, &sizes, [&a, &b], (dtype, &vec![0.0; sizes.batch() * m * n]))?;
    for (at, value) in found.iter().enumerate() {
        let tainted = at / (m * n) == batch && if in_a { at / n % m == row } else { at % n == column };
        if value.is_nan() != tainted {
            let place = if in_a { format!("row {row} of A") } else { format!("column {column} of B") };
            return fail(format!("a NaN in {place} (of batch {batch}), but element {at} of C [{m}, {n}] is {value}"));
        }
    }
    Ok(())
}

/// C t = A (B t) for random vectors of signs (Freivalds, 1979). Over whole numbers, so that no tolerance hides a wrong element; a
/// wrong C passes one vector with probability 1/2.
fn freivalds<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    const VECTORS: usize = 6;
    let scale = if t.options.work >= 1 << 16 { 1 } else { 5 };
    let [m, n, k] = [300, 500, 400].map(|size: usize| size.div_ceil(scale) + t.source.below(9));
    let sizes = Sizes { lead: vec![], m, n, k };
    let a = t.input(t.storage(), &[m, k], Fill::Integers(3))?;
    let b = t.input(t.storage(), &[k, n], Fill::Integers(3))?;
    let found = multiply(t, MatmulSpec::PLAIN, &sizes, [&a, &b], (t.compute(), &vec![f64::NAN; m * n]))?;
    for _ in 0..VECTORS {
        let signs: Vec<f64> = (0..n).map(|_| if t.source.one_in(2) { 1.0 } else { -1.0 }).collect();
        let times = |matrix: &[f64], width: usize, vector: &[f64]| -> Vec<f64> {
            matrix.chunks(width).map(|row| row.iter().zip(vector).map(|(x, y)| x * y).sum()).collect()
        };
        let (direct, by_parts) = (times(&found, n, &signs), times(&a.values, k, &times(&b.values, n, &signs)));
        if let Some(row) = (0..m).find(|&row| direct[row] != by_parts[row]) {
            return fail(format!("row {row} of C [{m}, {n}] with K = {k}: C t is {}, A (B t) is {}", direct[row], by_parts[row]));
        }
    }
    Ok(())
}
