//! The worker process: runs one cell on one of our engines.
//!
//! Without a subcommand it speaks the worker protocol on stdin and stdout (`experiments/PROTOCOL.md`). The order of the modules is the
//! order of a cell's life: `serve` reads requests, `session` keeps the prepared cell, `dispatch` finds engine and variant,
//! `timing` measures (beside the `instruments`), `memory` accounts. `apply`, `probe` and `conformance` are the jobs that are not cells.

mod allocator;
mod apply;
#[cfg(feature = "conformance")]
mod conformance;
mod dispatch;
mod eviction;
#[cfg(test)]
mod fake_cell;
mod fingerprint;
mod foreground;
mod heap;
mod instruments;
mod memory;
#[cfg(feature = "planted")]
mod planted;
mod probe;
mod process;
mod processor;
mod serve;
mod session;
mod tensor_file;
mod timing;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use crossover_protocol::HEAP_OFFSET;
use crossover_protocol::text::tell;
use foreground::Outcome;

/// Runs one cell. Usually started by `crossover`, which speaks JSON lines with it.
#[derive(Parser)]
#[command(name = "crossover-worker", version, after_help = "Example: echo '{\"type\":\"hello\",\"protocol\":1}' | crossover-worker")]
struct Arguments {
    /// Address space that this process may use.
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<u64>,
    /// Cores that this process and what it becomes stay on: the first so many of those that it may use.
    #[arg(long, value_name = "COUNT")]
    cores: Option<usize>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run one cell in the foreground and print what it measures (for perf and debuggers).
    Cell {
        /// The cell as JSON: {"id":..,"variant":..,"engine":..,"axes":{..}}.
        json: String,
        /// Only call the variant for five seconds, so that a profile shows nothing else.
        #[arg(long)]
        profile: bool,
    },
    /// Run the conformance suite on one engine, with few cases: a line for each property that does not hold, and one at the end.
    #[cfg(feature = "conformance")]
    Conformance {
        /// The engine.
        engine: String,
    },
    /// List the faults that can be planted.
    #[cfg(feature = "planted")]
    Faults,
    /// Become another program that dies with the one that started this (for workers in other languages).
    Exec {
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// The whole program.
pub fn main() -> ExitCode {
    let placed = heap::begin(std::env::var(HEAP_OFFSET).ok().as_deref());
    let arguments = Arguments::parse();
    let arranged = placed
        .and_then(|()| process::die_with_parent())
        .and_then(|()| process::limit_memory(arguments.memory_limit))
        .and_then(|()| process::stay_on_cores(arguments.cores));
    #[cfg(feature = "planted")]
    let arranged = arranged.and_then(|()| planted::plant_fault());
    let result = arranged.and_then(|()| match arguments.command {
        None => serve::serve(std::io::stdin().lock(), std::io::stdout().lock()).map(|()| Outcome::Good),
        Some(Command::Cell { json, profile }) => foreground::run(&json, profile),
        #[cfg(feature = "conformance")]
        Some(Command::Conformance { engine }) => conformance::run(&engine),
        #[cfg(feature = "planted")]
        Some(Command::Faults) => planted::list_faults().map(|()| Outcome::Good),
        Some(Command::Exec { command }) => process::become_program(&command).map(|()| Outcome::Good),
    });
    match result {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Wrong) => ExitCode::from(1),
        Err(error) => {
            tell(&format!("error: {error:#}"));
            let bad_input = error.downcast_ref::<foreground::Refusal>().is_some_and(foreground::Refusal::is_bad_input);
            ExitCode::from(if bad_input { 2 } else { 3 })
        }
    }
}
