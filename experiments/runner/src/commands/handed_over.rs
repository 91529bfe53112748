//! `crossover report`, `compare` and `advise`: handed over to `crossover-report`, a program of its own because it alone brings the data
//! frames, which take most of the build. It reads the arguments, too, so that they are written down once.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::cli::HandedOver;
use crate::errors::environment;
use crate::paths::{self, Project};

/// Runs `crossover report`; comes back only with an error.
pub fn report(args: &HandedOver) -> Result<ExitCode> {
    hand_over(Command::new(paths::report_binary()?).arg("report"), args)
}

/// Runs `crossover compare`, likewise.
pub fn compare(args: &HandedOver) -> Result<ExitCode> {
    hand_over(Command::new(paths::report_binary()?).arg("compare"), args)
}

/// Runs `crossover advise`, likewise. It is told where the project's runs are; outside of a project, runs are named.
pub fn advise(args: &HandedOver) -> Result<ExitCode> {
    let mut command = Command::new(paths::report_binary()?);
    command.arg("advise");
    if let Ok(project) = Project::find() {
        command.arg("--project").arg(project.root());
    }
    hand_over(&mut command, args)
}

fn hand_over(command: &mut Command, args: &HandedOver) -> Result<ExitCode> {
    let error = command.args(&args.arguments).exec();
    Err(environment(format!("{} cannot be started: {error}", command.get_program().display())))
}
