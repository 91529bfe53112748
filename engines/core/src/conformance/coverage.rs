//! Which property was held at which precision, so that a green run cannot hide what it left out.
//!
//! A refusal is a right answer, and so a suite of refusals would pass. Each engine's test therefore names what it may refuse, with the
//! reason; a property that held nothing and is not named is a failure, and so is a reason for something that is held after all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::dtype::Precision;

/// A property that an engine does not have at some precisions.
#[derive(Debug, Clone, Copy)]
pub struct Excuse {
    /// How the property's name begins; all of them where empty.
    pub property: &'static str,
    /// At these precisions.
    pub precisions: &'static [&'static str],
    /// Why.
    pub reason: &'static str,
}

/// What every engine refuses that multiplies int8 weights by activations quantised row by row: the rest is no such product.
pub const INT8_EXCUSES: [Excuse; 7] = [
    Excuse { property: "gemm", precisions: &["int8"], reason: NO_WEIGHT },
    Excuse { property: "freivalds", precisions: &["int8"], reason: NO_WEIGHT },
    Excuse { property: "attention", precisions: &["int8"], reason: NO_WEIGHT },
    Excuse { property: "bucket-attention", precisions: &["int8"], reason: NO_WEIGHT },
    Excuse { property: "linear-attention", precisions: &["int8"], reason: NO_WEIGHT },
    Excuse { property: "linear-sparse", precisions: &["int8"], reason: NO_FORM },
    Excuse { property: "linear-palette", precisions: &["int8"], reason: NO_FORM },
];
const NO_WEIGHT: &str = "products of two activations have no weight to quantise";
const NO_FORM: &str = "int8 activations multiply int8 weights only";

impl Excuse {
    fn covers(&self, property: &str, precision: &str) -> bool {
        property.starts_with(self.property) && self.precisions.contains(&precision)
    }
}

/// How often an engine refuses a property at a precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusals<'a> {
    /// The property.
    pub property: &'static str,
    /// The precision.
    pub precision: &'a str,
    /// Cases that it took.
    pub held: usize,
    /// Cases that it refused.
    pub refused: usize,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    held: usize,
    refused: usize,
}

/// See the module. Precisions stand in the order in which they were run.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    precisions: Vec<String>,
    counts: BTreeMap<(&'static str, String), Count>,
}

impl Coverage {
    pub(super) fn note(&mut self, property: &'static str, precision: Precision, held: bool) {
        let precision = precision.to_string();
        if !self.precisions.contains(&precision) {
            self.precisions.push(precision.clone());
        }
        let count = self.counts.entry((property, precision)).or_default();
        count.held += usize::from(held);
        count.refused += usize::from(!held);
    }

    /// Properties and precisions of which something was refused.
    pub(super) fn refusals(&self) -> impl Iterator<Item = Refusals<'_>> {
        let refused = self.counts.iter().filter(|(_, count)| count.refused > 0);
        refused.map(|((property, precision), &Count { held, refused })| Refusals { property, precision, held, refused })
    }

    /// What is left out without an excuse, and excuses that nothing needs.
    pub(super) fn complaints(&self, excuses: &[Excuse]) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut needed = vec![BTreeSet::new(); excuses.len()];
        for ((property, precision), count) in &self.counts {
            let fitting = excuses.iter().zip(&mut needed).filter(|(excuse, _)| excuse.covers(property, precision));
            let mut excused = false;
            for (_, needed) in fitting {
                excused = true;
                if count.held == 0 {
                    needed.insert(precision.as_str());
                }
            }
            if count.held == 0 && !excused {
                complaints.push(format!("{property} at {precision} was refused in all of {} cases", count.refused));
            }
        }
        for (excuse, needed) in excuses.iter().zip(&needed) {
            let run = |precision: &&&str| self.precisions.iter().any(|run| run == **precision);
            for precision in excuse.precisions.iter().filter(run).filter(|precision| !needed.contains(**precision)) {
                let Excuse { property, reason, .. } = excuse;
                complaints.push(format!("{property:?} at {precision} is excused ({reason}), but held"));
            }
        }
        complaints
    }
}

/// Cases held, a property a line and a precision a column; a dash where all were refused.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<26}", "cases held")?;
        self.precisions.iter().try_for_each(|precision| write!(f, "{precision:>12}"))?;
        writeln!(f)?;
        for property in self.counts.keys().map(|(property, _)| *property).collect::<BTreeSet<_>>() {
            write!(f, "{property:<26}")?;
            for precision in &self.precisions {
                match self.counts.get(&(property, precision.clone())).map_or(0, |count| count.held) {
                    0 => write!(f, "{:>12}", "-")?,
                    held => write!(f, "{held:>12}")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage() -> Coverage {
        let mut coverage = Coverage::default();
        coverage.note("gemm", Precision::F32, true);
        coverage.note("gemm", Precision::F32, false);
        coverage.note("gemm-exact", Precision::F64, false);
        coverage.note("gemm", Precision::F64, false);
        coverage
    }

    #[test]
    fn what_is_left_out_needs_a_reason_and_a_reason_needs_something_left_out() {
        let excuse = |property, precisions| Excuse { property, precisions, reason: "none" };
        assert_eq!(coverage().complaints(&[excuse("gemm", &["f64", "bf16"])]), Vec::<String>::new());
        let complaints = coverage().complaints(&[excuse("gemm-exact", &["f64"])]);
        assert_eq!(complaints, ["gemm at f64 was refused in all of 1 cases"]);
        let refusals = |property, precision, held| Refusals { property, precision, held, refused: 1 };
        let expected = [refusals("gemm", "f32", 1), refusals("gemm", "f64", 0), refusals("gemm-exact", "f64", 0)];
        assert_eq!(coverage().refusals().collect::<Vec<_>>(), expected);
        let complaints = coverage().complaints(&[excuse("", &["f64", "f32"])]);
        assert_eq!(complaints, ["\"\" at f32 is excused (none), but held"]);
    }

    #[test]
    fn the_table_has_a_dash_where_nothing_was_held() {
        let lines: Vec<String> = coverage().to_string().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, ["cases held f32 f64", "gemm 1 -", "gemm-exact - -"]);
    }
}
