//! Taking samples.
//!
//! Nothing but the call is inside the timer. A sample is disturbed when the thread was taken off the processor while it ran: then wall
//! time runs ahead of the thread's own processor time. That is judged for single-threaded cells only; with a pool, the calling thread
//! waits by design.
//!
//! A sample is one window of the clock around all its calls. Cold calls have a window each, and the caches are emptied between them.

use std::hint::black_box;
use std::time::Instant;

use crossover_core::error::Result;
use crossover_protocol::{MeasuredReply, MeasuredSample};
use crossover_variants::cell::PreparedCell;

use crate::instruments::Instruments;
use crate::processor;

/// Wall time may run ahead by this share of the sample before it counts as disturbed...
const TOLERATED_SHARE: u64 = 50;
/// ... and by at least this much: the clocks are read one after the other.
const TOLERATED_NS: u64 = 20_000;

/// Takes `samples` samples of `calls` calls each. Where there is an `evict`, it is done before each call, off the clock.
pub fn measure(
    cell: &mut dyn PreparedCell,
    samples: u32,
    calls: u32,
    evict: Option<&dyn Fn()>,
    instruments: &mut Instruments,
) -> Result<MeasuredReply> {
    let alone = cell.threads_used() == 1;
    // A sample of no calls would be a figure about nothing.
    let calls = calls.max(1);
    let before = instruments.begin();
    let samples = (0..samples).map(|_| sample(cell, calls, alone, evict, instruments)).collect::<Result<_>>()?;
    Ok(MeasuredReply { samples, conditions: Some(instruments.end(&before, evict.is_some())) })
}

fn sample(
    cell: &mut dyn PreparedCell,
    calls: u32,
    alone: bool,
    evict: Option<&dyn Fn()>,
    instruments: &mut Instruments,
) -> Result<MeasuredSample> {
    let (mut ns, mut away) = (0u64, 0u64);
    // Warm, all calls in one window; cold, a window for each.
    let (windows, calls_each) = if evict.is_some() { (calls, 1) } else { (1, calls) };
    for _ in 0..windows {
        if let Some(evict) = evict {
            evict();
        }
        let window = window(cell, calls_each, instruments)?;
        ns = ns.saturating_add(window.ns);
        away = away.saturating_add(window.ns.saturating_sub(window.on_processor));
    }
    Ok(MeasuredSample { calls, ns, disturbed: alone && away > TOLERATED_NS.max(ns / TOLERATED_SHARE) })
}

/// Wall time and processor time of what the clock was around.
struct Window {
    ns: u64,
    on_processor: u64,
}

fn window(cell: &mut dyn PreparedCell, calls: u32, instruments: &mut Instruments) -> Result<Window> {
    instruments.open_window();
    let on_processor = processor::time_ns();
    let start = Instant::now();
    for _ in 0..calls {
        black_box(&mut *cell).call()?;
    }
    let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let on_processor = processor::time_ns().saturating_sub(on_processor);
    instruments.close_window();
    Ok(Window { ns, on_processor })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_cell::FakeCell;
    use std::cell::RefCell;

    /// A cell that keeps a log.
    fn logging(log: &RefCell<String>) -> impl PreparedCell + use<'_> {
        FakeCell { call: || log.borrow_mut().push('c'), device_peak: || None }
    }

    #[test]
    fn caches_are_emptied_before_each_cold_call_and_before_no_warm_one() {
        let (log, mut instruments) = (RefCell::new(String::new()), Instruments::open());
        let evict = || log.borrow_mut().push('e');
        for (evict, expected) in [(None, "cccccc"), (Some(&evict as &dyn Fn()), "ecececececec")] {
            log.borrow_mut().clear();
            let samples = measure(&mut logging(&log), 2, 3, evict, &mut instruments).unwrap().samples;
            assert_eq!(*log.borrow(), expected);
            assert!(samples.len() == 2 && samples.iter().all(|sample| sample.calls == 3));
        }
    }

    #[test]
    fn time_off_the_clock_is_in_no_sample() {
        let (log, mut instruments) = (RefCell::new(String::new()), Instruments::open());
        let wait = std::time::Duration::from_millis(20);
        let evict = || std::thread::sleep(wait);
        let began = Instant::now();
        let MeasuredReply { samples, conditions } = measure(&mut logging(&log), 1, 5, Some(&evict), &mut instruments).unwrap();
        // Five waits and five calls passed; the sample has the calls alone.
        assert!(began.elapsed().saturating_sub(std::time::Duration::from_nanos(samples[0].ns)) >= 5 * wait);
        assert_eq!(conditions.unwrap().energy_uj, None);
    }
}
