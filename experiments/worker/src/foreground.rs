//! One cell in the foreground: for a look, for perf, for a debugger.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use crossover_protocol::text::wrap;
use crossover_protocol::{AccuracyFigures, Cell, FailureKind, Fault, Response};

use crate::session::Session;

/// How long a profile runs.
const PROFILE: Duration = Duration::from_secs(5);
/// How long a plain look measures.
const LOOK: Duration = Duration::from_secs(1);

/// A fault as an error of this process.
#[derive(Debug)]
pub struct Refusal(Fault);

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

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

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Verified, or only called.
    Good,
    /// The result misses its bound: a finding, and no fault of the machine.
    Wrong,
}

/// Prepares the cell, and either prints what it measures or only calls it.
pub fn run(json: &str, profile: bool) -> Result<Outcome> {
    match look(json, profile, &mut io::stdout()) {
        // A reader that has gone (`| head`) has seen what it wanted.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => Ok(Outcome::Good),
        outcome => outcome,
    }
}

fn look(json: &str, profile: bool, out: &mut impl Write) -> Result<Outcome> {
    let cell: Cell = serde_json::from_str(json).context("the cell is not what this worker expects")?;
    let title = format!("{} on {}", cell.variant, cell.engine);
    let axes: Vec<String> = cell.axes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut session = Session::open();
    let prepared = session.prepare(cell, None).map_err(Refusal)?;
    if profile {
        eprintln!("{title}: calling it for {} s (pid {})", PROFILE.as_secs(), std::process::id());
        let calls = sample_for(&mut session, PROFILE)?.len();
        eprintln!("{calls} calls");
        return Ok(Outcome::Good);
    }
    let Response::Verified(accuracy) = session.verify(None).map_err(Refusal)? else {
        bail!("the verification gave no figures");
    };
    writeln!(out, "{title}")?;
    write!(out, "{}", wrap("  axes        ", axes.iter().map(String::as_str)))?;
    let support = format!("{:?}{}", prepared.support, prepared.reason.map(|reason| format!(": {reason}")).unwrap_or_default());
    write!(out, "{}", wrap("  support     ", support.split(' ')))?;
    writeln!(out, "  isa         {}, threads: {}", prepared.isa, prepared.threads_used)?;
    write!(out, "{}", accuracy_lines(&accuracy))?;
    if !accuracy.passed {
        writeln!(out, "  time        none: a wrong result gets no time")?;
        return Ok(Outcome::Wrong);
    }
    let mut times = sample_for(&mut session, LOOK)?;
    times.sort_unstable();
    let median = times[times.len() / 2];
    writeln!(out, "  time        {median} ns median of {} calls, {} ns fastest", times.len(), times[0])?;
    let (flops, bytes) = (prepared.flops as f64 / median as f64, prepared.bytes as f64 / median as f64);
    writeln!(out, "  rate        {flops:.3} GFLOP/s, {bytes:.3} GB/s compulsory")?;
    Ok(Outcome::Good)
}

/// What the verification found: the engine's own error first, then what the method costs.
fn accuracy_lines(accuracy: &AccuracyFigures) -> String {
    let figure = |value: Option<f64>| value.map_or("not finite".into(), |value| format!("{value:.3e}"));
    let verdict = match &accuracy.complaint {
        Some(complaint) => wrap("  WRONG       ", complaint.split(' ')),
        None => format!("  verified    {} of {} rows\n", accuracy.rows_checked, accuracy.rows_total),
    };
    let ratio = accuracy.error_ratio.map(|ratio| format!(", {ratio:.3} times that of the plain operation"));
    let cosine = accuracy.cosine.map(|cosine| format!("  cosine      {cosine:.9} to the exact result, mean of rows\n"));
    let classes = match (accuracy.divergence, accuracy.top_1_agreement) {
        (None, None) => String::new(),
        (divergence, agreement) => {
            let share = agreement.map(|share| format!(", the same first class in {:.2} % of the rows", 100.0 * share));
            let text = format!("{} nats, mean of rows{}", figure(divergence), share.unwrap_or_default());
            wrap("  divergence  ", text.split(' '))
        }
    };
    let implementation = format!("{} at most, {} of its tolerance", figure(accuracy.err_impl), figure(accuracy.tolerance_used));
    let (largest, relative) = (figure(accuracy.err_method), figure(accuracy.err_method_rel));
    let method = format!("{largest} at most, {relative} relative{}", ratio.unwrap_or_default());
    let [implementation, method] =
        [("  err_impl    ", implementation), ("  err_method  ", method)].map(|(head, text)| wrap(head, text.split(' ')));
    [verdict, implementation, method, cosine.unwrap_or_default(), classes].concat()
}

fn sample_for(session: &mut Session, time: Duration) -> Result<Vec<u64>> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed() < time {
        let taken = session.measure(1, 1).map_err(Refusal)?;
        times.extend(taken.samples.iter().map(|sample| sample.ns));
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_figure_for_is_left_out() {
        let mut accuracy = AccuracyFigures {
            passed: true,
            err_impl: Some(1.5e-7),
            err_impl_rel: Some(2e-8),
            tolerance_used: Some(0.25),
            err_method: Some(0.5),
            err_method_rel: Some(0.125),
            cosine: Some(0.9375),
            error_ratio: Some(1.25),
            divergence: Some(0.0625),
            top_1_agreement: Some(0.75),
            rows_checked: 3,
            rows_total: 4,
            ..AccuracyFigures::default()
        };
        insta::assert_snapshot!(accuracy_lines(&accuracy), @"
          verified    3 of 4 rows
          err_impl    1.500e-7 at most, 2.500e-1 of its tolerance
          err_method  5.000e-1 at most, 1.250e-1 relative, 1.250 times that of the plain
                      operation
          cosine      0.937500000 to the exact result, mean of rows
          divergence  6.250e-2 nats, mean of rows, the same first class in 75.00 % of
                      the rows
        ");
        accuracy.complaint = Some("row 1, column 2 is off".into());
        (accuracy.cosine, accuracy.error_ratio, accuracy.err_method) = (None, None, None);
        (accuracy.divergence, accuracy.top_1_agreement) = (None, None);
        insta::assert_snapshot!(accuracy_lines(&accuracy), @"
          WRONG       row 1, column 2 is off
          err_impl    1.500e-7 at most, 2.500e-1 of its tolerance
          err_method  not finite at most, 1.250e-1 relative
        ");
    }
}
