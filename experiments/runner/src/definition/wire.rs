//! A definition as it stands in the file: the shape and the types are right, and every part knows its place. Whether the names
//! exist and the values make sense is for [`super::check`].

use std::ops::Range;
use std::time::Duration;

use crossover_core::axes::AxisValue;
use toml::Spanned;
use toml::de::DeTable;

use super::error::{DefinitionError, Source};
use super::model::Measure;
use super::reader::{Key, Table, Value};

type Result<T> = std::result::Result<T, DefinitionError>;

pub(super) struct WireDefinition {
    pub(super) name: Spanned<String>,
    pub(super) description: Spanned<String>,
    pub(super) seed: u64,
    pub(super) defaults: Vec<WireAxis>,
    pub(super) bases: Vec<(Spanned<String>, Vec<WireAxis>)>,
    pub(super) sweeps: Vec<WireSweep>,
    pub(super) measure: Measure,
    pub(super) workers: Vec<WireWorker>,
}

pub(super) struct WireSweep {
    /// From the first key on: the header itself has no span of its own.
    pub(super) span: Range<usize>,
    pub(super) variants: Vec<Spanned<String>>,
    pub(super) engines: Vec<Spanned<String>>,
    pub(super) baselines: Vec<Spanned<String>>,
    pub(super) baseline_when: Option<Spanned<String>>,
    pub(super) matching: Option<Spanned<String>>,
    pub(super) match_share: Option<Spanned<f64>>,
    pub(super) bases: Vec<Spanned<String>>,
    pub(super) axes: Vec<WireAxis>,
    pub(super) when: Option<Spanned<String>>,
    pub(super) excludes: Vec<WireExclude>,
}

pub(super) struct WireExclude {
    pub(super) when: Spanned<String>,
    pub(super) because: Spanned<String>,
}

pub(super) struct WireAxis {
    /// One name, or several with commas between.
    pub(super) name: Spanned<String>,
    pub(super) points: Vec<Vec<Spanned<AxisValue>>>,
    /// Written as a list, even if of one value.
    pub(super) is_list: bool,
}

pub(super) struct WireWorker {
    pub(super) engine: Spanned<String>,
    pub(super) command: Vec<Spanned<String>>,
    pub(super) env: Vec<(Spanned<String>, Spanned<String>)>,
    pub(super) step_timeout: Option<Duration>,
}

const ROOT: &[Key] = &[
    Key { name: "name", example: r#"name = "quick""# },
    Key { name: "description", example: r#"description = "which question it answers""# },
    Key { name: "seed", example: "seed = 1" },
    Key { name: "defaults", example: "[defaults] with lines such as batch = 1" },
    Key { name: "bases", example: "[bases.small] with lines such as d_model = 256" },
    Key { name: "sweep", example: "[[sweep]]" },
    Key { name: "measure", example: "[measure] with lines such as min_samples = 10" },
    Key { name: "workers", example: r#"[workers.numpy] with command = ["python3", "worker.py"]"# },
];
const SWEEP: &[Key] = &[
    Key { name: "variants", example: r#"variants = ["attention/dense", "attention/flash"]"# },
    Key { name: "engines", example: r#"engines = ["naive"]"# },
    Key { name: "baseline", example: r#"baseline = "attention/dense""# },
    Key { name: "baseline_when", example: r#"baseline_when = 'attention == "dense"'"# },
    Key { name: "match", example: r#"match = "flops", or "parameters", or "none""# },
    Key { name: "match_share", example: "match_share = 0.25" },
    Key { name: "base", example: r#"base = "small", a table [bases.small] of axes"# },
    Key { name: "axes", example: "n = [128, 256]" },
    Key { name: "when", example: r#"when = "rank < head_dim""# },
    Key { name: "exclude", example: r#"exclude = [{ when = 'engine == "naive" and n > 1024', because = "plain loops need minutes" }]"# },
];
const EXCLUDE: &[Key] = &[
    Key { name: "when", example: r#"when = 'engine == "naive" and n > 1024'"# },
    Key { name: "because", example: r#"because = "plain loops need minutes""# },
];
const MEASURE: &[Key] = &[
    Key { name: "half_width", example: "half_width = 0.02" },
    Key { name: "min_samples", example: "min_samples = 10" },
    Key { name: "cell_budget_ms", example: "cell_budget_ms = 1000" },
    Key { name: "sample_us", example: "sample_us = 100" },
    Key { name: "step_timeout_s", example: "step_timeout_s = 60" },
    Key { name: "live_workers", example: "live_workers = 8" },
    Key { name: "memory_limit_mb", example: "memory_limit_mb = 4096" },
    Key { name: "memory_budget_mb", example: "memory_budget_mb = 16384" },
    Key { name: "pin", example: "pin = true" },
];
const WORKER: &[Key] = &[
    Key { name: "command", example: r#"command = ["python3", "engines/peers/numpy_worker.py"]"# },
    Key { name: "env", example: r#"env = { PYTHONDONTWRITEBYTECODE = "1" }"# },
    Key { name: "step_timeout_s", example: "step_timeout_s = 60" },
];
const DAY_S: u64 = 86_400;

pub(super) fn read<'a>(source: Source<'a>, root: &'a DeTable<'a>) -> Result<WireDefinition> {
    let table = Table::open(source, "an experiment", ROOT, 0..0, root)?;
    Ok(WireDefinition {
        name: table.require("name")?.text()?,
        description: table.get("description").map(Value::text).transpose()?.unwrap_or_else(|| Spanned::new(0..0, String::new())),
        seed: table.get("seed").map(|value| value.whole(0, i64::MAX as u64)).transpose()?.unwrap_or(1),
        defaults: table.get("defaults").map(axes).transpose()?.unwrap_or_default(),
        bases: table.get("bases").map(bases).transpose()?.unwrap_or_default(),
        sweeps: sweeps(source, &table)?,
        measure: table.get("measure").map(measure).transpose()?.unwrap_or_default(),
        workers: table.get("workers").map(workers).transpose()?.unwrap_or_default(),
    })
}

fn sweeps(source: Source<'_>, table: &Table<'_>) -> Result<Vec<WireSweep>> {
    let sweeps = table.require("sweep")?;
    if sweeps.is_table() {
        return Err(source.error(sweeps.span(), "a sweep is one of a list", "write [[sweep]] with double brackets, once for each grid"));
    }
    sweeps.items()?.map(sweep).collect()
}

fn sweep(item: Value<'_>) -> Result<WireSweep> {
    let table = item.table("a [[sweep]]", SWEEP)?;
    // `variants` is always there, so it stands for the sweep in messages.
    let variants = table.require("variants")?;
    Ok(WireSweep {
        span: if item.span().is_empty() { variants.span() } else { item.span() },
        variants: variants.texts()?,
        engines: table.require("engines")?.texts()?,
        baselines: table.get("baseline").map(Value::text_or_texts).transpose()?.unwrap_or_default(),
        baseline_when: table.get("baseline_when").map(Value::text).transpose()?,
        matching: table.get("match").map(Value::text).transpose()?,
        match_share: table.get("match_share").map(share).transpose()?,
        bases: table.get("base").map(Value::text_or_texts).transpose()?.unwrap_or_default(),
        axes: table.get("axes").map(axes).transpose()?.unwrap_or_default(),
        when: table.get("when").map(Value::text).transpose()?,
        excludes: table.get("exclude").map(excludes).transpose()?.unwrap_or_default(),
    })
}

fn bases(value: Value<'_>) -> Result<Vec<(Spanned<String>, Vec<WireAxis>)>> {
    value.entries()?.into_iter().map(|(name, value)| Ok((name, axes(value)?))).collect()
}

fn excludes(value: Value<'_>) -> Result<Vec<WireExclude>> {
    let read = |item: Value<'_>| {
        let table = item.table("an entry of exclude", EXCLUDE)?;
        Ok(WireExclude { when: table.require("when")?.text()?, because: table.require("because")?.text()? })
    };
    value.items()?.map(read).collect()
}

fn share(value: Value<'_>) -> Result<Spanned<f64>> {
    Ok(Spanned::new(value.span(), value.positive(1.0)?))
}

fn axes(value: Value<'_>) -> Result<Vec<WireAxis>> {
    let read = |(name, value): (Spanned<String>, Value<'_>)| {
        let (points, is_list) = value.axis_points(name.get_ref().split(',').count())?;
        Ok(WireAxis { name, points, is_list })
    };
    value.entries()?.into_iter().map(read).collect()
}

fn measure(value: Value<'_>) -> Result<Measure> {
    let table = value.table("[measure]", MEASURE)?;
    let whole = |key, most| table.get(key).map(|value| value.whole(1, most)).transpose();
    let default = Measure::default();
    Ok(Measure {
        half_width: table.get("half_width").map(|value| value.positive(1.0)).transpose()?.unwrap_or(default.half_width),
        min_samples: whole("min_samples", 1_000_000)?.map_or(default.min_samples, |count| count as u32),
        cell_budget: whole("cell_budget_ms", DAY_S * 1_000)?.map_or(default.cell_budget, Duration::from_millis),
        sample_time: whole("sample_us", DAY_S * 1_000_000)?.map_or(default.sample_time, Duration::from_micros),
        step_timeout: whole("step_timeout_s", DAY_S)?.map_or(default.step_timeout, Duration::from_secs),
        engine_timeouts: default.engine_timeouts,
        live_workers: whole("live_workers", 1_024)?.map_or(default.live_workers, |count| count as usize),
        memory_limit: whole("memory_limit_mb", 1 << 30)?.map(megabytes),
        memory_budget: whole("memory_budget_mb", 1 << 30)?.map(megabytes),
        pin: table.get("pin").map(Value::truth).transpose()?.unwrap_or(default.pin),
    })
}

fn megabytes(count: u64) -> u64 {
    count * 1_000_000
}

fn workers(value: Value<'_>) -> Result<Vec<WireWorker>> {
    let read = |(engine, value): (Spanned<String>, Value<'_>)| worker(engine, &value.table("a [workers.NAME]", WORKER)?);
    value.entries()?.into_iter().map(read).collect()
}

/// How an engine is started, as a table says.
pub(super) fn worker(engine: Spanned<String>, table: &Table<'_>) -> Result<WireWorker> {
    let env = table.get("env").map(Value::entries).transpose()?.unwrap_or_default();
    Ok(WireWorker {
        engine,
        command: table.require("command")?.texts()?,
        env: env.into_iter().map(|(name, value)| Ok((name, value.text()?))).collect::<Result<_>>()?,
        step_timeout: table.get("step_timeout_s").map(|value| value.whole(1, DAY_S)).transpose()?.map(Duration::from_secs),
    })
}

/// The TOML crate's own complaints, at their place.
pub(super) fn parse<'a>(source: Source<'a>) -> Result<Spanned<DeTable<'a>>> {
    DeTable::parse(source.text).map_err(|error| {
        let help = "the file is TOML: lines of key = value under [headers], text in double quotes";
        source.error(error.span().unwrap_or(0..0), error.message().to_owned(), help)
    })
}
