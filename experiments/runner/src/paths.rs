//! Where things lie: the project's root, its experiments and runs, the programs beside this one.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;
use crossover_variants::resolve::closest;

use crate::errors::{bad_input, environment};

/// The folder of experiment files below the root.
const DEFINITIONS: &str = "experiments/definitions";

/// A project: the folder that has `experiments/definitions`.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// `$CROSSOVER_ROOT`, else the nearest such folder from the current one upwards.
    pub fn find() -> Result<Self> {
        if let Some(root) = env::var_os("CROSSOVER_ROOT").map(PathBuf::from) {
            return match root.join(DEFINITIONS).is_dir() {
                true => Ok(Self { root }),
                false => Err(environment(format!("CROSSOVER_ROOT is {}, which has no folder {DEFINITIONS}", root.display()))),
            };
        }
        let here = env::current_dir().map_err(|error| environment(format!("the current folder cannot be read: {error}")))?;
        Self::above(&here).ok_or_else(|| {
            let message = format!("neither {} nor a folder above it has {DEFINITIONS}", here.display());
            environment(message + ": go into the project, or set CROSSOVER_ROOT to it")
        })
    }

    fn above(folder: &Path) -> Option<Self> {
        folder.ancestors().find(|folder| folder.join(DEFINITIONS).is_dir()).map(|root| Self { root: root.to_owned() })
    }

    /// The project's root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of experiment files.
    pub fn definitions(&self) -> PathBuf {
        self.root.join(DEFINITIONS)
    }

    /// The folder of runs.
    pub fn runs(&self) -> PathBuf {
        self.root.join("results/runs")
    }

    /// Every experiment file, sorted by name.
    pub fn experiments(&self) -> Result<Vec<PathBuf>> {
        let folder = self.definitions();
        let unreadable = |error: std::io::Error| environment(format!("{} cannot be listed: {error}", folder.display()));
        let mut files = Vec::new();
        for entry in folder.read_dir().map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

/// The file of an experiment: a path that ends in `.toml`, or the name of one in the project.
pub fn experiment_file(experiment: &str) -> Result<PathBuf> {
    let path = PathBuf::from(experiment);
    let is_path = path.extension().is_some_and(|extension| extension == "toml");
    if is_path && path.exists() {
        return Ok(path);
    }
    if !is_path && experiment.contains(['/', '\\']) {
        return Err(bad_input(format!("{experiment:?} is neither a name nor a path that ends in .toml")));
    }
    let files = Project::find().and_then(|project| project.experiments());
    let files = if is_path { files.unwrap_or_default() } else { files? };
    let names: Vec<String> = files.iter().map(|file| stem(file)).collect();
    if let Some(index) = names.iter().position(|name| !is_path && name == experiment) {
        return Ok(files[index].clone());
    }
    let what = if is_path { format!("there is no file {experiment}") } else { format!("there is no experiment {experiment:?}") };
    let nearest = closest(&stem(&path), names.iter().map(String::as_str)).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    Err(bad_input(format!("{what}\n  {nearest}the experiments are {}", names.join(", "))))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The worker's program: `$CROSSOVER_WORKER`, else `crossover-worker` beside this program.
pub fn worker_binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CROSSOVER_WORKER").map(PathBuf::from) {
        return match path.is_file() {
            true => Ok(path),
            false => Err(environment(format!("CROSSOVER_WORKER is {}, which is no file", path.display()))),
        };
    }
    sibling("crossover-worker").ok_or_else(|| {
        let build = "build it with `cargo build --release -p crossover-worker`, or set CROSSOVER_WORKER to it";
        environment(format!("crossover-worker is not beside this program: {build}"))
    })
}

/// The program that makes reports, beside this one.
pub fn report_binary() -> Result<PathBuf> {
    sibling("crossover-report").ok_or_else(|| {
        let build = "build it with `cargo build --release -p crossover-reports` (a long build: it brings the data frames)";
        environment(format!("crossover-report is not beside this program: {build}"))
    })
}

/// A program in the folder of this one, or above it where this one is a test in `deps`.
fn sibling(name: &str) -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    let folder = own.parent()?;
    let above = folder.parent().filter(|_| folder.ends_with("deps"));
    [Some(folder), above].into_iter().flatten().map(|folder| folder.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_found_from_below() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        assert!(Project::above(&deep).is_none_or(|project| !project.root().starts_with(folder.path())));
        std::fs::create_dir_all(folder.path().join(DEFINITIONS)).unwrap();
        assert_eq!(Project::above(&deep).unwrap().root(), folder.path());
    }

    #[test]
    fn only_toml_files_are_experiments() {
        let folder = tempfile::tempdir().unwrap();
        let definitions = folder.path().join(DEFINITIONS);
        std::fs::create_dir_all(&definitions).unwrap();
        for name in ["b.toml", "a.toml", "notes.md"] {
            std::fs::write(definitions.join(name), "").unwrap();
        }
        let found = Project::above(folder.path()).unwrap().experiments().unwrap();
        assert_eq!(found, [definitions.join("a.toml"), definitions.join("b.toml")]);
    }
}
