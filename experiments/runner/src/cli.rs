//! The command line: what can be asked, and the help for it. What each command does is in [`crate::commands`].

mod commits;
mod handed_over;
mod import;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use crossover_core::axes::AxisValue;

pub use self::commits::{GateArgs, RecordArgs};
pub use self::handed_over::HandedOver;
use self::handed_over::{ADVISE_EXAMPLE, COMPARE_EXAMPLE, REPORT_EXAMPLE, TREND_EXAMPLE};
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
    Gate(Box<GateArgs>),
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
    /// Is nothing said, so that the experiment is meant as it stands, with all of its cells?
    pub fn is_whole(&self) -> bool {
        // Every field by its name: one that is added has to be thought of here.
        let Self { set, filter, threads, shard } = self;
        set.is_empty() && filter.is_empty() && threads.is_none() && shard.is_none()
    }

    /// Do its cells have other values than the file's?
    pub fn sets(&self) -> bool {
        !self.set.is_empty() || self.threads.is_some()
    }

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
    fn a_selection_is_whole_where_nothing_is_said() {
        let of = |given: &[&str]| match Cli::try_parse_from([&["crossover", "plan"], given].concat()).unwrap().command {
            Command::Plan(args) => (args.selection.is_whole(), args.selection.sets()),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(&[]), (true, false));
        for (given, sets) in
            [(["--set", "n=3"], true), (["--threads", "2"], true), (["--filter", "n == 3"], false), (["--shard", "1/2"], false)]
        {
            assert_eq!(of(&given), (false, sets), "{given:?}");
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
