//! Which runs are asked: those of this machine, else the committed ones of the machine that is most like it.

use std::fs;
use std::path::{Path, PathBuf};

use crossover_results::{Machine, Manifest};

/// Where `crossover run` puts runs, and where those lie that are shared with the project: in the folder itself, or in one of each machine.
const OWN: &str = "results/runs";
const PUBLISHED: &str = "results/runs-published";
const MANIFEST: &str = "manifest.json";

/// Whose runs they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of this machine.
    Own,
    /// Of another one, as the project has them.
    Published,
    /// As somebody named them.
    Named,
}

/// Runs of one machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sources {
    pub(crate) kind: Kind,
    pub(crate) paths: Vec<PathBuf>,
}

/// The runs of a project to ask, the best first: this machine's, and those of the nearest machine among the published ones.
pub(crate) fn find(project: &Path, machine: &Machine) -> Vec<Sources> {
    let is_own = |found: &(PathBuf, Machine)| found.1.fingerprint == machine.fingerprint;
    let own: Vec<PathBuf> = manifests(&project.join(OWN)).into_iter().filter(is_own).map(|(path, _)| path).collect();
    let published = published(&project.join(PUBLISHED));
    let nearest = published.iter().map(|(_, other)| other).min_by(|one, other| likeness(machine, one).total_cmp(&likeness(machine, other)));
    let nearest = nearest.map(|machine| machine.fingerprint.clone());
    let published =
        published.into_iter().filter(|(_, machine)| Some(&machine.fingerprint) == nearest.as_ref()).map(|(path, _)| path).collect();
    let sources = [Sources { kind: Kind::Own, paths: own }, Sources { kind: Kind::Published, paths: published }];
    sources.into_iter().filter(|sources| !sources.paths.is_empty()).collect()
}

/// The run folders in a folder and in its folders with their machines, by path.
fn published(folder: &Path) -> Vec<(PathBuf, Machine)> {
    let mut runs = manifests(folder);
    runs.extend(listed(folder).iter().flat_map(|machine| manifests(machine)));
    runs.sort_by(|(one, _), (other, _)| one.cmp(other));
    runs
}

/// The run folders in a folder with their machines, by name. What has no manifest that can be read is no run here.
fn manifests(folder: &Path) -> Vec<(PathBuf, Machine)> {
    let read = |path: PathBuf| Manifest::read(&path.join(MANIFEST)).ok().map(|manifest| (path, manifest.machine));
    listed(folder).into_iter().filter_map(read).collect()
}

/// What is in a folder, by name; nothing where it is none. Hidden is what a killed writer left.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let shown = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let mut paths: Vec<PathBuf> = shown.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Small for machines that are alike: another processor counts for more than any difference in size.
fn likeness(one: &Machine, other: &Machine) -> f64 {
    let octaves = |one: u64, other: u64| (one.max(1) as f64 / other.max(1) as f64).log2().abs();
    let memory = one.memory_bytes.zip(other.memory_bytes).map_or(1.0, |(one, other)| octaves(one, other));
    let model = if one.cpu_model == other.cpu_model { 0.0 } else { 100.0 };
    let cores = one.logical_cores.zip(other.logical_cores).map_or(1.0, |(one, other)| octaves(one, other));
    model + cores + memory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_processor_is_nearer_than_the_same_size() {
        let this = Machine { cpu_model: Some("this".into()), logical_cores: Some(4), memory_bytes: Some(1 << 34), ..Machine::detect() };
        let other = |model: &str, cores: u64| Machine { cpu_model: Some(model.into()), logical_cores: Some(cores), ..this.clone() };
        let of = |model: &str, cores: u64| likeness(&this, &other(model, cores));
        assert_eq!(of("this", 4), 0.0);
        assert!(of("this", 8) < of("this", 64) && of("this", 64) < of("that", 4), "{}", of("this", 64));
        assert_eq!(of("this", 8), of("this", 2));
    }
}
