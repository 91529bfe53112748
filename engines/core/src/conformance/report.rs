//! What came out: failures, what was refused, and how much of each tolerance was used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::dtype::{DType, Precision};
use crate::error::EngineError;

use super::Event;
use super::compare::{Shares, Target, ulps};
use super::coverage::{Coverage, Excuse, Refusals};

/// A tolerance of which less than this is ever used is too loose to notice much.
const LOOSE: f64 = 1e-3;

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The engine.
    pub engine: &'static str,
    /// Cases run.
    pub cases: usize,
    /// What the engine does not have, and says so.
    pub refused: BTreeSet<String>,
    /// What is wrong.
    pub failures: Vec<Failure>,
    pub(super) coverage: Coverage,
    pub(super) ledger: Ledger,
}

/// A case that failed, with its coordinates: the same options give it again.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The property.
    pub property: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// The precision.
    pub precision: Precision,
    /// Number of the case.
    pub case: usize,
    /// Largest extent under which it was drawn.
    pub limit: usize,
    /// What happened.
    pub message: String,
}

impl Failure {
    pub(super) fn of_property(property: &'static str, operation: &'static str, precision: Precision) -> Self {
        Self { property, operation, precision, case: 0, limit: 0, message: String::new() }
    }

    pub(super) fn of_engine(precision: Precision, error: &EngineError) -> Self {
        Self { message: format!("it cannot be built: {error}"), ..Self::of_property("new", "engine", precision) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { property, operation, precision, case, limit, message } = self;
        write!(f, "{property} ({operation}) at {precision}, case {case} with extents up to {limit}: {message}")
    }
}

/// Tolerances by operation and precision.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<(&'static str, String), Cell>);

/// How much of the tolerance of one operation at one precision was used.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    /// Elements with a tolerance above zero.
    pub elements: u64,
    /// Largest share of the tolerance.
    pub largest_share: f64,
    /// Elements above the probabilistic bound of 6 sqrt(K) u.
    pub suspicious: u64,
    /// Set for results in f64, whose references have no more digits than the results.
    pub at_reference: bool,
    /// Elements by error in eighths of a unit in the last place, rounded up.
    ulps: BTreeMap<u32, u64>,
}

impl Ledger {
    pub(super) fn cell(&mut self, operation: &'static str, precision: Precision) -> &mut Cell {
        self.0.entry((operation, precision.to_string())).or_default()
    }
}

impl Cell {
    pub(super) fn note(&mut self, dtype: DType, shares: Shares, target: Target) {
        if target.hard > 0.0 && target.value.is_finite() {
            self.elements += 1;
            self.largest_share = self.largest_share.max(shares.hard);
            self.suspicious += u64::from(shares.suspicious);
            self.at_reference |= dtype == DType::F64;
            let eighths = (8.0 * ulps(dtype, shares.error, target.value)).ceil() as u32;
            *self.ulps.entry(eighths).or_default() += 1;
        }
    }

    /// Largest error in units in the last place. Of sums that cancel it says little.
    pub fn largest_ulps(&self) -> f64 {
        self.ulps.last_key_value().map_or(0.0, |(&eighths, _)| f64::from(eighths) / 8.0)
    }

    /// All but one element in a thousand are below this many units in the last place.
    pub fn usual_ulps(&self) -> f64 {
        let mut rest = self.elements.div_ceil(1000);
        for (&eighths, &count) in self.ulps.iter().rev() {
            if count >= rest {
                return f64::from(eighths) / 8.0;
            }
            rest -= count;
        }
        0.0
    }
}

impl Report {
    pub(super) fn new(engine: &'static str) -> Self {
        Self { engine, cases: 0, refused: BTreeSet::new(), failures: Vec::new(), coverage: Coverage::default(), ledger: Ledger::default() }
    }

    pub(super) fn fail(&mut self, failure: Failure, tell: &mut dyn FnMut(Event<'_>)) {
        tell(Event::Failed(&failure));
        self.failures.push(failure);
    }

    /// What the engine refused, and how often: a suite of refusals has no failures.
    pub fn refusals(&self) -> impl Iterator<Item = Refusals<'_>> {
        self.coverage.refusals()
    }

    /// Operation, precision, and how much of the tolerance was used.
    pub fn cells(&self) -> impl Iterator<Item = (&'static str, &str, &Cell)> {
        self.ledger.0.iter().map(|((operation, precision), cell)| (*operation, precision.as_str(), cell))
    }

    /// Tolerances that hardly notice anything, and errors that look like more than rounding.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (operation, precision, cell) in self.cells().filter(|(_, _, cell)| cell.elements > 0) {
            if cell.largest_share < LOOSE && !cell.at_reference {
                let share = 100.0 * cell.largest_share;
                warnings
                    .push(format!("{operation} at {precision}: never more than {share:.3} % of the tolerance is used: it is too loose"));
            }
            if cell.suspicious > 0 {
                let (count, elements) = (cell.suspicious, cell.elements);
                warnings.push(format!("{operation} at {precision}: {count} of {elements} elements are above 6 sqrt(K) u"));
            }
        }
        warnings
    }

    /// Panics if a property held nothing at a precision and no excuse says why, or if an excuse is not needed.
    #[track_caller]
    pub fn assert_covers(&self, excuses: &[Excuse]) {
        let complaints = self.coverage.complaints(excuses);
        assert!(complaints.is_empty(), "what is covered on {} is not what its test says:\n  {}", self.engine, complaints.join("\n  "));
    }

    /// Panics with every failure, if there is one.
    #[track_caller]
    pub fn assert_clean(&self) {
        let failures: Vec<String> = self.failures.iter().map(|failure| format!("  {failure}")).collect();
        assert!(failures.is_empty(), "{} of the properties fail on {}:\n{}", failures.len(), self.engine, failures.join("\n"));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} cases, {} failures", self.engine, self.cases, self.failures.len())?;
        writeln!(
            f,
            "{:<24} {:<12} {:>10} {:>14} {:>10} {:>10}",
            "operation", "precision", "elements", "of tolerance", "99.9 % ULP", "max ULP"
        )?;
        for (operation, precision, cell) in self.cells().filter(|(_, _, cell)| cell.elements > 0) {
            let (share, usual, most) = (100.0 * cell.largest_share, cell.usual_ulps(), cell.largest_ulps());
            writeln!(f, "{operation:<24} {precision:<12} {:>10} {share:>12.2} % {usual:>10} {most:>10}", cell.elements)?;
        }
        self.coverage.fmt(f)?;
        for refused in &self.refused {
            writeln!(f, "refused: {refused}")?;
        }
        for warning in self.warnings() {
            writeln!(f, "warning: {warning}")?;
        }
        self.failures.iter().try_for_each(|failure| writeln!(f, "FAILED: {failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_that_is_never_used_is_a_warning() {
        let mut report = Report::new("test");
        let note = |report: &mut Report, operation, error: f64| {
            let target = Target { value: 1.0, hard: 1.0, soft: 0.5 };
            let shares = Shares { hard: error, suspicious: error > 0.5, error };
            report.ledger.cell(operation, Precision::F32).note(DType::F32, shares, target);
        };
        note(&mut report, "loose", 1e-6);
        note(&mut report, "fine", 0.1);
        note(&mut report, "suspicious", 0.75);
        let warnings = report.warnings();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("loose at f32") && warnings[1].contains("suspicious at f32: 1 of 1"), "{warnings:?}");
        report.assert_clean();
    }

    #[test]
    #[should_panic(expected = "freivalds (matmul) at f32, case 3 with extents up to 7: off")]
    fn failures_tell_their_case() {
        let mut report = Report::new("test");
        let failure = Failure::of_property("freivalds", "matmul", Precision::F32);
        report.failures.push(Failure { case: 3, limit: 7, message: "off".into(), ..failure });
        report.assert_clean();
    }
}
