//! Runs that were measured already, of base and of head in turns: so benchmarks are gated that only `cargo bench` can start.
//!
//! The first run of base and the first of head are a pair, the second ones another, and so on. A run is one start of a program (of each benchmark's,
//! or of each worker), so that a pair is what it is for the other gate: two fresh processes; its figure, the test and the verdicts are the same, too. There is one
//! stage: nothing was measured because of how it had looked before, so all cells are judged by all pairs, corrected for their number (Holm).
//!
//! What this trades away: the two runs of a pair do not lie beside each other but minutes apart, and drift of the machine in between is in every pair. It is
//! noise there where runs of base and head take turns, and is taken for a change where all of base's came first; nobody can tell from the runs.

use std::collections::{BTreeMap, HashMap};

use crossover_results::schema::{Record, Status, Stop};
use crossover_results::statistics::holm;

use crate::commands::text::counted;
use crate::plan::PlannedCell;

use super::pair::undisturbed;
use super::stages::{Judged, Outcome, Stage};
use super::verdict::{Evidence, Verdict};

/// The cells of one run by their ids.
pub type Times = HashMap<String, Timed>;

/// A cell of a run.
#[derive(Debug, Clone)]
pub struct Timed {
    /// The cell.
    pub cell: PlannedCell,
    /// Nanoseconds a call, or why there are none.
    pub time: Result<f64, String>,
}

impl From<Record> for Timed {
    fn from(record: Record) -> Self {
        let time = time(&record);
        let cell = PlannedCell {
            id: record.id,
            group: record.group,
            experiment: record.experiment,
            family: record.family,
            variant: record.variant,
            engine: record.engine,
            baseline: record.baseline,
            axes: record.axes,
            matched: None,
            unfit: None,
        };
        Self { cell, time }
    }
}

/// What the other gate takes of a process: the median of the fastest quarter of its samples.
fn time(record: &Record) -> Result<f64, String> {
    let without = || format!("{}{}", record.status.name(), record.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}")));
    let speed = match record.status {
        Status::Ok | Status::Unchecked => record.speed.as_ref().ok_or_else(without)?,
        _ => return Err(without()),
    };
    if speed.stop == Stop::Disturbed.name() {
        return Err("all of its samples were disturbed".to_owned());
    }
    let per_call: Vec<f64> = record.samples.iter().map(|sample| sample.ns as f64 / f64::from(sample.calls)).collect();
    let time = if per_call.is_empty() { speed.median_ns as f64 } else { undisturbed(per_call) };
    if time > 0.0 && time.is_finite() { Ok(time) } else { Err("it took no time that the clock could see".to_owned()) }
}

/// What the pairs show of one cell.
#[derive(Default)]
struct Shown {
    logs: Vec<f64>,
    /// Runs of each side that have a time, and why the last that has none has none.
    timed: [usize; 2],
    why: [Option<String>; 2],
}

impl Shown {
    fn of(pairs: &[[Times; 2]], id: &str) -> Self {
        let mut shown = Self::default();
        for pair in pairs {
            let mut times = [None; 2];
            for (side, run) in pair.iter().enumerate() {
                match run.get(id).map(|timed| &timed.time) {
                    Some(Ok(time)) => times[side] = Some(*time),
                    Some(Err(why)) => shown.why[side] = Some(why.clone()),
                    None => shown.why[side] = Some("the run does not have it".to_owned()),
                }
                shown.timed[side] += usize::from(times[side].is_some());
            }
            if let [Some(base), Some(head)] = times {
                shown.logs.push((head / base).ln());
            }
        }
        shown
    }

    /// Where no pair has a time of both.
    fn untimed(&self) -> Outcome {
        let why = |side: usize| self.why[side].clone().unwrap_or_default();
        match self.timed {
            [0, 0] => Outcome::Neither { why: why(1) },
            [_, 0] => Outcome::Lost { why: why(1) },
            [0, _] => Outcome::New { why: why(0) },
            _ => Outcome::Failed { verdict: Verdict::Inconclusive, why: "there is no pair in which both have a time".to_owned() },
        }
    }
}

/// Judges every cell that any of the runs has; a pair is one of base and one of head.
pub fn judge(pairs: &[[Times; 2]], min_effect: f64) -> Vec<Judged> {
    let mut cells: BTreeMap<[&str; 3], &PlannedCell> = BTreeMap::new();
    for Timed { cell, .. } in pairs.iter().flatten().flat_map(HashMap::values) {
        cells.entry([&cell.variant, &cell.engine, &cell.id]).or_insert(cell);
    }
    let shown: Vec<(&PlannedCell, Shown)> = cells.into_values().map(|cell| (cell, Shown::of(pairs, &cell.id))).collect();
    let evidence: Vec<Evidence> =
        shown.iter().filter(|(_, shown)| !shown.logs.is_empty()).map(|(_, shown)| Evidence::of(&shown.logs)).collect();
    let corrected = holm(&evidence.iter().map(|evidence| evidence.p_value).collect::<Vec<_>>());
    let mut judged = evidence.into_iter().zip(corrected);
    let outcome = |shown: &Shown| match if shown.logs.is_empty() { None } else { judged.next() } {
        Some((evidence, corrected)) => {
            let verdict = evidence.verdict(corrected, min_effect);
            Outcome::Timed { stage: Stage::Confirmation, evidence, corrected, verdict }
        }
        None => shown.untimed(),
    };
    let outcomes: Vec<Outcome> = shown.iter().map(|(_, shown)| shown).map(outcome).collect();
    let failed = |shown: &Shown| match pairs.len() - shown.logs.len() {
        0 => None,
        without => (!shown.logs.is_empty()).then(|| format!("{} without a time of both", counted(without as u64, "pair"))),
    };
    shown.iter().zip(outcomes).map(|((cell, shown), outcome)| Judged { cell: (*cell).clone(), outcome, failed: failed(shown) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::fakes::group;

    fn run(times: &[(&str, Result<f64, &str>)]) -> Times {
        let timed = |(id, time): &(&str, Result<f64, &str>)| {
            ((*id).to_owned(), Timed { cell: group(&[id]).cells.remove(0), time: time.map_err(str::to_owned) })
        };
        times.iter().map(timed).collect()
    }

    fn verdicts(pairs: &[[Times; 2]]) -> Vec<(String, Verdict)> {
        judge(pairs, 0.05).into_iter().map(|judged| (judged.cell.id, judged.outcome.verdict())).collect()
    }

    /// Base always takes 100, with some noise of its own; head so many times as long.
    fn pairs(count: usize, factors: &[(&str, f64)]) -> Vec<[Times; 2]> {
        let noise = |at: usize| 1.0 + 0.004 * ((at * 7 % 11) as f64 - 5.0) / 5.0;
        let side = |at: usize, is_head: bool| {
            run(&factors.iter().map(|(id, factor)| (*id, Ok(100.0 * noise(at) * if is_head { *factor } else { 1.0 }))).collect::<Vec<_>>())
        };
        (0..count).map(|at| [side(2 * at, false), side(2 * at + 1, true)]).collect()
    }

    #[test]
    fn launches_in_turns_are_judged_like_pairs_of_processes() {
        let found = verdicts(&pairs(12, &[("faster", 0.8), ("same", 1.0), ("slower", 1.1)]));
        let expected = [("faster", Verdict::Improved), ("same", Verdict::Pass), ("slower", Verdict::Regressed)];
        assert_eq!(found, expected.map(|(id, verdict)| (id.to_owned(), verdict)));
        // Of four pairs no pattern of signs is rare enough, and a change that large is no pass either.
        assert_eq!(verdicts(&pairs(4, &[("slower", 1.1)])), [("slower".to_owned(), Verdict::Inconclusive)]);
    }

    #[test]
    fn what_a_side_does_not_have_is_told() {
        let (base, head) = (
            run(&[("both", Ok(1.0)), ("lost", Ok(1.0)), ("in-turns", Ok(1.0))]),
            run(&[("both", Ok(1.0)), ("new", Ok(1.0)), ("lost", Err("wrong"))]),
        );
        let (later_base, later_head) =
            (run(&[("both", Err("crashed")), ("lost", Ok(1.0))]), run(&[("both", Ok(1.0)), ("new", Ok(1.0)), ("in-turns", Ok(1.0))]));
        let judged = judge(&[[base, head], [later_base, later_head]], 0.05);
        let of = |id: &str| judged.iter().find(|judged| judged.cell.id == id).unwrap();
        assert_eq!(of("lost").outcome, Outcome::Lost { why: "the run does not have it".into() });
        assert_eq!(of("new").outcome.verdict(), Verdict::Pass);
        assert_eq!(of("in-turns").outcome.verdict(), Verdict::Inconclusive);
        assert_eq!(
            (of("both").outcome.verdict(), of("both").failed.as_deref()),
            (Verdict::Inconclusive, Some("1 pair without a time of both"))
        );
    }
}
