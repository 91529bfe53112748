//! The processor's own counters, through `perf_event_open`: instructions, cycles and cache misses of the calls, in user space.
//!
//! They count on every thread that is started after them, so they are opened before an engine makes its pool; they run all the time, and
//! what they gain outside the timed windows is left out. A virtual machine often has none, and a kernel may refuse them
//! (`/proc/sys/kernel/perf_event_paranoid`). Where the hardware is shared with other users of the counters and one did not run all the
//! time, it gives no figure: what it would have counted is not guessed.

#[cfg(target_os = "linux")]
use perf_event::events::{Event, Hardware};
#[cfg(target_os = "linux")]
use perf_event::{Builder, Counter};

/// The counters in the order of [`Counters::totals`].
const NAMES: [&str; 3] = ["instructions", "cycles", "cache_misses"];

/// One of each, or why there is none.
pub struct Counters([Counting; 3]);

struct Counting {
    source: Result<Source, String>,
    /// The counter when the window was opened.
    opened: Option<Reading>,
    /// Sum over the windows; `None` once a window could not be counted as a whole.
    total: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    count: u64,
    /// Nanoseconds that it should have counted for, and that it did.
    enabled: u64,
    running: u64,
}

#[cfg(target_os = "linux")]
struct Source(Counter);

#[cfg(target_os = "linux")]
impl Source {
    fn open(event: impl Event) -> Result<Self, String> {
        let counter = Builder::new(event).inherit(true).enabled(true).build();
        counter.map(Self).map_err(|error| match error.raw_os_error() {
            Some(number) if number == rustix::io::Errno::NOENT.raw_os_error() => {
                "this processor, or its hypervisor, has no such counter".into()
            }
            _ => format!("the kernel refuses it: {error}"),
        })
    }

    fn read(&mut self) -> Option<Reading> {
        let data = self.0.read_full().ok()?;
        let ns = |time: Option<std::time::Duration>| u64::try_from(time?.as_nanos()).ok();
        Some(Reading { count: data.count(), enabled: ns(data.time_enabled())?, running: ns(data.time_running())? })
    }
}

/// Elsewhere there is no such call.
#[cfg(not(target_os = "linux"))]
enum Source {}

#[cfg(not(target_os = "linux"))]
impl Source {
    fn read(&mut self) -> Option<Reading> {
        match *self {}
    }
}

impl Counters {
    /// Opens those of the processor.
    #[cfg(target_os = "linux")]
    pub fn open() -> Self {
        Self([Hardware::INSTRUCTIONS, Hardware::CPU_CYCLES, Hardware::CACHE_MISSES].map(|event| Counting::of(Source::open(event))))
    }

    /// There are none.
    #[cfg(not(target_os = "linux"))]
    pub fn open() -> Self {
        Self([(); 3].map(|()| Counting::of(Err("only Linux has perf events".to_owned()))))
    }

    /// Why a counter gives no figure, where it gives none.
    pub fn absent(&self) -> [(&'static str, Option<String>); 3] {
        std::array::from_fn(|at| (NAMES[at], self.0[at].source.as_ref().err().cloned()))
    }

    /// A batch begins.
    pub fn reset(&mut self) {
        self.0.iter_mut().for_each(|counting| counting.total = counting.source.is_ok().then_some(0));
    }

    /// A window begins.
    pub fn start(&mut self) {
        self.0.iter_mut().for_each(|counting| counting.opened = counting.read());
    }

    /// It has ended.
    pub fn stop(&mut self) {
        self.0.iter_mut().for_each(Counting::stop);
    }

    /// What all windows of the batch gave.
    pub fn totals(&self) -> [Option<u64>; 3] {
        std::array::from_fn(|at| self.0[at].total)
    }
}

impl Counting {
    fn of(source: Result<Source, String>) -> Self {
        Self { source, opened: None, total: None }
    }

    fn read(&mut self) -> Option<Reading> {
        self.source.as_mut().ok()?.read()
    }

    fn stop(&mut self) {
        let counted = self.opened.take().zip(self.read()).and_then(|(before, now)| gained(before, now));
        self.total = self.total.zip(counted).and_then(|(total, counted)| total.checked_add(counted));
    }
}

/// What a window gave, if the counter ran for all of it.
fn gained(before: Reading, now: Reading) -> Option<u64> {
    let whole = now.enabled.checked_sub(before.enabled)? == now.running.checked_sub(before.running)?;
    if whole { now.count.checked_sub(before.count) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_was_not_counted_as_a_whole_has_no_figure() {
        let at = |count, enabled, running| Reading { count, enabled, running };
        assert_eq!(gained(at(5, 100, 80), at(25, 200, 180)), Some(20));
        assert_eq!(gained(at(5, 100, 80), at(25, 200, 120)), None);
    }

    /// Page faults are counted by the kernel itself, also where the processor's counters are out of reach.
    #[cfg(target_os = "linux")]
    #[test]
    fn threads_that_come_later_are_counted_and_what_is_outside_the_windows_is_not() {
        use perf_event::events::Software;

        const PAGES: usize = 64;
        let touch = || {
            let mut pages = vec![0u8; PAGES * 4096];
            pages.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            std::hint::black_box(&pages);
        };
        let faults = || Counting::of(Source::open(Software::PAGE_FAULTS));
        let mut counters = Counters([faults(), faults(), Counting::of(Err("not here".to_owned()))]);
        if let Some(refusal) = counters.absent()[0].1.clone() {
            assert!(refusal.contains("refuses"), "{refusal}");
            eprintln!("SKIPPED: page faults cannot be counted here: {refusal}");
            return;
        }
        counters.reset();
        counters.start();
        std::thread::scope(|scope| {
            scope.spawn(touch);
        });
        counters.stop();
        let [inside, _, absent] = counters.totals();
        assert!(inside.unwrap() >= PAGES as u64, "{inside:?}");
        std::thread::scope(|scope| {
            scope.spawn(touch);
        });
        assert_eq!((counters.totals()[0], absent), (inside, None));
        counters.reset();
        assert_eq!(counters.totals(), [Some(0), Some(0), None]);
    }
}
