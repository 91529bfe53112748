//! The command lines of what needs frames. `crossover` hands `report`, `compare`, `advise`, `trend` and the ends of `run` and `import` on to this program, so help
//! and errors speak as `crossover`.

mod advise;
mod compare;
mod kernels;
mod one_run;
mod report;
mod summary;
mod trend;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use crossover_protocol::text::tell;

use crate::error::{ReportError, Result};

/// Where a project has its history.
const HISTORY: &str = "results/history.csv";

#[derive(Debug, Parser)]
#[command(name = "crossover", bin_name = "crossover", version, about = "The commands of crossover that look at finished runs.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Report(report::Arguments),
    Compare(compare::Arguments),
    Advise(advise::Arguments),
    Trend(trend::Arguments),
    #[command(hide = true)]
    Summary(summary::Arguments),
    #[command(hide = true)]
    Kernels(kernels::Arguments),
}

/// Runs a command with these arguments, the program's name first; returns the exit code.
pub fn run_command(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to tell it to where even the terminal is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match &cli.command {
        Command::Report(arguments) => report::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Advise(arguments) => advise::run(arguments),
        Command::Trend(arguments) => trend::run(arguments),
        Command::Summary(arguments) => summary::run(arguments),
        Command::Kernels(arguments) => kernels::run(arguments),
    };
    result.unwrap_or_else(|error| {
        tell(&format!("error: {error}"));
        ExitCode::from(if error.is_environment() { 3 } else { 2 })
    })
}

/// Prints. A reader that has gone (`| head`) ends the command quietly; a full disk does not.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(ReportError::Stdout(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn speaks_as_crossover_and_every_command_shows_an_example() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            for arguments in [&["/x/crossover-report", name, "--help"][..], &["crossover-report", name, "--nonsense"]] {
                let message = Cli::try_parse_from(arguments).unwrap_err().to_string();
                assert!(message.contains(&format!("Usage: crossover {name}")), "{message}");
                assert!(!message.contains("crossover-report"), "{message}");
                assert!(arguments[2] != "--help" || message.contains("Example"), "{message}");
            }
        }
    }
}
