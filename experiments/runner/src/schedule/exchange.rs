//! Files for workers that do not draw their inputs or judge their outputs themselves.
//!
//! A worker of our own, the clerk, writes a cell's inputs before `prepare` and judges the output after `verify`. It is started when
//! first needed, sleeps in between, and is started anew after it failed. The files live in the run folder's `tmp/` and are removed
//! when the cell has been verified.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossover_protocol::{AccuracyFigures, Cell};

use crate::worker::conversation::{Conversation, Launcher};
use crate::worker::failure::WorkerFailure;
use crate::worker::steps;

/// The clerk and its desk.
pub struct Exchange {
    folder: PathBuf,
    clerk: Option<Box<dyn Conversation>>,
}

/// The files of one cell; dropped, they are removed.
#[derive(Debug)]
pub struct CellFiles {
    inputs: PathBuf,
    output: PathBuf,
    has_inputs: bool,
}

impl CellFiles {
    /// Where the worker writes its output.
    pub fn output(&self) -> &Path {
        &self.output
    }
}

impl Drop for CellFiles {
    fn drop(&mut self) {
        // They may never have been written. What cannot be removed goes with `tmp/` at the end of the run.
        let _ = fs::remove_file(&self.inputs);
        let _ = fs::remove_file(&self.output);
    }
}

impl Exchange {
    /// With a folder for the files, as an absolute path: workers may live in another folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, clerk: None }
    }

    /// Names for a cell's files; nothing is written yet.
    pub fn files(&self, id: &str) -> CellFiles {
        let path = |what: &str| self.folder.join(format!("{id}-{what}.safetensors"));
        CellFiles { inputs: path("inputs"), output: path("output"), has_inputs: false }
    }

    /// The file with the cell's inputs, written when first asked for.
    pub fn inputs(
        &mut self,
        launcher: &mut dyn Launcher,
        cell: &Cell,
        files: &mut CellFiles,
        deadline: Duration,
    ) -> Result<PathBuf, WorkerFailure> {
        if !files.has_inputs {
            self.ask(launcher, deadline, |clerk| steps::materialize(clerk, cell.clone(), files.inputs.clone(), deadline))?;
            files.has_inputs = true;
        }
        Ok(files.inputs.clone())
    }

    /// Compares a cell's output with the reference.
    pub fn judge(
        &mut self,
        launcher: &mut dyn Launcher,
        cell: &Cell,
        files: &CellFiles,
        deadline: Duration,
    ) -> Result<AccuracyFigures, WorkerFailure> {
        self.ask(launcher, deadline, |clerk| steps::judge(clerk, cell.clone(), files.output.clone(), deadline))
    }

    /// Sends the clerk home.
    pub fn close(&mut self) {
        if let Some(clerk) = self.clerk.take() {
            clerk.quit();
        }
    }

    fn ask<T>(
        &mut self,
        launcher: &mut dyn Launcher,
        deadline: Duration,
        question: impl FnOnce(&mut dyn Conversation) -> Result<T, WorkerFailure>,
    ) -> Result<T, WorkerFailure> {
        let mut clerk = match self.clerk.take() {
            Some(clerk) => clerk,
            None => launcher.start_clerk(deadline)?.conversation,
        };
        let answer = question(clerk.as_mut());
        if answer.as_ref().err().is_none_or(WorkerFailure::leaves_worker_alive) {
            self.clerk = Some(clerk);
        }
        answer
    }
}
