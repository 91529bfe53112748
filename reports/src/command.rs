//! The command line. `crossover report` hands its arguments on to this program, so help and errors speak as `crossover report`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use crossover_protocol::text::tell as told;

use crate::error::Result;
use crate::report::{Format, Outcome, write_report};
use crate::text::markdown::counted;

/// Turn finished runs into a report: Markdown tables and a CSV file of all cells.
///
/// A run that was killed is reported with the cells that it had finished. Runs of several machines stay apart.
#[derive(Debug, Parser)]
#[command(
    name = "crossover report",
    bin_name = "crossover report",
    version,
    after_help = "Example:\n  crossover report results/runs/attention-quick --out report\n\n\
        Exit code: 0 good, 1 a share is impossible (above 100 % of the machine's ceiling), 2 bad input, 3 disk or permissions."
)]
struct Arguments {
    /// Folders of runs, as `crossover run` made them.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Where the report goes [default: a folder `report` in the first run's].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A document, such as a README, that gets the answer between its lines `<!-- crossover: answer -->` and `<!-- /crossover -->`.
    #[arg(long, value_name = "FILE")]
    splice: Option<PathBuf>,
    /// What to write.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORMAT,..", default_value = "md,csv")]
    format: Vec<FormatArgument>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArgument {
    /// Summary and one Markdown table each for speed, memory and accuracy.
    Md,
    /// Every column of every cell.
    Csv,
}

/// Runs `crossover report` with these arguments, the program's name first; returns the exit code.
pub fn run_command(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to tell it to where even the terminal is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match make(&arguments) {
        Ok(outcome) => tell(&outcome),
        Err(error) => {
            told(&format!("error: {error}"));
            ExitCode::from(if error.is_environment() { 3 } else { 2 })
        }
    }
}

fn make(arguments: &Arguments) -> Result<Outcome> {
    // Beside what it is made of, so that a look at one run never replaces the report of another.
    let out = arguments.out.clone().unwrap_or_else(|| arguments.runs.first().map_or_else(PathBuf::new, |run| run.join("report")));
    let formats: Vec<Format> = arguments.format.iter().copied().map(Format::from).collect();
    write_report(&arguments.runs, &out, &formats, arguments.splice.as_deref())
}

fn tell(outcome: &Outcome) -> ExitCode {
    for warning in &outcome.warnings {
        told(&format!("warning: {warning}"));
    }
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{} of {}", counted(outcome.cells as u64, "cell"), counted(outcome.runs as u64, "run"));
    let _ = writeln!(stdout, "report: {}", outcome.entry.display());
    ExitCode::from(u8::from(outcome.finding))
}

impl From<FormatArgument> for Format {
    fn from(format: FormatArgument) -> Self {
        match format {
            FormatArgument::Md => Self::Markdown,
            FormatArgument::Csv => Self::Csv,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn speaks_as_crossover_report() {
        Arguments::command().debug_assert();
        for arguments in [&["/x/crossover-report", "--help"][..], &["crossover-report"], &["crossover-report", "r", "--format", "png"]] {
            let message = Arguments::try_parse_from(arguments).unwrap_err().to_string();
            assert!(message.contains("Usage: crossover report") || message.contains("possible values: md, csv"), "{message}");
            assert!(!message.contains("crossover-report"), "{message}");
        }
    }

    #[test]
    fn both_formats_unless_told() {
        let all = Arguments::try_parse_from(["x", "a", "b"]).unwrap();
        assert_eq!((all.runs.len(), all.format.len()), (2, 2));
        let one = Arguments::try_parse_from(["x", "a", "--format", "csv"]).unwrap();
        assert!(matches!(one.format[..], [FormatArgument::Csv]));
    }
}
