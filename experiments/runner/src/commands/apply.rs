//! `crossover apply`: one variant, once, on tensors that the caller brings. The worker checks the tensors and does the work.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use crossover_core::axes::{Axes, AxisValue};
use crossover_protocol::text::tell;
use crossover_protocol::{Applied, Cell, Request, Response};

use crate::cli::ApplyArgs;
use crate::errors::{bad_input, environment, finding};

use super::text::wrap;
use super::{own_worker, parse, print};

/// The caller waits and can interrupt: this only keeps a worker that hangs from waiting for ever.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// Runs the command.
pub fn apply(args: &ApplyArgs) -> Result<ExitCode> {
    let cell = cell(args)?;
    let (input, output) = files(&args.input, &args.output)?;
    let mut worker = own_worker::start()?;
    if !worker.hello.engines.iter().any(|engine| engine.name == cell.engine) {
        let names: Vec<&str> = worker.hello.engines.iter().map(|engine| engine.name.as_str()).collect();
        return Err(bad_input(format!("unknown engine {:?}\n  the engines are {}", cell.engine, names.join(", "))));
    }
    let done = format!("wrote {}: out of {} on {}", args.output.display(), cell.variant, cell.engine);
    let request = Request::Apply { cell, input, output };
    match worker.conversation.request(&request, DEADLINE).map_err(own_worker::explain)? {
        Response::Applied(applied) => {
            drop(worker.conversation.quit());
            conclude(&done, &applied)
        }
        _ => Err(environment("the worker did not answer `applied` to `apply`")),
    }
}

/// What was done with which axes; and what the caller must not overlook, which is a finding.
fn conclude(done: &str, applied: &Applied) -> Result<ExitCode> {
    // The caller's tensors follow no distribution of ours; the seed may still be that of random features.
    let axes = applied.axes.iter().filter(|(name, _)| *name != "distribution");
    let axes: Vec<String> = axes.map(|(name, value)| format!("{name}={value}")).collect();
    let with = wrap("  with ", axes.iter().map(String::as_str));
    print(|out| write!(out, "{done}\n{with}"))?;
    if let Some(reason) = &applied.reason {
        tell(&format!("note: the engine emulates this precision: {reason}"));
    }
    if applied.nonfinite == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    tell(&format!(
        "warning: {} of {} output values are NaN or infinite, though no input is NaN: an input is infinite, or something overflowed and \
         a wider --precision may help",
        applied.nonfinite, applied.values
    ));
    Ok(finding())
}

/// The axes that tensors cannot tell. The precision stays open where it is not given: the tensors' type decides.
fn cell(args: &ApplyArgs) -> Result<Cell> {
    let variant = parse::variant(&args.variant)?;
    let mut axes = Axes::new();
    for param in &args.params {
        let (name, value) = parse::pair(param)?;
        let (name, value) = parse::axis(&variant, name, value)?;
        if axes.insert(name.clone(), value).is_some() {
            return Err(bad_input(format!("--param {name} is given twice")));
        }
    }
    if let Some(precision) = &args.precision
        && axes.insert("precision".to_owned(), AxisValue::from(precision.as_str())).is_some()
    {
        return Err(bad_input("the precision is given twice, by --precision and by --param"));
    }
    Ok(Cell { id: "apply".to_owned(), variant: variant.descriptor.name.to_owned(), engine: args.engine.clone(), axes })
}

/// Absolute, as the worker may stand elsewhere; and not one file, as writing must not destroy what is still read.
fn files(input: &Path, output: &Path) -> Result<(PathBuf, PathBuf)> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| bad_input(format!("{}: {error}", path.display())));
    let (input, output) = (absolute(input)?, absolute(output)?);
    let read = input.metadata().map_err(|error| bad_input(format!("--input {}: {error}", input.display())))?;
    if read.is_dir() {
        return Err(bad_input(format!("--input {} is a folder; name a safetensors file", input.display())));
    }
    let folder = output.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return Err(bad_input(format!("--output {}: there is no folder {}; make it first", output.display(), folder.display())));
    }
    if let Ok(existing) = output.metadata() {
        if existing.is_dir() {
            return Err(bad_input(format!("--output {} is a folder; name a file in it", output.display())));
        }
        if !existing.is_file() {
            return Err(bad_input(format!("--output {} is there and is no regular file; name another one", output.display())));
        }
        if existing.permissions().readonly() {
            return Err(bad_input(format!("--output {} is write-protected; name another one, or remove it first", output.display())));
        }
        if (existing.dev(), existing.ino()) == (read.dev(), read.ino()) {
            return Err(bad_input(format!("--output {} is the input file itself; name another one", output.display())));
        }
    }
    Ok((input, output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn args(params: &[&str], precision: Option<&str>) -> ApplyArgs {
        ApplyArgs {
            variant: "norm/layer-norm".into(),
            engine: "naive".into(),
            precision: precision.map(str::to_owned),
            params: params.iter().map(|param| (*param).to_owned()).collect(),
            input: "in".into(),
            output: "out".into(),
        }
    }

    #[test]
    fn only_what_was_given_goes_to_the_worker() {
        let cell = cell(&args(&["position=post", "eps=1e-6"], None)).unwrap();
        assert_eq!(cell.axes, Axes::from([("eps".to_owned(), AxisValue::Float(1e-6)), ("position".to_owned(), AxisValue::from("post"))]));
        let cell = super::cell(&args(&[], Some("bf16"))).unwrap();
        assert_eq!(cell.axes["precision"], AxisValue::from("bf16"));
    }

    #[test]
    fn unknown_and_double_parameters_are_refused() {
        let complaint = |params: &[&str]| cell(&args(params, Some("f32"))).unwrap_err().to_string();
        assert!(complaint(&["postion=post"]).contains("did you mean position?"));
        assert!(complaint(&["eps=1", "eps=2"]).contains("twice"));
        assert!(complaint(&["precision=f32"]).contains("twice"));
    }

    #[test]
    fn the_input_is_never_the_output_by_whatever_name() {
        let folder = tempfile::tempdir().unwrap();
        let (input, link, hard) = (folder.path().join("in"), folder.path().join("link"), folder.path().join("hard"));
        fs::write(&input, "x").unwrap();
        std::os::unix::fs::symlink(&input, &link).unwrap();
        fs::hard_link(&input, &hard).unwrap();
        for output in [&input, &link, &hard, &folder.path().join("./in")] {
            assert!(files(&input, output).unwrap_err().to_string().contains("is the input file itself"));
        }
        assert!(files(&input, &folder.path().join("out")).is_ok());
        assert!(files(&input, &folder.path().join("no/out")).unwrap_err().to_string().contains("make it first"));
        assert!(files(&input, folder.path()).unwrap_err().to_string().contains("name a file in it"));
        assert!(files(&folder.path().join("none"), &link).unwrap_err().to_string().contains("--input"));
        assert!(files(folder.path(), &link).unwrap_err().to_string().contains("is a folder"));
    }
}
