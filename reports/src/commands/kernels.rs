//! The end of `crossover import`: a line for each cell. Not for people to type; `crossover import` asks for it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::answers::answer;
use crate::error::Result;
use crate::kernels::table;
use crate::runs;
use crate::text::screen::Screen;

use super::print;

/// Show time, rates and share of the ceiling of each cell of a run.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  crossover kernels results/runs/criterion --width 80")]
pub(super) struct Arguments {
    /// Folder of the run.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Columns [default: those of the terminal, else 80].
    #[arg(long, value_name = "W")]
    width: Option<usize>,
}

/// Runs the command: exit code 1 where a share is impossible.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runs = runs::open(std::slice::from_ref(&arguments.run))?;
    let screen = Screen::of_stdout();
    let screen = arguments.width.map_or(screen, |width| screen.wide(width));
    let (document, is_well) = table(&answer(&runs)?.rows, &runs)?;
    print(&screen.show(&document))?;
    Ok(ExitCode::from(u8::from(!is_well)))
}
