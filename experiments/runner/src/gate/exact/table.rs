//! The baseline's file: a row for each cell and instruction set, as CSV, so that a change of it reads as what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use crate::errors::bad_input;
use crate::gate::csv_table;

use super::compare::LEVELS;
use super::{Row, machine};

/// Reads a baseline.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let refuse = |what: String| {
        bad_input(format!("{what}; restore it from the repository, or write it anew by `crossover gate --exact --accept \"REASON\"`"))
    };
    if !path.exists() {
        return Err(refuse(format!("the baseline {} cannot be read: there is no such file", path.display())));
    }
    let rows: Vec<Row> = csv_table::read(path).map_err(|error| refuse(format!("the baseline {} is damaged: {error}", path.display())))?;
    if rows.is_empty() {
        return Err(refuse(format!("the baseline {} has no cells", path.display())));
    }
    if let Some((row, what)) = rows.iter().find_map(|row| Some((row, odd(row)?))) {
        return Err(refuse(format!("the baseline {} is damaged: {}: {what}", path.display(), row.told())));
    }
    let mut known = BTreeSet::new();
    match rows.iter().find(|row| !known.insert((&row.id, &row.isa))) {
        Some(row) => Err(refuse(format!("the baseline {} has the cell {} twice for {:?}", path.display(), row.id, row.isa))),
        None => Ok(rows),
    }
}

/// What no row that was accepted can say: it would gate nothing.
fn odd(row: &Row) -> Option<String> {
    if !LEVELS.contains(&row.support.as_str()) || !row.is_right() {
        return Some(format!("there is no support {:?}", row.support));
    }
    let is_odd = |figure: Option<f64>| figure.is_some_and(|figure| !figure.is_finite() || figure < 0.0);
    if is_odd(row.err_impl) || is_odd(row.tolerance_used) {
        return Some("an error that is no number from 0 on".to_owned());
    }
    let counts = [row.declared_bytes, row.flops];
    (row.is_computed() && counts.contains(&None)).then(|| "it is computed, and has no bytes or operations".to_owned())
}

/// Writes a baseline, sorted.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|row| (&row.variant, &row.engine, &row.setting, &row.id, &row.isa));
    csv_table::write(path, sorted)
}

/// A baseline into which rows of this machine are put. Those of other instruction sets stay, but for their operations, which are the same on all;
/// with `is_whole` cells that are gone leave it, whatever their instruction set. Rows of a better path that the machine `has` and the cell no longer takes
/// go: no build makes them any more.
pub fn accept(baseline: Vec<Row>, now: &[Row], is_whole: bool, has: &dyn Fn(&str) -> bool) -> Vec<Row> {
    let accepted: BTreeMap<&str, &Row> = now.iter().map(|row| (row.id.as_str(), row)).collect();
    let kept = |mut row: Row| match accepted.get(row.id.as_str()) {
        Some(new) if new.isa == row.isa => None,
        Some(new) if machine::is_above(&row.isa, &new.isa) && has(&row.isa) => None,
        Some(new) => {
            row.flops = row.flops.and(new.flops.or(row.flops));
            Some(row)
        }
        None => Some(row).filter(|_| !is_whole),
    };
    baseline.into_iter().filter_map(kept).chain(now.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::compare::compare;
    use super::super::row;
    use super::*;

    #[test]
    fn a_baseline_comes_back_as_written_and_says_where_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/exact.csv");
        let odd = Row { setting: "a, \"quoted\" name".into(), err_impl: None, variant: "attention/a".into(), ..row("b", "avx2") };
        // The same cell on another instruction set is another row.
        write(&path, &[row("a", "neon"), row("a", "avx2"), odd.clone()]).unwrap();
        assert_eq!(read(&path).unwrap(), [odd, row("a", "avx2"), row("a", "neon")]);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("5000", "many")).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("line: 2") && error.contains("--accept"), "{error}");
        std::fs::write(&path, text.lines().next().unwrap()).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("has no cells"));
        std::fs::write(&path, text.clone() + text.lines().last().unwrap()).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("twice for \"neon\""));
        assert!(read(&folder.path().join("none.csv")).unwrap_err().to_string().contains("cannot be read"));
        for (wrong, words) in [
            (Row { support: "nativ".into(), ..row("a", "avx2") }, "there is no support \"nativ\""),
            (Row { support: "wrong".into(), ..row("a", "avx2") }, "there is no support \"wrong\""),
            (Row { err_impl: Some(f64::NAN), ..row("a", "avx2") }, "an error that is no number"),
            (Row { tolerance_used: Some(f64::INFINITY), ..row("a", "avx2") }, "an error that is no number"),
            (Row { declared_bytes: None, ..row("a", "avx2") }, "has no bytes or operations"),
        ] {
            write(&path, &[wrong]).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("is damaged") && error.contains(words), "{error}");
        }
        write(&path, &[Row { support: "unsupported".into(), declared_bytes: None, flops: None, ..row("a", "avx2") }]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
    }

    #[test]
    fn rows_of_this_machine_are_put_beside_those_of_others() {
        let bytes = |row: Row, bytes: u64| Row { declared_bytes: Some(bytes), ..row };
        let baseline = || vec![bytes(row("a", "avx512"), 1), bytes(row("a", "avx2"), 2), row("b", "avx512")];
        let now = [Row { flops: Some(9), ..bytes(row("a", "avx2"), 3) }];
        let told = |rows: Vec<Row>| -> Vec<(String, String, Option<u64>, Option<u64>)> {
            rows.into_iter().map(|row| (row.id, row.isa, row.declared_bytes, row.flops)).collect()
        };
        let of = |id: &str, isa: &str, bytes, flops| (id.to_owned(), isa.to_owned(), Some(bytes), Some(flops));
        let part = told(accept(baseline(), &now, false, &|_| false));
        assert_eq!(part, [of("a", "avx512", 1, 9), of("b", "avx512", 1000, 5000), of("a", "avx2", 3, 9)]);
        let whole = told(accept(baseline(), &now, true, &|_| false));
        assert_eq!(whole, [of("a", "avx512", 1, 9), of("a", "avx2", 3, 9)]);
        // Where the machine has both, the lower path is meant from now on.
        let fallen = accept(baseline(), &now, true, &|_| true);
        assert!(compare(&fallen, &now, &|_| true).changes.is_empty(), "{fallen:?}");
        assert!(!compare(&baseline(), &now, &|_| true).changes.is_empty());
    }
}
