//! What is exact: statuses, support by the engine, errors, declared bytes. Each difference is one of the program, whatever the noise.

use polars::prelude::*;

use crate::columns::{DECLARED_BYTES, Typed};

/// The errors that are held against each other, to the last bit.
pub(crate) const ERRORS: [&str; 2] = ["err_impl", "err_method"];

/// All that changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Changes {
    pub(crate) status: Vec<Change<Option<String>>>,
    /// How the engine supports the operation, of cells of which both records say so.
    pub(crate) support: Vec<Change<Option<String>>>,
    /// Of cells that have errors in both runs: how many, and those with another one.
    pub(crate) judged: usize,
    pub(crate) errors: Vec<Change<[Option<f64>; 2]>>,
    /// Of cells that have declared bytes in both runs: how many, and those with other ones.
    pub(crate) declared: usize,
    pub(crate) bytes: Vec<Change<[i64; 4]>>,
}

/// One cell that changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change<T> {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) before: T,
    pub(crate) after: T,
}

/// Looks at all cells that both runs have.
pub(super) fn changes(cells: &DataFrame, both: &[(usize, usize)]) -> PolarsResult<Changes> {
    let (status, support) = (cells.texts("status")?, cells.texts("support")?);
    let errors = ERRORS.map(|name| cells.doubles(name));
    let [implementation, method] = errors;
    let errors = [implementation?, method?];
    let bytes = DECLARED_BYTES.iter().map(|name| cells.ints(name)).collect::<PolarsResult<Vec<_>>>()?;
    let mut changes = Changes::default();
    let mut both = both.to_vec();
    both.sort_unstable();
    for (a, b) in both {
        let text = |column: &StringChunked, row: usize| column.get(row).map(str::to_owned);
        changes.status.extend(changed(a, b, |row| text(status, row)));
        // A cell that failed has nothing to say of its engine's support.
        if support.get(a).is_some() && support.get(b).is_some() {
            changes.support.extend(changed(a, b, |row| text(support, row)));
        }
        let of = |row: usize| errors.map(|column| column.get(row));
        let has_errors = |row: usize| of(row).iter().any(Option::is_some);
        if has_errors(a) && has_errors(b) {
            changes.judged += 1;
            // By bits: 0.0 is not -0.0, and a difference too small to be shown is one.
            let bits = |row: usize| of(row).map(|error| error.map(f64::to_bits));
            changes.errors.extend((bits(a) != bits(b)).then(|| Change { a, b, before: of(a), after: of(b) }));
        }
        let declared = |row: usize| {
            let parts: Option<Vec<i64>> = bytes.iter().map(|column| column.get(row)).collect();
            parts.and_then(|parts| <[i64; 4]>::try_from(parts).ok())
        };
        if let (Some(before), Some(after)) = (declared(a), declared(b)) {
            changes.declared += 1;
            changes.bytes.extend((before != after).then_some(Change { a, b, before, after }));
        }
    }
    let growth = |error: &Change<[Option<f64>; 2]>| {
        let of = |(before, after): (Option<f64>, Option<f64>)| match (before, after) {
            (before, after) if before == after => 0.0,
            (Some(before), Some(after)) if before > 0.0 && after > 0.0 => (after / before).ln().abs(),
            _ => f64::INFINITY,
        };
        error.before.into_iter().zip(error.after).map(of).fold(0.0, f64::max)
    };
    changes.errors.sort_by(|one, other| growth(other).total_cmp(&growth(one)));
    let total = |parts: &[i64; 4]| parts.iter().sum::<i64>();
    changes.bytes.sort_by_key(|change| std::cmp::Reverse(total(&change.after).abs_diff(total(&change.before))));
    Ok(changes)
}

fn changed<T: PartialEq>(a: usize, b: usize, of: impl Fn(usize) -> T) -> Option<Change<T>> {
    let (before, after) = (of(a), of(b));
    (before != after).then_some(Change { a, b, before, after })
}
