//! What was accepted into a baseline, when and why: `NAME-accepted.csv` beside it, a line for each time.
//!
//! A line says how many rows the baseline had from then on. One that has lost rows since (a file that was cut, a merge that went wrong) would find each of
//! their cells new, which is no regression; so it is damaged where it has another number of rows than the last line says.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::commands::text::counted;
use crate::errors::bad_input;
use crate::gate::csv_table;
use crate::gate::verdict::Verdict;
use crate::outcome::unix_ms;

use super::compare::Change;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acceptance {
    unix_ms: u64,
    /// How many changes of each kind it accepted.
    regressed: usize,
    improved: usize,
    told: usize,
    reason: String,
    /// Rows of the baseline from then on; those of before this was written down do not say.
    rows: Option<usize>,
}

fn path_of(baseline: &Path) -> PathBuf {
    let name = baseline.file_stem().unwrap_or_default().to_string_lossy();
    baseline.with_file_name(format!("{name}-accepted.csv"))
}

fn read(baseline: &Path) -> Result<Vec<Acceptance>> {
    let path = path_of(baseline);
    if !path.exists() {
        return Ok(Vec::new());
    }
    csv_table::read(&path).map_err(|error| {
        bad_input(format!("what was accepted, {}, is damaged: {error}; restore the file from the repository", path.display()))
    })
}

/// An error where the baseline has not as many rows as were accepted last.
pub fn expect_whole(baseline: &Path, rows: usize) -> Result<()> {
    match read(baseline)?.last().and_then(|last| last.rows) {
        Some(accepted) if accepted != rows => Err(bad_input(format!(
            "the baseline {} is damaged: it has {}, and {accepted} when it was accepted last; restore it from the repository, or, where two branches changed it, \
             write it anew by `crossover gate --exact --accept \"REASON\"`",
            baseline.display(),
            counted(rows as u64, "row"),
        ))),
        _ => Ok(()),
    }
}

/// A line behind those of earlier changes: when, how much, why.
pub fn keep(baseline: &Path, reason: &str, changes: &[Change], rows: usize) -> Result<()> {
    let count = |verdict: Verdict| changes.iter().filter(|change| change.verdict == verdict).count();
    let (regressed, improved) = (count(Verdict::Regressed), count(Verdict::Improved));
    let mut all = read(baseline)?;
    all.push(Acceptance {
        unix_ms: unix_ms(),
        regressed,
        improved,
        told: changes.len() - regressed - improved,
        reason: reason.trim().to_owned(),
        rows: Some(rows),
    });
    csv_table::write(&path_of(baseline), all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_with_another_number_of_rows_than_were_accepted_last_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let baseline = folder.path().join("exact.csv");
        expect_whole(&baseline, 5).unwrap();
        std::fs::write(path_of(&baseline), "unix_ms,regressed,improved,told,reason,rows\n1,0,0,0,of before,\n").unwrap();
        expect_whole(&baseline, 5).unwrap();
        let changes = [Change { cell: "a".into(), verdict: Verdict::Regressed, what: "worse".into() }];
        keep(&baseline, " meant, \"so\" ", &changes, 7).unwrap();
        keep(&baseline, "more", &[], 8).unwrap();
        expect_whole(&baseline, 8).unwrap();
        let error = expect_whole(&baseline, 7).unwrap_err().to_string();
        assert!(error.contains("is damaged: it has 7 rows, and 8 when") && error.contains("--accept"), "{error}");
        let kept = read(&baseline).unwrap();
        assert_eq!((kept.len(), kept[1].regressed, kept[1].reason.as_str(), kept[0].rows), (3, 1, "meant, \"so\"", None));
        std::fs::write(path_of(&baseline), "unix_ms,reason\n1,x\n").unwrap();
        assert!(expect_whole(&baseline, 8).unwrap_err().to_string().contains("is damaged"));
    }
}
