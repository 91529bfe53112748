//! `crossover compare`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use crossover_protocol::text::tell;
use crossover_results::write_atomically;

use crate::compare::{Extent, compare, document, json};
use crate::error::Result;
use crate::runs;
use crate::text::screen::Screen;

use super::print;

/// Rows of a table that somebody reads.
const USUAL_LIMIT: usize = 10;

/// Compare two runs cell by cell: times with verdicts, errors, declared bytes, statuses, what appeared and vanished.
///
/// Cells are matched by their id. Ratios are B over A: below 1, B is faster. The runs were not interleaved, so drift of the machine between
/// them is in every ratio; a comparison never fails on slower cells.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  crossover compare results/runs/before results/runs/after\n  \
        crossover compare results/runs/before results/runs/after --format md --out difference.md\n\n\
        Exit code: 0 good, 2 bad input (runs of two machines without --across-machines), 3 disk or permissions.")]
pub(super) struct Arguments {
    /// Folder of the run to compare with.
    #[arg(value_name = "RUN_A")]
    a: PathBuf,
    /// Folder of the run that is compared.
    #[arg(value_name = "RUN_B")]
    b: PathBuf,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Print to a file instead.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Rows of each table, the largest changes first; counts and means are always of all [default: 10, with json all].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Compare runs of different machines all the same.
    #[arg(long)]
    across_machines: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal.
    Text,
    /// Markdown.
    Md,
    /// JSON; its fields are stable.
    Json,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runs = runs::open(&[arguments.a.clone(), arguments.b.clone()])?;
    let comparison = compare(&runs, arguments.across_machines)?;
    let limit = arguments.limit.unwrap_or(if arguments.format == Format::Json { usize::MAX } else { USUAL_LIMIT });
    let text = match arguments.format {
        Format::Text => {
            let screen = if arguments.out.is_some() { Screen::file() } else { Screen::of_stdout() };
            screen.show(&document(&comparison, Extent { limit, is_wide: false })?)
        }
        Format::Md => document(&comparison, Extent { limit, is_wide: true })?.markdown("Crossover comparison"),
        Format::Json => format!("{:#}\n", json(&comparison, limit)?),
    };
    match &arguments.out {
        Some(file) => {
            write_atomically(file, text.as_bytes())?;
            tell(&format!("written: {}", file.display()));
        }
        None => print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}
