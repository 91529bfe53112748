//! Where things lie: the project's root, its experiments and runs, the programs beside this one.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;
use crossover_results::RunFolder;
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

    /// The history of commits.
    pub fn history(&self) -> PathBuf {
        self.root.join("results/history.csv")
    }

    /// Every experiment, sorted: those of the folder first, then those of the folders in it.
    pub fn experiments(&self) -> Result<Vec<Experiment>> {
        let folder = self.definitions();
        let (mut found, folders) = experiments_in(&folder, "")?;
        for inner in folders {
            let prefix = format!("{}/", inner.file_name().unwrap_or_default().to_string_lossy());
            found.extend(experiments_in(&inner, &prefix)?.0);
        }
        Ok(found)
    }
}

/// An experiment of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// What it is called on the command line: `quick`, `published/linformer-table3`.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
}

/// The experiments of one folder, and the folders in it.
fn experiments_in(folder: &Path, prefix: &str) -> Result<(Vec<Experiment>, Vec<PathBuf>)> {
    let unreadable = |error: std::io::Error| environment(format!("{} cannot be listed: {error}", folder.display()));
    let (mut found, mut folders) = (Vec::new(), Vec::new());
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            folders.push(path);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(Experiment { name: format!("{prefix}{}", stem(&path)), file: path });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    folders.sort();
    Ok((found, folders))
}

/// The file of an experiment: a path that ends in `.toml`, or the name of one in the project.
pub fn experiment_file(experiment: &str) -> Result<PathBuf> {
    let path = PathBuf::from(experiment);
    let is_path = path.extension().is_some_and(|extension| extension == "toml");
    if is_path && path.exists() {
        return Ok(path);
    }
    let known = Project::find().and_then(|project| project.experiments());
    let known = if is_path { known.unwrap_or_default() } else { known? };
    if let Some(found) = known.iter().find(|known| !is_path && known.name == experiment) {
        return Ok(found.file.clone());
    }
    if RunFolder::open(&path).is_ok() {
        return Err(bad_input(format!(
            "{experiment} is the folder of a run, and not an experiment\n  crossover report {experiment} shows it, crossover run --resume --out {experiment} goes on with an unfinished one"
        )));
    }
    let names: Vec<&str> = known.iter().map(|known| known.name.as_str()).collect();
    let what = if is_path { format!("there is no file {experiment}") } else { format!("there is no experiment {experiment:?}") };
    let wanted = if is_path { stem(&path) } else { experiment.to_owned() };
    let nearest = closest(&wanted, names.iter().copied()).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
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
        std::fs::create_dir_all(definitions.join("papers")).unwrap();
        for name in ["b.toml", "papers/c.toml", "a.toml", "notes.md"] {
            std::fs::write(definitions.join(name), "").unwrap();
        }
        let found = Project::above(folder.path()).unwrap().experiments().unwrap();
        let names: Vec<&str> = found.iter().map(|experiment| experiment.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "papers/c"]);
        assert_eq!(found[2].file, definitions.join("papers/c.toml"));
    }
}
