//! `crossover cell`: one cell in the foreground. The process becomes the worker, so that a profiler or a debugger that was put in
//! front of `crossover` sees the kernel and not a parent that waits.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Result;
use crossover_core::axes::Axes;
use crossover_protocol::Cell;
use crossover_variants::model::missing_file;
use crossover_variants::resolve::resolve;

use crate::cli::CellArgs;
use crate::errors::{bad_input, environment};
use crate::paths;
use crate::plan::cell_id;

use super::parse;

/// Runs the command; comes back only with an error.
pub fn cell(args: &CellArgs) -> Result<ExitCode> {
    let cell = read_cell(&args.settings)?;
    let worker = paths::worker_binary()?;
    let mut command = Command::new(&worker);
    command.arg("cell").arg(serde_json::to_string(&cell)?);
    if args.profile {
        command.arg("--profile");
    }
    let error = command.exec();
    Err(environment(format!("{} cannot be started: {error}", worker.display())))
}

fn read_cell(settings: &[String]) -> Result<Cell> {
    let mut pairs = BTreeMap::new();
    for setting in settings {
        let (key, value) = parse::pair(setting)?;
        if pairs.insert(key, value).is_some() {
            return Err(bad_input(format!("{key} is given twice")));
        }
    }
    let missing = |key: &str, example: &str| bad_input(format!("the cell has no {key}: add for example {key}={example}"));
    let variant = parse::variant(pairs.remove("variant").ok_or_else(|| missing("variant", "attention/dense"))?)?;
    let engine = pairs.remove("engine").ok_or_else(|| missing("engine", "naive"))?.to_owned();
    let given: Axes = pairs.into_iter().map(|(name, value)| parse::axis(&variant, name, value)).collect::<Result<_>>()?;
    let axes = resolve(variant.descriptor, &given).map_err(|error| bad_input(error.to_string()))?;
    if let Some(missing) = missing_file(&axes) {
        return Err(environment(missing));
    }
    let name = variant.descriptor.name;
    Ok(Cell { id: cell_id(name, &engine, &axes), variant: name.to_owned(), engine, axes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossover_core::axes::AxisValue;

    fn read(settings: &[&str]) -> Result<Cell> {
        read_cell(&settings.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn defaults_are_filled_in() {
        let cell = read(&["n=16", "variant=attention/flash", "engine=naive"]).unwrap();
        assert_eq!(cell.axes["n_kv"], AxisValue::Int(16));
        assert_eq!(cell.axes["precision"], AxisValue::from("f32"));
        assert_eq!(cell.id.len(), 16);
    }

    #[test]
    fn each_mistake_is_named() {
        for (settings, complaint) in [
            (&["engine=naive"][..], "the cell has no variant"),
            (&["variant=attention/dense"], "the cell has no engine"),
            (&["variant=attention/dens", "engine=naive"], "did you mean attention/dense?"),
            (&["variant=attention/dense", "engine=naive", "n"], "not of the form name=value"),
            (&["variant=attention/dense", "engine=naive", "n=1", "n=2"], "n is given twice"),
            (&["variant=attention/dense", "engine=naive", "heds=2"], "did you mean heads?"),
            (&["variant=attention/dense", "engine=naive", "heads=8", "kv_heads=3"], "kv_heads must divide heads"),
            (&["variant=attention/dense", "engine=naive", "n=0"], "n = 0 must be"),
        ] {
            let error = read(settings).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
        // Names of one family begin alike, which makes none of them near.
        let far = read(&["variant=attention/foo", "engine=naive"]).unwrap_err().to_string();
        assert!(!far.contains("did you mean"), "{far}");
    }
}
