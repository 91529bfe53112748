//! A trend for programs; the layout is in `experiments/runner/JSON.md`.

use crossover_results::history::{Change, LEVEL, MachineTrend, SeriesTrend, Trend};
use serde_json::{Value, json};

/// All of it: every series, with its changes.
pub(crate) fn json(trend: &Trend) -> Value {
    json!({ "level": LEVEL, "machines": trend.machines.iter().map(machine).collect::<Vec<_>>() })
}

fn machine(machine: &MachineTrend) -> Value {
    json!({
        "machine": machine.place.machine,
        "cores": machine.place.cores,
        "experiment": machine.place.experiment,
        "runs": machine.runs,
        "commits": machine.commits,
        "first_commit_unix_s": machine.span.0,
        "last_commit_unix_s": machine.span.1,
        "searched": machine.searched,
        "level": machine.level,
        "series": machine.series.iter().map(series).collect::<Vec<_>>(),
    })
}

fn series(series: &SeriesTrend) -> Value {
    let key = &series.key;
    json!({
        "id": key.id,
        "variant": key.variant,
        "engine": key.engine,
        "setting": key.setting,
        "isa": key.isa,
        "metric": key.metric.name(),
        "against": (!key.against.is_empty()).then_some(&key.against),
        "points": series.points.len(),
        "long_enough": series.is_long_enough,
        "current": series.is_current,
        "last": series.points.last().map(|point| point.value),
        "changes": series.changes.iter().map(|one| change(series, one)).collect::<Vec<_>>(),
    })
}

fn change(series: &SeriesTrend, change: &Change) -> Value {
    let at = &series.points[change.at];
    let previous = change.at.checked_sub(1).and_then(|before| series.points.get(before));
    json!({
        "commit": at.commit,
        "commit_unix_s": at.commit_unix_s,
        "previous_commit": previous.map(|point| &point.commit),
        "before": change.before,
        "after": change.after,
        "ratio": change.ratio(),
        "p": change.p,
    })
}
