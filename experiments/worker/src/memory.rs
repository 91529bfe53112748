//! The accounting pass: the named memory figures of one cell, none of them taken while time is.

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
/// cost of the variant. The high-water marks, the process's and its device's, are reset after preparing, so that they tell what *calling*
/// needs.
pub fn account(prepare: impl FnOnce() -> Result<Box<dyn PreparedCell>>, release: impl FnOnce()) -> Result<MemoryFigures> {
    let (cell, preparing) = counted(prepare);
    let mut cell = cell?;
    release();
    reset_high_water();
    cell.take_device_peak()?;
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
        device_peak_bytes: cell.take_device_peak()?,
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::fake_cell::FakeCell;

    /// Preparing takes 900 bytes of a device at once, a call 500 in all.
    #[test]
    fn the_mark_of_a_device_is_that_of_calling() {
        let mark = Rc::new(Cell::new(900));
        let called = Rc::clone(&mark);
        let call = move || called.set(called.get().max(500));
        let cell = FakeCell { call, device_peak: move || Some(mark.replace(300)) };
        let figures = account(|| Ok(Box::new(cell)), || ()).unwrap();
        assert_eq!(figures.device_peak_bytes, Some(500));
    }
}
