//! Criterion's folder: `GROUP/FUNCTION/VALUE/new/{benchmark,sample,estimates}.json`, where function and value may be missing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::statistics::Summary;

const BENCHMARK: &str = "benchmark.json";
const SAMPLE: &str = "sample.json";
const ESTIMATES: &str = "estimates.json";
/// The folder of the last run of a benchmark; others beside it are baselines and reports.
const NEW: &str = "new";
/// Folders in folders that are looked into: criterion makes four of them.
const DEEPEST: usize = 8;
/// Criterion's median is that of the same numbers.
const SAME: f64 = 1e-6;

/// One benchmark with its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Benchmark {
    /// What criterion calls it as a whole.
    pub full_id: String,
    /// Its group.
    pub group: String,
    /// Its function, where it has one.
    pub function: Option<String>,
    /// Its parameter, where it has one.
    pub value: Option<String>,
    /// In the order taken: calls, and nanoseconds of all of them together.
    pub samples: Vec<(u32, u64)>,
    /// Of one call.
    pub summary: Summary,
    /// When the samples were written (Unix time).
    pub written_unix_ms: u64,
}

/// Why a folder cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum CriterionError {
    /// Nothing is there.
    #[error("there is no folder {}: name the one that `cargo bench` writes, usually target/criterion", path.display())]
    NoFolder {
        /// What was named.
        path: PathBuf,
    },
    /// Folders in folders in folders: not what criterion writes, and a benchmark further down would be passed over.
    #[error("{} lies deeper than criterion's folders do: name the folder that `cargo bench` writes, usually target/criterion", path.display())]
    TooDeep {
        /// The first that was not looked into.
        path: PathBuf,
    },
    /// No benchmark is in it.
    #[error(
        "{} has no benchmark of criterion (a folder `new` with {BENCHMARK}) in it: run `cargo bench` first, or name the folder that it writes, usually \
         target/criterion",
        path.display()
    )]
    NoBenchmark {
        /// What was named.
        path: PathBuf,
    },
    /// A file is not as criterion writes it.
    #[error("{}: {problem}; run the benchmark again, or remove its folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Two folders have one benchmark.
    #[error("the benchmark {id:?} is in {} and in {}: name one folder of criterion", one.display(), other.display())]
    Twice {
        /// Its name.
        id: String,
        /// One folder.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// The operating system refused.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

impl CriterionError {
    /// Is the machine to blame, and not what was named?
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

#[derive(Deserialize)]
struct BenchmarkFile {
    group_id: String,
    function_id: Option<String>,
    value_str: Option<String>,
    full_id: String,
}

/// A number that is not finite is written as null.
#[derive(Deserialize)]
struct SampleFile {
    iters: Vec<Option<f64>>,
    times: Vec<Option<f64>>,
}

#[derive(Deserialize)]
struct EstimatesFile {
    median: EstimateFile,
}

#[derive(Deserialize)]
struct EstimateFile {
    point_estimate: Option<f64>,
}

/// Every benchmark below the folder, by name. All of them or none.
///
/// # Errors
/// When there is none, or one that is not whole.
pub fn read(folder: &Path) -> Result<Vec<Benchmark>, CriterionError> {
    if !folder.is_dir() {
        return Err(CriterionError::NoFolder { path: folder.to_owned() });
    }
    let mut found = Vec::new();
    look_into(folder, 0, &mut found)?;
    let mut benchmarks: BTreeMap<String, (PathBuf, Benchmark)> = BTreeMap::new();
    for path in found {
        let benchmark = read_one(&path)?;
        if let Some((one, _)) = benchmarks.get(&benchmark.full_id) {
            return Err(CriterionError::Twice { id: benchmark.full_id, one: one.clone(), other: path });
        }
        benchmarks.insert(benchmark.full_id.clone(), (path, benchmark));
    }
    if benchmarks.is_empty() {
        return Err(CriterionError::NoBenchmark { path: folder.to_owned() });
    }
    Ok(benchmarks.into_values().map(|(_, benchmark)| benchmark).collect())
}

/// Finds the folders `new` that hold any of a benchmark's files. Links are not followed: they may lead in circles.
fn look_into(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), CriterionError> {
    let failure = |source| CriterionError::Io { path: folder.to_owned(), source };
    if folder.file_name().is_some_and(|name| name == NEW) && [BENCHMARK, SAMPLE, ESTIMATES].iter().any(|file| folder.join(file).is_file()) {
        found.push(folder.to_owned());
    }
    let mut inner = Vec::new();
    for entry in fs::read_dir(folder).map_err(failure)? {
        let entry = entry.map_err(failure)?;
        if entry.file_type().map_err(failure)?.is_dir() {
            inner.push(entry.path());
        }
    }
    inner.sort();
    match inner.first() {
        Some(path) if depth == DEEPEST => Err(CriterionError::TooDeep { path: path.clone() }),
        _ => inner.iter().try_for_each(|path| look_into(path, depth + 1, found)),
    }
}

fn read_one(folder: &Path) -> Result<Benchmark, CriterionError> {
    let BenchmarkFile { group_id: group, function_id: function, value_str: value, full_id } = json(&folder.join(BENCHMARK))?;
    let path = folder.join(SAMPLE);
    let damaged = |problem: String| CriterionError::Damaged { path: path.clone(), problem };
    let samples = samples(&json(&path)?).map_err(damaged)?;
    let a_call = samples.iter().map(|(calls, ns)| ns / f64::from(*calls));
    let summary = Summary::of(a_call).ok_or_else(|| damaged("it has no samples".to_owned()))?;
    agree(&summary, json(&folder.join(ESTIMATES))?).map_err(|problem| CriterionError::Damaged { path: folder.join(ESTIMATES), problem })?;
    let modified =
        fs::metadata(&path).and_then(|file| file.modified()).map_err(|source| CriterionError::Io { path: path.clone(), source })?;
    let written_unix_ms = modified.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let samples = samples.into_iter().map(|(calls, ns)| (calls, ns.round() as u64)).collect();
    Ok(Benchmark { full_id, group, function, value, samples, summary, written_unix_ms })
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, CriterionError> {
    let text = fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            CriterionError::Damaged { path: path.to_owned(), problem: "the file is missing, as where a benchmark was stopped".to_owned() }
        }
        _ => CriterionError::Io { path: path.to_owned(), source },
    })?;
    serde_json::from_slice(&text).map_err(|error| CriterionError::Damaged { path: path.to_owned(), problem: error.to_string() })
}

/// Calls and nanoseconds, or what is wrong with them.
fn samples(file: &SampleFile) -> Result<Vec<(u32, f64)>, String> {
    let (calls, times) = (file.iters.len(), file.times.len());
    if calls != times {
        return Err(format!("it has {calls} numbers of calls and {times} times"));
    }
    let pairs = file.iters.iter().zip(&file.times).zip(1..);
    let sample = |((calls, ns), number): ((&Option<f64>, &Option<f64>), u32)| {
        let calls = calls.filter(|calls| *calls >= 1.0 && *calls <= f64::from(u32::MAX) && calls.fract() == 0.0);
        let calls = calls.ok_or_else(|| format!("sample {number} is not of a whole number of calls from 1 to {}", u32::MAX))?;
        let ns = ns.filter(|ns| ns.is_finite()).ok_or_else(|| format!("the time of sample {number} is not a number"))?;
        // A negative zero is none.
        if ns < 0.0 {
            return Err(format!("the time of sample {number} is negative ({ns} ns)"));
        }
        if ns >= i64::MAX as f64 {
            return Err(format!("the time of sample {number} is longer than anybody waited ({ns} ns)"));
        }
        Ok((calls as u32, ns))
    };
    pairs.map(sample).collect()
}

/// Files of two runs in one folder, as of a benchmark that was stopped while it wrote them, give themselves away by this.
fn agree(summary: &Summary, estimates: EstimatesFile) -> Result<(), String> {
    let theirs = estimates.median.point_estimate.ok_or("its median is not a number")?;
    let is_same = (theirs - summary.median).abs() <= SAME * summary.median.abs().max(theirs.abs());
    if is_same { Ok(()) } else { Err(format!("its median is {theirs} ns, that of the samples beside it {} ns", summary.median)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossover_core::testing::put;

    const ID: &str = r#"{"group_id":"fib","function_id":"recursive","value_str":"20","throughput":null,"full_id":"fib/recursive/20",
        "directory_name":"fib/recursive/20","title":"fib/recursive/20"}"#;
    const SAMPLES: &str = r#"{"sampling_mode":"Linear","iters":[1.0,2.0,3.0],"times":[30.0,40.0,90.0]}"#;
    const MEDIAN: &str =
        r#"{"mean":{"point_estimate":26.6},"median":{"confidence_interval":{},"point_estimate":30.0,"standard_error":0.0}}"#;

    fn written(benchmark: &str, sample: &str, estimates: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [(BENCHMARK, benchmark), (SAMPLE, sample), (ESTIMATES, estimates)] {
            put(root.path(), &format!("fib/recursive/20/new/{file}"), text);
        }
        root
    }

    fn refused(benchmark: &str, sample: &str, estimates: &str) -> String {
        let root = written(benchmark, sample, estimates);
        let error = read(root.path()).unwrap_err();
        assert!(!error.is_environment(), "{error}");
        error.to_string().replace(&format!("{}/fib/recursive/20/", root.path().display()), "")
    }

    #[test]
    fn a_benchmark_is_read_with_its_samples() {
        let root = written(ID, SAMPLES, MEDIAN);
        // What else criterion leaves there is none.
        put(root.path(), "fib/recursive/20/base/sample.json", "{");
        put(root.path(), "fib/recursive/20/report/index.html", "<html>");
        put(root.path(), "report/index.html", "<html>");
        let [benchmark] = &read(root.path()).unwrap()[..] else { panic!("there is one") };
        assert_eq!(
            (benchmark.group.as_str(), benchmark.function.as_deref(), benchmark.value.as_deref()),
            ("fib", Some("recursive"), Some("20"))
        );
        assert_eq!(benchmark.samples, [(1, 30), (2, 40), (3, 90)]);
        assert_eq!((benchmark.summary.median, benchmark.summary.min, benchmark.summary.count), (30.0, 20.0, 3));
        assert!(benchmark.written_unix_ms > 1_600_000_000_000);
    }

    #[test]
    fn nothing_to_read_is_said_to_be_nothing() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(read(&root.path().join("none")), Err(CriterionError::NoFolder { .. })));
        assert!(matches!(read(root.path()), Err(CriterionError::NoBenchmark { .. })));
        put(root.path(), "new/nothing/else.json", "{}");
        assert!(matches!(read(root.path()), Err(CriterionError::NoBenchmark { .. })));
    }

    #[test]
    fn damaged_files_are_refused_by_name() {
        let samples = |iters: &str, times: &str| format!(r#"{{"sampling_mode":"Flat","iters":{iters},"times":{times}}}"#);
        let of = |iters: &str, times: &str| refused(ID, &samples(iters, times), MEDIAN);
        assert!(
            of("[0.0]", "[1.0]").starts_with("new/sample.json: sample 1 is not of a whole number of calls"),
            "{}",
            of("[0.0]", "[1.0]")
        );
        for calls in ["[1.5]", "[-1.0]", "[null]", "[4294967296.0]"] {
            assert!(of(calls, "[1.0]").contains("sample 1 is not of a whole number of calls"), "{calls}");
        }
        assert!(of("[1.0, 1.0]", "[1.0, -2.0]").contains("the time of sample 2 is negative (-2 ns)"));
        assert!(of("[1.0]", "[null]").contains("the time of sample 1 is not a number"));
        assert!(of("[1.0]", "[1e300]").contains("longer than anybody waited"));
        assert!(of("[1.0]", "[]").contains("1 numbers of calls and 0 times"));
        assert!(of("[]", "[]").contains("it has no samples"));
        assert!(
            refused(ID, SAMPLES, &MEDIAN.replace("30.0", "31.0"))
                .starts_with("new/estimates.json: its median is 31 ns, that of the samples")
        );
        assert!(refused(ID, SAMPLES, &MEDIAN.replace("30.0", "null")).contains("its median is not a number"));
        for (benchmark, sample, estimates, file) in
            [(&ID[..40], SAMPLES, MEDIAN, BENCHMARK), (ID, &SAMPLES[..40], MEDIAN, SAMPLE), (ID, SAMPLES, &MEDIAN[..40], ESTIMATES)]
        {
            let complaint = refused(benchmark, sample, estimates);
            assert!(
                complaint.starts_with(&format!("new/{file}: EOF while parsing")) && complaint.contains("run the benchmark again"),
                "{complaint}"
            );
        }
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        for file in [BENCHMARK, SAMPLE, ESTIMATES] {
            let root = written(ID, SAMPLES, MEDIAN);
            fs::remove_file(root.path().join("fib/recursive/20/new").join(file)).unwrap();
            let error = read(root.path()).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains("the file is missing"), "{error}");
        }
    }

    #[test]
    fn one_benchmark_of_two_folders_is_not_chosen_between() {
        let root = written(ID, SAMPLES, MEDIAN);
        for (file, text) in [(BENCHMARK, ID), (SAMPLE, SAMPLES), (ESTIMATES, MEDIAN)] {
            put(root.path(), &format!("copy/fib/recursive/20/new/{file}"), text);
        }
        let error = read(root.path()).unwrap_err().to_string();
        assert!(error.contains("\"fib/recursive/20\" is in ") && error.contains("copy/fib"), "{error}");
    }
}
