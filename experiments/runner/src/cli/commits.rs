//! What can be asked about commits: `crossover gate` compares two, `crossover record` keeps what one showed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{SelectionArgs, duration};

/// What stands for standard output where a file could be named.
const STDOUT: &str = "-";

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
Base and HEAD are built in one way, and pairs of fresh processes of both take turns on every cell. Runs that were
measured already are judged with --base-run and --head-run only: take them in the order base, head, head, base, and
so on, or drift of the machine is taken for a change.

Examples:
  crossover gate
  crossover gate --base HEAD~1 --filter 'engine == \"simd\"' --time-budget 5m
  crossover gate --exact
  crossover gate --accept \"packed weights take a row more\"
  crossover gate --base HEAD --head-worker target/release/crossover-worker
  crossover gate --base-worker old/crossover-worker --markdown gate.md
  crossover gate --base-run before-1 before-2 --head-run after-1 after-2

Exit codes: 0 pass or improved, 1 regressed, 2 bad input, 3 the environment,
4 inconclusive")]
pub struct GateArgs {
    /// The revision to compare with; its worker and HEAD's are built in one way, once [default: the merge base with main]
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
    /// A worker to compare with, instead of a revision
    #[arg(long, value_name = "FILE", conflicts_with = "base")]
    pub base_worker: Option<PathBuf>,
    /// The worker to judge, of changes without a commit, say [default: HEAD's, or beside --base-worker the one of this program's folder]
    #[arg(long, value_name = "FILE")]
    pub head_worker: Option<PathBuf>,
    /// Runs to compare with, measured already, of `crossover import criterion`, say; taken in the order base, head, head, base
    #[arg(
        long,
        value_name = "RUN",
        num_args = 1..,
        requires = "head_run",
        conflicts_with_all = ["base", "base_worker", "head_worker", "build", "exact", "accept", "instructions", "experiment", "set", "filter", "threads", "shard", "time_budget", "seed"]
    )]
    pub base_run: Vec<PathBuf>,
    /// Runs to judge: the first one and the first of --base-run are a pair, and so on
    #[arg(long, value_name = "RUN", num_args = 1.., requires = "base_run")]
    pub head_run: Vec<PathBuf>,
    /// A flag for building both, such as --build=--no-default-features
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub build: Vec<String>,
    /// Compare what needs no clock (support, errors, bytes, allocations, operations) with results/baselines, and run the conformance suite on every engine
    #[arg(long, conflicts_with_all = ["base", "base_worker", "build", "time_budget", "min_effect", "seed"])]
    pub exact: bool,
    /// Count the instructions of kernels, planner and aggregation in both builds, by valgrind's callgrind
    #[arg(long, conflicts_with_all = ["exact", "time_budget", "min_effect", "seed"])]
    pub instructions: bool,
    /// Put this machine's rows of --exact into its baseline, or with --filter these cells of them; the reason is kept beside it
    #[arg(
        long,
        value_name = "REASON",
        conflicts_with_all = ["base", "base_worker", "build", "instructions", "markdown", "junit", "json", "time_budget", "min_effect", "seed"]
    )]
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
    /// Decides the order of the pairs, their cores and where their heaps begin [default: drawn, and told]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Print JSON, whose fields are stable, or write it to a file beside the text
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    pub json: Option<PathBuf>,
    /// Write a comment for a pull request
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

impl GateArgs {
    /// Is JSON to be printed instead of text?
    pub fn prints_json(&self) -> bool {
        self.json.as_deref() == Some(Path::new(STDOUT))
    }

    /// The file for JSON beside the text.
    pub fn json_file(&self) -> Option<&Path> {
        self.json.as_deref().filter(|path| *path != Path::new(STDOUT))
    }
}
