//! The worker process with slowness and faults on purpose, for trials of the gate: `planted.rs` in [`crossover_worker`].

use std::process::ExitCode;

fn main() -> ExitCode {
    crossover_worker::main()
}
