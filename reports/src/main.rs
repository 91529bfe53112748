//! `crossover-report`: what `crossover report` runs. A program of its own, so that only it waits for polars to compile.

use std::process::ExitCode;

fn main() -> ExitCode {
    crossover_reports::run_command(std::env::args_os())
}
