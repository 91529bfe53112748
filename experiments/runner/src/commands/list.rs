//! `crossover list`: what there is to run, on what, and in which experiments. `JSON.md` beside the crate describes the JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use crossover_core::axes::{Axes, AxisValue};
use crossover_variants::descriptor::{AxisDefault, AxisKind, AxisSpec, COMMON_AXES, DerivedSpec, Descriptor, Dim, Model, Role, TensorSpec};
use crossover_variants::registry;
use crossover_variants::resolve::resolve;
use serde::Serialize;
use serde_json::json;

use crate::cli::{ListArgs, Listed};
use crate::definition;
use crate::paths::{Experiment, Project};

use super::text::wrap;
use super::{own_worker, print, print_json};

/// Runs the command.
pub fn list(args: &ListArgs) -> Result<ExitCode> {
    match args.what {
        Listed::Engines => engines(args.json)?,
        Listed::Variants => variants(args.json)?,
        Listed::Experiments => experiments(args.json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn engines(as_json: bool) -> Result<()> {
    let ready = own_worker::start()?;
    let hello = ready.hello;
    ready.conversation.quit();
    if as_json {
        let worker = json!({ "name": hello.worker, "version": hello.version, "build": hello.build });
        return print_json(&json!({ "worker": worker, "engines": hello.engines }));
    }
    print(|out| {
        for engine in &hello.engines {
            writeln!(out, "{}", engine.name)?;
            out.write_all(wrap("  ", engine.summary.split(' ')).as_bytes())?;
            out.write_all(wrap("  kernels of its own: ", engine.native.iter().map(String::as_str)).as_bytes())?;
            writeln!(out, "  instruction set: {}", engine.isa)?;
        }
        Ok(())
    })
}

fn experiments(as_json: bool) -> Result<()> {
    let files = Project::find()?.experiments()?;
    let rows: Vec<ExperimentRow> = files
        .iter()
        .map(|Experiment { name, file }| {
            let read = definition::load(file);
            ExperimentRow {
                name: name.clone(),
                file: file.display().to_string(),
                description: read.as_ref().ok().map(|definition| definition.description.clone()),
                problem: read.err().map(|error| error.to_string()),
            }
        })
        .collect();
    if as_json {
        return print_json(&json!({ "experiments": rows }));
    }
    print(|out| {
        for row in &rows {
            writeln!(out, "{}", row.name)?;
            match (&row.description, &row.problem) {
                (_, Some(problem)) => writeln!(out, "  cannot be read: {problem}")?,
                (description, None) => out.write_all(wrap("  ", description.as_deref().unwrap_or("").split_whitespace()).as_bytes())?,
            }
        }
        Ok(())
    })
}

#[derive(Serialize)]
struct ExperimentRow {
    name: String,
    file: String,
    /// `None` where the file cannot be read.
    description: Option<String>,
    /// Why it cannot be read.
    problem: Option<String>,
}

fn variants(as_json: bool) -> Result<()> {
    let rows: Vec<VariantRow> = registry::entries().into_iter().map(|entry| VariantRow::of(entry.descriptor)).collect();
    if as_json {
        return print_json(&json!({ "variants": rows }));
    }
    print(|out| rows.iter().try_for_each(|row| describe(out, row)))
}

fn describe(out: &mut dyn Write, row: &VariantRow) -> io::Result<()> {
    writeln!(out, "{}", row.name)?;
    out.write_all(wrap("  ", row.summary.split(' ')).as_bytes())?;
    out.write_all(wrap("  source: ", row.citation.split(' ')).as_bytes())?;
    for (title, role) in [("  sizes: ", "problem"), ("  parameters: ", "parameter")] {
        let axes: Vec<String> = row.axes.iter().filter(|axis| axis.role == role).map(AxisRow::in_short).collect();
        if !axes.is_empty() {
            out.write_all(wrap(title, axes.iter().map(String::as_str)).as_bytes())?;
        }
    }
    // What a text may say does not show in its default.
    for axis in row.axes.iter().filter(|axis| axis.role == "parameter" && matches!(axis.kind, AxisKind::Text)) {
        out.write_all(wrap(&format!("  {}: ", axis.name), axis.doc.split(' ')).as_bytes())?;
    }
    let tensors: Vec<String> = row.tensors.iter().map(TensorRow::in_short).collect();
    out.write_all(wrap("  tensors: ", tensors.iter().map(String::as_str)).as_bytes())?;
    out.write_all(wrap("  output: ", [format!("out[{}]", row.output.shape.join(",")).as_str()]).as_bytes())?;
    out.write_all(wrap("  operations: ", row.model.flops.split(' ')).as_bytes())?;
    row.conditions.iter().try_for_each(|condition| out.write_all(wrap("  condition: ", condition.split(' ')).as_bytes()))
}

/// One variant, as `list variants --json` prints it.
#[derive(Serialize)]
struct VariantRow {
    name: &'static str,
    family: &'static str,
    summary: &'static str,
    citation: &'static str,
    axes: Vec<AxisRow>,
    tensors: Vec<TensorRow>,
    derived: Vec<DerivedRow>,
    /// A model's own tensors at its default sizes, in the names that it keeps them under.
    weights: Vec<WeightRow>,
    output: OutputRow,
    conditions: Vec<&'static str>,
    model: Model,
}

#[derive(Serialize)]
struct AxisRow {
    name: &'static str,
    doc: &'static str,
    role: &'static str,
    #[serde(flatten)]
    kind: AxisKind,
    /// `None` where the default is the value of another axis.
    default: Option<AxisValue>,
    /// That other axis, or a part of it: `n`, `n/4`.
    default_axis: Option<String>,
}

#[derive(Serialize)]
struct TensorRow {
    name: &'static str,
    role: Role,
    shape: Vec<&'static str>,
    only_with: Option<Vec<OnlyWith>>,
}

/// What the host makes of the tensors before the timer: the forms that the engine really holds.
#[derive(Serialize)]
struct DerivedRow {
    name: &'static str,
    role: Role,
    shape: Vec<&'static str>,
}

/// One tensor of a model.
#[derive(Serialize)]
struct WeightRow {
    name: String,
    role: Role,
    shape: Vec<usize>,
}

#[derive(Serialize)]
struct OnlyWith {
    axis: &'static str,
    values: &'static [&'static str],
}

#[derive(Serialize)]
struct OutputRow {
    name: &'static str,
    shape: Vec<&'static str>,
}

impl VariantRow {
    fn of(descriptor: &'static Descriptor) -> Self {
        let roles = [(descriptor.problem, "problem"), (descriptor.parameters, "parameter"), (COMMON_AXES, "common")];
        Self {
            name: descriptor.name,
            family: descriptor.family(),
            summary: descriptor.summary,
            citation: descriptor.citation,
            axes: roles.into_iter().flat_map(|(axes, role)| axes.iter().map(move |axis| AxisRow::of(axis, role))).collect(),
            tensors: descriptor.tensors.iter().map(TensorRow::of).collect(),
            derived: descriptor.derived.iter().map(DerivedRow::of).collect(),
            weights: weights(descriptor),
            output: OutputRow { name: "out", shape: symbolic(descriptor.output) },
            model: descriptor.model,
            conditions: descriptor.conditions.iter().map(|condition| condition.text).collect(),
        }
    }
}

/// What is drawn beside the tensors of the description: the weights of a model, whose number depends on its axes.
fn weights(descriptor: &'static Descriptor) -> Vec<WeightRow> {
    let Some((entry, axes)) = registry::find(descriptor.name).zip(resolve(descriptor, &Axes::new()).ok()) else { return Vec::new() };
    let own = entry.drawn(&axes).into_iter().filter(|tensor| !descriptor.tensors.iter().any(|listed| listed.name == tensor.name));
    own.map(|tensor| WeightRow { name: tensor.name.into_owned(), role: tensor.role, shape: tensor.shape }).collect()
}

impl AxisRow {
    fn of(axis: &'static AxisSpec, role: &'static str) -> Self {
        let default_axis = match axis.default {
            AxisDefault::SameAs(other) => Some(other.to_owned()),
            AxisDefault::Share { of, divisor } => Some(format!("{of}/{divisor}")),
            _ => None,
        };
        Self { name: axis.name, doc: axis.doc, role, kind: axis.kind, default: axis.default.value(), default_axis }
    }

    /// `n=128`, `kv_heads=heads`, `position=plain(|post|pre)`: the default first.
    fn in_short(&self) -> String {
        let default = self.default.as_ref().map(AxisValue::to_string);
        match (self.kind, default, self.default_axis.as_deref()) {
            (AxisKind::Choice { of }, Some(default), _) => {
                let others = of.iter().filter(|name| **name != default).map(|name| format!("|{name}"));
                format!("{}={default}({})", self.name, others.collect::<String>())
            }
            (_, Some(value), _) => format!("{}={value}", self.name),
            (_, None, other) => format!("{}={}", self.name, other.unwrap_or("")),
        }
    }
}

impl DerivedRow {
    fn of(tensor: &'static DerivedSpec) -> Self {
        Self { name: tensor.name, role: tensor.role, shape: symbolic(tensor.shape) }
    }
}

impl TensorRow {
    fn of(tensor: &'static TensorSpec) -> Self {
        let only_with = tensor.only_with.map(|all| all.iter().map(|(axis, values)| OnlyWith { axis, values }).collect());
        Self { name: tensor.name, role: tensor.role, shape: symbolic(tensor.shape), only_with }
    }

    /// `w[d_out,d_in]`, with a question mark where it takes part only under a parameter.
    fn in_short(&self) -> String {
        format!("{}{}[{}]", self.name, if self.only_with.is_some() { "?" } else { "" }, self.shape.join(","))
    }
}

fn symbolic(shape: &[Dim]) -> Vec<&'static str> {
    shape.iter().map(|dim| dim.text()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> VariantRow {
        VariantRow::of(registry::find(name).unwrap().descriptor)
    }

    #[test]
    fn plain_output_fits_eighty_columns() {
        for entry in registry::entries() {
            let mut text = Vec::new();
            describe(&mut text, &VariantRow::of(entry.descriptor)).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        }
    }

    #[test]
    fn a_variant_reads_like_this() {
        let mut text = Vec::new();
        describe(&mut text, &row("norm/layer-norm")).unwrap();
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @"
        norm/layer-norm
          layer norm, alone or where it joins the residual stream
          source: Ba et al. 2016, section 3; Xiong et al. 2020
          sizes: batch=1 n=128 d_model=768
                 position=plain(|post|pre|sandwich|parallel|deep-norm) depth=12
          parameters: eps=1e-5
          tensors: x[..,d_model] residual?[..,d_model] other?[..,d_model] gamma[d_model]
                   beta[d_model] gamma_out?[d_model] beta_out?[d_model]
          output: out[..,d_model]
          operations: batch*n*d_model*(7*(1 + is(position, sandwich)) + 1 - is(position,
                      plain) + is(position, parallel) + is(position, deep-norm))
        ");
    }

    #[test]
    fn a_models_weights_are_listed_and_nobody_elses() {
        let listed = row("model/encoder").weights;
        let find = |name: &str| listed.iter().find(|weight| weight.name == name).map(|weight| weight.shape.clone());
        assert_eq!(find("layers.1.q.weight"), Some(vec![128, 128]));
        assert_eq!(find("layers.0.ffn.w1"), Some(vec![512, 128]));
        assert_eq!((find("tokens"), row("ffn/dense").weights.len()), (None, 0));
    }

    #[test]
    fn the_json_of_a_variant_is_stable() {
        let row = serde_json::to_value(row("norm/layer-norm")).unwrap();
        let keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["axes", "citation", "conditions", "derived", "family", "model", "name", "output", "summary", "tensors", "weights"]
        );
        let axis = |name: &str| row["axes"].as_array().unwrap().iter().find(|axis| axis["name"] == name).unwrap().clone();
        let eps = json!({
            "name": "eps", "doc": "added to the variance", "role": "parameter", "kind": "float", "min": 0.0, "max": 1.0,
            "default": 1e-5, "default_axis": null,
        });
        assert_eq!(axis("eps"), eps);
        assert_eq!(axis("position")["of"], json!(["plain", "post", "pre", "sandwich", "parallel", "deep-norm"]));
        assert_eq!((&axis("precision")["role"], &axis("d_model")["role"]), (&json!("common"), &json!("problem")));
        let residual = json!({
            "name": "residual", "role": "activation", "shape": ["..", "d_model"],
            "only_with": [{ "axis": "position", "values": ["post", "pre", "sandwich", "parallel", "deep-norm"] }],
        });
        assert_eq!(row["tensors"][1], residual);
        assert_eq!(row["output"], json!({ "name": "out", "shape": ["..", "d_model"] }));
    }

    #[test]
    fn a_default_that_follows_another_axis_says_which() {
        let axes = serde_json::to_value(row("attention/flash-causal").axes).unwrap();
        let kv = axes.as_array().unwrap().iter().find(|axis| axis["name"] == "n_kv").unwrap().clone();
        assert_eq!((&kv["default"], &kv["default_axis"]), (&json!(null), &json!("n")));
    }
}
