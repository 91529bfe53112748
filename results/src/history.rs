//! The history: what runs of many commits showed, in one small table that is committed (`results/history.csv`).
//!
//! # Design
//!
//! **What is kept.** A time of one day says nothing beside a time of another: on a shared machine it is of the neighbours as much as of the
//! code. So only what can be compared over weeks is a line:
//!
//! * `time-ratio`, the time of a cell over that of its baseline *in the same rounds of the same run* ([`crate::schema::Beside`]), with the
//!   interval that reports give (ends divided crosswise). A baseline has nobody beside it but other baselines of its group, as of other
//!   engines: it is divided by the first of these, by engine, variant and id. Of that first one, and of a baseline alone in its group, there is no
//!   ratio: only the gate, which runs two builds side by side, can tell of those.
//! * exact figures, which no clock goes into: `err_impl`, `declared_bytes`, `warm_allocations`, `flops`.
//!
//! **One line a metric and commit,** with all that is needed to read it alone: commit and its time, machine, build, run, cell. A wide table would be
//! a third as long, but a new metric would rewrite every line, and a diff would not show what changed. A run of the gate's 42 cells is about
//! two hundred lines of two hundred bytes, which git packs to a tenth.
//!
//! **Series.** Lines belong together where machine, cores, instruction set, experiment, cell, metric and the cell divided by are the same
//! ([`Key`]). So lines of two machines never meet, and where a baseline is replaced a new series begins instead of a step in the old one. The
//! order within is that of the commits' times, then of the runs' starts.
//!
//! **Append only.** [`append`] checks the whole file, then adds its lines by one write under a lock on the file and syncs. A writer that is killed or finds the disk
//! full leaves the file as it was, or with a last line that is not whole, which the next reader names. Nothing is ever rewritten, so nothing is lost. A run that is
//! there already is left alone ([`Appended::Known`]); where its figures differ, as after `--resume`, it is refused.
//!
//! **The version** is the first line: the names of the columns. A file with others is refused.
//!
//! What this trades away: figures are text and repeat their cell's name; and a run of a changed tree is filed under the commit before the change, which
//! `crossover record` can only tell.

mod change_points;
mod file;
mod lines;
mod trend;

#[cfg(test)]
mod change_points_tests;
#[cfg(test)]
mod tests;

pub use change_points::{ChangePoint, NotFinite, Search, change_points};
pub use file::{Appended, append, read};
pub use lines::{Commit, Recordable, lines_of, setting};
pub use trend::{Change, LEVEL, MachineTrend, SeriesTrend, Trend, trend};

use std::fmt;

/// The columns, which are the file's first line and its version.
pub const HEADER: &str =
    "commit,commit_unix_s,machine,cores,isa,build,experiment,run_unix_ms,id,variant,engine,setting,against,metric,value,low,high";

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Time over that of the baseline in the same rounds.
    TimeRatio,
    /// Largest absolute error against the same variant in f64.
    ErrImpl,
    /// Weights, activations, scratch and state.
    DeclaredBytes,
    /// Allocations of a call after warm-up.
    WarmAllocations,
    /// Operations of a call.
    Flops,
}

impl Metric {
    /// Every metric, in the order of a run's lines.
    pub const ALL: [Self; 5] = [Self::TimeRatio, Self::ErrImpl, Self::DeclaredBytes, Self::WarmAllocations, Self::Flops];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::TimeRatio => "time-ratio",
            Self::ErrImpl => "err_impl",
            Self::DeclaredBytes => "declared_bytes",
            Self::WarmAllocations => "warm_allocations",
            Self::Flops => "flops",
        }
    }

    /// That of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Does a clock go into it? What no clock goes into has no noise.
    pub fn is_timed(self) -> bool {
        self == Self::TimeRatio
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name())
    }
}

/// Where something was measured, and as a part of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Fingerprint of the machine.
    pub machine: String,
    /// Logical cores that the run might use.
    pub cores: u64,
    /// The experiment's name.
    pub experiment: String,
}

/// What is the same in all lines of a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Where it was measured, and as a part of what.
    pub place: Place,
    /// `family/kebab-name`.
    pub variant: String,
    /// The engine.
    pub engine: String,
    /// The axes that tell it from others of its variant, for people.
    pub setting: String,
    /// The cell.
    pub id: String,
    /// The instruction set that the engine dispatched to.
    pub isa: String,
    /// What is told of the cell.
    pub metric: Metric,
    /// The cell that a time is divided by; empty where nothing is divided.
    pub against: String,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The series that it belongs to.
    pub key: Key,
    /// The commit that the build was made of, in hex digits.
    pub commit: String,
    /// When the commit was made (Unix time, seconds).
    pub commit_unix_s: u64,
    /// Fingerprint of the worker's build.
    pub build: String,
    /// When the run was started (Unix time, milliseconds): with machine and experiment, which run it was.
    pub run_unix_ms: u64,
    /// The figure.
    pub value: f64,
    /// The 95 % interval, where there is one.
    pub interval: Option<(f64, f64)>,
}
