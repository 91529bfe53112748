//! `crossover record`: what a run showed goes into the history, under the commit that its build was made of.

use std::process::ExitCode;

use anyhow::Result;
use crossover_protocol::text::tell;
use crossover_results::RunFolder;
use crossover_results::history::{Appended, Commit, Recordable, append, lines_of};

use crate::cli::RecordArgs;
use crate::errors::bad_input;
use crate::gate::builds::Repository;
use crate::paths::Project;

use super::print;
use super::run::blame;
use super::text::counted;

/// Files or cells that are named; of more there is a count.
const NAMED: usize = 3;

/// Runs the command.
pub fn record(args: &RecordArgs) -> Result<ExitCode> {
    let project = Project::find()?;
    let history = args.history.clone().unwrap_or_else(|| project.history());
    let folder = RunFolder::open(&args.run).map_err(blame)?;
    let repository = Repository::of(project.root(), "and the history goes by commits: record from a clone of the project")?;
    let revision = repository.resolve(Some(args.commit.as_deref().unwrap_or("HEAD")))?;
    let commit = Commit { unix_s: repository.commit_unix_s(&revision.commit)?, name: revision.commit };
    let found = lines_of(&folder, &commit).map_err(blame)?;
    if args.commit.is_none() {
        expect_built_of_head(&repository.changed_but(&history)?, &commit, &found)?;
    }
    let appended = append(&history, &found.lines).map_err(blame)?;
    if matches!(appended, Appended::Lines(_)) {
        warn(&found);
    }
    let short = commit.name.get(..12).unwrap_or(&commit.name);
    print(|out| match appended {
        Appended::Lines(count) => {
            writeln!(out, "{} of commit {short}", counted(count as u64, "line"))?;
            writeln!(out, "history: {}", history.display())?;
            writeln!(out, "trend:   crossover trend")
        }
        Appended::Known(line) => writeln!(out, "the run is recorded already, from line {line} of {}: nothing was added", history.display()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A line under the wrong commit stays there for good, so a doubt is settled before it is written: by whoever names the commit.
fn expect_built_of_head(changed: &[String], commit: &Commit, found: &Recordable) -> Result<()> {
    let doubt = if !changed.is_empty() {
        format!(
            "{} that no commit has ({}), which the run's build may have had too",
            counted(changed.len() as u64, "changed file"),
            some(changed)
        )
    } else if found.started_unix_ms / 1000 < commit.unix_s {
        "the run was started before HEAD's commit was made, so its build may be of an earlier one".to_owned()
    } else {
        return Ok(());
    };
    Err(bad_input(format!(
        "{doubt}. Nothing was recorded: name the commit that the build was made of by --commit REV, or commit, build and run again"
    )))
}

fn warn(found: &Recordable) {
    if !found.without.is_empty() {
        let cells = counted(found.without.len() as u64, "cell");
        tell(&format!("warning: {cells} of the run without any figure, so without a line: {}", some(&found.without)));
    }
    if !found.apart.is_empty() {
        tell(&format!("warning: the run was interrupted between its baselines, so there is no ratio of times of {}", some(&found.apart)));
    }
    let lost = found.recovery.damaged_total + u64::from(found.recovery.torn_bytes > 0);
    if lost > 0 {
        tell(&format!(
            "warning: {} of the journal left out; `crossover run --resume` runs their cells again",
            counted(lost, "damaged line")
        ));
    }
}

fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}
