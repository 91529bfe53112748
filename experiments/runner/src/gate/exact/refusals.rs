//! What engines refuse to the conformance suite, beside the committed table of it (`results/baselines/NAME-refusals.csv`).
//!
//! | an engine | is |
//! |---|---|
//! | refuses cases of a property at a precision that is not in the table | a regression |
//! | takes fewer cases of it than there | likewise |
//! | refuses fewer, or none any more | better |
//! | is asked fewer cases than there | a regression where a larger share of them is refused, otherwise told |
//!
//! What is refused does not depend on the instruction set: an engine that has no instructions for a precision computes in another one. So the table has no rows of
//! machines.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::commands::text::counted;
use crate::errors::bad_input;
use crate::gate::csv_table;
use crate::gate::verdict::Verdict;

/// Cases of a property at a precision, of which one or more are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cases {
    taken: u32,
    refused: u32,
}

/// What one engine refuses, by property and precision in the suite's words.
pub type OfEngine = BTreeMap<String, Cases>;

/// The same of all engines, by their names.
pub type Table = BTreeMap<String, OfEngine>;

/// A line of the table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    engine: String,
    what: String,
    taken: u32,
    refused: u32,
}

impl Cases {
    fn all(self) -> u64 {
        u64::from(self.taken) + u64::from(self.refused)
    }

    /// Beside what it was before: the verdict where it changed. Cases that are new to the suite change nothing as long as as many as before are taken.
    fn change(self, what: &str, before: Option<Self>) -> Option<(Verdict, String)> {
        let Self { taken, refused } = self;
        let now = format!("{refused} of {}", counted(self.all(), "case"));
        let Some(before) = before else { return Some((Verdict::Regressed, format!("{what} is refused now, in {now}"))) };
        let told = |between| format!("{what} is refused in {now}{between}, before in {} of {}", before.refused, before.all());
        let has_lost_cases = self.all() < before.all();
        let larger_share = u64::from(refused) * before.all() > u64::from(before.refused) * self.all();
        if (has_lost_cases && larger_share) || (!has_lost_cases && taken < before.taken) {
            Some((Verdict::Regressed, told("")))
        } else if has_lost_cases {
            Some((Verdict::Pass, told(", of which the suite has fewer now")))
        } else {
            (refused < before.refused).then(|| (Verdict::Improved, told(" only")))
        }
    }
}

/// From the suite's line, without its beginning: `PROPERTY at PRECISION: REFUSED of CASES`.
pub fn parse(said: &str) -> Option<(String, Cases)> {
    let (what, counts) = said.rsplit_once(": ")?;
    let (refused, cases) = counts.split_once(" of ")?;
    let (refused, cases): (u32, u32) = (refused.parse().ok()?, cases.parse().ok()?);
    let cases = Cases { taken: cases.checked_sub(refused)?, refused };
    (refused > 0).then(|| (what.to_owned(), cases))
}

/// What changed, in words, of one engine.
pub fn changes(before: &OfEngine, now: &OfEngine) -> Vec<(Verdict, String)> {
    let changed = now.iter().filter_map(|(what, cases)| cases.change(what, before.get(what).copied()));
    let gone = before.keys().filter(|what| !now.contains_key(*what)).map(|what| (Verdict::Improved, format!("{what} is refused no more")));
    changed.chain(gone).collect()
}

/// Reads the table; an empty one where there is no such file.
pub fn read(path: &Path) -> Result<Table> {
    if !path.exists() {
        return Ok(Table::new());
    }
    let damaged =
        |how: String| bad_input(format!("the refusals in {} are damaged: {how}; restore the file from the repository", path.display()));
    let mut table = Table::new();
    for Row { engine, what, taken, refused } in csv_table::read(path).map_err(|error| damaged(error.to_string()))? {
        if refused == 0 {
            return Err(damaged(format!("{engine}, {what}: none of its cases is refused")));
        }
        let of_engine = table.entry(engine.clone()).or_default();
        if of_engine.insert(what.clone(), Cases { taken, refused }).is_some() {
            return Err(damaged(format!("{engine}, {what}: it is there twice")));
        }
    }
    Ok(table)
}

/// Writes it.
pub fn write(path: &Path, table: &Table) -> Result<()> {
    let row = |engine: &String, what: &String, &Cases { taken, refused }: &Cases| Row {
        engine: engine.clone(),
        what: what.clone(),
        taken,
        refused,
    };
    csv_table::write(path, table.iter().flat_map(|(engine, of_engine)| of_engine.iter().map(move |(what, cases)| row(engine, what, cases))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(said: &[&str]) -> OfEngine {
        said.iter().map(|said| parse(said).unwrap()).collect()
    }

    #[test]
    fn what_is_refused_now_is_worse_and_what_no_more_is_better() {
        let now =
            of(&["gelu at f16: 1 of 3", "gemm at int8: 3 of 3", "norm at f16: 2 of 4", "silu at f16: 2 of 3", "softmax at f16: 1 of 3"]);
        // Of `norm` the suite has a case more, which is refused.
        let before =
            of(&["gelu at f16: 3 of 3", "gemm at int8: 3 of 3", "mean at f16: 3 of 3", "norm at f16: 1 of 3", "silu at f16: 1 of 3"]);
        let told: Vec<String> = changes(&before, &now).iter().map(|(verdict, what)| format!("{}: {what}", verdict.name())).collect();
        let expected = [
            "improved: gelu at f16 is refused in 1 of 3 cases only, before in 3 of 3",
            "regressed: silu at f16 is refused in 2 of 3 cases, before in 1 of 3",
            "regressed: softmax at f16 is refused now, in 1 of 3 cases",
            "improved: mean at f16 is refused no more",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn where_the_suite_has_fewer_cases_their_share_decides() {
        let change = |before: &str, now: &str| {
            let of = |said: &str| parse(&format!("gemm at int8: {said}")).unwrap().1;
            of(now).change("gemm at int8", Some(of(before))).map(|(verdict, what)| format!("{}: {what}", verdict.name()))
        };
        let told =
            |verdict: &str, now: &str, before: &str| Some(format!("{verdict}: gemm at int8 is refused in {now}, before in {before}"));
        assert_eq!(change("4 of 12", "1 of 1"), told("regressed", "1 of 1 case", "4 of 12"));
        assert_eq!(change("4 of 12", "4 of 8"), told("regressed", "4 of 8 cases", "4 of 12"));
        for (before, now) in
            [("12 of 12", "1 of 1 case"), ("12 of 12", "8 of 8 cases"), ("6 of 12", "4 of 8 cases"), ("6 of 12", "1 of 8 cases")]
        {
            let counts = now.rsplit_once(' ').unwrap().0;
            assert_eq!(change(before, counts), told("pass", &format!("{now}, of which the suite has fewer now"), before));
        }
        assert_eq!(change("6 of 12", "6 of 12"), None);
        assert_eq!(change("12 of 12", "20 of 20"), None);
    }

    #[test]
    fn a_table_is_read_as_it_was_written_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x-refusals.csv");
        assert!(read(&path).unwrap().is_empty());
        let table = Table::from([("x".to_owned(), of(&["new: 1 of 3"])), ("y".to_owned(), of(&["kept: 2 of 2", "new: 1 of 3"]))]);
        write(&path, &table).unwrap();
        assert_eq!(read(&path).unwrap(), table);
        for (text, how) in [
            ("engine,what\nx\n", ""),
            ("x,gemm,3,0\n", "x, gemm: none of its cases"),
            ("x,gemm,3,1\nx,gemm,2,2\n", "x, gemm: it is there twice"),
        ] {
            std::fs::write(&path, if how.is_empty() { text.to_owned() } else { format!("engine,what,taken,refused\n{text}") }).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("damaged") && error.contains(how), "{error}");
        }
    }
}
