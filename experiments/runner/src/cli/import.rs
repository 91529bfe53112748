//! What `crossover import` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `crossover import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  crossover import criterion target/criterion --here")]
pub struct ImportArgs {
    /// Whose measurements.
    #[command(subcommand)]
    pub what: Imported,
}

/// What can be imported.
#[derive(Debug, Subcommand)]
pub enum Imported {
    /// The samples that `cargo bench` left, as a run: to be reported and compared like any other
    Criterion(CriterionArgs),
}

/// `crossover import criterion`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nobody checked what the benchmarks computed: their cells are `unchecked`, and ranked nowhere.

Example:
  crossover probe --threads 1 --json > ceilings.json
  cargo bench
  crossover import criterion target/criterion --here --ceilings ceilings.json")]
pub struct CriterionArgs {
    /// Criterion's folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// A new folder for the run [default: results/runs/criterion-DATE]
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// It was measured on this machine, as it is now; without this the machine is unknown
    #[arg(long)]
    pub here: bool,
    /// What `crossover probe --json` printed before or after, for shares of the ceilings; may be given several times, of each figure the highest
    /// counts
    #[arg(long, value_name = "FILE", requires = "here")]
    pub ceilings: Vec<PathBuf>,
}
