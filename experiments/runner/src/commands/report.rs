//! `crossover report`: hands over to `crossover-report`, a program of its own because it alone brings the data frames, which take
//! most of the build.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::cli::ReportArgs;
use crate::errors::environment;
use crate::paths;

/// Runs the command; comes back only with an error.
pub fn report(args: &ReportArgs) -> Result<ExitCode> {
    let program = paths::report_binary()?;
    let mut command = Command::new(&program);
    command.args(&args.runs);
    if let Some(out) = &args.out {
        command.arg("--out").arg(out);
    }
    if let Some(splice) = &args.splice {
        command.arg("--splice").arg(splice);
    }
    if let Some(format) = &args.format {
        command.arg("--format").arg(format);
    }
    let error = command.exec();
    Err(environment(format!("{} cannot be started: {error}", program.display())))
}
