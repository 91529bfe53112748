//! What a run is asked to do: an experiment and the options that change it, and the plan that follows from both.
//!
//! The run folder keeps the experiment's text with the options as a comment in its first line, so that `--resume` makes the same plan
//! even when the experiment file has changed since. Files of engines (`--engine-file`) are among the options, text and all. Hashes of text and plan tell whether it really is the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use crossover_results::{IMPORTED, JOINED, Part};
use serde::{Deserialize, Serialize};

use crate::cli::{EngineArgs, SelectionArgs};
use crate::commands::{expect_cells, expect_files, own_worker, processors};
use crate::definition::{self, Definition, EngineFile};
use crate::errors::{bad_input, environment};
use crate::plan::{Override, Plan, Selection};

/// A planned request.
pub(super) struct Request {
    pub(super) definition: Definition,
    pub(super) plan: Plan,
    /// Which part of a larger plan it is, if so.
    pub(super) part: Option<Part>,
    pub(super) options: Options,
    /// The experiment's text, without options.
    pub(super) text: String,
    /// Hash of that.
    pub(super) definition_hash: String,
    /// Hash of all cells in their order.
    pub(super) plan_hash: String,
    /// Thread counts that occur.
    pub(super) threads: BTreeSet<u32>,
}

/// The options, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    set: Vec<String>,
    filter: Vec<String>,
    threads: Option<u32>,
    shard: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    engines: Vec<EngineText>,
}

/// An engine file as it was when the run was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineText {
    /// Its absolute path: the command is started in that folder.
    file: PathBuf,
    text: String,
}

/// Begins the first line of a run's own copy.
const OPTIONS: &str = "# Options of this run: ";

impl Request {
    /// From an experiment file and the command line.
    pub(super) fn new(file: &Path, selection: &SelectionArgs, engines: &EngineArgs) -> Result<Self> {
        // The loader bounds the size and explains what is wrong; the text itself is for the run's copy.
        definition::load(file)?;
        let text = std::fs::read_to_string(file).map_err(|error| environment(format!("{} cannot be read: {error}", file.display())))?;
        Self::plan(file, text, Options::of(selection, engines)?)
    }

    /// From a run's own copy.
    pub(super) fn from_copy(file: &Path) -> Result<Self> {
        let copy = std::fs::read_to_string(file).map_err(|error| environment(format!("{} cannot be read: {error}", file.display())))?;
        if copy.starts_with(JOINED) {
            let folder = file.parent().unwrap_or(file).display();
            return Err(bad_input(format!(
                "{folder} was made by `crossover merge`: resume the runs that were joined, and join them again"
            )));
        }
        if copy.starts_with(IMPORTED) {
            let folder = file.parent().unwrap_or(file).display();
            return Err(bad_input(format!("{folder} was made by `crossover import`: measure the benchmarks again, and import them anew")));
        }
        let parts = copy.strip_prefix(OPTIONS).and_then(|rest| rest.split_once('\n'));
        let (options, text) = parts.ok_or_else(|| damaged(file, &format!("the first line should begin with `{OPTIONS}`")))?;
        let options = serde_json::from_str(options).map_err(|error| damaged(file, &error.to_string()))?;
        Self::plan(file, text.to_owned(), options)
    }

    fn plan(file: &Path, text: String, options: Options) -> Result<Self> {
        let definition = options.with_engines(definition::parse(file, &text)?)?;
        let Selection { set, filters, shard } = options.selection()?.selection()?;
        let mut plan = Plan::new(&definition, &own_worker::engine_names()?, Selection { set, filters, shard: None })?;
        let mut part = None;
        if let Some(shard) = shard {
            part = Some(Part { index: shard.index(), count: shard.count(), plan_hash: walk(&plan).0, cells: plan.cell_count() });
            plan = plan.part(shard)?;
        }
        expect_cells(&plan)?;
        expect_files(&plan)?;
        let (plan_hash, threads) = walk(&plan);
        if let Some(fewest) = threads.first().filter(|fewest| **fewest > processors()) {
            return Err(bad_input(format!(
                "{}: every cell wants {fewest} threads or more, and this process may run on {} processors: use fewer --threads",
                definition.name,
                processors()
            )));
        }
        let definition_hash = short(blake3::hash(text.as_bytes()));
        Ok(Self { definition, plan, part, options, text, definition_hash, plan_hash, threads })
    }

    /// The text for the run's own copy.
    pub(super) fn copy(&self) -> Result<String> {
        let options = serde_json::to_string(&self.options).context("the options cannot be written")?;
        Ok(format!("{OPTIONS}{options}\n{}", self.text))
    }
}

impl Options {
    /// As typed; engine files are read.
    pub(super) fn of(selection: &SelectionArgs, engines: &EngineArgs) -> Result<Self> {
        let engines = engines.engine_files.iter().map(|file| EngineText::read(file)).collect::<Result<_>>()?;
        Ok(Self {
            engines,
            set: selection.set.iter().map(Override::to_string).collect(),
            filter: selection.filter.clone(),
            threads: selection.threads,
            shard: selection.shard.map(|shard| shard.to_string()),
        })
    }

    /// The experiment with the engines of the files.
    fn with_engines(&self, definition: Definition) -> Result<Definition> {
        self.engines
            .iter()
            .try_fold(definition, |definition, engine| Ok(definition.with_engine(&EngineFile::parse(&engine.file, engine.text.clone())?)?))
    }

    /// The first engine file that has another text than that of the same path among the others.
    pub(super) fn changed_engine(&self, others: &Self) -> Option<&Path> {
        let differs = |one: &&EngineText| others.engines.iter().any(|other| other.file == one.file && other.text != one.text);
        self.engines.iter().find(differs).map(|engine| engine.file.as_path())
    }

    fn selection(&self) -> Result<SelectionArgs> {
        let set = self.set.iter().map(|text| text.parse().map_err(|error| bad_input(format!("--set {text}: {error}"))));
        let shard = self.shard.as_ref().map(|text| text.parse().map_err(|error| bad_input(format!("--shard {text}: {error}"))));
        Ok(SelectionArgs {
            set: set.collect::<Result<_>>()?,
            filter: self.filter.clone(),
            threads: self.threads,
            shard: shard.transpose()?,
        })
    }
}

impl EngineText {
    fn read(file: &Path) -> Result<Self> {
        // Checked here, so that messages name the file as it was typed.
        let EngineFile { text, .. } = EngineFile::load(file)?;
        let absolute = std::path::absolute(file).map_err(|error| environment(format!("{}: {error}", file.display())))?;
        Ok(Self { file: absolute, text })
    }
}

impl std::fmt::Display for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = self.set.iter().map(|text| format!("--set {text}"));
        let filter = self.filter.iter().map(|text| format!("--filter '{text}'"));
        let threads = self.threads.iter().map(|threads| format!("--threads {threads}"));
        let shard = self.shard.iter().map(|shard| format!("--shard {shard}"));
        let engines = self.engines.iter().map(|engine| format!("--engine-file {}", engine.file.display()));
        let all: Vec<String> = set.chain(filter).chain(threads).chain(shard).chain(engines).collect();
        if all.is_empty() { f.write_str("no options") } else { f.write_str(&all.join(" ")) }
    }
}

/// The plan's hash and the thread counts in it, in one walk.
fn walk(plan: &Plan) -> (String, BTreeSet<u32>) {
    let (mut hasher, mut threads) = (blake3::Hasher::new(), BTreeSet::new());
    for group in plan.groups() {
        hasher.update(group.id.as_bytes());
        for cell in &group.cells {
            hasher.update(cell.id.as_bytes());
            hasher.update(if cell.baseline { b"*" } else { b"," });
            threads.insert(cell.threads());
        }
        hasher.update(b"\n");
    }
    (short(hasher.finalize()), threads)
}

/// The first 16 hex digits.
pub(super) fn short(hash: blake3::Hash) -> String {
    hash.to_hex()[..16].to_owned()
}

fn damaged(file: &Path, problem: &str) -> anyhow::Error {
    environment(format!("{}:1: not the copy that a run keeps of its experiment ({problem}): start a new run", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_the_copy() {
        let selection = SelectionArgs {
            set: vec!["n=1,2".parse().unwrap(), "sparsity=1.0,0.5".parse().unwrap()],
            filter: vec!["family == \"ffn\"".into()],
            threads: Some(2),
            shard: Some("1/4".parse().unwrap()),
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.toml");
        std::fs::write(&file, "name = 'mine'\ncommand = ['x']\n").unwrap();
        let engines = EngineArgs { engine_files: vec![file.clone()] };
        let options = Options::of(&selection, &engines).unwrap();
        let spelled = format!(
            "--set n=1,2 --set sparsity=1.0,0.5 --filter 'family == \"ffn\"' --threads 2 --shard 1/4 --engine-file {}",
            file.display()
        );
        assert_eq!(options.to_string(), spelled);
        let text = serde_json::to_string(&options).unwrap();
        let back: Options = serde_json::from_str(&text).unwrap();
        assert_eq!(back, options);
        assert_eq!(Options::of(&back.selection().unwrap(), &engines).unwrap(), options);
        std::fs::write(&file, "name = 'mine'\ncommand = ['y']\n").unwrap();
        assert_eq!(Options::of(&selection, &engines).unwrap().changed_engine(&options), Some(file.as_path()));
        assert_eq!(options.changed_engine(&back), None);
        // Runs of before have no engine files.
        assert!(!serde_json::to_string(&Options::default()).unwrap().contains("engines"));
        assert_eq!(Options::default().to_string(), "no options");
        assert!(!text.contains('\n'));
    }
}
