//! Memory that a cell's process is predicted to take, by shapes alone: before anything is started that would not fit.
//!
//! It is what the engine holds, what the harness holds beside it (inputs in f64, a reference that is run whole), and of a cell with cold
//! caches the buffer that empties them. An engine's own scratch is not in it.

use crossover_core::axes::Axes;
use crossover_core::caches::eviction_bytes;
use crossover_core::device::has_own_memory;
use crossover_core::dtype::Precision;
use crossover_core::error::Result;
use crossover_core::ops::OpSpec;
use crossover_core::reference::running::working_bytes;

use crate::cell::{DryRun, config};
use crate::registry::Entry;
use crate::resolve::is_cold;
use crate::variant::Reference;

/// Memory that one process is predicted to take, by shapes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Where the engine computes: weights, activations, output and the variant's scratch.
    pub engine: u64,
    /// The part of `engine` that lies on the host even where the engine computes on a device: one end of each transfer.
    pub host_ends: u64,
    /// On the host, whatever the engine: inputs in f64, the reference where it is run whole, and what empties the caches.
    pub harness: u64,
}

impl Footprint {
    /// Of a process that prepares a cell with these resolved axes, verifies it and calls it.
    pub(crate) fn of(entry: &Entry, axes: &Axes) -> Result<Self> {
        let dry = entry.dry_run(axes)?;
        let eviction = if is_cold(axes) { eviction_bytes() as u64 } else { 0 };
        let harness = dry.harness_bytes().saturating_add(reference_bytes(entry, axes)?).saturating_add(eviction);
        Ok(Self { engine: dry.bytes, host_ends: host_ends(&dry, config(axes)?.precision), harness })
    }

    /// The part of it that is the host's memory.
    pub fn on_host(&self, engine: &str) -> u64 {
        let computing = if has_own_memory(engine) { self.host_ends } else { self.engine };
        computing.saturating_add(self.harness)
    }
}

impl DryRun {
    /// What the harness holds beside the engine while it prepares: each input element as drawn and as rounded, in f64.
    pub fn harness_bytes(&self) -> u64 {
        self.elements.saturating_mul(16)
    }
}

/// What transfers read, or write, on the host: of either direction one end is there, and both are of one size.
fn host_ends(dry: &DryRun, precision: Precision) -> u64 {
    let transfers = dry.operations.iter().filter(|operation| matches!(operation, OpSpec::Transfer { .. }));
    transfers.map(|operation| operation.cost(precision).bytes_written).fold(0, u64::saturating_add)
}

/// What a reference takes that is run whole: a value and the variance of its error for each element, inputs of its own, and what its
/// largest operation copies. Those that are computed row by row take next to nothing.
fn reference_bytes(entry: &Entry, axes: &Axes) -> Result<u64> {
    let whole = |reference: Reference| {
        let mut other = match reference {
            Reference::Operation(_) => return Ok(0),
            Reference::Itself => axes.clone(),
            Reference::ItselfWith(other) => other,
        };
        other.insert("precision".into(), "f64".into());
        let dry = entry.dry_run(&other)?;
        let working = dry.operations.iter().map(working_bytes).max().unwrap_or(0);
        Ok(dry.bytes.saturating_mul(2).saturating_add(dry.harness_bytes()).saturating_add(working))
    };
    // One after the other.
    Ok(whole(entry.exact(axes))?.max(whole(entry.reference(axes))?))
}
