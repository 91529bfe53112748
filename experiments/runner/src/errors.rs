//! Whose fault an error is, which decides the exit code, and how it is shown.
//!
//! 0 is good, 1 a finding (a regression, a cell that failed), 2 bad input, 3 the environment. An error that nobody has laid at the
//! user's door counts as the environment's.

use std::process::ExitCode;

use anyhow::Error;
use crossover_protocol::text::tell;

use crate::definition::DefinitionError;
use crate::filter::FilterError;
use crate::plan::PlanError;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    Input,
    Environment,
}

/// An error of a command, with the one to blame.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct CommandError {
    blame: Blame,
    message: String,
}

/// The reader of standard output has gone (`| head`): no error, just the end.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub struct StdoutClosed;

/// An error in what the user gave: exit code 2.
pub fn bad_input(message: impl Into<String>) -> Error {
    Error::new(CommandError { blame: Blame::Input, message: message.into() })
}

/// An error of the machine or the installation: exit code 3.
pub fn environment(message: impl Into<String>) -> Error {
    Error::new(CommandError { blame: Blame::Environment, message: message.into() })
}

/// Exit code 1: the command worked, and what it found is not good.
pub fn finding() -> ExitCode {
    ExitCode::from(1)
}

/// Shows an error on standard error, causes indented, and gives the exit code that goes with it.
pub fn report(error: &Error) -> ExitCode {
    if error.is::<StdoutClosed>() {
        return ExitCode::SUCCESS;
    }
    tell(&describe(error));
    ExitCode::from(exit_code(error))
}

/// `error: ...`, then each cause on lines of its own.
fn describe(error: &Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut shown = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !shown.contains(&cause) {
            for (number, line) in cause.lines().enumerate() {
                text += if number == 0 { "  because: " } else { "           " };
                text += line;
                text.push('\n');
            }
        }
        shown = cause;
    }
    text
}

fn exit_code(error: &Error) -> u8 {
    let blame = error.chain().find_map(|cause| {
        if cause.is::<DefinitionError>() || cause.is::<PlanError>() || cause.is::<FilterError>() {
            return Some(Blame::Input);
        }
        cause.downcast_ref::<CommandError>().map(|error| error.blame)
    });
    if blame == Some(Blame::Input) { 2 } else { 3 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn causes_are_indented_and_the_blame_survives_context() {
        let error = Err::<(), _>(bad_input("first line\nsecond line")).context("cannot plan").unwrap_err();
        assert_eq!(describe(&error), "error: cannot plan\n  because: first line\n           second line\n");
        assert_eq!(exit_code(&error), 2);
    }

    #[test]
    fn an_error_that_nobody_explained_is_the_environments() {
        let error = Error::new(std::io::Error::other("disk on fire"));
        assert_eq!(exit_code(&error), 3);
        assert_eq!(exit_code(&environment("no worker")), 3);
    }

    #[test]
    fn a_cause_that_was_already_told_is_not_told_again() {
        let error = Error::new(std::io::Error::other("disk on fire")).context("writing failed: disk on fire");
        assert_eq!(describe(&error), "error: writing failed: disk on fire\n");
    }
}
