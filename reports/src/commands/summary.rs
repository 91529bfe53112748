//! The end of `crossover run`: a few lines on what came of it. Not for people to type; `crossover run` asks for it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::answers::answer;
use crate::error::Result;
use crate::runs;
use crate::summary::summary;
use crate::text::screen::Screen;

use super::print;

/// Say in a few lines what came of a run.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  crossover summary results/runs/quick --width 80")]
pub(super) struct Arguments {
    /// Folder of the run.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Columns [default: those of the terminal, else 80].
    #[arg(long, value_name = "W")]
    width: Option<usize>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runs = runs::open(std::slice::from_ref(&arguments.run))?;
    let screen = Screen::of_stdout();
    let screen = arguments.width.map_or(screen, |width| screen.wide(width));
    print(&screen.show(&summary(&answer(&runs)?)?))?;
    Ok(ExitCode::SUCCESS)
}
