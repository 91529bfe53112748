//! Slowness and faults on purpose, for trials of the regression gate (`experiments/gate_trials.py`).
//!
//! Only the program `crossover-worker-planted` has them, and only where [`SHARE`] or [`FAULT`] ask for them. It is built with the feature `planted`, which
//! nothing else uses; without the variables it is the worker again, in another binary with its code at other places.
//!
//! *A fault* is one of the conformance suite's mutants, in the engine `naive`: `crossover-worker-planted faults` lists them. *Slowness* is real work that is
//! added to every call.
//!
//! The work is arithmetic of a length that is fixed in the cell's first call, the one that nobody believes: a share of the time that calls
//! take then. (Not when it is prepared: calls before the outputs are checked would leave an allocator in another state than the plain worker's has.)
//! Nothing looks at a clock after that, so the added time wanders with the processor's speed as that of the cell does.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crossover_core::conformance::mutants::{Fault, Mutant, plant, planted};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_variants::cell::{DeclaredBytes, PreparedCell};

/// By how much calls are to take longer: 0.05 for a twentieth.
const SHARE: &str = "CROSSOVER_PLANTED_WORK";
/// The mistake that the engine `naive` is to make.
const FAULT: &str = "CROSSOVER_PLANTED_FAULT";
/// The engine that makes it.
pub type Faulty = Mutant<crossover_naive::NaiveBackend>;

/// How long a batch of calls lasts at least when their time is taken.
const BATCH: Duration = Duration::from_micros(500);
/// Batches; the middle one counts.
const BATCHES: usize = 15;
/// How often the number of steps is corrected by what they do.
const ROUNDS: usize = 3;
/// Steps of the work for which its speed is taken.
const STEPS: u64 = 100_000;
/// Numbers that a step changes: as many as fit into registers, and enough to hide that each waits for its last change.
const LANES: usize = 24;

/// Unused code, so that what follows it in the binary lies elsewhere than in the worker.
#[used]
static PADDING: fn(u64) -> u64 = padding;

#[inline(never)]
fn padding(seed: u64) -> u64 {
    (0..seed).fold(seed, |sum, at| sum.rotate_left(5) ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Plants the fault that the environment asks for, in every engine that this thread builds.
pub fn plant_fault() -> anyhow::Result<()> {
    let Some(name) = std::env::var_os(FAULT) else { return Ok(()) };
    let name = name.to_string_lossy();
    let Some(fault) = Fault::named(&name) else { anyhow::bail!("{FAULT}={name:?}: there is no such fault; `faults` lists them") };
    plant(Some(fault));
    Ok(())
}

/// Does this engine make a mistake?
pub fn is_faulty(engine: &str) -> bool {
    engine == "naive" && planted().is_some()
}

/// Prints the faults, a line each: the name, and the operation at fault; those that are none and must not be noticed say so.
pub fn list_faults() -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for fault in Fault::all() {
        writeln!(out, "{fault:?}\t{}", fault.operation())?;
    }
    for fault in Fault::HARMLESS {
        writeln!(out, "{fault:?}\tharmless")?;
    }
    Ok(())
}

/// A share that cannot be read.
#[derive(Debug)]
pub struct BadShare(String);

impl std::fmt::Display for BadShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SHARE}={:?}: write a share from 0 on, such as 0.05", self.0)
    }
}

/// The cell, slower by the share that the environment asks for.
pub fn slowed(cell: Box<dyn PreparedCell>) -> std::result::Result<Box<dyn PreparedCell>, BadShare> {
    let Some(text) = std::env::var_os(SHARE) else { return Ok(cell) };
    let text = text.to_string_lossy().into_owned();
    match text.parse::<f64>() {
        Ok(share) if share.is_finite() && share >= 0.0 => Ok(Box::new(Slowed { cell, share, steps: None })),
        _ => Err(BadShare(text)),
    }
}

/// Seconds of a call with so many steps of work: of the middle one of some batches, after calls that are not timed.
fn call_time(cell: &mut dyn PreparedCell, steps: u64) -> Result<f64> {
    let mut calls = 1u32;
    let mut batch = |calls: u32| -> Result<Duration> {
        let began = Instant::now();
        for _ in 0..calls {
            work(steps);
            cell.call()?;
        }
        Ok(began.elapsed())
    };
    while batch(calls)? < BATCH && calls < 1 << 20 {
        calls *= 2;
    }
    let mut times = (0..BATCHES).map(|_| batch(calls)).collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times[BATCHES / 2].as_secs_f64() / f64::from(calls))
}

/// The shortest of a few: work without memory is only ever slowed down.
fn time(work: impl Fn()) -> Duration {
    let once = || {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    (0..9).map(|_| once()).min().unwrap_or_default()
}

/// Arithmetic that keeps the processor's units busy, of which nothing can be left out. (One chain of dependent steps would not do: the processor
/// goes on with the call's loads meanwhile, and a third of the work costs nothing.)
fn work(steps: u64) {
    let mut values = black_box([1.0f64; LANES]);
    for _ in 0..steps {
        for value in &mut values {
            *value = *value * 0.5 + 1.0;
        }
    }
    black_box(values);
}

struct Slowed {
    cell: Box<dyn PreparedCell>,
    share: f64,
    /// Of the work; none before the first call.
    steps: Option<u64>,
}

impl Slowed {
    /// So many steps that calls take longer by the share. By what they do, and not by what they take alone: the processor does a part of them while
    /// the call waits for memory, half of them in the worst case seen.
    fn calibrate(&mut self) -> Result<u64> {
        let cell = self.cell.as_mut();
        let step = time(|| work(STEPS)).as_secs_f64() / STEPS as f64;
        let mut steps = self.share * call_time(cell, 0)? / step;
        for _ in 0..ROUNDS {
            let (plain, slowed) = (call_time(cell, 0)?, call_time(cell, steps as u64)?);
            let effect = (slowed / plain - 1.0).max(self.share / 2.0);
            steps *= self.share / effect;
        }
        Ok(steps.round() as u64)
    }
}

impl PreparedCell for Slowed {
    fn call(&mut self) -> Result<()> {
        if self.steps.is_none() {
            self.steps = Some(self.calibrate()?);
        }
        work(self.steps.unwrap_or_default());
        self.cell.call()
    }

    fn call_poisoned(&mut self) -> Result<()> {
        self.cell.call_poisoned()
    }

    fn output(&self) -> Result<HostTensor> {
        self.cell.output()
    }

    fn declared_bytes(&self) -> DeclaredBytes {
        self.cell.declared_bytes()
    }

    fn take_device_peak(&self) -> Result<Option<u64>> {
        self.cell.take_device_peak()
    }

    fn threads_used(&self) -> usize {
        self.cell.threads_used()
    }

    fn isa(&self) -> String {
        self.cell.isa()
    }

    fn prepare_ns(&self) -> u64 {
        self.cell.prepare_ns()
    }
}
