//! The end of `crossover import`: a line for each cell. Not for people to type; `crossover import` asks for it.

use std::process::ExitCode;

use clap::Args;

use crate::answers::answer;
use crate::error::Result;
use crate::kernels::table;

use super::one_run::OneRun;
use super::print;

/// Show time, rates and share of the ceiling of each cell of a run.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  crossover kernels results/runs/criterion --width 80")]
pub(super) struct Arguments {
    #[command(flatten)]
    of: OneRun,
}

/// Runs the command: exit code 1 where a share is impossible.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runs = arguments.of.open()?;
    let (document, is_well) = table(&answer(&runs)?.rows, &runs)?;
    print(&arguments.of.screen().show(&document))?;
    Ok(ExitCode::from(u8::from(!is_well)))
}
