//! The worker's size: bytes of a program grow unseen, and bring start-up time and page faults.
//!
//! A size says something beside one of the same compiler, target and engines only. So the baseline (`results/baselines/NAME-size.csv`) has a row for each
//! such build. A build of another kind is told of and fails nobody; one that differs in its compiler alone is no pass until it has a row, as the compiler's change brings one.

use std::path::Path;

use anyhow::Result;
use crossover_protocol::HelloReply;
use serde::{Deserialize, Serialize};

use crate::errors::bad_input;

use super::csv_table;
use super::exact::compare::Change;
use super::verdict::Verdict;

/// Growth beyond this share is a regression.
const TOLERATED: f64 = 0.02;

/// A build and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Compiler, target, and what the worker says beside them of its build.
    pub build: String,
    /// The engines that are built in.
    pub engines: String,
    /// Bytes of the program's file.
    pub bytes: u64,
}

impl Size {
    /// Of a worker that said who it is.
    pub fn of(worker: &Path, hello: &HelloReply) -> Result<Self> {
        let metadata =
            std::fs::metadata(worker).map_err(|error| bad_input(format!("{} cannot be looked at: {error}", worker.display())))?;
        // Before the bracket stands a fingerprint, which is another for each build.
        let build = hello.build.split_once(" (").map_or(hello.build.as_str(), |(_, build)| build.trim_end_matches(')'));
        let engines: Vec<&str> = hello.engines.iter().map(|engine| engine.name.as_str()).collect();
        Ok(Self { build: build.to_owned(), engines: engines.join(" "), bytes: metadata.len() })
    }

    fn is_like(&self, other: &Self) -> bool {
        self.build == other.build && self.engines == other.engines
    }

    /// The same but for the compiler, which stands before the first comma?
    fn differs_in_its_compiler(&self, other: &Self) -> bool {
        let rest = |size: &Self| size.build.split_once(", ").map(|(_, rest)| rest.to_owned());
        self.engines == other.engines && rest(self).is_some() && rest(self) == rest(other)
    }
}

/// What changed since the baseline; nothing where the size is about the same.
pub fn compare(baseline: &[Size], now: &Size) -> Option<Change> {
    let change = |verdict, what| Some(Change { cell: "the worker's program".to_owned(), verdict, what });
    let Some(then) = baseline.iter().find(|known| known.is_like(now)) else {
        let is_of_other_compiler = baseline.iter().any(|known| known.differs_in_its_compiler(now));
        let verdict = if is_of_other_compiler { Verdict::Inconclusive } else { Verdict::Pass };
        return change(verdict, format!("{} bytes, and no baseline of a build like this: {}", now.bytes, now.build));
    };
    let share = now.bytes as f64 / then.bytes.max(1) as f64 - 1.0;
    let what = format!("its size went from {} to {} bytes, {:+.1} %", then.bytes, now.bytes, 100.0 * share);
    match share {
        share if share > TOLERATED => change(Verdict::Regressed, what),
        share if share < -TOLERATED => change(Verdict::Improved, what),
        _ => None,
    }
}

/// Reads the sizes beside a baseline; none where there is no such file.
pub fn read(path: &Path) -> Result<Vec<Size>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    csv_table::read(path)
        .map_err(|error| bad_input(format!("the sizes in {} are damaged: {error}; restore the file from the repository", path.display())))
}

/// Puts a size into its row; other builds keep theirs.
pub fn write(path: &Path, mut sizes: Vec<Size>, now: Size) -> Result<()> {
    sizes.retain(|known| !known.is_like(&now));
    sizes.push(now);
    sizes.sort_by(|one, other| (&one.build, &one.engines).cmp(&(&other.build, &other.engines)));
    csv_table::write(path, sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(build: &str, bytes: u64) -> Size {
        Size { build: build.into(), engines: "naive simd".into(), bytes }
    }

    #[test]
    fn growth_beyond_two_percent_is_a_regression_and_other_builds_say_nothing() {
        let verdict = |bytes| compare(&[size("a", 1000), size("b", 1)], &size("a", bytes)).map(|change| change.verdict);
        assert_eq!([1000, 1019, 1021, 981, 979].map(verdict), [None, None, Some(Verdict::Regressed), None, Some(Verdict::Improved)]);
        let other = compare(&[size("a", 1000)], &size("c", 5000)).unwrap();
        assert!(other.verdict == Verdict::Pass && other.what.contains("no baseline of a build like this: c"), "{other:?}");
        let by_compiler = |build: &str| compare(&[size("rustc 1, linux, opt 3", 1000)], &size(build, 5000)).unwrap().verdict;
        assert_eq!(by_compiler("rustc 2, linux, opt 3"), Verdict::Inconclusive);
        assert_eq!(by_compiler("rustc 1, linux, opt 3, native"), Verdict::Pass);
    }

    #[test]
    fn a_size_takes_the_place_of_its_build_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x-size.csv");
        assert!(read(&path).unwrap().is_empty());
        write(&path, vec![size("b", 1), size("a", 2)], size("b", 3)).unwrap();
        assert_eq!(read(&path).unwrap(), [size("a", 2), size("b", 3)]);
        std::fs::write(&path, "build,engines,bytes\na,naive,many\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("damaged"));
    }
}
