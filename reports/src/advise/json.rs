//! Advice for programs; the layout is in `experiments/runner/JSON.md`.

use crossover_core::axes::{Axes, AxisValue};
use crossover_results::Machine;
use serde_json::{Map, Value, json};

use super::candidates::Candidate;
use super::points::Point;
use super::{Advice, Kind, Section, command_line};
use crate::reservations::Remark;

/// All of it.
pub(crate) fn json(advice: &Advice<'_>, kind: Kind, this: &Machine) -> Value {
    let question = advice.question;
    let kind = match kind {
        Kind::Own => "own",
        Kind::Published => "published",
        Kind::Named => "named",
    };
    let machine = advice.runs.first().map(|run| run.manifest.machine.fingerprint.as_str());
    json!({
        "question": {
            "seq": question.seq, "d_model": question.d_model, "heads": question.heads, "family": question.family,
            "max_error": question.max_error, "max_memory": question.max_memory,
            "engine": question.engine, "precision": question.precision, "threads": question.threads,
        },
        "source": kind,
        "runs": advice.runs.iter().map(|run| run.label.as_str()).collect::<Vec<_>>(),
        "machine": machine,
        "this_machine": this.fingerprint,
        "problems": advice.sections.iter().map(|one| section(advice, one)).collect::<Vec<_>>(),
        "nearest": advice.nearest.iter().flat_map(|(_, points)| points).map(|one| point(advice, one)).collect::<Vec<_>>(),
        "beyond": advice.beyond,
        "measured": advice.measured,
        "emulated": advice.emulated,
        "own_function": advice.own_function,
        "elsewhere": advice.elsewhere,
        "remarks": advice.remarks.iter().map(|(place, remark)| remarked(advice, *place, remark)).collect::<Vec<_>>(),
        "sweep": command_line::sweep(question).join(" "),
    })
}

fn remarked(advice: &Advice<'_>, place: usize, remark: &Remark) -> Value {
    json!({ "run": advice.runs.get(place).map(|run| run.label.as_str()), "text": remark.text, "warns": remark.warns })
}

fn section(advice: &Advice<'_>, section: &Section) -> Value {
    let list = |candidates: &[Candidate]| candidates.iter().map(|one| candidate(advice, one)).collect::<Vec<_>>();
    let open: Map<String, Value> = section.open.iter().map(|(axis, value)| (axis.clone(), value.clone().into())).collect();
    json!({ "task": section.task, "open": open, "ranked": list(&section.ranked), "misses": list(&section.misses), "beyond": section.beyond })
}

fn candidate(advice: &Advice<'_>, candidate: &Candidate) -> Value {
    let mut value = point(advice, &candidate.point);
    value["between"] = candidate.between.as_ref().map_or(
        Value::Null,
        |between| json!({ "axis": between.axis, "below": point(advice, &between.below), "above": point(advice, &between.above) }),
    );
    value
}

fn point(advice: &Advice<'_>, point: &Point) -> Value {
    let run = usize::try_from(point.run).ok().and_then(|run| advice.runs.get(run)).map(|run| run.label.as_str());
    json!({
        "id": point.id, "run": run, "task": point.task, "variant": point.variant, "engine": point.engine, "axes": axes(&point.axes),
        "median_ns": point.ns, "interval": point.interval, "declared_bytes": point.bytes, "err_method_rel": point.error,
        "own_function": point.own_function, "far_off": advice.question.is_far_off(point),
        "command": command_line::cell(point, advice.question).join(" "),
    })
}

fn axes(axes: &Axes) -> Map<String, Value> {
    let value = |value: &AxisValue| match value {
        AxisValue::Int(value) => json!(value),
        AxisValue::Float(value) => json!(value),
        AxisValue::Text(value) => json!(value),
    };
    axes.iter().map(|(name, one)| (name.clone(), value(one))).collect()
}
