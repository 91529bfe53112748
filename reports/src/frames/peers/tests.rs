//! Rows out of hand-made cells: who stands where, against whom, and what counts.

use std::collections::BTreeSet;

use super::rows::{Told, rows_of};
use super::*;
use crate::answers::of_cells;
use crate::examples::{Cell, frame, together};

const FLOOR: f64 = 0.01;

fn told(resumed: &[u64]) -> Told {
    Told { foreign: BTreeSet::from(["theirs".to_owned()]), resumed: resumed.to_vec(), floor: FLOOR }
}

fn found(cells: &[Cell], resumed: &[u64]) -> Peers {
    let answers = of_cells(&[], frame(cells)).unwrap();
    rows_of(&answers.rows, &answers.roles, &[told(resumed), told(&[])]).unwrap()
}

fn cell(engine: &'static str, variant: &'static str, group: &'static str, median: i64) -> Cell {
    let id: &'static str = format!("{engine}-{variant}-{group}").leak();
    let build = if ["torch", "numpy"].contains(&engine) { "theirs" } else { "own" };
    let error_ratio = Some(if variant.ends_with("window") { 900.0 } else { 1.0 });
    Cell { id, engine, variant, group, median: Some(median), error_ratio, build, ..Cell::default() }
}

fn dense(engine: &'static str, group: &'static str, median: i64) -> Cell {
    Cell { baseline: true, ..cell(engine, "attention/dense", group, median) }
}

/// `op: engine variant speed verdict; ..`, of each row.
fn spelled(peers: &Peers) -> Vec<String> {
    let entry = |entry: &Entry| {
        let speed = entry.speed.map_or_else(|| "-".to_owned(), |speed| format!("{:.2} {}", speed.ratio, speed.verdict.name()));
        format!("{} {} {} {speed}", entry.engine, entry.variant.replace("attention/", ""), entry.status)
    };
    peers.rows.iter().map(|row| format!("{}: {}", row.op, row.entries.iter().map(entry).collect::<Vec<_>>().join("; "))).collect()
}

#[test]
fn exact_cells_share_a_row_and_an_engine_stands_with_its_fastest() {
    let mut cells = vec![
        dense("simd", "g", 2000),
        cell("simd", "attention/flash", "g", 1000),
        dense("torch", "g", 1500),
        dense("numpy", "g", 9000),
        cell("simd", "attention/window", "g", 500),
        cell("torch", "attention/window", "g", 300),
        // No peer has anything there.
        dense("simd", "h", 2000),
        cell("naive", "attention/sinkhorn-window", "g", 500),
    ];
    for _ in 0..2 {
        let peers = found(&together(&cells), &[]);
        let exact = "attention/dense: simd flash ok 1.50 at least as fast; numpy dense ok 0.17 slower; torch dense ok 1.00 not decided";
        assert_eq!(spelled(&peers), [exact, "attention/window: simd window ok 0.60 slower; torch window ok 1.00 not decided"]);
        let row = &peers.rows[0];
        assert_eq!((row.rival().unwrap().engine.as_str(), row.rival().unwrap().speed.unwrap().ends), ("torch", None));
        // The example's intervals are 10 % wide to either side of the medians.
        assert_eq!(row.of("simd").unwrap().speed.unwrap().ends, Some((1350.0 / 1100.0, 1650.0 / 900.0)));
        cells.reverse();
    }
}

#[test]
fn what_did_not_run_has_its_status_and_emulation_is_told() {
    let failed = |engine, status, build| Cell { build, median: None, scratch: None, status, ..cell(engine, "attention/dense", "g", 1) };
    let peers = found(
        &[
            dense("simd", "g", 1000),
            Cell { status: "emulated", ..cell("faer", "attention/dense", "g", 100) },
            Cell { status: "emulated", ..cell("torch", "attention/flash", "g", 2000) },
            Cell { median: None, scratch: None, status: "wrong", ..cell("torch", "attention/dense", "g", 1) },
            failed("naive", "unsupported", "own"),
            failed("openvino", "crashed", "unknown"),
            // Ours, although it did not start.
            failed("candle-cuda", "crashed", "unknown"),
            Cell { status: "unchecked", build: "theirs", ..cell("criterion", "attention/dense", "g", 1) },
        ],
        &[],
    );
    let [row] = &peers.rows[..] else { panic!("{:?}", spelled(&peers)) };
    let of = |engine: &str| row.of(engine).map(|entry| (entry.is_peer, entry.status.as_str(), entry.speed.map(|speed| speed.ratio)));
    assert_eq!(of("simd"), Some((false, "ok", Some(2.0))));
    assert_eq!((of("torch"), row.rival_emulates()), (Some((true, "emulated", Some(1.0))), true));
    assert_eq!((of("naive"), of("openvino")), (Some((false, "unsupported", None)), Some((true, "crashed", None))));
    assert_eq!((of("candle-cuda"), of("criterion")), (Some((false, "crashed", None)), None));
    assert_eq!((of("faer"), row.of("faer").unwrap().counts()), (Some((false, "emulated", Some(20.0))), None));
    assert_eq!(peers.foremost("m"), Some("simd"));
}

#[test]
fn without_a_peer_there_is_nothing_to_tell() {
    assert!(found(&[dense("simd", "g", 1000)], &[]).is_empty());
    let answers = of_cells(&[], frame(&[dense("torch", "g", 1000)])).unwrap();
    assert!(answers.peers.is_empty(), "a build that no manifest names is nobody's");
    // Peers that have nothing: the row says so.
    let none = found(&[dense("simd", "g", 1000), Cell { median: None, status: "oom", ..dense("torch", "g", 1) }], &[]);
    assert_eq!(spelled(&none), ["attention/dense: simd dense ok -; torch dense oom -"]);
    assert_eq!((none.rows[0].fastest, none.foremost("m")), (None, Some("simd")));
}

#[test]
fn softmax_that_overflows_is_in_nobodys_place() {
    let cells = [
        Cell { baseline: true, ..cell("simd", "softmax/stable", "g", 1000) },
        cell("simd", "softmax/naive", "g", 100),
        Cell { baseline: true, ..cell("numpy", "softmax/stable", "g", 3000) },
    ];
    assert_eq!(spelled(&found(&together(&cells), &[])).len(), 1);
    assert_eq!(found(&together(&cells), &[]).rows[0].of("simd").unwrap().variant, "softmax/stable");
}

#[test]
fn a_time_of_other_rounds_has_no_verdict() {
    let pair = |finished| vec![dense("simd", "g", 1000), Cell { finished, ..dense("torch", "g", 5000) }];
    let verdict = |cells: &[Cell], resumed: &[u64]| found(cells, resumed).rows[0].of("simd").unwrap().speed.unwrap().verdict;
    assert_eq!(verdict(&pair(30), &[]), Verdict::Ahead);
    assert_eq!(verdict(&pair(30), &[20]), Verdict::Apart);
    assert_eq!(verdict(&pair(30), &[40]), Verdict::Ahead);
    // Both beside the one baseline, which was half as fast beside the other.
    let beside = |median| Some(("naive-attention/dense-g", median));
    let shared = |median| {
        let [simd, torch] =
            ["simd", "torch"].map(|engine| cell(engine, "attention/flash", "g", if engine == "simd" { 1000 } else { 5000 }));
        [dense("naive", "g", 9000), Cell { beside: beside(9000), ..simd }, Cell { beside: beside(median), ..torch }]
    };
    assert_eq!((verdict(&shared(9000), &[]), verdict(&shared(18_000), &[])), (Verdict::Ahead, Verdict::Apart));
    // One of them had no baseline beside it.
    let mut alone = shared(9000);
    alone[2].beside = None;
    assert_eq!(verdict(&alone, &[]), Verdict::Apart);
    assert!(found(&alone, &[]).classes("m", "simd").is_empty());
}

#[test]
fn means_are_geometric_and_the_worst_rows_come_first() {
    let at = |group, n, ours, theirs, precision| {
        [Cell { n, precision, ..dense("simd", group, ours) }, Cell { n, precision, ..dense("torch", group, theirs) }]
    };
    let cells =
        [at("g", 64, 1000, 2000, "f32"), at("h", 128, 1000, 500, "f32"), at("i", 256, 1000, 1000, "f32"), at("j", 64, 1000, 9000, "bf16")];
    let peers = found(&cells.concat(), &[]);
    let classes: Vec<(String, f64, usize, usize)> =
        peers.classes("m", "simd").iter().map(|class| (class.precision.clone(), class.mean.value.exp(), class.rows, class.ahead)).collect();
    assert_eq!(classes.iter().map(|class| (class.0.as_str(), class.2, class.3)).collect::<Vec<_>>(), [("bf16", 1, 1), ("f32", 3, 1)]);
    assert!((classes[0].1 - 9.0).abs() < 1e-9 && (classes[1].1 - 1.0).abs() < 1e-9);
    let short: Vec<(f64, Verdict)> = peers.short("m", "simd").iter().map(|(.., speed)| (speed.ratio, speed.verdict)).collect();
    assert_eq!(short, [(0.5, Verdict::Behind), (1.0, Verdict::Open)]);
    assert!(peers.short("other", "simd").is_empty());
}

#[test]
fn a_difference_within_the_noise_is_no_slowness() {
    let of = |ratio: f64, ends| Verdict::of(ratio, ends, false, 0.05);
    assert_eq!(of(0.98, Some((0.97, 0.99))), Verdict::Open);
    assert_eq!(of(0.90, Some((0.89, 0.91))), Verdict::Behind);
    assert_eq!(of(1.10, Some((1.0, 1.2))), Verdict::Ahead);
    assert_eq!((of(1.10, Some((0.99, 1.2))), of(3.0, None)), (Verdict::Open, Verdict::Open));
    assert_eq!(Verdict::of(3.0, Some((2.0, 4.0)), true, 0.05), Verdict::Apart);
}

#[test]
fn without_simd_the_one_that_is_first_of_ours_speaks() {
    let cells =
        [dense("naive", "g", 9000), dense("faer", "g", 1000), dense("numpy", "g", 500), dense("naive", "h", 1), dense("numpy", "h", 5)];
    assert_eq!(found(&cells, &[]).foremost("m"), Some("faer"));
}
