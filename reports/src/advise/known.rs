//! What a question may name: families and tasks, engines, precisions, numbers of threads. A name that nothing has is a slip of the pen, and an empty
//! answer to it would look like one that wants measuring.

use std::collections::BTreeSet;

use crossover_core::dtype::PRECISION_PRESETS;
use crossover_variants::{registry, resolve};
use polars::prelude::*;

use super::question::Question;
use crate::columns::{PRECISION, THREADS, Typed};
use crate::runs::Run;

/// What is wrong with a name of the question, if something is. Known is what the variants of this program have and what is in the cells of the runs,
/// however they ended; engines are not known to this program, so without cells each may be right.
pub(super) fn unknown(question: &Question, runs: &[Run], cells: &DataFrame) -> PolarsResult<Option<String>> {
    let found = |column: &str| -> PolarsResult<BTreeSet<String>> {
        if !cells.schema().contains(column) {
            return Ok(BTreeSet::new());
        }
        let values = (0..cells.height()).map(|row| cells.shown(column, row)).collect::<PolarsResult<BTreeSet<_>>>()?;
        Ok(values.into_iter().flatten().collect())
    };
    let entries = registry::entries();
    let families: BTreeSet<String> = entries.iter().map(|entry| entry.descriptor.family().to_owned()).chain(found("family")?).collect();
    let tasks: BTreeSet<String> = entries.iter().map(|entry| entry.descriptor.task.to_owned()).chain(found("variant")?).collect();
    if !families.contains(&question.family) && !tasks.contains(&question.family) {
        let family = question.family.split('/').next().unwrap_or_default();
        // Of a known family its tasks help more than the other families.
        let tasks: Vec<&str> =
            entries.iter().map(|entry| entry.descriptor.task).filter(|task| task.starts_with(&format!("{family}/"))).collect();
        let tasks: BTreeSet<&str> = tasks.into_iter().collect();
        let names = if tasks.is_empty() { families.iter().map(String::as_str).collect() } else { tasks };
        return Ok(Some(told("--family", &question.family, "no family, and no task of one", &names)));
    }
    let engines = found("engine")?;
    if let Some(engine) = question.engine.as_ref().filter(|engine| !engines.is_empty() && !engines.contains(*engine)) {
        let names = engines.iter().map(String::as_str).collect();
        let what = "no engine of these runs (`crossover list engines` names those that can be measured)";
        return Ok(Some(told("--engine", engine, what, &names)));
    }
    let mut precisions = found(PRECISION)?;
    precisions.extend(PRECISION_PRESETS.iter().map(|(name, _)| (*name).to_owned()));
    if let Some(precision) = question.precision.as_ref().filter(|precision| !precisions.contains(*precision)) {
        return Ok(Some(told("--precision", precision, "no precision", &precisions.iter().map(String::as_str).collect())));
    }
    let threads = found(THREADS)?;
    let cores = runs.first().and_then(|run| run.manifest.machine.usable_cores);
    if let (Some(wanted), Some(cores)) = (question.threads, cores)
        && wanted.unsigned_abs() > cores
        && !threads.contains(&wanted.to_string())
    {
        let names = threads.iter().map(String::as_str).collect();
        return Ok(Some(told("--threads", &wanted.to_string(), &format!("more than the {cores} cores of the runs' machine"), &names)));
    }
    Ok(None)
}

/// The option, its value, what is wrong with it, and the values that there are.
fn told(option: &str, value: &str, what: &str, names: &BTreeSet<&str>) -> String {
    let near = resolve::closest(value, names.iter().copied()).map_or_else(String::new, |near| format!(" did you mean {near:?}?"));
    format!("{option} {value}: this is {what};{near} there are {}", names.iter().copied().collect::<Vec<_>>().join(", "))
}
