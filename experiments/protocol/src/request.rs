//! What the runner asks of a worker.

use std::path::PathBuf;

use crossover_core::axes::Axes;
use serde::{Deserialize, Serialize};

/// The cell that a worker shall prepare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The cell's id, for messages only.
    pub id: String,
    /// `family/kebab-name`.
    pub variant: String,
    /// The engine's name.
    pub engine: String,
    /// Every axis of the cell, defaults filled in.
    pub axes: Axes,
}

/// One request. A worker answers each with exactly one response line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The first message: which protocol the runner speaks.
    Hello {
        /// [`crate::PROTOCOL_VERSION`].
        protocol: u32,
    },
    /// Load or draw the inputs, pack the weights, do everything that must not be timed.
    Prepare {
        /// What to prepare.
        cell: Cell,
        /// The file with the inputs, for workers that do not draw them themselves.
        inputs: Option<PathBuf>,
    },
    /// Run once on the prepared inputs. A worker that judges itself answers `verified`; the others write their output to
    /// `output` and answer `written`.
    Verify {
        /// Where to write the output, for workers that do not judge themselves.
        output: Option<PathBuf>,
    },
    /// Take samples of the prepared cell.
    Measure {
        /// How many samples.
        samples: u32,
        /// Calls per sample, so that a sample is long enough for the clock.
        calls: u32,
    },
    /// Account for memory, in a pass of its own that is not timed.
    Account {},
    /// Write the cell's inputs and weights to a file (only our worker has to know how).
    Materialize {
        /// The cell whose inputs are wanted.
        cell: Cell,
        /// Where to write them.
        inputs: PathBuf,
    },
    /// Compare an output that another worker wrote with the reference (only our worker has to know how).
    Judge {
        /// The cell that was computed.
        cell: Cell,
        /// The file with the output, under the name `out`.
        output: PathBuf,
    },
    /// Run a variant once on tensors from a file and write `out` to another (only our worker has to know how). The cell's axes may be
    /// incomplete: sizes are read off the tensors.
    Apply {
        /// Variant, engine, and the axes that tensors cannot tell.
        cell: Cell,
        /// The file with the tensors.
        input: PathBuf,
        /// Where to write the output.
        output: PathBuf,
    },
    /// Measure this machine's ceilings (only our worker has to know how).
    Probe {
        /// Threads to measure with.
        threads: u32,
    },
    /// End: answer `bye` and exit with code 0.
    Quit {},
}
