//! What changed about the cells since the baseline.
//!
//! | changed | verdict |
//! |---|---|
//! | the output misses its tolerance, or is no longer checked | regressed |
//! | its error is more than twice the baseline's, and more than a twentieth of the tolerance | regressed |
//! | more declared bytes, allocations or operations, or they are no longer told | regressed; fewer: improved |
//! | native became composed, emulated or unsupported; composed became emulated or unsupported; and so on | regressed; the other way: improved |
//! | a cell is gone; it is new, and failed or wrong | regressed |
//! | it is computed by a lower instruction set than one that the baseline has of it and this machine has, too ([`super::machine`]) | regressed |
//! | it is new, and right or not supported | told |
//!
//! All of it beside the row of the cell's own instruction set. Where there is none, the cell is held against the row of another by what does not
//! depend on the kernels, which gates: whether it is there, is computed, is right and is checked; its operations, which are counted on shapes; and whether a
//! warm call that allocated nothing does now. The level of support (but for its end), bytes and other numbers of allocations are told.

use std::collections::{BTreeMap, BTreeSet};

use crate::gate::verdict::Verdict;

use super::Row;
use super::machine::is_above;

/// Below this share of its tolerance an error may double without anybody noticing.
const QUIET: f64 = 0.05;

/// From best to worst.
pub(super) const LEVELS: [&str; 6] = ["native", "composed", "emulated", "unsupported", "failed", "wrong"];

fn level(support: &str) -> usize {
    LEVELS.iter().position(|known| *known == support).unwrap_or(LEVELS.len())
}

/// One thing that changed about a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The cell, in words.
    pub cell: String,
    /// Regressed, improved, inconclusive of what has nothing to be held against, or pass for what is only told.
    pub verdict: Verdict,
    /// What changed.
    pub what: String,
}

/// What a baseline says of the cells of now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Compared {
    /// Worst first.
    pub changes: Vec<Change>,
    /// How many of an engine's cells have a row of their own instruction set, and how many only one of another.
    pub rows: BTreeMap<String, Rows>,
    /// The instruction sets of the others.
    pub unknown_isas: BTreeSet<String>,
}

/// Of which instruction sets the rows of some cells are. A cell that is new has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rows {
    /// Of their own.
    pub own: usize,
    /// Of others only.
    pub elsewhere: usize,
}

impl Compared {
    /// Cells that were held against a row of their own instruction set.
    pub fn known(&self) -> usize {
        self.rows.values().map(|rows| rows.own).sum()
    }

    /// Engines of most of whose cells the baseline is another machine's. Each by itself: an engine whose instruction set is the same everywhere says
    /// nothing of one that has another on each machine.
    pub fn of_other_machines(&self) -> Vec<&str> {
        self.rows.iter().filter(|(_, rows)| rows.own < rows.elsewhere).map(|(engine, _)| engine.as_str()).collect()
    }

    /// Has the baseline none of the cells?
    pub fn is_all_new(&self) -> bool {
        self.rows.values().all(|rows| rows.own + rows.elsewhere == 0)
    }
}

/// What changed from the baseline to now, on a machine that `has` some of the instruction sets.
pub fn compare(baseline: &[Row], now: &[Row], has: &dyn Fn(&str) -> bool) -> Compared {
    let mut before: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    baseline.iter().for_each(|row| before.entry(row.id.as_str()).or_default().push(row));
    let mut compared = Compared::default();
    for row in now {
        let rows = before.remove(row.id.as_str()).unwrap_or_default();
        let own = rows.iter().find(|before| before.isa == row.isa);
        let of_engine = compared.rows.entry(row.engine.clone()).or_default();
        match own {
            Some(_) => of_engine.own += 1,
            None if rows.is_empty() => {}
            None => {
                of_engine.elsewhere += 1;
                compared.unknown_isas.insert(row.isa.clone());
            }
        }
        let mut changes = match own {
            Some(before) => changes_of(before, row),
            // Whichever is nearest: one that nobody brought up to date must not count against it.
            None => rows
                .iter()
                .map(|before| changes_elsewhere(before, row))
                .min_by_key(|all| regressions(all))
                .unwrap_or_else(|| vec![new(row)]),
        };
        changes.extend(fallen(&rows, row, has));
        compared.changes.extend(changes.into_iter().map(|(verdict, what)| Change { cell: row.told(), verdict, what }));
    }
    let gone = |row: &&Row| Change { cell: row.told(), verdict: Verdict::Regressed, what: "it is gone".to_owned() };
    compared.changes.extend(before.values().filter_map(|rows| rows.first()).map(gone));
    let rank = |change: &Change| Verdict::ALL.iter().position(|verdict| *verdict == change.verdict);
    compared.changes.sort_by_key(rank);
    compared
}

type Told = (Verdict, String);

fn regressions(told: &[Told]) -> usize {
    told.iter().filter(|(verdict, _)| *verdict == Verdict::Regressed).count()
}

fn because(row: &Row) -> String {
    row.why.as_ref().map_or_else(String::new, |why| format!(": {why}"))
}

fn new(row: &Row) -> Told {
    match row.is_right() {
        true => (Verdict::Pass, "it is new".to_owned()),
        false => (Verdict::Regressed, format!("it is new, and {}{}", row.support, because(row))),
    }
}

/// One of the figures of a row that are counts.
type Count = fn(&Row) -> Option<u64>;

const BYTES: (&str, Count) = ("declared bytes", |row| row.declared_bytes);
const ALLOCATIONS: (&str, Count) = ("allocations of a warm call", |row| row.warm_allocations);
const OPERATIONS: (&str, Count) = ("operations", |row| row.flops);

/// Beside the row of the same instruction set.
fn changes_of(before: &Row, now: &Row) -> Vec<Told> {
    let mut changes = Vec::new();
    if before.support != now.support {
        let is_worse = level(&now.support) > level(&before.support);
        let verdict = if is_worse { Verdict::Regressed } else { Verdict::Improved };
        changes.push((verdict, format!("{} became {}{}", before.support, now.support, because(now))));
    }
    if let (Some(then), Some(error)) = (before.err_impl, now.err_impl)
        && error > 2.0 * then
        && now.tolerance_used.is_none_or(|used| used > QUIET)
    {
        changes.push((Verdict::Regressed, format!("its error grew from {then:.3e} to {error:.3e}")));
    }
    changes.extend(unchecked(before, now));
    changes.extend([BYTES, ALLOCATIONS, OPERATIONS].into_iter().filter_map(|count| counted(count, before, now)));
    changes
}

/// Beside the row of another instruction set.
fn changes_elsewhere(before: &Row, now: &Row) -> Vec<Told> {
    let beside = format!("beside {}, as there is no row of {}", before.isa, now.isa);
    let told = |(_, what): Told| (Verdict::Pass, format!("{what}, {beside}"));
    let gates = |(verdict, what): Told| (verdict, format!("{what}, {beside}"));
    let mut changes = Vec::new();
    if before.support != now.support {
        let is_gone = level(&now.support) > level(&before.support) && level(&now.support) >= level("unsupported");
        let verdict = if is_gone { Verdict::Regressed } else { Verdict::Pass };
        changes.push(gates((verdict, format!("{} became {}{}", before.support, now.support, because(now)))));
    }
    changes.extend(unchecked(before, now).map(gates));
    changes.extend(counted(OPERATIONS, before, now).map(gates));
    let allocates_now = before.warm_allocations == Some(0) && now.warm_allocations.is_some_and(|count| count > 0);
    changes.extend(counted(ALLOCATIONS, before, now).map(|change| if allocates_now { gates(change) } else { told(change) }));
    changes.extend(counted(BYTES, before, now).map(told));
    changes
}

/// A cell whose engine does not find instructions that this machine has.
fn fallen(rows: &[&Row], now: &Row, has: &dyn Fn(&str) -> bool) -> Option<Told> {
    let above = rows.iter().map(|before| before.isa.as_str()).filter(|isa| is_above(isa, &now.isa) && has(isa));
    let better = above.reduce(|best, isa| if is_above(isa, best) { isa } else { best })?;
    now.is_computed().then(|| (Verdict::Regressed, format!("it fell from {better}, which this machine has, to {}", now.isa)))
}

/// An error that was told and is not, of a cell that still has an output: whatever else became better.
fn unchecked(before: &Row, now: &Row) -> Option<Told> {
    let is_lost = before.err_impl.is_some() && now.err_impl.is_none() && now.is_computed();
    is_lost.then(|| (Verdict::Regressed, "its error is not told any more".to_owned()))
}

fn counted((what, of): (&str, Count), before: &Row, now: &Row) -> Option<Told> {
    match (of(before), of(now)) {
        (Some(then), Some(count)) if count > then => Some((Verdict::Regressed, format!("{what} grew from {then} to {count}"))),
        (Some(then), Some(count)) if count < then => Some((Verdict::Improved, format!("{what} fell from {then} to {count}"))),
        (Some(then), None) if now.is_computed() => Some((Verdict::Regressed, format!("{what} were {then}, and are not told any more"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::row;
    use super::*;

    fn avx2(id: &str) -> Row {
        row(id, "avx2")
    }

    fn told(before: &[Row], now: Row) -> Vec<String> {
        compare(before, &[now], &|_| false)
            .changes
            .into_iter()
            .map(|change| format!("{}: {}", change.verdict.name(), change.what))
            .collect()
    }

    #[test]
    fn what_did_not_change_is_not_told_and_errors_may_wander() {
        let before = [avx2("a")];
        assert!(told(&before, avx2("a")).is_empty());
        assert!(told(&before, Row { err_impl: Some(1.9e-7), ..avx2("a") }).is_empty());
        assert!(told(&before, Row { err_impl: Some(9e-7), ..row("a", "avx512") }).is_empty(), "another instruction set");
        assert!(told(&before, Row { err_impl: Some(9e-7), tolerance_used: Some(0.01), ..avx2("a") }).is_empty(), "far below its bound");
    }

    #[test]
    fn each_kind_of_loss_is_a_regression_and_each_gain_is_told() {
        let of = |now: Row| told(&[avx2("a")], now);
        assert_eq!(of(Row { err_impl: Some(2.5e-7), ..avx2("a") }), ["regressed: its error grew from 1.000e-7 to 2.500e-7"]);
        assert_eq!(of(Row { declared_bytes: Some(1001), ..avx2("a") }), ["regressed: declared bytes grew from 1000 to 1001"]);
        assert_eq!(of(Row { warm_allocations: Some(1), ..avx2("a") }), ["regressed: allocations of a warm call grew from 0 to 1"]);
        assert_eq!(
            of(Row { warm_allocations: None, ..avx2("a") }),
            ["regressed: allocations of a warm call were 0, and are not told any more"]
        );
        assert_eq!(of(Row { err_impl: None, ..avx2("a") }), ["regressed: its error is not told any more"]);
        assert_eq!(of(Row { flops: Some(4000), ..avx2("a") }), ["improved: operations fell from 5000 to 4000"]);
        for support in ["composed", "emulated", "unsupported", "wrong"] {
            assert_eq!(of(Row { support: support.into(), ..avx2("a") }), [format!("regressed: native became {support}")]);
        }
        let emulated = Row { support: "emulated".into(), ..avx2("a") };
        assert_eq!(told(&[emulated], avx2("a")), ["improved: emulated became native"]);
    }

    #[test]
    fn a_better_support_does_not_excuse_an_output_that_is_not_checked() {
        let emulated = || [Row { support: "emulated".into(), ..avx2("a") }];
        let unchecked = Row { err_impl: None, ..avx2("a") };
        assert_eq!(told(&emulated(), unchecked), ["regressed: its error is not told any more", "improved: emulated became native"]);
        let uncounted = Row { declared_bytes: None, ..avx2("a") };
        assert_eq!(told(&emulated(), uncounted)[0], "regressed: declared bytes were 1000, and are not told any more");
        // Of one that is not computed there is nothing to check.
        let gone = Row { support: "unsupported".into(), err_impl: None, declared_bytes: None, flops: None, ..avx2("a") };
        assert_eq!(told(&emulated(), gone), ["regressed: emulated became unsupported"]);
    }

    #[test]
    fn the_row_of_the_own_instruction_set_is_looked_for_first() {
        let rows = [Row { declared_bytes: Some(7), support: "composed".into(), ..row("a", "avx512") }, avx2("a")];
        assert!(told(&rows, avx2("a")).is_empty());
        assert_eq!(told(&rows, Row { declared_bytes: Some(1001), ..avx2("a") }), ["regressed: declared bytes grew from 1000 to 1001"]);
        let known = |isa: &str| compare(&rows, &[row("a", isa)], &|_| false).known();
        assert_eq!([known("avx2"), known("avx512"), known("neon")], [1, 1, 0]);
    }

    #[test]
    fn a_build_that_does_not_find_what_the_machine_has_is_held_against_its_better_row() {
        let rows = [row("a", "avx512+vnni"), avx2("a")];
        let told = |now: Row, has: &dyn Fn(&str) -> bool| {
            compare(&rows, &[now], has).changes.into_iter().map(|change| change.what).collect::<Vec<_>>()
        };
        let of_both = |_: &str| true;
        assert_eq!(told(avx2("a"), &of_both), ["it fell from avx512+vnni, which this machine has, to avx2"]);
        assert_eq!(told(row("a", "avx512"), &of_both).len(), 1, "an instruction less");
        assert!(told(avx2("a"), &|isa| isa == "avx2").is_empty(), "another machine's");
        assert!(told(row("a", "avx512+vnni"), &of_both).is_empty());
        let unsupported = Row { support: "unsupported".into(), ..avx2("a") };
        assert_eq!(told(unsupported, &of_both), ["native became unsupported"]);
    }

    #[test]
    fn elsewhere_what_does_not_depend_on_the_instruction_set_gates() {
        let of = |now: Row| told(&[avx2("a")], now);
        let beside = "beside avx2, as there is no row of neon";
        let neon = || row("a", "neon");
        assert!(of(neon()).is_empty());
        for (now, words) in [
            (Row { flops: Some(5001), ..neon() }, "regressed: operations grew from 5000 to 5001"),
            (Row { warm_allocations: Some(2), ..neon() }, "regressed: allocations of a warm call grew from 0 to 2"),
            (Row { err_impl: None, ..neon() }, "regressed: its error is not told any more"),
            (Row { support: "unsupported".into(), ..neon() }, "regressed: native became unsupported"),
            (Row { support: "wrong".into(), why: Some("off".into()), ..neon() }, "regressed: native became wrong: off"),
            (Row { support: "emulated".into(), ..neon() }, "pass: native became emulated"),
            (Row { declared_bytes: Some(2000), ..neon() }, "pass: declared bytes grew from 1000 to 2000"),
        ] {
            assert_eq!(of(now), [format!("{words}, {beside}")]);
        }
        // Of two others the nearer one counts.
        let stale = Row { flops: Some(1), ..row("a", "avx512") };
        assert!(told(&[stale, avx2("a")], neon()).is_empty());
        let compared = compare(&[avx2("a"), avx2("b")], &[neon(), avx2("b"), row("c", "neon")], &|_| false);
        assert_eq!((compared.known(), &compared.unknown_isas), (1, &BTreeSet::from(["neon".to_owned()])));
        assert_eq!(compared.rows["simd"], Rows { own: 1, elsewhere: 1 });
        assert!(compared.of_other_machines().is_empty() && !compared.is_all_new());
    }

    #[test]
    fn an_engine_whose_rows_are_of_another_machine_is_not_hidden_by_one_whose_rows_are_of_all() {
        let naive = |id: &str| Row { engine: "naive".into(), ..row(id, "scalar") };
        let baseline = [naive("a"), naive("b"), naive("c"), avx2("d"), avx2("e")];
        let compared = compare(&baseline, &[naive("a"), naive("b"), naive("c"), row("d", "neon"), row("e", "neon")], &|_| false);
        assert_eq!(compared.of_other_machines(), ["simd"]);
        // What is new says nothing of machines, and nothing at all where everything is.
        let some = compare(&baseline, &[naive("a"), avx2("d"), row("x", "neon"), row("y", "neon")], &|_| false);
        assert!(some.of_other_machines().is_empty() && !some.is_all_new());
        assert!(compare(&baseline, &[row("x", "neon")], &|_| false).is_all_new());
    }

    #[test]
    fn cells_that_come_and_go() {
        let wrong = Row { support: "wrong".into(), why: Some("row 3 is off".into()), ..avx2("d") };
        let crashed = Row { support: "failed".into(), why: Some("SIGSEGV".into()), ..avx2("e") };
        let unsupported = Row { support: "unsupported".into(), ..avx2("f") };
        let compared = compare(&[avx2("a"), row("a", "neon"), avx2("b")], &[avx2("b"), avx2("c"), wrong, crashed, unsupported], &|_| false);
        let told: Vec<String> = compared.changes.iter().map(|change| format!("{} {}", change.verdict.name(), change.what)).collect();
        assert_eq!(
            told,
            [
                "regressed it is new, and wrong: row 3 is off",
                "regressed it is new, and failed: SIGSEGV",
                "regressed it is gone",
                "pass it is new",
                "pass it is new"
            ]
        );
    }
}
