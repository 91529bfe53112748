//! One file a command.

pub mod apply;
pub mod cell;
pub mod doctor;
pub mod gate;
mod gate_exact;
mod gate_instructions;
mod gate_runs;
pub mod handed_over;
pub mod import;
pub mod list;
pub mod merge;
mod own_worker;
mod parse;
pub mod plan;
pub mod probe;
pub mod record;
pub mod run;
pub(crate) mod text;

use std::io::{self, BufWriter, Write};

use anyhow::Result;

use crate::errors::{StdoutClosed, bad_input, environment};
use crate::plan::Plan;

/// Prints through a buffer. A reader that has gone (`| head`) ends the command quietly; a full disk does not.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = write(&mut out).and_then(|()| out.flush());
    // What is left in the buffer cannot be written any more; dropping it would try again.
    if written.is_err() {
        let _ = out.into_parts();
    }
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => StdoutClosed.into(),
        _ => environment(format!("standard output cannot be written: {error}")),
    })
}

/// Refuses a plan without cells, and says what took them.
fn expect_cells(plan: &Plan) -> Result<()> {
    plan.why_empty().map_or(Ok(()), |why| Err(bad_input(format!("{}: {why}", plan.experiment()))))
}

/// Refuses a plan of which no cell can run for want of a file; where only some want it, their rows say so.
fn expect_files(plan: &Plan) -> Result<()> {
    match plan.missing_file() {
        Some(missing) => Err(environment(format!("no cell of {} can be run: {missing}", plan.experiment()))),
        None => Ok(()),
    }
}

/// The processors that this process and its workers may run on.
fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// The same for a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        writeln!(out)
    })
}
