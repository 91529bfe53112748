//! Where finished cells go: the journal first, then the tally and the screen.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result};
use crossover_core::axes::Axes;
use crossover_protocol::HelloReply;
use crossover_results::schema::Record;
use crossover_results::{Build, Instrument, Journal, Manifest, RunFolder, StoreError};

use crate::outcome::without_figures;
use crate::plan::{Group, PlannedCell};
use crate::progress::{Progress, Weight};
use crate::schedule::Sink;

use super::budget::TimeBudget;
use super::folder::blame;
use super::request::short;
use super::summary::Tally;

/// The run's end of the scheduler.
pub(super) struct Recorder<'a> {
    pub(super) journal: &'a mut Journal,
    pub(super) folder: &'a RunFolder,
    pub(super) manifest: &'a mut Manifest,
    /// When the run was gone on with, until that is in the manifest.
    pub(super) resumed: Option<u64>,
    pub(super) budget: &'a TimeBudget,
    pub(super) progress: Progress,
    pub(super) tally: Tally,
    /// Ask the cost model?
    pub(super) weighs: bool,
}

impl Recorder<'_> {
    /// A record that the store refuses must not end the run: the cell becomes a row without figures that says why.
    fn append(&mut self, records: &mut [Record]) -> Result<()> {
        match self.journal.append_batch(records) {
            Err(StoreError::NotStorable { .. }) => {}
            other => return other.map_err(blame),
        }
        for record in records {
            match self.journal.append(record) {
                Err(error @ StoreError::NotStorable { .. }) => {
                    *record = without_figures(record.clone(), error.to_string());
                    self.journal.append(record).map_err(blame)?;
                }
                other => other.map_err(blame)?,
            }
        }
        Ok(())
    }

    fn log(&self, engine: &str, cell: &str, text: &str) -> Result<()> {
        let path = self.folder.stderr_path(engine);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| writeln!(file, "--- cell {cell}\n{text}"));
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The weight of a cell for the estimate.
pub(super) fn weight(variant: &str, engine: &str, axes: &Axes, weighs: bool) -> Weight {
    if weighs { Weight::of(variant, engine, axes) } else { Weight::new(engine, 0, 0) }
}

impl Sink for Recorder<'_> {
    fn group_begins(&mut self, group: &Group) {
        self.progress.begin_group(group);
    }

    fn refuse(&mut self, cell: &PlannedCell) -> Option<String> {
        let weight = weight(&cell.variant, &cell.engine, &cell.axes, self.weighs);
        let estimate = self.progress.estimate();
        estimate.hopeless(&weight).or_else(|| self.budget.refuse(estimate.one(&weight)))
    }

    fn record(&mut self, mut records: Vec<Record>) -> Result<()> {
        if let Some(moment) = self.resumed.take() {
            self.manifest.resumed_unix_ms.push(moment);
            self.manifest.write(&self.folder.manifest_path()).map_err(blame)?;
        }
        self.append(&mut records)?;
        for record in &records {
            if let Some(tail) = &record.stderr_tail {
                self.log(&record.engine, &record.id, tail)?;
            }
            self.progress.cell_done(record, &weight(&record.variant, &record.engine, &record.axes, self.weighs));
            self.tally.add(record);
        }
        Ok(())
    }

    fn build(&mut self, hello: &HelloReply) -> Result<String> {
        let text = format!("{}\n{}\n{}", hello.worker, hello.version, hello.build);
        let fingerprint = short(blake3::hash(text.as_bytes()));
        if !self.manifest.builds.iter().any(|build| build.fingerprint == fingerprint) {
            let HelloReply { worker, version, build, instruments, .. } = hello.clone();
            let instruments = instruments.into_iter().map(|found| Instrument { name: found.name, absent: found.absent }).collect();
            self.manifest.builds.push(Build { fingerprint: fingerprint.clone(), worker, version, detail: build, instruments });
            self.manifest.write(&self.folder.manifest_path()).map_err(blame)?;
        }
        Ok(fingerprint)
    }

    fn stderr(&mut self, cell: &PlannedCell, text: &str) -> Result<()> {
        self.log(&cell.engine, &cell.id, text)
    }

    fn notice(&mut self, text: &str) {
        self.progress.notice(text);
    }

    fn group_ends(&mut self) {
        self.progress.end_group();
    }
}
