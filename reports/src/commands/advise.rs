//! `crossover advise`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use crossover_protocol::text::tell;
use crossover_results::Machine;

use crate::advise::{Advice, Kind, Question, Sources, advise, document, find, json};
use crate::error::{ReportError, Result};
use crate::runs::{self, Run};
use crate::text::screen::Screen;

use super::print;

/// Say what to use at a size, by what was measured on this machine.
///
/// Candidates are ranked by time among those within the limits, measured ones and those between two measured sizes of one curve; nothing is
/// extrapolated. Of a cell in several runs the newest record counts. Without --max-error what is more than 10 % off comes last. Without --runs, all runs of this machine in results/runs are asked,
/// else those of the nearest machine in results/runs-published.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  crossover advise --seq 4096 --d-model 768 --heads 12 --max-error 1e-2\n  \
        crossover advise --seq 512 --d-model 768 --heads 12 --family ffn --max-memory 64MiB --threads 1\n\n\
        Exit code: 0 good, also where nothing was measured that answers; 2 bad input, such as a family or an engine that nothing has; 3 disk or permissions.")]
pub(super) struct Arguments {
    /// Length of the sequence (of a cache, where one token is decoded).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    seq: i64,
    /// Width of the model.
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(i64).range(1..))]
    d_model: i64,
    /// Heads that share the width.
    #[arg(long, value_name = "H", value_parser = clap::value_parser!(i64).range(1..))]
    heads: i64,
    /// Largest relative distance from the exact result (Frobenius norm); cells with a function of their own in the baseline's place are
    /// left out.
    #[arg(long, value_name = "E", value_parser = error)]
    max_error: Option<f64>,
    /// Most declared bytes: weights, activations, scratch and state; KiB, MiB and GiB are understood.
    #[arg(long, value_name = "B", value_parser = size)]
    max_memory: Option<u64>,
    /// A family, or a task of one, as attention/causal.
    #[arg(long, value_name = "NAME", default_value = "attention")]
    family: String,
    /// Only this engine.
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Only this precision.
    #[arg(long, value_name = "P")]
    precision: Option<String>,
    /// Only cells with so many threads.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    threads: Option<i64>,
    /// Ask these runs, all of one machine.
    #[arg(long, value_name = "RUN", num_args = 1..)]
    runs: Vec<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Candidates of each problem in the text.
    #[arg(long, value_name = "N", default_value_t = 5)]
    limit: usize,
    /// The project whose runs are asked.
    #[arg(long, value_name = "DIR", hide = true)]
    project: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal.
    Text,
    /// JSON; its fields are stable.
    Json,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let question = Question {
        seq: arguments.seq,
        d_model: arguments.d_model,
        heads: arguments.heads,
        max_error: arguments.max_error,
        max_memory: arguments.max_memory,
        family: arguments.family.clone(),
        engine: arguments.engine.clone(),
        precision: arguments.precision.clone(),
        threads: arguments.threads,
    };
    question.check()?;
    let this = Machine::detect();
    let sources = match (&arguments.runs[..], &arguments.project) {
        ([], Some(project)) => find(project, &this),
        ([], None) => return Err(ReportError::Question("this is no project, so name runs to ask with --runs".to_owned())),
        (named, _) => vec![Sources { kind: Kind::Named, paths: named.to_vec() }],
    };
    for (place, source) in sources.iter().enumerate() {
        let runs = open(source)?;
        let advice = advise(&question, &runs)?;
        // Where this machine's runs know nothing of it, the nearest machine's may.
        if advice.measured > 0 || place + 1 == sources.len() {
            return answer(arguments, advice, source.kind, &this);
        }
    }
    answer(arguments, advise(&question, &[])?, Kind::Own, &this)
}

/// Opens the runs. Of those that nobody named, one that cannot be read is left out and told.
fn open(source: &Sources) -> Result<Vec<Run>> {
    if source.kind == Kind::Named {
        return runs::open(&source.paths);
    }
    let mut opened = Vec::new();
    for path in &source.paths {
        match runs::open(std::slice::from_ref(path)) {
            Ok(runs) => opened.extend(runs),
            Err(error) => tell(&format!("warning: left out: {error}")),
        }
    }
    Ok(opened)
}

fn answer(arguments: &Arguments, advice: Advice<'_>, kind: Kind, this: &Machine) -> Result<ExitCode> {
    if let Some(unknown) = advice.unknown {
        return Err(ReportError::Question(unknown));
    }
    match arguments.format {
        Format::Text => print(&Screen::of_stdout().show(&document(&advice, kind, this, arguments.limit)))?,
        Format::Json => print(&format!("{:#}\n", json(&advice, kind, this)))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A positive number.
fn error(text: &str) -> std::result::Result<f64, String> {
    let error: f64 = text.parse().map_err(|_| "write a number, for example 1e-2".to_owned())?;
    if error.is_finite() && error >= 0.0 { Ok(error) } else { Err("an error is a number of at least 0".to_owned()) }
}

/// A size in bytes, or with its unit.
fn size(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale: f64 = match &text[digits.len()..] {
        "" | "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err("write bytes, or KiB, MiB or GiB, for example 64MiB".to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_| "write a number and its unit, for example 64MiB".to_owned())?;
    let bytes = number * scale;
    if (0.0..9e15).contains(&bytes) { Ok(bytes as u64) } else { Err("no machine has that much memory".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_errors_are_numbers() {
        assert_eq!(["7", "7B", "1.5KiB", "64MiB", "2GiB"].map(|text| size(text).unwrap()), [7, 7, 1536, 64 << 20, 2 << 30]);
        for text in ["", "-1", "1GB", "MiB", "1e300GiB", "nanB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(error("1e-2"), Ok(0.01));
        for text in ["", "-1", "nan", "inf", "a"] {
            assert!(error(text).is_err(), "{text}");
        }
    }
}
