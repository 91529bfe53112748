//! Comparing an output with what it should be.
//!
//! Three questions, three references (all f64, by row, see [`crossover_core::reference`]): is the implementation right (against the
//! same mathematics on the same rounded inputs, within its error bound)? what does the method cost in accuracy (against the exact
//! dense operation on the inputs as drawn)? is that more than the precision alone would cost (against the plain dense operation at the
//! same precision)?
//!
//! Long outputs are checked on a fixed sample of rows: the first, the last, and rows spread evenly between.

use crossover_core::axes::Axes;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;

use crate::classes::{Scores, same_first};
use crate::inputs::CellInputs;
use crate::registry::Entry;
use crate::resolve::precision;
use crate::truth::{TrueRow, Truths};

/// Multiply-adds that the references of one cell may take, about half a second.
const TERMS: usize = 1 << 25;
/// Rows checked however expensive they are.
const LEAST_ROWS: usize = 16;

/// What the comparison gave. Figures that are not finite are absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What missed its tolerance, and by how much; `None` if nothing did.
    pub complaint: Option<String>,
    /// Against the same mathematics on the same bits.
    pub implementation: ErrorFigures,
    /// Against the exact dense operation on the inputs as drawn.
    pub method: ErrorFigures,
    /// Largest error as a share of its bound.
    pub tolerance_used: Option<f64>,
    /// Mean cosine between output rows and exact rows.
    pub cosine: Option<f64>,
    /// Method error over that of the plain dense operation at the same precision.
    pub error_ratio: Option<f64>,
    /// Mean Kullback-Leibler divergence of the output rows from the exact ones, in nats, where they tell of classes.
    pub divergence: Option<f64>,
    /// Share of the rows whose first class is that of the exact row, likewise.
    pub top_1_agreement: Option<f64>,
    /// Values that are not finite where the exact ones are.
    pub nonfinite: u64,
    /// Rows compared.
    pub rows_checked: u64,
    /// Rows that the output has.
    pub rows_total: u64,
}

/// An error in two norms.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ErrorFigures {
    /// Largest absolute difference.
    pub largest: Option<f64>,
    /// Frobenius norm of the difference over that of the reference.
    pub relative: Option<f64>,
}

/// Sums of squares, and the largest difference.
#[derive(Debug, Clone, Copy, Default)]
struct Accumulated {
    largest: f64,
    difference: f64,
    reference: f64,
}

impl Accumulated {
    fn add(&mut self, value: f64, reference: f64) {
        let difference = (value - reference).abs();
        self.largest = larger(self.largest, difference);
        self.difference += difference * difference;
        self.reference += reference * reference;
    }

    fn relative(&self) -> f64 {
        if self.difference == 0.0 { 0.0 } else { (self.difference / self.reference).sqrt() }
    }

    fn figures(&self) -> ErrorFigures {
        ErrorFigures { largest: finite(self.largest), relative: finite(self.relative()) }
    }
}

/// The larger of two, where a NaN, once seen, stays (`f64::max` would drop it).
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Compares an output, in the shape that the description promises, with the references.
pub fn judge(entry: &Entry, axes: &Axes, inputs: &CellInputs, output: &HostTensor) -> Result<Judgement> {
    let truths = Truths::of(entry, axes, inputs)?;
    let width = output.shape().last().copied().unwrap_or(1);
    let rows_total = truths.rows(inputs)?.unwrap_or(output.len() / width.max(1));
    if output.len() != rows_total * width {
        return Err(shape_error("verify", format!("the output {:?} has not {rows_total} rows", output.shape())));
    }
    let mut tally = Tally::new(precision(axes), Scores::of(entry.descriptor));
    for row in sampled_rows(rows_total, truths.row_terms(inputs)?) {
        tally.add_row(row, &output.values()[row * width..(row + 1) * width], &truths.row(inputs, row, precision(axes))?)?;
    }
    Ok(tally.judgement(truths.is_attention(), rows_total))
}

/// Which rows to check: all, or as many as the budget allows, spread evenly from the first to the last.
fn sampled_rows(total: usize, terms: usize) -> Vec<usize> {
    let affordable = (TERMS / terms.max(1)).max(LEAST_ROWS).min(total);
    if affordable == total {
        return (0..total).collect();
    }
    (0..affordable).map(|at| at * (total - 1) / (affordable - 1)).collect()
}

struct Tally {
    precision: Precision,
    implementation: Accumulated,
    method: Accumulated,
    plain: Accumulated,
    plain_implementation: Accumulated,
    cosines: f64,
    scores: Option<Scores>,
    divergences: f64,
    same_first: usize,
    used: f64,
    nonfinite: u64,
    rows: usize,
    /// Rows with at least one value that does not hang on a discrete choice closer than rounding.
    determined: usize,
    has_plain: bool,
    worst: Option<String>,
}

impl Tally {
    fn new(precision: Precision, scores: Option<Scores>) -> Self {
        let zero = Accumulated::default();
        Self {
            precision,
            implementation: zero,
            method: zero,
            plain: zero,
            plain_implementation: zero,
            cosines: 0.0,
            scores,
            divergences: 0.0,
            same_first: 0,
            used: 0.0,
            nonfinite: 0,
            rows: 0,
            determined: 0,
            has_plain: true,
            worst: None,
        }
    }

    fn add_row(&mut self, row: usize, output: &[f64], truth: &TrueRow) -> Result<()> {
        let TrueRow { reference, tracked, bounds, exact, plain } = truth;
        if output.len() != reference.len() || output.len() != exact.len() {
            return Err(shape_error("verify", format!("rows of {} values, expected {}", output.len(), reference.len())));
        }
        let mut determined = output.is_empty();
        for (column, &value) in output.iter().enumerate() {
            // An undetermined value says nothing about the implementation, unless it is no number.
            let undetermined = *tracked && bounds[column] == f64::INFINITY && value.is_finite();
            if !undetermined {
                self.check(row, column, value, reference[column], bounds[column]);
                self.implementation.add(value, reference[column]);
                determined = true;
            }
            self.method.add(value, exact[column]);
            if let Some(plain) = plain {
                self.plain.add(plain[column], exact[column]);
                self.plain_implementation.add(plain[column], reference[column]);
            }
        }
        self.cosines += cosine(output, exact);
        if let Some(scores) = self.scores {
            self.divergences += scores.divergence(output, exact);
            self.same_first += usize::from(same_first(output, exact));
        }
        self.has_plain &= plain.is_some();
        self.rows += 1;
        self.determined += usize::from(determined);
        Ok(())
    }

    fn check(&mut self, row: usize, column: usize, value: f64, reference: f64, bound: f64) {
        if !value.is_finite() && reference.is_finite() {
            self.nonfinite += 1;
        }
        if !bound.is_finite() && self.worst.is_none() {
            self.worst =
                Some(format!("row {row}, column {column}: the error bound is {bound} here, so nothing can be verified at this precision"));
        }
        let error = (value - reference).abs();
        // Where the bound is zero the value must be exact. The same infinity on both sides agrees.
        let used = if error == 0.0 || value == reference { 0.0 } else { error / bound };
        // Written so that NaN counts as beyond.
        let within = used <= 1.0;
        if !within && self.worst.is_none() || used > self.used.max(1.0) {
            self.worst =
                Some(format!("row {row}, column {column}: {value:e} instead of {reference:e}, off by {error:.3e}, bound {bound:.3e}"));
        }
        self.used = larger(self.used, used);
    }

    fn judgement(self, is_attention: bool, rows_total: usize) -> Judgement {
        let plain = self.plain.relative();
        let mean = |sum: f64| finite(sum / self.rows.max(1) as f64);
        let of_classes = self.scores.filter(|_| self.rows > 0);
        let complaint = self.worst.clone().or_else(|| self.mostly_undetermined()).or_else(|| self.twice_the_plain_error(is_attention));
        Judgement {
            complaint,
            implementation: self.implementation.figures(),
            method: self.method.figures(),
            tolerance_used: finite(self.used),
            cosine: mean(self.cosines),
            divergence: of_classes.and_then(|_| mean(self.divergences)),
            top_1_agreement: of_classes.and_then(|_| mean(self.same_first as f64)),
            error_ratio: if self.has_plain { finite(self.method.relative() / plain) } else { None },
            nonfinite: self.nonfinite,
            rows_checked: self.determined as u64,
            rows_total: rows_total as u64,
        }
    }

    /// Half of the rows are enough to find a wrong kernel; fewer could be a lucky few.
    fn mostly_undetermined(&self) -> Option<String> {
        (2 * self.determined < self.rows).then(|| {
            "most values hang on rounding at this precision (a sort, an argmax or a top-k is too close, or errors grow as large as the values)"
                .into()
        })
    }

    /// Low-precision attention may be at most twice as far off as the plain composition at the same precision.
    fn twice_the_plain_error(&self, is_attention: bool) -> Option<String> {
        let narrow = matches!(self.precision.storage(), DType::Bf16 | DType::F16);
        let (own, plain) = (self.implementation.relative(), self.plain_implementation.relative());
        // Below a tenth of a unit both errors are noise of the few roundings that happened to differ.
        let noise = 0.1 * self.precision.storage().unit_roundoff();
        (is_attention && narrow && own > 2.0 * plain + noise)
            .then(|| format!("relative error {own:.3e}, more than twice the {plain:.3e} of the plain composition at this precision"))
    }
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    // Two zero rows agree.
    if lengths == 0.0 { if a == b { 1.0 } else { 0.0 } } else { dot(a, b) / lengths }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::find;
    use crate::resolve::resolve;
    use crate::variant::Reference;
    use crossover_core::axes::AxisValue;
    use crossover_core::reference::Arithmetic;

    fn softmax_cell(precision: &str) -> (Entry, Axes, CellInputs) {
        let entry = find("softmax/stable").unwrap();
        let mut axes = Axes::new();
        for (name, value) in [("n", AxisValue::Int(5)), ("classes", AxisValue::Int(33)), ("precision", AxisValue::from(precision))] {
            axes.insert(name.into(), value);
        }
        let axes = resolve(entry.descriptor, &axes).unwrap();
        let inputs = CellInputs::new(&entry, &axes, entry.draw(&axes).unwrap()).unwrap();
        (entry, axes, inputs)
    }

    fn plain_output(entry: &Entry, axes: &Axes, inputs: &CellInputs) -> Vec<f64> {
        let Reference::Operation(operation) = entry.exact(axes) else { panic!("softmax is an operation") };
        (0..5).flat_map(|row| operation.row(&inputs.rounded, row, Arithmetic::plain(precision(axes))).unwrap()).collect()
    }

    #[test]
    fn the_plain_composition_passes_in_every_precision_with_ratio_one() {
        for precision in ["f64", "f32", "bf16", "f16"] {
            let (entry, axes, inputs) = softmax_cell(precision);
            let output = HostTensor::new(&[1, 5, 33], plain_output(&entry, &axes, &inputs)).unwrap();
            let judgement = judge(&entry, &axes, &inputs, &output).unwrap();
            assert_eq!(judgement.complaint, None, "{precision}");
            assert_eq!(judgement.error_ratio, Some(1.0), "{precision}");
            assert!(judgement.tolerance_used.unwrap() > 1e-3, "{precision}: {judgement:?}");
        }
    }

    #[test]
    fn rows_over_classes_are_judged_as_distributions_too() {
        let (entry, axes, inputs) = softmax_cell("f32");
        let judged = |values: Vec<f64>| judge(&entry, &axes, &inputs, &HostTensor::new(&[1, 5, 33], values).unwrap()).unwrap();
        let mut values = plain_output(&entry, &axes, &inputs);
        let right = judged(values.clone());
        assert!(right.divergence.is_some_and(|nats| nats < 1e-9), "{right:?}");
        assert_eq!(right.top_1_agreement, Some(1.0));
        // One row of five has its first class at another place.
        values[3 * 33..4 * 33].rotate_right(1);
        let turned = judged(values);
        assert!(turned.divergence.is_some_and(|nats| nats > 1e-3), "{turned:?}");
        assert_eq!(turned.top_1_agreement, Some(0.8));
    }

    #[test]
    fn one_wrong_value_is_found_and_named() {
        let (entry, axes, inputs) = softmax_cell("f32");
        let mut values = plain_output(&entry, &axes, &inputs);
        values[2 * 33 + 7] *= 1.001;
        let judgement = judge(&entry, &axes, &inputs, &HostTensor::new(&[1, 5, 33], values).unwrap()).unwrap();
        assert!(judgement.complaint.unwrap().starts_with("row 2, column 7:"));
    }

    #[test]
    fn nan_is_wrong_and_counted_and_never_a_figure() {
        let (entry, axes, inputs) = softmax_cell("f32");
        let mut values = plain_output(&entry, &axes, &inputs);
        values[0] = f64::NAN;
        let judgement = judge(&entry, &axes, &inputs, &HostTensor::new(&[1, 5, 33], values).unwrap()).unwrap();
        assert!(judgement.complaint.is_some());
        assert_eq!((judgement.nonfinite, judgement.implementation.largest, judgement.tolerance_used), (1, None, None));
    }

    #[test]
    fn samples_reach_from_the_first_row_to_the_last() {
        let rows = sampled_rows(100_000, TERMS / 20);
        assert_eq!((rows.len(), rows[0], rows[19]), (20, 0, 99_999));
        assert_eq!(sampled_rows(7, 1), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(sampled_rows(1, usize::MAX), [0]);
    }
}
