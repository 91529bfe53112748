//! Verdicts on pairs of hand-made cells. What needs whole runs is in `tests/compare.rs`.

use polars::prelude::*;

use super::Verdict;
use super::pairs::{Pair, pairs};
use crate::examples::{Cell, frame};

/// Cells of A and their medians in B, in the same order.
fn compared(cells: &[(Cell, Option<i64>)], floor: f64) -> Vec<Pair> {
    let before = cells.iter().map(|(cell, _)| cell.clone());
    let after = cells.iter().map(|(cell, median)| Cell { median: *median, run: 1, ..cell.clone() });
    let frame = frame(&before.chain(after).collect::<Vec<_>>());
    let both: Vec<(usize, usize)> = (0..cells.len()).map(|row| (row, row + cells.len())).collect();
    pairs(&frame, &both, floor).unwrap()
}

fn cell(median: i64) -> Cell {
    Cell { median: Some(median), ..Cell::default() }
}

#[test]
fn a_known_ratio_has_its_interval_and_its_verdict() {
    let found = compared(&[(cell(1_000_000), Some(2_000_000))], 0.02);
    assert_eq!((found[0].ratio, found[0].verdict), (2.0, Verdict::Slower));
    // Both intervals are 10 % to either side: ln(1.1/0.9)/3.91993 = 0.0511919 each, together 0.0723963, and 1.959964 of them to either side.
    let (low, high) = found[0].interval.unwrap();
    let half = 0.072_396_3 * 1.959_964;
    assert!((low.ln() - (2f64.ln() - half)).abs() < 1e-5 && (high.ln() - (2f64.ln() + half)).abs() < 1e-5, "{low} {high}");
    assert_eq!(compared(&[(cell(2_000_000), Some(1_000_000))], 0.02)[0].verdict, Verdict::Faster);
    assert_eq!(compared(&[(cell(1_000_000), Some(1_050_000))], 0.02)[0].verdict, Verdict::NotShown);
}

#[test]
fn what_chance_could_make_of_many_cells_is_not_claimed() {
    // 16 % alone is shown (z = 2.05, p = 0.04), beside nine others that did not change it is not (p = 0.40).
    let alone = compared(&[(cell(1_000_000), Some(1_160_000))], 0.0);
    assert_eq!(alone[0].verdict, Verdict::Slower);
    assert!((alone[0].p.unwrap() - 0.040_4).abs() < 5e-4, "{:?}", alone[0].p);
    let mut cells = vec![(cell(1_000_000), Some(1_160_000))];
    cells.extend((0..9).map(|_| (cell(1_000_000), Some(1_000_000))));
    let many = compared(&cells, 0.0);
    assert!((many[0].p.unwrap() - 0.404).abs() < 5e-3 && many.iter().all(|pair| pair.verdict == Verdict::NotShown), "{many:?}");
}

#[test]
fn below_the_noise_floor_nothing_is_claimed() {
    let floors = [0.9, 1.1].map(|floor| compared(&[(cell(1_000_000), Some(2_000_000))], floor)[0].verdict);
    assert_eq!(floors, [Verdict::Slower, Verdict::Noise]);
    let floors = [0.9, 1.1].map(|floor| compared(&[(cell(2_000_000), Some(1_000_000))], floor)[0].verdict);
    assert_eq!(floors, [Verdict::Faster, Verdict::Noise]);
}

#[test]
fn a_drift_of_cell_and_baseline_alike_is_set_apart() {
    let beside = |id, median| Cell { beside: Some((id, median)), ..cell(1_000_000) };
    // Twice the time in B, with a baseline beside it that takes twice as long, as long as ever, or is another one.
    let run = |after: Cell| {
        let after = Cell { run: 1, median: Some(2_000_000), ..after };
        pairs(&frame(&[beside("base", 500_000), after]), &[(0, 1)], 0.02).unwrap().remove(0)
    };
    let drifted = run(beside("base", 1_000_000));
    assert_eq!((drifted.verdict, drifted.beside.unwrap().ratio), (Verdict::Apart, 1.0));
    let slower = run(beside("base", 500_000));
    assert_eq!((slower.verdict, slower.beside.unwrap().ratio), (Verdict::Slower, 2.0));
    let other = run(beside("other", 1_000_000));
    assert_eq!((other.verdict, other.beside), (Verdict::Slower, None));
}

#[test]
fn only_cells_that_are_ok_in_both_and_have_times() {
    let emulated = Cell { status: "emulated", ..cell(1_000_000) };
    let found = compared(&[(emulated, Some(1)), (cell(1_000_000), None), (cell(0), Some(1)), (cell(1000), Some(1000))], 0.0);
    assert_eq!(found.iter().map(|pair| pair.a).collect::<Vec<_>>(), [3]);
    // Without intervals there is a ratio, and nothing to show.
    let mut frame = frame(&[cell(1000), Cell { run: 1, ..cell(9000) }]);
    frame.with_column(Int64Chunked::full_null("ci_low_ns".into(), 2).into_column()).unwrap();
    let found = pairs(&frame, &[(0, 1)], 0.0).unwrap();
    assert_eq!((found[0].ratio, found[0].interval, found[0].verdict), (9.0, None, Verdict::NotShown));
}

#[test]
fn the_largest_claimed_changes_come_first() {
    let changes = [1_010_000, 300_000, 5_000_000, 1_000_000].map(|after| (cell(1_000_000), Some(after)));
    let found = compared(&changes, 0.02);
    assert_eq!(found.iter().map(|pair| pair.a).collect::<Vec<_>>(), [2, 1, 0, 3]);
}
