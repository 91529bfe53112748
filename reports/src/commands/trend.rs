//! `crossover trend`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::error::{ReportError, Result};
use crate::text::screen::Screen;
use crate::trend::{document, json, read};

use super::{HISTORY, print};

/// Show where the history of commits changed: at which commit, by how much, and how sure that is.
///
/// Times are ratios to a baseline within one run, searched for change points; what needs no clock changed wherever it is not as before.
/// Series of different machines are never put together. A trend never fails: `crossover gate` judges one commit.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  crossover trend\n  crossover trend --json | jq '.machines[].series[] | select(.changes != [])'\n\n\
        Exit code: 0 good, also where something changed; 2 a history that is missing or damaged, 3 disk or permissions.")]
pub(super) struct Arguments {
    /// The history [default: results/history.csv of the project].
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Print JSON; its fields are stable.
    #[arg(long)]
    json: bool,
    /// Changes of each machine in the text, the newest first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// The project whose history it is.
    #[arg(long, value_name = "DIR", hide = true)]
    project: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = arguments.history.clone().or_else(|| arguments.project.as_ref().map(|project| project.join(HISTORY)));
    let path = path.ok_or_else(|| ReportError::Question("this is no project, so name a history by --history".to_owned()))?;
    let trend = read(&path)?;
    match arguments.json {
        true => print(&format!("{:#}\n", json(&trend)))?,
        false => print(&Screen::of_stdout().show(&document(&trend, arguments.limit)))?,
    }
    Ok(ExitCode::SUCCESS)
}
