//! The command line: what can be asked, and the help for it. What each command does is in [`crate::commands`].

mod import;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use crossover_core::axes::AxisValue;

pub use self::import::{CriterionArgs, ImportArgs, Imported};
use crate::filter::{Filter, FilterError};
use crate::plan::{Override, Selection, Shard};
use crate::series::Wanted;

/// Finds out where a Transformer optimisation starts to pay: at which sizes and precisions, on this machine, at what cost in accuracy.
#[derive(Debug, Parser)]
#[command(name = "crossover", version, after_help = ROOT_EXAMPLE)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List engines, variants or experiments
    List(ListArgs),
    /// Show the cells of an experiment without running any
    Plan(PlanArgs),
    /// Run an experiment and record it
    Run(RunArgs),
    /// Run one cell in the foreground, fit for perf or a debugger
    Cell(CellArgs),
    /// Run a variant on tensors from a file
    Apply(ApplyArgs),
    /// Measure this machine's ceilings: arithmetic and bandwidth
    Probe(ProbeArgs),
    /// Make a report of one or more runs
    #[command(after_help = REPORT_EXAMPLE)]
    Report(HandedOver),
    /// Compare two runs cell by cell
    #[command(after_help = COMPARE_EXAMPLE)]
    Compare(HandedOver),
    /// Say what to use at a size, by what was measured
    #[command(after_help = ADVISE_EXAMPLE)]
    Advise(HandedOver),
    /// Judge this build beside another one: is anything slower?
    Gate(GateArgs),
    /// Add a run to the history of commits
    Record(RecordArgs),
    /// Show where the history changed
    #[command(after_help = TREND_EXAMPLE)]
    Trend(HandedOver),
    /// Join runs: shards of one plan, or runs that each did a part
    Merge(MergeArgs),
    /// Bring in what another program measured
    Import(ImportArgs),
    /// Check that this machine and this installation can measure
    Doctor(DoctorArgs),
}

const ROOT_EXAMPLE: &str = "\
Examples:
  crossover list experiments
  crossover run quick
  crossover report results/runs/quick-20260101-120000

Exit codes: 0 good, 1 a finding, 2 bad input, 3 the environment,
4 inconclusive (gate)";

/// `crossover list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  crossover list variants
  crossover list variants --json | jq '.variants[].name'")]
pub struct ListArgs {
    /// What to list
    #[arg(value_enum)]
    pub what: Listed,
    /// Print JSON; its fields are stable
    #[arg(long)]
    pub json: bool,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// Engines of crossover-worker.
    Engines,
    /// Variants with their axes and tensors.
    Variants,
    /// Experiment files.
    Experiments,
}

/// Which cells of an experiment are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct SelectionArgs {
    /// Use these values of an axis or parameter instead of the file's; may be given several times
    #[arg(long = "set", value_name = "AXIS=V1,V2")]
    pub set: Vec<Override>,
    /// Keep only cells for which this holds, e.g. 'family == "ffn" and n >= 256'; several must all hold
    #[arg(long = "filter", value_name = "EXPR")]
    pub filter: Vec<String>,
    /// The same as --set threads=N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,
    /// Only part I of N; parts are disjoint and make the whole
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
}

/// Engines of somebody's own.
#[derive(Debug, Clone, Default, Args)]
pub struct EngineArgs {
    /// An engine of your own, in every sweep of the experiment: a .toml file with its name, its command and what it supports
    /// (engines/peers/TUTORIAL.md); may be given several times
    #[arg(long = "engine-file", value_name = "FILE")]
    pub engine_files: Vec<PathBuf>,
}

impl SelectionArgs {
    /// With the filters read.
    pub fn selection(&self) -> Result<Selection, FilterError> {
        let mut set = self.set.clone();
        if let Some(threads) = self.threads {
            set.push(Override { axis: "threads".to_owned(), values: vec![Wanted::Exact(AxisValue::Int(i64::from(threads)))] });
        }
        let filters = self.filter.iter().map(|text| Filter::parse(text)).collect::<Result<_, _>>()?;
        Ok(Selection { set, filters, shard: self.shard })
    }
}

/// The experiment that is meant where none is named: every variant at its defaults, to be filtered and set.
pub const EVERY_VARIANT: &str = "every-variant";

const FILTER_HELP: &str = "\
Filter expressions compare columns (variant, family, engine, experiment, baseline and every axis) by
== != < <= > >=, `in [..]`, and, or, not and parentheses; text stands in double quotes. A comparison
with an axis that a variant lacks is false, and != is true.

Examples:
";

/// `crossover plan`.
#[derive(Debug, Args)]
#[command(after_help = format!("{FILTER_HELP}  crossover plan quick --count
  crossover plan quick --set n=64,128 --filter 'precision in [\"f32\", \"bf16\"] and not baseline'"))]
pub struct PlanArgs {
    /// Name of an experiment, or path of a .toml file
    #[arg(default_value = EVERY_VARIANT)]
    pub experiment: String,
    /// Which cells.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Beside which engines.
    #[command(flatten)]
    pub engines: EngineArgs,
    /// Print only how many groups and cells there are
    #[arg(long)]
    pub count: bool,
    /// Print JSON; its fields are stable
    #[arg(long)]
    pub json: bool,
}

/// `crossover run`.
#[derive(Debug, Args)]
#[command(after_help = format!("{FILTER_HELP}  crossover run quick
  crossover run standard --filter 'family == \"attention\"' --threads 2 --out results/runs/attention
  crossover run standard --time-budget 10m
  crossover run --filter 'family == \"attention\"' --set n=256,1024
  crossover run quick --engine-file my-engine.toml
  crossover run standard --resume"))]
pub struct RunArgs {
    /// Name of an experiment, or path of a .toml file [default: every-variant, where none is resumed]
    #[arg(conflicts_with = "all")]
    pub experiment: Option<String>,
    /// Run every experiment of the project
    #[arg(long)]
    pub all: bool,
    /// Which cells.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Beside which engines.
    #[command(flatten)]
    pub engines: EngineArgs,
    /// Start no cell that this time (90s, 10m, 2h) has no room for. Groups are run in an order that thins the plan evenly; what is
    /// left is recorded as over-budget, and --resume runs it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub time_budget: Option<Duration>,
    /// Go on with an interrupted run (the one in --out, else the newest of this name): cells that it has are not run again
    #[arg(long)]
    pub resume: bool,
    /// The run's folder, instead of results/runs/NAME-DATE; with --resume, the run to go on with
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `crossover cell`.
#[derive(Debug, Args)]
#[command(after_help = "\
Axes that are not given have their defaults. The process becomes crossover-worker, so that a profiler sees the kernel.

Examples:
  crossover cell variant=attention/flash engine=naive n=512 precision=f32
  perf record -g crossover cell variant=ffn/dense engine=naive n=256 --profile")]
pub struct CellArgs {
    /// variant=.. and engine=.., then axes
    #[arg(required = true, value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Repeat the cell for a while, so that a profiler has something to see
    #[arg(long)]
    pub profile: bool,
}

/// `crossover apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
Names and shapes of the tensors: crossover list variants. Sizes are read off the tensors.

Examples:
  crossover apply --variant attention/causal --engine naive --input qkv.safetensors --output out.safetensors
  crossover apply --variant norm/layer-norm --engine naive --precision f32 --param position=post \\
      --input x.safetensors --output out.safetensors")]
pub struct ApplyArgs {
    /// The variant, as `crossover list variants` names it
    #[arg(long, value_name = "NAME")]
    pub variant: String,
    /// The engine, as `crossover list engines` names it
    #[arg(long, value_name = "NAME")]
    pub engine: String,
    /// The precision; by default that of the tensors
    #[arg(long, value_name = "P")]
    pub precision: Option<String>,
    /// A parameter of the variant; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// The safetensors file with the inputs and weights
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// The safetensors file to write `out` to
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// `crossover probe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  crossover probe
  crossover probe --threads 1 --json")]
pub struct ProbeArgs {
    /// Threads to measure with; by default all that this process may use
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,
    /// Print JSON; its fields are stable
    #[arg(long)]
    pub json: bool,
}

/// The commands that another program reads and runs, which has the help for them too.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct HandedOver {
    /// As `--help` shows them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<OsString>,
}

const REPORT_EXAMPLE: &str = "\
Example:
  crossover report results/runs/quick-20260101-120000

crossover report --help shows the arguments";

const COMPARE_EXAMPLE: &str = "\
Example:
  crossover compare results/runs/before results/runs/after

crossover compare --help shows the arguments";

const ADVISE_EXAMPLE: &str = "\
Example:
  crossover advise --seq 4096 --d-model 768 --heads 12 --max-error 1e-2

crossover advise --help shows the arguments";

const TREND_EXAMPLE: &str = "\
Example:
  crossover trend

crossover trend --help shows the arguments";

/// `crossover record`.
#[derive(Debug, Args)]
#[command(after_help = "\
Only what can be compared over weeks is kept: times over those of the baseline in the same run, and figures that need no clock.
A run that is there already is left alone.

Examples:
  crossover record results/runs/gate-20260101-120000
  crossover record results/runs/gate-20260101-120000 --commit HEAD~1")]
pub struct RecordArgs {
    /// Folder of the run, with its journal
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The history, a CSV file [default: results/history.csv of the project]
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// The revision that the run's build was made of [default: HEAD, where nothing speaks against it]
    #[arg(long, value_name = "REV")]
    pub commit: Option<String>,
}

/// `crossover gate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Pairs of fresh processes of both builds take turns on every cell. Nothing is compared with earlier runs.

Examples:
  crossover gate
  crossover gate --base HEAD~1 --filter 'engine == \"simd\"' --time-budget 5m
  crossover gate --exact
  crossover gate --base-worker old/crossover-worker --markdown gate.md

Exit codes: 0 pass or improved, 1 regressed, 2 bad input, 3 the environment,
4 inconclusive")]
pub struct GateArgs {
    /// The revision to compare with; its worker is built beside, once [default: the merge base with main]
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
    /// A worker to compare with, instead of a revision
    #[arg(long, value_name = "FILE", conflicts_with = "base")]
    pub base_worker: Option<PathBuf>,
    /// The worker to judge [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub head_worker: Option<PathBuf>,
    /// A flag for building the base, such as --build=--no-default-features
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub build: Vec<String>,
    /// Compare what needs no clock (support, errors, bytes, allocations, operations) with results/baselines; as text or --json
    #[arg(long, conflicts_with_all = ["base", "base_worker", "build", "markdown", "junit", "time_budget", "min_effect", "seed"])]
    pub exact: bool,
    /// Count the instructions of kernels, planner and aggregation in both builds, by valgrind's callgrind
    #[arg(long, conflicts_with_all = ["exact", "markdown", "junit", "time_budget", "min_effect", "seed"])]
    pub instructions: bool,
    /// Write the exact baseline anew, or with --filter these cells of it; the reason is kept beside it
    #[arg(long, value_name = "REASON", requires = "exact")]
    pub accept: Option<String>,
    /// Whose cells: a name from `crossover list experiments`, or a file [default: gate; exact or instructions with these options]
    #[arg(long, value_name = "EXPERIMENT")]
    pub experiment: Option<String>,
    /// Which of its cells, and with which values
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// The smallest change that is worth a failed build, as a share
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub min_effect: f64,
    /// Stop measuring after this long; what is not judged by then is inconclusive
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub time_budget: Option<Duration>,
    /// Decides the order of the pairs
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print JSON; its fields are stable
    #[arg(long)]
    pub json: bool,
    /// Write a comment for a pull request
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// `crossover merge`.
#[derive(Debug, Args)]
#[command(after_help = "\
Runs are joined machine by machine. Of a cell that several have, the one with figures is kept, else the first named.

Example:
  crossover run standard --shard 1/2 --out results/runs/a
  crossover run standard --shard 2/2 --out results/runs/b
  crossover merge results/runs/a results/runs/b --out results/runs/standard")]
pub struct MergeArgs {
    /// Folders of runs
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// A new folder for the joined run; runs of several machines get a folder each in it
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// `crossover doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  crossover doctor")]
pub struct DoctorArgs {}

/// A time with its unit: `90s`, `10m`, `1.5h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a number and s, m or h, for example 10m".into()),
    };
    let number: f64 = digits.parse().map_err(|_| format!("{digits:?} is no number; write for example 10m"))?;
    let time = Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())?;
    if time.is_zero() { Err("no time at all; write for example 10m".into()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_shows_an_example() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands_mut() {
            let help = sub.render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("0.5h"), Ok(Duration::from_secs(1800)));
        for text in ["10", "m", "-1s", "0s", "1d", "nans", "infs", "1e300h", ""] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
