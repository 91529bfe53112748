//! Hand-made cells for the tests of the frames.

use std::collections::BTreeMap;

use polars::prelude::*;
use serde_json::{Value, json};

use crate::frames::order::AxisRoles;
use crate::render::Context;

/// A cell as the frames' tests need it; the figures that are not named here follow from the others.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) run: i64,
    pub(crate) machine: &'static str,
    pub(crate) group: &'static str,
    pub(crate) id: &'static str,
    /// By default dense where it is the baseline, else flash.
    pub(crate) variant: &'static str,
    pub(crate) engine: &'static str,
    pub(crate) baseline: bool,
    pub(crate) status: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) precision: &'static str,
    pub(crate) n: i64,
    pub(crate) median: Option<i64>,
    /// The baseline in the same rounds: which, and its median.
    pub(crate) beside: Option<(&'static str, i64)>,
    pub(crate) scratch: Option<i64>,
    /// Of the method; where it is not named here, as many billionths as the median has nanoseconds.
    pub(crate) error: Option<f64>,
    pub(crate) error_ratio: Option<f64>,
    pub(crate) rank: Option<i64>,
    /// Of its worker.
    pub(crate) build: &'static str,
    /// When it was finished.
    pub(crate) finished: i64,
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            run: 0,
            machine: "m",
            group: "g",
            id: "a",
            variant: "",
            engine: "naive",
            baseline: false,
            status: "ok",
            reason: None,
            precision: "f32",
            n: 128,
            median: Some(1000),
            beside: None,
            scratch: Some(0),
            error: None,
            error_ratio: None,
            rank: None,
            build: "own",
            finished: 0,
        }
    }
}

impl Cell {
    pub(crate) fn failed(status: &'static str, reason: &'static str) -> Self {
        Self { status, reason: Some(reason), median: None, scratch: None, ..Self::default() }
    }
}

/// The cells, each measured beside the baseline of its group: that of its engine, if there is one.
pub(crate) fn together(cells: &[Cell]) -> Vec<Cell> {
    let baseline_of = |cell: &Cell| {
        let same = |other: &&Cell| other.baseline && (other.run, other.machine, other.group) == (cell.run, cell.machine, cell.group);
        let nearest = cells.iter().filter(same).min_by_key(|other| (other.engine != cell.engine, other.precision != cell.precision))?;
        Some((nearest.id, nearest.median?))
    };
    let beside = |cell: &Cell| if cell.baseline { None } else { cell.beside.or_else(|| baseline_of(cell)) };
    cells.iter().map(|cell| Cell { beside: beside(cell), ..cell.clone() }).collect()
}

/// The frame that `scan` would make of these cells, as far as the frames use it.
pub(crate) fn frame(cells: &[Cell]) -> DataFrame {
    let mut frame = without_rank(cells);
    if cells.iter().any(|cell| cell.rank.is_some()) {
        let ranks: Int64Chunked = cells.iter().map(|cell| cell.rank).collect();
        frame.with_column(ranks.with_name("axis:rank".into()).into_column()).unwrap();
    }
    frame
}

fn without_rank(cells: &[Cell]) -> DataFrame {
    let column = |get: fn(&Cell) -> &'static str| cells.iter().map(get).collect::<Vec<_>>();
    let timed = |figure: i64| cells.iter().map(|cell| cell.median.map(|_| figure)).collect::<Vec<_>>();
    let time = |percent: i64| cells.iter().map(|cell| cell.median.map(|median| median * percent / 100)).collect::<Vec<_>>();
    let beside = |percent: i64| cells.iter().map(|cell| cell.beside.map(|(_, median)| median * percent / 100)).collect::<Vec<_>>();
    let memory = |factor: i64, plus: i64| cells.iter().map(|cell| cell.scratch.map(|scratch| scratch * factor + plus)).collect::<Vec<_>>();
    df!(
        "run" => cells.iter().map(|cell| cell.run).collect::<Vec<_>>(),
        "machine" => column(|cell| cell.machine),
        "group" => column(|cell| cell.group),
        "id" => column(|cell| cell.id),
        "experiment" => column(|_| "hand-made"),
        "family" => column(|_| "attention"),
        "variant" => column(|cell| match (cell.variant, cell.baseline) {
            ("", true) => "attention/dense",
            ("", false) => "attention/flash",
            (named, _) => named,
        }),
        "engine" => column(|cell| cell.engine),
        "baseline" => cells.iter().map(|cell| cell.baseline).collect::<Vec<_>>(),
        "status" => column(|cell| cell.status),
        "reason" => cells.iter().map(|cell| cell.reason).collect::<Vec<_>>(),
        "build" => column(|cell| cell.build),
        "finished_unix_ms" => cells.iter().map(|cell| cell.finished).collect::<Vec<_>>(),
        "median_ns" => time(100),
        "ci_low_ns" => time(90),
        "ci_high_ns" => time(110),
        "samples" => timed(20),
        "beside_id" => cells.iter().map(|cell| cell.beside.map(|(id, _)| id)).collect::<Vec<_>>(),
        "beside_median_ns" => beside(100),
        "beside_ci_low_ns" => beside(90),
        "beside_ci_high_ns" => beside(110),
        "beside_samples" => cells.iter().map(|cell| cell.beside.map(|_| 7i64)).collect::<Vec<_>>(),
        "flops" => timed(4000),
        "bytes" => timed(800),
        "threads_used" => timed(1),
        "weight_bytes" => memory(0, 100),
        "activation_bytes" => memory(0, 200),
        "scratch_bytes" => memory(1, 0),
        "state_bytes" => memory(0, 0),
        "allocator_peak_bytes" => memory(2, 0),
        "high_water_bytes" => memory(0, 1 << 20),
        "err_method_rel" => cells.iter().map(|cell| cell.error.or(cell.median.map(|median| median as f64 / 1e9))).collect::<Vec<_>>(),
        "tolerance_used" => vec![None::<f64>; cells.len()],
        "error_ratio" => cells.iter().map(|cell| cell.error_ratio).collect::<Vec<_>>(),
        "axis:n" => cells.iter().map(|cell| cell.n).collect::<Vec<_>>(),
        "axis:precision" => column(|cell| cell.precision),
    )
    .unwrap()
}

/// Hands over what the sections of a report of one run have in common.
pub(crate) fn with_context<T>(roles: &AxisRoles, render: impl FnOnce(&Context<'_>) -> T) -> T {
    let context = Context { labels: vec!["run"], floors: vec![0.0], machines: BTreeMap::new(), several_machines: false, roles };
    render(&context)
}

/// Ceilings of two threads: 50 and 100 GFLOP/s, 200 GB/s in a 16 KiB working set, 10 GB/s beyond.
pub(crate) fn ceilings_json() -> Value {
    json!({
        "threads": 2, "isa": "avx2", "f64_flops_per_s": 50_000_000_000u64, "f32_flops_per_s": 100_000_000_000u64,
        "bandwidth": [
            {"level": "L1", "working_set_bytes": 16384, "read_bytes_per_s": 200_000_000_000u64, "copy_bytes_per_s": 150_000_000_000u64},
            {"level": "memory", "working_set_bytes": 268_435_456, "read_bytes_per_s": 10_000_000_000u64, "copy_bytes_per_s": 9_000_000_000u64},
        ],
    })
}
