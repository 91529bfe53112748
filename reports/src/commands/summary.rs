//! The end of `crossover run`: a few lines on what came of it. Not for people to type; `crossover run` asks for it.

use std::process::ExitCode;

use clap::Args;

use crate::answers::answer;
use crate::error::Result;
use crate::summary::summary;

use super::one_run::OneRun;
use super::print;

/// Say in a few lines what came of a run.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  crossover summary results/runs/quick --width 80")]
pub(super) struct Arguments {
    #[command(flatten)]
    of: OneRun,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runs = arguments.of.open()?;
    print(&arguments.of.screen().show(&summary(&answer(&runs)?)?))?;
    Ok(ExitCode::SUCCESS)
}
