//! `crossover report`, `compare`, `advise` and `trend`: handed over to `crossover-report`, a program of its own because it alone brings the data
//! frames, which take most of the build. It reads the arguments, too, so that they are written down once.
//!
//! It also says what came of a run, or of an import, where that takes frames.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;

use crate::cli::HandedOver;
use crate::errors::environment;
use crate::paths::{self, Project};

/// Runs `crossover report`; comes back only with an error. It is told where the project's history is.
pub fn report(args: &HandedOver) -> Result<ExitCode> {
    hand_over(&mut in_project("report")?, args)
}

/// Runs `crossover compare`, likewise.
pub fn compare(args: &HandedOver) -> Result<ExitCode> {
    hand_over(Command::new(paths::report_binary()?).arg("compare"), args)
}

/// Runs `crossover advise`, likewise. It is told where the project's runs are; outside of a project, runs are named.
pub fn advise(args: &HandedOver) -> Result<ExitCode> {
    hand_over(&mut in_project("advise")?, args)
}

/// Runs `crossover trend`, likewise.
pub fn trend(args: &HandedOver) -> Result<ExitCode> {
    hand_over(&mut in_project("trend")?, args)
}

/// With the project's folder, where there is one.
fn in_project(command: &str) -> Result<Command> {
    let mut program = Command::new(paths::report_binary()?);
    program.arg(command);
    if let Ok(project) = Project::find() {
        program.arg("--project").arg(project.root());
    }
    Ok(program)
}

/// Characters of a reason that are shown.
const SHOWN: usize = 300;

/// Lets the report program print what it has to say of a run: true where all is well, false for a finding; else why it said nothing.
pub(super) fn told_by_report(command: &str, run: &Path) -> Result<bool, String> {
    let program = paths::report_binary().map_err(|error| error.to_string())?;
    let mut process = Command::new(&program);
    // Its standard output is ours, so it sees for itself how wide that is, and whether it takes colours.
    process.arg(command).arg(run).stdin(Stdio::null()).stdout(Stdio::inherit());
    let output = process.output().map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    if let Some(code @ (0 | 1)) = output.status.code() {
        return Ok(code == 0);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| !line.trim().is_empty()).map_or_else(|| output.status.to_string(), str::to_owned);
    Err(first.chars().take(SHOWN).flat_map(char::escape_debug).collect())
}

fn hand_over(command: &mut Command, args: &HandedOver) -> Result<ExitCode> {
    let error = command.args(&args.arguments).exec();
    Err(environment(format!("{} cannot be started: {error}", command.get_program().display())))
}
