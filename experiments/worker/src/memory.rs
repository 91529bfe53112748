//! The accounting pass: three named memory figures of one cell, none of them taken while time is.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use crossover_core::memory::{available, kibibytes};
use crossover_protocol::MemoryFigures;
use crossover_variants::cell::PreparedCell;

use crate::allocator::counted;

/// Prepares the cell again under the counting allocator, calls it twice, and reads the process's high-water mark.
///
/// `prepare` must hold on to nothing but the cell: the harness's own copies of the inputs are dropped by the caller before, and are no
/// cost of the variant. The high-water mark is reset after preparing, so that it tells what *calling* needs.
pub fn account(prepare: impl FnOnce() -> Result<Box<dyn PreparedCell>>, release: impl FnOnce()) -> Result<MemoryFigures> {
    let (cell, preparing) = counted(prepare);
    let mut cell = cell?;
    release();
    reset_high_water();
    let (first, cold) = counted(|| cell.call());
    first?;
    let (second, warm) = counted(|| cell.call());
    second?;
    let declared = cell.declared_bytes();
    Ok(MemoryFigures {
        weight_bytes: declared.weights as u64,
        activation_bytes: declared.activations as u64,
        scratch_bytes: declared.scratch as u64,
        state_bytes: declared.state as u64,
        allocator_peak_bytes: Some(preparing.peak_bytes.max(preparing.held_bytes + cold.peak_bytes)),
        warm_allocations: Some(warm.allocations),
        high_water_bytes: status_bytes("VmHWM").ok_or_else(|| anyhow!("cannot read VmHWM from /proc/self/status"))?,
    })
}

/// Memory that this process may take now: what the machine and its control groups have left, and the limit on its addresses.
pub fn available_bytes() -> Option<u64> {
    available(Path::new("/")).into_iter().chain(remaining_addresses()).min()
}

/// Address space that this process may still take, where it is limited.
fn remaining_addresses() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    Some(limit.saturating_sub(status_bytes("VmSize")?))
}

/// Sets the peak back to what is resident now (Linux: writing 5 to clear_refs). Where that is refused the peak simply includes preparing.
fn reset_high_water() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status_bytes(field: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, field)
}
