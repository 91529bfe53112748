//! `crossover import`: a run of what another program measured.
//!
//! Everything is read and checked before anything is written, and the run appears whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Error, Result};
use crossover_protocol::Ceilings;
use crossover_results::ceilings::joined;
use crossover_results::schema::{Record, SCHEMA_VERSION};
use crossover_results::{Build, Machine, Manifest, write_whole};
use serde_json::Value;

use crate::cli::{CriterionArgs, ImportArgs, Imported};
use crate::criterion::{self, BUILD, Benchmark, CriterionError, Origin, record};
use crate::errors::{bad_input, environment, finding};
use crate::outcome::unix_ms;
use crate::paths::Project;

use super::handed_over::told_by_report;
use super::print;
use super::run::{blame, command_line, name_of_now};
use super::text::{counted, wrap};

/// What an imported run is called.
const EXPERIMENT: &str = "criterion";

/// Benchmarks of one `cargo bench` are written seconds apart, the longest minutes.
const PAUSE_MS: u64 = 3_600_000;

/// Runs the command.
pub fn import(args: &ImportArgs) -> Result<ExitCode> {
    let Imported::Criterion(args) = &args.what;
    let benchmarks = criterion::read(&args.folder).map_err(blame_criterion)?;
    warn_of_earlier_benchmarks(&benchmarks);
    let ceilings = joined(&args.ceilings.iter().map(|file| ceilings(file)).collect::<Result<Vec<_>>>()?.concat());
    let machine = if args.here { Machine::detect() } else { Machine::unknown() };
    let origin = Origin { experiment: EXPERIMENT.to_owned(), machine: machine.fingerprint.clone() };
    let records: Vec<Record> = benchmarks.iter().map(|benchmark| record(benchmark, &origin)).collect();
    let out = args.out.clone().map_or_else(new_folder, Ok)?;
    write_whole(&out, &manifest(args, machine, ceilings, &records), &args.folder.display().to_string(), &records).map_err(blame)?;
    tell(args, &out, &records)
}

/// Where runs are, under a name that is not taken.
fn new_folder() -> Result<PathBuf> {
    let (runs, stem) = (Project::find()?.runs(), name_of_now(EXPERIMENT));
    let names = std::iter::once(stem.clone()).chain((2..100).map(|number| format!("{stem}-{number}")));
    names
        .map(|name| runs.join(name))
        .find(|path| !path.exists())
        .ok_or_else(|| environment(format!("{} has a hundred runs called {stem}: name a folder with --out", runs.display())))
}

fn manifest(args: &CriterionArgs, machine: Machine, ceilings: Option<Value>, records: &[Record]) -> Manifest {
    let build = Build {
        fingerprint: BUILD.to_owned(),
        worker: "criterion".to_owned(),
        version: "unknown".to_owned(),
        detail: format!("benchmarks from {}, of a build that nobody named; nobody checked what they computed", args.folder.display()),
        instruments: Vec::new(),
    };
    Manifest {
        schema: SCHEMA_VERSION,
        experiment: EXPERIMENT.to_owned(),
        command: command_line(),
        created_unix_ms: unix_ms(),
        resumed_unix_ms: Vec::new(),
        definition_hash: String::new(),
        plan_hash: hash(records),
        cells_planned: records.len() as u64,
        parts: Vec::new(),
        excluded: Default::default(),
        seed: 0,
        machine,
        builds: vec![build],
        ceilings,
        noise: None,
    }
}

/// Of all cells in their order: runs of other benchmarks have another.
fn hash(records: &[Record]) -> String {
    let ids: String = records.iter().map(|record| format!("{}\n", record.id)).collect();
    blake3::hash(ids.as_bytes()).to_hex()[..16].to_owned()
}

/// What a file of ceilings holds: one set of them, or several.
fn ceilings(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => bad_input(format!("there is no file {}: write it by `crossover probe --json`", file.display())),
        _ => environment(format!("{} cannot be read: {error}", file.display())),
    })?;
    let refuse =
        |error: serde_json::Error| bad_input(format!("{}: {error}; it should be what `crossover probe --json` prints", file.display()));
    let sets = match serde_json::from_str(&text).map_err(refuse)? {
        Value::Array(sets) => sets,
        set => vec![set],
    };
    sets.iter().try_for_each(|set| serde_json::from_value::<Ceilings>(set.clone()).map(drop)).map_err(refuse)?;
    Ok(sets)
}

/// The store has errors of its own.
fn blame_criterion(error: CriterionError) -> Error {
    if error.is_environment() { environment(error.to_string()) } else { bad_input(error.to_string()) }
}

/// Criterion's folder keeps every benchmark that ever ran, renamed ones included: where there was a pause, the earlier ones may be of another build.
fn warn_of_earlier_benchmarks(benchmarks: &[Benchmark]) {
    let mut written: Vec<u64> = benchmarks.iter().map(|benchmark| benchmark.written_unix_ms).collect();
    written.sort_unstable();
    let pause = written.windows(2).rposition(|pair| matches!(pair, [earlier, later] if later - earlier > PAUSE_MS));
    let Some(last) = pause else { return };
    let hours = (written.get(last + 1).zip(written.get(last))).map_or(0, |(later, earlier)| (later - earlier) / 3_600_000);
    crossover_protocol::text::tell(&format!(
        "warning: {} of the {} benchmarks were written {hours} hours or more before the others, so perhaps of another build: empty the folder and run \
         `cargo bench` again to have those of one build",
        last + 1,
        written.len()
    ));
}

/// What there is now: the report program has the frames for the table.
fn tell(args: &CriterionArgs, out: &Path, records: &[Record]) -> Result<ExitCode> {
    let ours = records.iter().filter(|record| record.speed.as_ref().is_some_and(|speed| speed.flops.is_some())).count();
    let (all, folder) = (counted(records.len() as u64, "benchmark"), args.folder.display());
    let heading = format!("{all} from {folder}, {ours} of the project's own; their output is unchecked");
    print(|out| write!(out, "{}", wrap("", heading.split_whitespace())))?;
    let told = told_by_report("kernels", out);
    print(|stdout| {
        if let Err(why) = &told {
            write!(stdout, "{}", wrap("table: ", format!("not there: {why}").split_whitespace()))?;
        }
        writeln!(stdout, "results: {}", out.display())?;
        writeln!(stdout, "report:  crossover report {}", out.display())
    })?;
    Ok(if told == Ok(false) { finding() } else { ExitCode::SUCCESS })
}
