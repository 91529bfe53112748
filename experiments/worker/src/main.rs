//! The worker process; [`crossover_worker`] is all of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    crossover_worker::main()
}
