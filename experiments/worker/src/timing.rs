//! Taking samples.
//!
//! Nothing but the call is inside the timer. A sample is disturbed when the thread was taken off the processor while it ran: then wall
//! time runs ahead of the thread's own processor time. That is judged for single-threaded cells only; with a pool, the calling thread
//! waits by design.

use std::hint::black_box;
use std::time::Instant;

use crossover_core::error::Result;
use crossover_protocol::MeasuredSample;
use crossover_variants::cell::PreparedCell;
use rustix::time::{ClockId, clock_gettime};

/// Wall time may run ahead by this share of the sample before it counts as disturbed...
const TOLERATED_SHARE: u64 = 50;
/// ... and by at least this much: the clocks are read one after the other.
const TOLERATED_NS: u64 = 20_000;

/// Takes `samples` samples of `calls` calls each.
pub fn measure(cell: &mut dyn PreparedCell, samples: u32, calls: u32) -> Result<Vec<MeasuredSample>> {
    let alone = cell.threads_used() == 1;
    // A sample of no calls would be a figure about nothing.
    let calls = calls.max(1);
    (0..samples).map(|_| sample(cell, calls, alone)).collect()
}

fn sample(cell: &mut dyn PreparedCell, calls: u32, alone: bool) -> Result<MeasuredSample> {
    let processor = processor_time();
    let start = Instant::now();
    for _ in 0..calls {
        black_box(&mut *cell).call()?;
    }
    let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let on_processor = processor_time().saturating_sub(processor);
    let away = ns.saturating_sub(on_processor);
    Ok(MeasuredSample { calls, ns, disturbed: alone && away > TOLERATED_NS.max(ns / TOLERATED_SHARE) })
}

fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
