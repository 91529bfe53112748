//! The exact gate: what must not change from build to build, whatever the machine is doing meanwhile.
//!
//! Every cell of an experiment is brought up once, accounted and verified, and never timed. What it shows is held against a committed table
//! (`results/baselines/NAME.csv`), one row a cell:
//!
//! | changed | verdict |
//! |---|---|
//! | the output misses its tolerance, or is no longer checked | regressed |
//! | its error is more than twice the baseline's, on the same instruction set, and more than a twentieth of the tolerance | regressed |
//! | more declared bytes, allocations or operations | regressed; fewer: improved |
//! | native became composed, emulated or unsupported; composed became emulated or unsupported; and so on | regressed; the other way: improved |
//! | a cell is gone | regressed; it is new: told |
//!
//! On another instruction set than the baseline's, which has other kernels and rounds in another order, errors are not compared, and other changes are
//! told and fail nobody, but for cells that are not supported, failed or wrong: the tolerance holds on all. `--accept` writes the table
//! anew and keeps the reason beside it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use crossover_results::history::setting;
use crossover_results::schema::Status;
use crossover_results::write_atomically;
use serde::{Deserialize, Serialize};

use crate::errors::bad_input;
use crate::outcome::support_name;
use crate::plan::PlannedCell;
use crate::worker::conversation::Launcher;
use crate::worker::failure::WorkerFailure;
use crate::worker::steps::{self, Verified};

use super::pair::Design;
use super::verdict::Verdict;

/// Below this share of its tolerance an error may double without anybody noticing.
const QUIET: f64 = 0.05;

/// What one cell shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The cell.
    pub id: String,
    /// `family/kebab-name`.
    pub variant: String,
    /// The engine.
    pub engine: String,
    /// The axes that tell it from others of its variant, for people.
    pub setting: String,
    /// `native`, `composed`, `emulated`, `unsupported`, `wrong` or `failed`.
    pub support: String,
    /// The instruction set that computed it.
    pub isa: String,
    /// Largest absolute error against the same variant in f64.
    pub err_impl: Option<f64>,
    /// The largest error as a share of its tolerance.
    pub tolerance_used: Option<f64>,
    /// Weights, activations, scratch and state.
    pub declared_bytes: Option<u64>,
    /// Allocations of a call after warm-up.
    pub warm_allocations: Option<u64>,
    /// Operations of a call.
    pub flops: Option<u64>,
    /// Why it failed or is wrong; of this very build, so no part of the table.
    #[serde(skip)]
    pub why: Option<String>,
}

/// From best to worst.
const LEVELS: [&str; 6] = ["native", "composed", "emulated", "unsupported", "failed", "wrong"];

fn level(support: &str) -> usize {
    LEVELS.iter().position(|known| *known == support).unwrap_or(LEVELS.len())
}

/// One thing that changed about a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The cell, in words.
    pub cell: String,
    /// Regressed, improved, or pass for what is only told.
    pub verdict: Verdict,
    /// What changed.
    pub what: String,
}

/// What the cell shows in a fresh worker.
pub fn look(launcher: &mut dyn Launcher, cell: &PlannedCell, design: &Design) -> Result<Row, WorkerFailure> {
    let mut row = Row {
        id: cell.id.clone(),
        variant: cell.variant.clone(),
        engine: cell.engine.clone(),
        setting: setting(&cell.axes),
        support: "unsupported".to_owned(),
        isa: String::new(),
        err_impl: None,
        tolerance_used: None,
        declared_bytes: None,
        warm_allocations: None,
        flops: None,
        why: None,
    };
    match fill(&mut row, launcher, cell, design) {
        Ok(()) => {}
        Err(failure) if failure.is_interruption() => return Err(failure),
        Err(failure) if failure.status() == Status::Unsupported => {}
        Err(failure) => {
            "failed".clone_into(&mut row.support);
            row.why = Some(failure.to_string());
        }
    }
    Ok(row)
}

fn fill(row: &mut Row, launcher: &mut dyn Launcher, cell: &PlannedCell, design: &Design) -> Result<(), WorkerFailure> {
    let mut worker = launcher.start(&cell.engine, cell.threads(), design.deadline)?.conversation;
    let prepared = steps::prepare(worker.as_mut(), cell.wire(), None, design.deadline)?;
    row.isa.clone_from(&prepared.isa);
    row.flops = Some(prepared.flops);
    let verified = steps::verify(worker.as_mut(), None, design.deadline)?;
    // Last, as it ends the cell.
    let memory = steps::account(worker.as_mut(), design.deadline)?;
    row.declared_bytes = Some(memory.weight_bytes + memory.activation_bytes + memory.scratch_bytes + memory.state_bytes);
    row.warm_allocations = memory.warm_allocations;
    support_name(prepared.support).clone_into(&mut row.support);
    if let Verified::Judged(figures) = verified {
        (row.err_impl, row.tolerance_used) = (figures.err_impl, figures.tolerance_used);
        if !figures.passed {
            "wrong".clone_into(&mut row.support);
            row.why = figures.complaint;
        }
    }
    worker.quit();
    Ok(())
}

/// What changed from the baseline to now, worst first.
pub fn compare(baseline: &[Row], now: &[Row]) -> Vec<Change> {
    let old: BTreeMap<&str, &Row> = baseline.iter().map(|row| (row.id.as_str(), row)).collect();
    let new: BTreeMap<&str, &Row> = now.iter().map(|row| (row.id.as_str(), row)).collect();
    let name = |row: &Row| format!("{} on {}, {}", row.variant, row.engine, row.setting);
    let mut changes = Vec::new();
    for row in baseline.iter().filter(|row| !new.contains_key(row.id.as_str())) {
        changes.push(Change { cell: name(row), verdict: Verdict::Regressed, what: "it is gone".to_owned() });
    }
    for row in now {
        match old.get(row.id.as_str()) {
            None => changes.push(Change { cell: name(row), verdict: Verdict::Pass, what: "it is new".to_owned() }),
            Some(before) => {
                let of = |(verdict, what)| Change { cell: name(row), verdict, what };
                changes.extend(changes_of(before, row).into_iter().map(of));
            }
        }
    }
    let rank =
        |change: &Change| [Verdict::Regressed, Verdict::Improved, Verdict::Pass].iter().position(|verdict| *verdict == change.verdict);
    changes.sort_by_key(rank);
    changes
}

/// One of the figures of a row that are counts.
type Count = fn(&Row) -> Option<u64>;

fn changes_of(before: &Row, now: &Row) -> Vec<(Verdict, String)> {
    let mut changes = Vec::new();
    // Another instruction set has other kernels: what they hold natively, and what they pack, is theirs.
    let is_same = before.isa == now.isa;
    let here = |verdict: Verdict| if is_same { verdict } else { Verdict::Pass };
    if before.support != now.support {
        let is_worse = level(&now.support) > level(&before.support);
        let is_gone = is_worse && level(&now.support) >= level("unsupported");
        let verdict = if is_gone { Verdict::Regressed } else { here(if is_worse { Verdict::Regressed } else { Verdict::Improved }) };
        let why = now.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        changes.push((verdict, format!("{} became {}{why}", before.support, now.support)));
    }
    if let (Some(then), Some(error)) = (before.err_impl, now.err_impl)
        && is_same
        && error > 2.0 * then
        && now.tolerance_used.is_none_or(|used| used > QUIET)
    {
        changes.push((Verdict::Regressed, format!("its error grew from {then:.3e} to {error:.3e}")));
    }
    if before.err_impl.is_some() && now.err_impl.is_none() && before.support == now.support {
        changes.push((Verdict::Regressed, "its error is not told any more".to_owned()));
    }
    let counts: [(&str, Count); 3] = [
        ("declared bytes", |row| row.declared_bytes),
        ("allocations of a warm call", |row| row.warm_allocations),
        ("operations", |row| row.flops),
    ];
    for (what, of) in counts {
        match (of(before), of(now)) {
            (Some(then), Some(count)) if count > then => {
                changes.push((here(Verdict::Regressed), format!("{what} grew from {then} to {count}")))
            }
            (Some(then), Some(count)) if count < then => {
                changes.push((here(Verdict::Improved), format!("{what} fell from {then} to {count}")))
            }
            (Some(then), None) if now.support == before.support => {
                changes.push((Verdict::Regressed, format!("{what} were {then}, and are not told any more")));
            }
            _ => {}
        }
    }
    changes
}

/// Reads a baseline.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let refuse = |what: String| {
        bad_input(format!("{what}; restore it from the repository, or write it anew by `crossover gate --exact --accept \"REASON\"`"))
    };
    let mut reader =
        csv::Reader::from_path(path).map_err(|error| refuse(format!("the baseline {} cannot be read: {error}", path.display())))?;
    let rows: std::result::Result<Vec<Row>, csv::Error> = reader.deserialize().collect();
    let rows = rows.map_err(|error| refuse(format!("the baseline {} is damaged: {error}", path.display())))?;
    if rows.is_empty() {
        return Err(refuse(format!("the baseline {} has no cells", path.display())));
    }
    let mut ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(refuse(format!("the baseline {} has the cell {} twice", path.display(), pair[0]))),
        None => Ok(rows),
    }
}

/// Writes a baseline: sorted, so that a change of it reads as what changed.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|row| (&row.variant, &row.engine, &row.setting, &row.id));
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in sorted {
        writer.serialize(row)?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(write_atomically(path, &bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str) -> Row {
        Row {
            id: id.into(),
            variant: "attention/flash".into(),
            engine: "simd".into(),
            setting: "precision=f32 n=48".into(),
            support: "native".into(),
            isa: "avx2".into(),
            err_impl: Some(1e-7),
            tolerance_used: Some(0.1),
            declared_bytes: Some(1000),
            warm_allocations: Some(0),
            flops: Some(5000),
            why: None,
        }
    }

    fn told(before: Row, now: Row) -> Vec<String> {
        compare(&[before], &[now]).into_iter().map(|change| format!("{}: {}", change.verdict.name(), change.what)).collect()
    }

    #[test]
    fn what_did_not_change_is_not_told_and_errors_may_wander() {
        assert!(told(row("a"), row("a")).is_empty());
        assert!(told(row("a"), Row { err_impl: Some(1.9e-7), ..row("a") }).is_empty());
        assert!(told(row("a"), Row { err_impl: Some(9e-7), isa: "avx512".into(), ..row("a") }).is_empty(), "another instruction set");
        assert!(told(row("a"), Row { err_impl: Some(9e-7), tolerance_used: Some(0.01), ..row("a") }).is_empty(), "far below its bound");
    }

    #[test]
    fn each_kind_of_loss_is_a_regression_and_each_gain_is_told() {
        let of = |now: Row| told(row("a"), now);
        assert_eq!(of(Row { err_impl: Some(2.5e-7), ..row("a") }), ["regressed: its error grew from 1.000e-7 to 2.500e-7"]);
        assert_eq!(of(Row { declared_bytes: Some(1001), ..row("a") }), ["regressed: declared bytes grew from 1000 to 1001"]);
        assert_eq!(of(Row { warm_allocations: Some(1), ..row("a") }), ["regressed: allocations of a warm call grew from 0 to 1"]);
        assert_eq!(
            of(Row { warm_allocations: None, ..row("a") }),
            ["regressed: allocations of a warm call were 0, and are not told any more"]
        );
        assert_eq!(of(Row { err_impl: None, ..row("a") }), ["regressed: its error is not told any more"]);
        assert_eq!(of(Row { flops: Some(4000), ..row("a") }), ["improved: operations fell from 5000 to 4000"]);
        for (support, verdict) in
            [("composed", "regressed"), ("emulated", "regressed"), ("unsupported", "regressed"), ("wrong", "regressed")]
        {
            let now = Row { support: support.into(), ..row("a") };
            assert_eq!(of(now), [format!("{verdict}: native became {support}")]);
        }
        let elsewhere = |support: &str| Row { support: support.into(), isa: "neon".into(), declared_bytes: Some(2000), ..row("a") };
        assert_eq!(of(elsewhere("emulated")), ["pass: native became emulated", "pass: declared bytes grew from 1000 to 2000"]);
        assert_eq!(of(elsewhere("unsupported"))[0], "regressed: native became unsupported");
        assert_eq!(told(Row { support: "emulated".into(), ..row("a") }, row("a")), ["improved: emulated became native"]);
    }

    #[test]
    fn cells_that_come_and_go() {
        let changes = compare(&[row("a"), row("b")], &[row("b"), row("c")]);
        let told: Vec<String> = changes.iter().map(|change| format!("{} {}", change.verdict.name(), change.what)).collect();
        assert_eq!(told, ["regressed it is gone", "pass it is new"]);
    }

    #[test]
    fn a_baseline_comes_back_as_written_and_says_where_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/exact.csv");
        let odd = Row { setting: "a, \"quoted\" name".into(), err_impl: None, variant: "attention/a".into(), ..row("b") };
        write(&path, &[row("a"), odd.clone()]).unwrap();
        assert_eq!(read(&path).unwrap(), [odd, row("a")]);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("5000", "many")).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("line: 2") && error.contains("--accept"), "{error}");
        std::fs::write(&path, text.lines().next().unwrap()).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("has no cells"));
        std::fs::write(&path, text.clone() + text.lines().last().unwrap()).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("twice"));
        assert!(read(&folder.path().join("none.csv")).unwrap_err().to_string().contains("cannot be read"));
    }
}
