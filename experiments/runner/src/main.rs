//! The `crossover` program: reads the command line, hands over, and turns errors into exit codes.

use std::process::ExitCode;

use clap::Parser;
use crossover::cli::{Cli, Command};
use crossover::{commands, errors};
use crossover_protocol::text::tell;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // What is asked for (help, the version) is no error, and fits already.
        Err(answer) if !answer.use_stderr() => answer.exit(),
        Err(error) => {
            tell(&error.render().to_string());
            return ExitCode::from(2);
        }
    };
    let result = match cli.command {
        Command::List(args) => commands::list::list(&args),
        Command::Plan(args) => commands::plan::plan(&args),
        Command::Run(args) => commands::run::run(&args),
        Command::Cell(args) => commands::cell::cell(&args),
        Command::Apply(args) => commands::apply::apply(&args),
        Command::Probe(args) => commands::probe::probe(&args),
        Command::Report(args) => commands::handed_over::report(&args),
        Command::Compare(args) => commands::handed_over::compare(&args),
        Command::Advise(args) => commands::handed_over::advise(&args),
        Command::Gate(args) => commands::gate::gate(&args),
        Command::Record(args) => commands::record::record(&args),
        Command::Trend(args) => commands::handed_over::trend(&args),
        Command::Merge(args) => commands::merge::merge_runs(&args),
        Command::Import(args) => commands::import::import(&args),
        Command::Doctor(args) => commands::doctor::doctor(&args),
    };
    result.unwrap_or_else(|error| errors::report(&error))
}
