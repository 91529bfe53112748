//! A comparison for programs; the layout is in `experiments/runner/JSON.md`.

use polars::prelude::*;
use serde_json::{Map, Value, json};

use super::changes::{Change, ERRORS};
use super::pairs::LEVEL;
use super::{Comparison, Mean, Verdict, show};
use crate::columns::{DECLARED_BYTES, Typed};
use crate::error::Result;
use crate::fits;
use crate::runs::Run;

/// All of it, with at most `limit` entries in each list of cells.
pub(crate) fn json(comparison: &Comparison<'_>, limit: usize) -> Result<Value> {
    let cells = Cells { comparison };
    let counts: Map<String, Value> =
        Verdict::ALL.iter().map(|verdict| (verdict.name().to_owned(), comparison.count(*verdict).into())).collect();
    let [a, b] = comparison.runs;
    let changes = &comparison.changes;
    let list = |rows: &[usize]| rows.iter().take(limit).map(|row| cells.cell(*row)).collect::<Result<Vec<_>>>();
    let texts = |changes: &[Change<Option<String>>]| cells.changes(changes, limit, |text| json!(text));
    Ok(json!({
        "a": run(a, comparison.counts[0]),
        "b": run(b, comparison.counts[1]),
        "across_machines": comparison.is_across_machines,
        "interleaved": false,
        "notes": show::notes(comparison),
        "noise_floor": comparison.floor,
        "level": LEVEL,
        "compared": comparison.pairs.len(),
        "verdicts": counts,
        "cells": cells.pairs(limit)?,
        "means": comparison.means.iter().map(mean).collect::<Vec<_>>(),
        "status_changed": changes.status.len(),
        "status": texts(&changes.status)?,
        "support_changed": changes.support.len(),
        "support": texts(&changes.support)?,
        "judged": changes.judged,
        "errors_changed": changes.errors.len(),
        "errors": cells.changes(&changes.errors, limit, |errors| json!({ ERRORS[0]: errors[0], ERRORS[1]: errors[1] }))?,
        "declared": changes.declared,
        "bytes_changed": changes.bytes.len(),
        "bytes": cells.changes(&changes.bytes, limit, |parts| DECLARED_BYTES.iter().zip(parts).map(|(name, part)| ((*name).to_owned(), json!(part))).collect())?,
        "vanished_cells": comparison.vanished.len(),
        "vanished": list(&comparison.vanished)?,
        "appeared_cells": comparison.appeared.len(),
        "appeared": list(&comparison.appeared)?,
    }))
}

fn run(run: &Run, cells: usize) -> Value {
    json!({
        "run": run.label,
        "experiment": run.manifest.experiment,
        "created_unix_ms": run.manifest.created_unix_ms,
        "machine": run.manifest.machine.fingerprint,
        "builds": run.manifest.builds.iter().map(|build| build.fingerprint.as_str()).collect::<Vec<_>>(),
        "noise_floor": run.noise_floor(),
        "cells": cells,
    })
}

fn mean(mean: &Mean) -> Value {
    let of = |mean: &fits::Mean| json!({ "mean": mean.value, "interval": mean.interval, "cells": mean.count, "problems": mean.clusters });
    let (family, engine) = mean.of.clone().unzip();
    json!({ "family": family, "engine": engine, "ratio": of(&mean.mean), "beside": mean.beside.as_ref().map(of) })
}

struct Cells<'a> {
    comparison: &'a Comparison<'a>,
}

impl Cells<'_> {
    fn pairs(&self, limit: usize) -> Result<Vec<Value>> {
        let medians = self.comparison.cells.ints("median_ns")?;
        let mut all = Vec::new();
        for pair in self.comparison.pairs.iter().take(limit) {
            let mut cell = self.cell(pair.b)?;
            cell["a_median_ns"] = json!(medians.get(pair.a));
            cell["b_median_ns"] = json!(medians.get(pair.b));
            cell["ratio"] = json!(pair.ratio);
            cell["interval"] = json!(pair.interval);
            cell["p_corrected"] = json!(pair.p);
            cell["beside"] = pair.beside.map_or(Value::Null, |beside| json!({ "ratio": beside.ratio, "interval": beside.interval }));
            cell["verdict"] = json!(pair.verdict.name());
            all.push(cell);
        }
        Ok(all)
    }

    fn changes<T>(&self, changes: &[Change<T>], limit: usize, value: impl Fn(&T) -> Value) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        for change in changes.iter().take(limit) {
            let mut cell = self.cell(change.b)?;
            cell["before"] = value(&change.before);
            cell["after"] = value(&change.after);
            all.push(cell);
        }
        Ok(all)
    }

    fn cell(&self, row: usize) -> Result<Value> {
        let frame = &self.comparison.cells;
        let text = |column: &str| Ok::<_, PolarsError>(frame.texts(column)?.get(row));
        let axes: Map<String, Value> = self.comparison.axes(row)?.into_iter().collect();
        Ok(json!({ "id": text("id")?, "variant": text("variant")?, "engine": text("engine")?, "axes": axes, "status": text("status")? }))
    }
}
