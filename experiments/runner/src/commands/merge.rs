//! `crossover merge`: runs that each did a part become one.

use std::process::ExitCode;

use anyhow::Result;
use crossover_results::merge;

use crate::cli::MergeArgs;

use super::print;
use super::run::{blame, command_line};
use super::text::counted;

/// Runs the command.
pub fn merge_runs(args: &MergeArgs) -> Result<ExitCode> {
    let merged = merge(&args.runs, &args.out, &command_line()).map_err(blame)?;
    for run in merged.iter().filter(|run| run.damaged > 0) {
        eprintln!(
            "warning: {} of the joined journals left out; resume their runs first to keep the cells",
            counted(run.damaged, "damaged line")
        );
    }
    for (folder, what) in merged.iter().flat_map(|run| {
        let torn = run
            .torn
            .iter()
            .map(|folder| (folder, "its journal's last line is not whole, and its cell is left out; resume it first to keep the cell"));
        torn.chain(run.empty.iter().map(|folder| (folder, "it has no whole cell")))
    }) {
        eprintln!("warning: {}: {what}", folder.display());
    }
    for run in &merged {
        if run.experiments.len() > 1 {
            let names: Vec<&str> = run.experiments.iter().map(String::as_str).collect();
            eprintln!("note: the joined runs are of different experiments: {}", names.join(", "));
        }
        if !run.missing_parts.is_empty() {
            eprintln!("note: parts of the plan are missing on machine {}: {}", run.machine, run.missing_parts.join(", "));
        }
    }
    print(|out| {
        for run in &merged {
            let (cells, runs) = (counted(run.finished.cells, "cell"), counted(run.runs as u64, "run"));
            writeln!(out, "machine {}: {cells} of {runs}, {} of them in more than one", run.machine, run.repeated)?;
            writeln!(out, "results: {}", run.folder.display())?;
        }
        let folders: Vec<String> = merged.iter().map(|run| run.folder.display().to_string()).collect();
        writeln!(out, "report:  crossover report {}", folders.join(" "))
    })?;
    Ok(ExitCode::SUCCESS)
}
