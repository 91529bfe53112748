//! The manifest: what was asked of a run, and where and with what it was made. Written whole at the start, replaced whole when
//! the run learns more (builds, ceilings, noise).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::atomic::write_atomically;
use crate::error::{Result, StoreError};
use crate::machine::Machine;
use crate::schema::SCHEMA_VERSION;

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema: u32,
    /// The experiment's name.
    pub experiment: String,
    /// The command that made the run, as typed.
    pub command: String,
    /// When it was first started (Unix time).
    pub created_unix_ms: u64,
    /// When it was gone on with, each time that something was recorded then. Since version 4: of what was before, nothing is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed_unix_ms: Vec<u64>,
    /// Hash of the experiment file's text.
    pub definition_hash: String,
    /// Hash of the plan: the cells and their order.
    pub plan_hash: String,
    /// Cells that the plan has. Of joined parts of one plan: those of all of it, also of parts that are missing.
    pub cells_planned: u64,
    /// The parts of a larger plan that the run was asked for; none where it was asked for all. Since version 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Cells that the experiment leaves out, by its reason. Since version 3.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub excluded: BTreeMap<String, u64>,
    /// Seed of everything drawn at random.
    pub seed: u64,
    /// The machine; records refer to its fingerprint.
    pub machine: Machine,
    /// The workers' builds; records refer to their fingerprints.
    pub builds: Vec<Build>,
    /// Measured ceilings of the machine, as `crossover probe --json` prints them.
    pub ceilings: Option<Value>,
    /// How noisy the machine was, where that was measured.
    pub noise: Option<Noise>,
}

/// One part of a plan that several runs share.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Which one, from 1.
    pub index: u64,
    /// Of how many.
    pub count: u64,
    /// Hash of the whole plan.
    pub plan_hash: String,
    /// Cells of the whole plan.
    pub cells: u64,
}

impl Manifest {
    /// The parts of its plan that it was not asked for, as `2/3`.
    pub fn missing_parts(&self) -> Vec<String> {
        let plans: BTreeSet<(&str, u64)> = self.parts.iter().map(|part| (part.plan_hash.as_str(), part.count)).collect();
        let has =
            |plan, count, index| self.parts.iter().any(|part| (part.plan_hash.as_str(), part.count, part.index) == (plan, count, index));
        let missing =
            |(plan, count)| (1..=count).filter(move |index| !has(plan, count, *index)).map(move |index| format!("{index}/{count}"));
        plans.into_iter().flat_map(missing).collect()
    }
}

/// One worker's build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// What the records' `build` says.
    pub fingerprint: String,
    /// The worker's name.
    pub worker: String,
    /// Its version.
    pub version: String,
    /// Compiler, features, revision: what the worker tells of itself.
    pub detail: String,
    /// The figures of [`crate::schema::Conditions`] that it looked for, and why some are always absent. Since version 3.
    #[serde(default)]
    pub instruments: Vec<Instrument>,
}

/// One figure that a worker looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// Its name, as the worker calls it.
    pub name: String,
    /// Why this machine does not tell it; absent where it does.
    pub absent: Option<String>,
}

/// How noisy a run was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Largest relative difference seen between two measurements of the same cell.
    pub floor: f64,
    /// Pairs that this comes from.
    pub pairs: u64,
    /// Time stolen by the hypervisor during the run, all cores together.
    pub steal_ns: Option<u64>,
    /// Load average over a minute, before the run.
    pub load_average: Option<f64>,
}

/// The only field that is read before the version is known to be ours.
#[derive(Deserialize)]
struct SchemaOnly {
    schema: u64,
}

impl Manifest {
    /// Writes the manifest, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written, or a figure is not finite.
    pub fn write(&self, path: &Path) -> Result<()> {
        let refuse = |message: String| StoreError::Manifest { path: path.to_owned(), line: 1, message };
        let not_finite = |noise: &Noise| !noise.floor.is_finite() || noise.load_average.is_some_and(|load| !load.is_finite());
        if self.noise.as_ref().is_some_and(not_finite) {
            return Err(refuse("a noise figure is not finite".to_owned()));
        }
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| refuse(error.to_string()))?;
        text.push(b'\n');
        write_atomically(path, &text)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is missing, damaged, or of a newer version.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).map_err(StoreError::io("read the manifest", path))?;
        let refuse =
            |error: serde_json::Error| StoreError::Manifest { path: path.to_owned(), line: error.line(), message: error.to_string() };
        let SchemaOnly { schema } = serde_json::from_slice(&text).map_err(refuse)?;
        let known = u64::from(SCHEMA_VERSION);
        if schema > known {
            return Err(StoreError::Newer { path: path.to_owned(), line: 1, what: "the manifest's schema", found: schema, known });
        }
        serde_json::from_slice(&text).map_err(refuse)
    }
}

#[cfg(test)]
pub(crate) fn example() -> Manifest {
    let instruments = vec![Instrument { name: "energy_uj".into(), absent: Some("this machine has no powercap tree".into()) }];
    Manifest {
        schema: SCHEMA_VERSION,
        experiment: "attention-quick".into(),
        command: "crossover run attention-quick --set n=128,256".into(),
        created_unix_ms: 1_700_000_000_000,
        resumed_unix_ms: vec![1_700_000_360_000],
        definition_hash: "0011223344556677".into(),
        plan_hash: "8899aabbccddeeff".into(),
        cells_planned: 12,
        parts: Vec::new(),
        seed: u64::MAX,
        machine: Machine::detect(),
        builds: vec![Build {
            fingerprint: "f00d".into(),
            worker: "crossover-worker".into(),
            version: "0.1.0".into(),
            detail: "x".into(),
            instruments,
        }],
        excluded: BTreeMap::from([("too slow".to_owned(), 2)]),
        ceilings: Some(serde_json::json!({"fma_f64": 1.5e10})),
        noise: Some(Noise { floor: 0.013, pairs: 20, steal_ns: None, load_average: Some(0.5) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        example().write(&path).unwrap();
        assert_eq!(Manifest::read(&path).unwrap(), example());
    }

    #[test]
    fn says_where_it_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        example().write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"plan_hash\"", "\"plan_hush\"")).unwrap();
        let message = Manifest::read(&path).unwrap_err().to_string();
        let line = 1 + text.lines().position(|line| line.contains("\"plan_hash\"")).unwrap();
        assert!(message.contains(&format!("manifest.json:{line}:")) && message.contains("plan_hush"), "{message}");
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(matches!(Manifest::read(&path), Err(StoreError::Manifest { .. })));
        // A newer one is refused for that, not for the fields that it has in addition.
        fs::write(&path, "{\"schema\": 99, \"moon\": \"full\"}").unwrap();
        let message = Manifest::read(&path).unwrap_err().to_string();
        assert!(message.contains("version 99 is newer"), "{message}");
    }

    #[test]
    fn tells_the_parts_that_it_lacks() {
        let part = |index, count, plan: &str| Part { index, count, plan_hash: plan.into(), cells: 9 };
        let missing = |parts: &[Part]| Manifest { parts: parts.to_vec(), ..example() }.missing_parts();
        assert!(missing(&[]).is_empty() && missing(&[part(2, 2, "a"), part(1, 2, "a")]).is_empty());
        assert_eq!(missing(&[part(2, 3, "a"), part(2, 3, "a")]), ["1/3", "3/3"]);
        assert_eq!(missing(&[part(1, 2, "a"), part(2, 2, "b")]), ["2/2", "1/2"]);
    }

    #[test]
    fn a_figure_that_is_not_finite_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = example();
        manifest.noise = Some(Noise { floor: f64::NAN, pairs: 1, steal_ns: None, load_average: None });
        assert!(manifest.write(&folder.path().join("manifest.json")).is_err());
    }
}
