//! Joining runs: shards of one plan, or runs that each did a part.
//!
//! What a cell is, is in its id; where it was measured, is the machine. So runs are joined machine by machine, and of a cell that several
//! of them have the one with figures is kept, the first named where more than one has. Nothing is averaged, and the runs stay as they are.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::ceilings::joined;
use crate::error::{Result, StoreError};
use crate::journal::{Index, read_index, read_records};
use crate::manifest::Manifest;
use crate::run_folder::{Finished, RunFolder};
use crate::schema::Status;

/// How the copy of the experiment begins that a joined run has: it cannot be planned anew.
pub const JOINED: &str = "# Joined of ";

/// One joined run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Where it is.
    pub folder: PathBuf,
    /// The fingerprint of its machine.
    pub machine: String,
    /// The runs that went into it.
    pub runs: usize,
    /// The experiments that they are of.
    pub experiments: BTreeSet<String>,
    /// Parts of the plan that none of them was asked for, as `2/3`.
    pub missing_parts: Vec<String>,
    /// Cells that more than one of them had.
    pub repeated: u64,
    /// Damaged lines that were left out.
    pub damaged: u64,
    /// Runs whose journal ends in a line that is not whole; its cell is left out.
    pub torn: Vec<PathBuf>,
    /// Runs that were stopped before their first cell.
    pub empty: Vec<PathBuf>,
    /// What it holds.
    pub finished: Finished,
}

/// A run to be joined.
struct Part {
    folder: RunFolder,
    manifest: Manifest,
}

impl Part {
    /// False where it was stopped before its first cell.
    fn has_journal(&self) -> bool {
        self.folder.journal_path().exists()
    }
}

/// Joins runs into `out`: one run there, or one in a folder for each machine.
///
/// # Errors
/// When a run cannot be read or is named twice, when their layouts of records differ, or when `out` cannot be written or holds something else.
pub fn merge(runs: &[PathBuf], out: &Path, command: &str) -> Result<Vec<Merged>> {
    let mut parts: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    let mut layout: Option<(PathBuf, u32)> = None;
    let mut seen = HashSet::new();
    for path in runs {
        if !seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            return Err(StoreError::SameRunTwice { path: path.clone() });
        }
        let folder = RunFolder::open(path)?;
        let manifest = Manifest::read(&folder.manifest_path())?;
        match &layout {
            Some((other, others)) if *others != manifest.schema => {
                return Err(StoreError::MixedLayouts { path: path.clone(), own: manifest.schema, other: other.clone(), others: *others });
            }
            _ => layout = Some((path.clone(), manifest.schema)),
        }
        parts.entry(manifest.machine.fingerprint.clone()).or_default().push(Part { folder, manifest });
    }
    let several = parts.len() > 1;
    let join = |(machine, parts): (String, Vec<Part>)| {
        let folder = if several { out.join(&machine) } else { out.to_owned() };
        join(&parts, &folder, machine, command)
    };
    parts.into_iter().map(join).collect()
}

fn join(parts: &[Part], out: &Path, machine: String, command: &str) -> Result<Merged> {
    let mut best: HashMap<String, (u8, usize)> = HashMap::new();
    let mut repeated = HashSet::new();
    let mut empty = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let index = if part.has_journal() { read_index(&part.folder.journal_path())? } else { Index::default() };
        if index.cells.is_empty() {
            empty.push(part.folder.path().to_owned());
        }
        for (id, status) in index.cells {
            let rank = rank(status);
            match best.get_mut(&id) {
                None => drop(best.insert(id, (rank, at))),
                Some(known) => {
                    *known = (*known).min((rank, at));
                    repeated.insert(id);
                }
            }
        }
    }
    let folder = RunFolder::create(out)?;
    let lock = folder.lock()?;
    let sources: Vec<String> = parts.iter().map(|part| part.folder.path().display().to_string()).collect();
    folder.write_definition(&format!("{JOINED}{}: what was asked is in their own copies.\n", sources.join(", ")))?;
    let joined = manifest(parts, command);
    joined.write(&folder.manifest_path())?;
    let (mut journal, _) = folder.open_journal(&lock)?;
    let (mut damaged, mut torn) = (0, Vec::new());
    for (at, part) in parts.iter().enumerate().filter(|(_, part)| part.has_journal()) {
        let mut records = read_records(&part.folder.journal_path())?;
        for record in records.by_ref() {
            let record = record?;
            // Of an id that a journal has twice the last counts, as always: the table's maker sees to it.
            if best.get(&record.id).is_some_and(|(_, winner)| *winner == at) {
                journal.append(&record)?;
            }
        }
        damaged += records.recovery().damaged_total;
        if records.recovery().torn_bytes > 0 {
            torn.push(part.folder.path().to_owned());
        }
    }
    let finished = folder.finish()?;
    Ok(Merged {
        folder: out.to_owned(),
        machine,
        runs: parts.len(),
        experiments: parts.iter().map(|part| part.manifest.experiment.clone()).collect(),
        missing_parts: joined.missing_parts(),
        repeated: repeated.len() as u64,
        damaged,
        torn,
        empty,
        finished,
    })
}

/// Which of two records of a cell is worth more: lower is.
fn rank(status: Status) -> u8 {
    match status {
        Status::Ok | Status::Emulated | Status::Unchecked => 0,
        // A failure says something, having had no time does not.
        Status::OverBudget => 2,
        _ => 1,
    }
}

/// What the joined runs have in common, or all of it.
fn manifest(parts: &[Part], command: &str) -> Manifest {
    let all = |get: fn(&Manifest) -> &String| -> String {
        let distinct: BTreeSet<&str> = parts.iter().map(|part| get(&part.manifest).as_str()).collect();
        distinct.into_iter().collect::<Vec<_>>().join("+")
    };
    let first = &parts[0].manifest;
    let mut excluded: BTreeMap<String, u64> = BTreeMap::new();
    let mut counted = BTreeSet::new();
    for part in parts.iter().filter(|part| counted.insert(part.manifest.plan_hash.as_str())) {
        part.manifest.excluded.iter().for_each(|(because, cells)| *excluded.entry(because.clone()).or_default() += cells);
    }
    let mut builds = Vec::new();
    for build in parts.iter().flat_map(|part| &part.manifest.builds) {
        if !builds.contains(build) {
            builds.push(build.clone());
        }
    }
    let mut resumed_unix_ms: Vec<u64> = parts.iter().flat_map(|part| part.manifest.resumed_unix_ms.iter().copied()).collect();
    resumed_unix_ms.sort_unstable();
    let noisiest = parts.iter().filter_map(|part| part.manifest.noise.as_ref()).max_by(|one, other| one.floor.total_cmp(&other.floor));
    Manifest {
        experiment: all(|manifest| &manifest.experiment),
        command: command.to_owned(),
        created_unix_ms: parts.iter().map(|part| part.manifest.created_unix_ms).min().unwrap_or_default(),
        resumed_unix_ms,
        definition_hash: all(|manifest| &manifest.definition_hash),
        plan_hash: all(|manifest| &manifest.plan_hash),
        cells_planned: planned(parts.iter().map(|part| &part.manifest)),
        parts: parts.iter().flat_map(|part| part.manifest.parts.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect(),
        builds,
        excluded,
        ceilings: ceilings(parts),
        noise: noisiest.cloned(),
        ..first.clone()
    }
}

/// How many cells the plans have together. Parts of one plan stand for all of it, so that one which is missing is missed; repetitions count
/// once. Plans that merely overlap are counted apart, so that a joined run of such may look less complete than it is, never more.
fn planned<'m>(manifests: impl Iterator<Item = &'m Manifest>) -> u64 {
    let mut plans: BTreeMap<&str, u64> = BTreeMap::new();
    for manifest in manifests {
        match &manifest.parts[..] {
            [] => drop(plans.insert(&manifest.plan_hash, manifest.cells_planned)),
            parts => plans.extend(parts.iter().map(|part| (part.plan_hash.as_str(), part.cells))),
        }
    }
    plans.values().sum()
}

/// Those of every number of threads that any of the runs has measured.
fn ceilings(parts: &[Part]) -> Option<Value> {
    joined(parts.iter().filter_map(|part| part.manifest.ceilings.as_ref()?.as_array()).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use crate::schema::{Record, SCHEMA_VERSION};
    use crate::schema_examples::small_record;

    /// A run of that machine with these cells.
    fn run(root: &Path, name: &str, machine: &str, cells: &[(&str, Status)]) -> PathBuf {
        let path = root.join(name);
        let folder = RunFolder::create(&path).unwrap();
        let lock = folder.lock().unwrap();
        let mut own = manifest::example();
        own.machine.fingerprint = machine.into();
        own.plan_hash = format!("plan-{name}");
        own.write(&folder.manifest_path()).unwrap();
        let (mut journal, _) = folder.open_journal(&lock).unwrap();
        for (id, status) in cells {
            journal.append(&record(id, *status, name)).unwrap();
        }
        path
    }

    fn record(id: &str, status: Status, reason: &str) -> Record {
        Record { status, reason: Some(reason.into()), ..small_record(id) }
    }

    fn cells(folder: &Path) -> Vec<(String, String)> {
        let records = read_records(&folder.join("journal.txt")).unwrap();
        records.map(|record| record.map(|record| (record.id, record.reason.unwrap())).unwrap()).collect()
    }

    #[test]
    fn shards_become_one_run_and_of_a_cell_the_better_record_stays() {
        let root = tempfile::tempdir().unwrap();
        let one = run(root.path(), "one", "m", &[("a", Status::Unsupported), ("b", Status::OverBudget), ("c", Status::Emulated)]);
        let two = run(root.path(), "two", "m", &[("b", Status::Crashed), ("c", Status::Emulated), ("d", Status::Emulated)]);
        let out = root.path().join("out");
        let merged = merge(&[one, two], &out, "crossover merge").unwrap();
        assert_eq!((merged.len(), merged[0].runs, merged[0].repeated, merged[0].finished.cells), (1, 2, 2, 4));
        let expected = [("a", "one"), ("c", "one"), ("b", "two"), ("d", "two")];
        assert_eq!(cells(&out), expected.map(|(id, from)| (id.to_owned(), from.to_owned())));
        let manifest = Manifest::read(&out.join("manifest.json")).unwrap();
        assert_eq!((manifest.cells_planned, manifest.plan_hash.as_str()), (24, "plan-one+plan-two"));
        assert_eq!(manifest.resumed_unix_ms, [1_700_000_360_000; 2]);
        assert_eq!(manifest.excluded, BTreeMap::from([("too slow".to_owned(), 4)]));
        assert!(out.join("cells.parquet").is_file());
    }

    #[test]
    fn what_a_run_could_not_give_is_told_and_one_that_is_named_twice_refused() {
        let root = tempfile::tempdir().unwrap();
        let [whole, torn, empty] = ["whole", "torn", "empty"].map(|name| run(root.path(), name, "m", &[(name, Status::Unsupported)]));
        let journal = torn.join("journal.txt");
        let text = std::fs::read(&journal).unwrap();
        std::fs::write(&journal, &text[..text.len() - 5]).unwrap();
        std::fs::remove_file(empty.join("journal.txt")).unwrap();
        let merged = merge(&[whole.clone(), torn.clone(), empty.clone()], &root.path().join("out"), "c").unwrap();
        assert_eq!((merged[0].finished.cells, &merged[0].torn, &merged[0].empty), (1, &vec![torn.clone()], &vec![torn, empty]));
        let error = merge(
            &[whole.clone(), root.path().join("../").join(root.path().file_name().unwrap()).join("whole")],
            &root.path().join("twice"),
            "c",
        );
        assert!(matches!(error, Err(StoreError::SameRunTwice { .. })), "{error:?}");
    }

    #[test]
    fn a_missing_part_is_missed() {
        let root = tempfile::tempdir().unwrap();
        let runs = [(1, "a"), (3, "b"), (3, "c")].map(|(index, name)| {
            let path = run(root.path(), name, "m", &[(name, Status::Unsupported)]);
            let own = Manifest::read(&path.join("manifest.json")).unwrap();
            let parts = vec![manifest::Part { index, count: 3, plan_hash: "whole".into(), cells: 40 }];
            Manifest { parts, cells_planned: 13, ..own }.write(&path.join("manifest.json")).unwrap();
            path
        });
        let out = root.path().join("out");
        merge(&runs, &out, "crossover merge").unwrap();
        let manifest = Manifest::read(&out.join("manifest.json")).unwrap();
        assert_eq!((manifest.cells_planned, manifest.parts.len(), manifest.missing_parts()), (40, 2, vec!["2/3".to_owned()]));
    }

    #[test]
    fn ceilings_of_all_thread_counts_are_kept() {
        let part = |threads: &[u64], speed: u64| {
            let sets = threads.iter().map(|threads| serde_json::json!({"threads": threads, "speed": speed})).collect();
            let folder = RunFolder::create(&tempfile::tempdir().unwrap().keep()).unwrap();
            Part { folder, manifest: Manifest { ceilings: Some(Value::Array(sets)), ..manifest::example() } }
        };
        let (parts, expected) =
            ([part(&[2], 1), part(&[1, 2], 3)], serde_json::json!([{"threads": 2, "speed": 3}, {"threads": 1, "speed": 3}]));
        assert_eq!(ceilings(&parts), Some(expected));
        parts.iter().for_each(|part| std::fs::remove_dir_all(part.folder.path()).unwrap());
    }

    #[test]
    fn machines_stay_apart() {
        let root = tempfile::tempdir().unwrap();
        let runs = ["m", "k"].map(|machine| run(root.path(), machine, machine, &[("a", Status::Unsupported)]));
        let out = root.path().join("out");
        let merged = merge(&runs, &out, "crossover merge").unwrap();
        assert_eq!(merged.iter().map(|merged| merged.folder.clone()).collect::<Vec<_>>(), [out.join("k"), out.join("m")]);
        assert_eq!(cells(&out.join("k")), [("a".to_owned(), "k".to_owned())]);
    }

    #[test]
    fn other_layouts_and_folders_in_use_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let runs = ["x", "y"].map(|name| run(root.path(), name, "m", &[("a", Status::Unsupported)]));
        let text = std::fs::read_to_string(runs[1].join("manifest.json")).unwrap();
        std::fs::write(runs[1].join("manifest.json"), text.replacen(&format!("\"schema\": {SCHEMA_VERSION}"), "\"schema\": 1", 1)).unwrap();
        let error = merge(&runs, &root.path().join("out"), "c").unwrap_err().to_string();
        assert!(error.contains("layout 1") && error.contains(&format!("layout {SCHEMA_VERSION}")), "{error}");
        std::fs::write(runs[1].join("manifest.json"), text).unwrap();
        assert!(matches!(merge(&runs, &runs[0], "c"), Err(StoreError::AlreadyARun { .. })));
        assert!(matches!(merge(&[root.path().join("none")], &root.path().join("out"), "c"), Err(StoreError::NoRun { .. })));
    }
}
