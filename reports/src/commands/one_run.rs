//! The arguments of what says a few words of one run, at the end of another command.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::runs::{self, Run};
use crate::text::screen::Screen;

#[derive(Debug, Args)]
pub(super) struct OneRun {
    /// Folder of the run.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Columns [default: those of the terminal, else 80].
    #[arg(long, value_name = "W")]
    width: Option<usize>,
}

impl OneRun {
    pub(super) fn open(&self) -> Result<Vec<Run>> {
        runs::open(std::slice::from_ref(&self.run))
    }

    pub(super) fn screen(&self) -> Screen {
        let screen = Screen::of_stdout();
        self.width.map_or(screen, |width| screen.wide(width))
    }
}
