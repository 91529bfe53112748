//! `crossover report`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use crossover_protocol::text::tell as told;

use crate::error::Result;
use crate::report::{Format, Outcome, write_with_trend};
use crate::splice::Part;
use crate::text::markdown::counted;
use crate::trend::{self, Page};

use super::HISTORY;

/// Turn finished runs into a report: documents with pictures, CSV files, and a page to explore.
///
/// A run that was killed is reported with the cells that it had finished. Runs of several machines stay apart. The folder of an earlier report is
/// used anew: what that report wrote and this one does not (as with fewer formats) is removed and told; a file of anybody else is never touched.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  crossover report results/runs/attention-quick --out report\n\n\
        Exit code: 0 good, 1 a share is impossible (above 100 % of the machine's ceiling), 2 bad input, 3 disk or permissions.")]
pub(super) struct Arguments {
    /// Folders of runs, as `crossover run` made them.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Where the report goes [default: a folder `report` in the first run's].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A document, such as a README, that gets the answer between its lines `<!-- crossover: answer -->` and `<!-- /crossover -->`, and what is said of
    /// peers between `<!-- crossover: peers -->` and `<!-- /crossover: peers -->`, where it has these and the runs have peers; wants the format md.
    #[arg(long, value_name = "FILE")]
    splice: Option<PathBuf>,
    /// Only these parts of the document.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,..", default_value = "answer,peers", requires = "splice")]
    splice_parts: Vec<Part>,
    /// The history of commits, for the page on its trend [default: results/history.csv of the project, where there is one].
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// The project whose history it is.
    #[arg(long, value_name = "DIR", hide = true)]
    project: Option<PathBuf>,
    /// What to write; what an earlier report in the folder has in other formats is removed.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORMAT,..", default_value = "md,csv,html")]
    format: Vec<FormatArgument>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArgument {
    /// A summary and one document a family, with pictures.
    Md,
    /// Every column of every cell, and each table of answers.
    Csv,
    /// One interactive page that opens from disk.
    Html,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    make(arguments).map(|outcome| tell(&outcome))
}

fn make(arguments: &Arguments) -> Result<Outcome> {
    // Beside what it is made of, so that a look at one run never replaces the report of another.
    let out = arguments.out.clone().unwrap_or_else(|| arguments.runs.first().map_or_else(PathBuf::new, |run| run.join("report")));
    let formats: Vec<Format> = arguments.format.iter().copied().map(Format::from).collect();
    let (page, warning) = trend_page(arguments)?;
    let splice = arguments.splice.as_deref().map(|document| (document, &arguments.splice_parts[..]));
    let mut outcome = write_with_trend(&arguments.runs, &out, &formats, splice, page.as_ref())?;
    outcome.warnings.extend(warning);
    Ok(outcome)
}

/// The page of a history, or why there is none. One that was named must be good; for the project's own no report is refused.
fn trend_page(arguments: &Arguments) -> Result<(Option<Page>, Option<String>)> {
    let of = |path: &Path| trend::page(&trend::read(path)?);
    if let Some(named) = &arguments.history {
        let page = of(named)?;
        let silence = page.is_none().then(|| format!("no page on the trend: no machine of {} has two commits", named.display()));
        return Ok((page, silence));
    }
    match arguments.project.as_ref().map(|project| project.join(HISTORY)).filter(|path| path.exists()) {
        None => Ok((None, None)),
        Some(path) => Ok(of(&path).map_or_else(|error| (None, Some(format!("no page on the trend: {error}"))), |page| (page, None))),
    }
}

fn tell(outcome: &Outcome) -> ExitCode {
    for warning in &outcome.warnings {
        told(&format!("warning: {warning}"));
    }
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{} of {}", counted(outcome.cells as u64, "cell"), counted(outcome.runs as u64, "run"));
    if !outcome.removed.is_empty() {
        let _ = writeln!(
            stdout,
            "removed: {} of the earlier report in that folder{}",
            counted(outcome.removed.len() as u64, "file"),
            named(&outcome.removed)
        );
    }
    let _ = writeln!(stdout, "report: {}", outcome.entry.display());
    if let Some(page) = outcome.page.as_ref().filter(|page| **page != outcome.entry) {
        let _ = writeln!(stdout, "page: {}", page.display());
    }
    ExitCode::from(u8::from(outcome.finding))
}

/// The first of the files that are no pictures, which are many and follow from them.
fn named(removed: &[String]) -> String {
    const NAMED: usize = 3;
    let names: Vec<&str> = removed.iter().map(String::as_str).filter(|file| !file.contains('/')).take(NAMED).collect();
    match names.len() {
        0 => String::new(),
        shown if shown == removed.len() => format!(" ({})", names.join(", ")),
        _ => format!(" ({}, ..)", names.join(", ")),
    }
}

impl From<FormatArgument> for Format {
    fn from(format: FormatArgument) -> Self {
        match format {
            FormatArgument::Md => Self::Markdown,
            FormatArgument::Csv => Self::Csv,
            FormatArgument::Html => Self::Html,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;

    use clap::Parser;

    fn read(arguments: &[&str]) -> Arguments {
        match Cli::try_parse_from([&["x", "report"], arguments].concat()).unwrap().command {
            Command::Report(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_formats_unless_told() {
        let all = read(&["a", "b"]);
        assert_eq!((all.runs.len(), all.format.len()), (2, 3));
        assert!(matches!(read(&["a", "--format", "csv"]).format[..], [FormatArgument::Csv]));
    }
}
