//! The commands that another program reads and runs: what `crossover` itself shows of them.

use std::ffi::OsString;

use clap::Args;

/// The commands that another program reads and runs, which has the help for them too.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct HandedOver {
    /// As `--help` shows them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<OsString>,
}

pub(super) const REPORT_EXAMPLE: &str = "\
Example:
  crossover report results/runs/quick-20260101-120000

crossover report --help shows the arguments";

pub(super) const COMPARE_EXAMPLE: &str = "\
Example:
  crossover compare results/runs/before results/runs/after

crossover compare --help shows the arguments";

pub(super) const ADVISE_EXAMPLE: &str = "\
Example:
  crossover advise --seq 4096 --d-model 768 --heads 12 --max-error 1e-2

crossover advise --help shows the arguments";

pub(super) const TREND_EXAMPLE: &str = "\
Example:
  crossover trend

crossover trend --help shows the arguments";
