//! The parts of the installation: programs, folders, room.

use std::collections::BTreeMap;
use std::path::Path;

use crossover_core::axes::{Axes, AxisValue};
use crossover_variants::model::missing_file;

use crate::commands::own_worker;
use crate::definition;
use crate::paths::{Project, report_binary, worker_binary};

use super::{Finding, engines};

pub(super) fn examine() -> Vec<Finding> {
    let mut findings = worker();
    findings.push(report());
    match Project::find() {
        Ok(project) => {
            findings.push(Finding::good("project", project.root().display().to_string()));
            findings.push(runs_folder(&project.runs()));
            findings.push(disk(&project.runs()));
            findings.extend(weights(&project));
        }
        Err(error) => findings.push(Finding::problem("project", "not found", error.to_string())),
    }
    findings
}

/// The worker, and its engines if it has any.
fn worker() -> Vec<Finding> {
    let path = match worker_binary() {
        Ok(path) => path,
        Err(error) => return vec![Finding::problem("worker", "not found", error.to_string())],
    };
    let ready = match own_worker::start() {
        Ok(ready) => ready,
        Err(error) => {
            let advice = "build it anew with `cargo build --release -p crossover-worker`";
            return vec![Finding::problem("worker", format!("{} does not answer: {error}", path.display()), advice)];
        }
    };
    let names: Vec<&str> = ready.hello.engines.iter().map(|engine| engine.name.as_str()).collect();
    let finding = match names.is_empty() {
        true => Finding::problem("worker", format!("{} has no engines", path.display()), "build it with at least one engine"),
        false => Finding::good("worker", format!("{} {} with {}", ready.hello.worker, ready.hello.version, names.join(", "))),
    };
    ready.conversation.quit();
    let mut findings = vec![finding];
    findings.extend(engines::examine(&ready.hello.engines));
    findings
}

fn report() -> Finding {
    match report_binary() {
        Ok(path) => Finding::good("reports", path.display().to_string()),
        Err(error) => Finding::problem("reports", "not found", error.to_string()),
    }
}

/// Tries what a run will do: make the folder and write a file.
fn runs_folder(folder: &Path) -> Finding {
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    let tried = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&probe, "x")).and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Ok(()) => Finding::good("runs", format!("{} can be written", folder.display())),
        Err(error) => {
            let found = format!("{} cannot be written: {error}", folder.display());
            Finding::problem("runs", found, "mend its permissions, or name another folder by `crossover run --out`")
        }
    }
}

/// The trained weights that experiments name, each folder once.
fn weights(project: &Project) -> Vec<Finding> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for experiment in project.experiments().unwrap_or_default() {
        // `list experiments` says what is wrong with one that cannot be read.
        let Ok(definition) = definition::load(&experiment.file) else { continue };
        let settings = definition.defaults.iter().chain(definition.sweeps.iter().flat_map(|sweep| &sweep.axes));
        for value in settings.flat_map(|setting| setting.values_of("weights")) {
            let users = users.entry(value.to_string()).or_default();
            if !users.contains(&experiment.name) {
                users.push(experiment.name.clone());
            }
        }
    }
    users.remove("seed");
    let judge = |(folder, users): (String, Vec<String>)| {
        let axes = Axes::from([("weights".to_owned(), AxisValue::Text(folder.clone()))]);
        match missing_file(&axes) {
            None => Finding::good("weights", folder),
            Some(missing) => Finding::note(
                "weights",
                missing,
                format!("until then a run of {} skips the cells that want them, or does not begin where all do", users.join(", ")),
            ),
        }
    };
    users.into_iter().map(judge).collect()
}

/// A run's journal takes some kilobytes a cell.
fn disk(folder: &Path) -> Finding {
    const TIGHT: u64 = 1 << 30;
    const TOO_LITTLE: u64 = 64 << 20;
    let Ok(room) = rustix::fs::statvfs(folder) else { return Finding::unknown("disk") };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let found = format!("{:.1} GiB free at {}", free as f64 / (1u64 << 30) as f64, folder.display());
    match free {
        ..TOO_LITTLE => Finding::problem("disk", found, "make room, or name another folder by `crossover run --out`"),
        TOO_LITTLE..TIGHT => Finding::note("disk", found, "large runs may not fit"),
        _ => Finding::good("disk", found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn a_folder_is_made_and_left_clean() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("results/runs");
        assert_eq!(runs_folder(&runs).verdict, Verdict::Good);
        assert_eq!(runs.read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_folders_place_is_a_problem_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        std::fs::write(&runs, "").unwrap();
        let finding = runs_folder(&runs);
        assert_eq!(finding.verdict, Verdict::Problem);
        assert!(finding.advice.contains("--out"), "{}", finding.advice);
    }
}
