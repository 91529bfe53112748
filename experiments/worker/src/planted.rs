//! Slowness and faults on purpose, for trials of the regression gate (`experiments/gate_trials.py`).
//!
//! Only the program `crossover-worker-planted` has them, and only where [`SHARE`] or [`FAULT`] ask for them. It is built with the feature `planted`, which
//! nothing else uses; without the variables it is the worker again, in another binary with its code at other places.
//!
//! *A fault* is one of the conformance suite's mutants, in the engine `naive`: `crossover-worker-planted faults` lists them.
//!
//! *Slowness* is arithmetic after every call, until it has taken the share longer that is asked for. A program of the name [`SLOWER`] does it twice, and is compared with the same
//! program under another name, which does it once: so a call is slower by that share, whatever the machine and the caches do to it meanwhile. (Work of a length that is fixed beforehand
//! is not: a call takes longer when its weights have left the cache, and the processor does a part of the work while the call waits for memory; of 5 % between 1.5 and 8 % were left so. That
//! a real change can hide in such waits is not tried here.) Both work, as a call that comes after a pause finds its predecessor's stores written and takes some 0.5 % less: beside calls
//! without a pause 5 % were 4.5. The looks at the clock are a part of the calls of both, and of the share. The last step of the work goes some hundredths of a microsecond too far.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crossover_core::conformance::mutants::{Fault, Mutant, plant, planted};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_variants::cell::{DeclaredBytes, PreparedCell};

/// By how much calls are to take longer: 0.05 for a twentieth.
const SHARE: &str = "CROSSOVER_PLANTED_WORK";
/// Calls of a hundred times their length end before anybody's patience.
const MOST: f64 = 9.0;
/// The name of the program that it applies to twice.
const SLOWER: &str = "crossover-worker-slower";
/// The mistake that the engine `naive` is to make.
const FAULT: &str = "CROSSOVER_PLANTED_FAULT";
/// The engine that makes it.
pub type Faulty = Mutant<crossover_naive::NaiveBackend>;

/// Numbers that the work changes between two looks at the clock: as many as fit into registers.
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
        write!(f, "{SHARE}={:?}: write a share from 0 to {MOST}, such as 0.05", self.0)
    }
}

/// The cell, slower by the share that the environment asks for, and once more where this is the program that is meant.
pub fn slowed(cell: Box<dyn PreparedCell>) -> std::result::Result<Box<dyn PreparedCell>, BadShare> {
    let Some(text) = std::env::var_os(SHARE) else { return Ok(cell) };
    let text = text.to_string_lossy().into_owned();
    match text.parse::<f64>() {
        Ok(share) if (0.0..=MOST).contains(&share) => Ok(Box::new(Slowed::new(cell, planted_share(share, is_slower())))),
        _ => Err(BadShare(text)),
    }
}

/// What calls take longer than they would by themselves, where the slower program is to take this share longer than the other one.
fn planted_share(share: f64, is_slower: bool) -> f64 {
    if is_slower { (1.0 + share).powi(2) - 1.0 } else { share }
}

fn is_slower() -> bool {
    std::env::current_exe().is_ok_and(|program| program.file_name().is_some_and(|name| name == SLOWER))
}

/// Arithmetic that keeps the processor's units busy, of which nothing can be left out.
fn work() {
    let mut values = black_box([1.0f64; LANES]);
    for value in &mut values {
        *value = *value * 0.5 + 1.0;
    }
    black_box(values);
}

struct Slowed {
    cell: Box<dyn PreparedCell>,
    share: f64,
    /// What the looks at the clock add to a call.
    looks: Duration,
}

impl Slowed {
    fn new(cell: Box<dyn PreparedCell>, share: f64) -> Self {
        const LOOKS: u32 = 1000;
        let of_a_thousand = || {
            let began = Instant::now();
            for _ in 0..LOOKS {
                let began = Instant::now();
                let end = black_box(began.elapsed());
                black_box(began.elapsed() < end);
            }
            began.elapsed()
        };
        // The least of several: others only ever add to it.
        let least = (0..10).map(|_| of_a_thousand()).min().unwrap_or_default();
        Self { cell, share, looks: least / LOOKS }
    }
}

impl PreparedCell for Slowed {
    fn call(&mut self) -> Result<()> {
        let began = Instant::now();
        self.cell.call()?;
        let took = began.elapsed();
        let end = took + (took + self.looks).mul_f64(self.share);
        while began.elapsed() < end {
            work();
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use crate::fake_cell::FakeCell;

    use super::*;

    #[test]
    fn the_slower_program_takes_the_share_longer_than_the_other() {
        for share in [0.0, 0.05, MOST] {
            let [other, slower] = [false, true].map(|is_slower| 1.0 + planted_share(share, is_slower));
            assert!((slower / other - 1.0 - share).abs() < 1e-12);
        }
    }

    #[test]
    fn a_call_takes_the_share_longer() {
        let plain = Duration::from_millis(2);
        let time = |share| {
            let mut slowed = Slowed::new(Box::new(FakeCell { call: move || std::thread::sleep(plain), device_peak: || None }), share);
            let began = Instant::now();
            slowed.call().unwrap();
            began.elapsed()
        };
        // Others may make it longer, and never shorter.
        assert!(time(0.0) >= plain);
        assert!(time(0.5) >= plain.mul_f64(1.5));
        assert!((0..50).map(|_| time(0.5)).min().unwrap() < plain.mul_f64(1.9));
    }
}
