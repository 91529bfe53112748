//! One cell in the foreground: for a look, for perf, for a debugger.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use crossover_protocol::{Cell, FailureKind, Fault, Response};

use crate::session::Session;

/// How long a profile runs.
const PROFILE: Duration = Duration::from_secs(5);
/// How long a plain look measures.
const LOOK: Duration = Duration::from_secs(1);

/// A fault as an error of this process.
#[derive(Debug)]
pub struct Refusal(Fault);

impl Refusal {
    /// True if whoever asked for the cell can mend it.
    pub fn is_bad_input(&self) -> bool {
        matches!(self.0.kind, FailureKind::BadRequest | FailureKind::Unsupported)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Refusal {}

/// Prepares the cell, and either prints what it measures or only calls it.
pub fn run(json: &str, profile: bool) -> Result<()> {
    let cell: Cell = serde_json::from_str(json).context("the cell is not what this worker expects")?;
    let title = format!("{} on {}", cell.variant, cell.engine);
    let mut session = Session::default();
    let prepared = session.prepare(cell, None).map_err(Refusal)?;
    if profile {
        eprintln!("{title}: calling it for {} s (pid {})", PROFILE.as_secs(), std::process::id());
        let calls = sample_for(&mut session, PROFILE)?.len();
        eprintln!("{calls} calls");
        return Ok(());
    }
    let Response::Verified(accuracy) = session.verify(None).map_err(Refusal)? else {
        bail!("the verification gave no figures");
    };
    println!("{title}");
    println!("  support     {:?}{}", prepared.support, prepared.reason.map(|reason| format!(": {reason}")).unwrap_or_default());
    println!("  isa         {}, {} thread(s)", prepared.isa, prepared.threads_used);
    match &accuracy.complaint {
        Some(complaint) => println!("  WRONG       {complaint}"),
        None => println!("  verified    {} of {} rows", accuracy.rows_checked, accuracy.rows_total),
    }
    let figure = |value: Option<f64>| value.map_or("not finite".into(), |value| format!("{value:.3e}"));
    println!("  err_impl    {} ({} of its tolerance)", figure(accuracy.err_impl), figure(accuracy.tolerance_used));
    println!("  err_method  {} (error ratio {})", figure(accuracy.err_method), figure(accuracy.error_ratio));
    if !accuracy.passed {
        bail!("a wrong result gets no time");
    }
    let mut times = sample_for(&mut session, LOOK)?;
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!("  time        {median} ns median of {} calls, {} ns fastest", times.len(), times[0]);
    println!(
        "  rate        {:.3} GFLOP/s, {:.3} GB/s compulsory",
        prepared.flops as f64 / median as f64,
        prepared.bytes as f64 / median as f64
    );
    Ok(())
}

fn sample_for(session: &mut Session, time: Duration) -> Result<Vec<u64>> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed() < time {
        let samples = session.measure(1, 1).map_err(Refusal)?;
        times.extend(samples.iter().map(|sample| sample.ns));
    }
    Ok(times)
}
