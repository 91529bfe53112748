//! Runs that were measured already, of base and of head: so benchmarks are gated that only `cargo bench` can start.
//!
//! The first run of base and the first of head are a pair, the second ones another, and so on. A run is one start of a program (of each benchmark's,
//! or of each worker), so that a pair is what it is for the other gate: two fresh processes; its figure, the test and the verdicts are the same, too. There is one
//! stage: nothing was measured because of how it had looked before, so all cells are judged by all pairs, corrected for their number (Holm).
//!
//! What this trades away: the two runs of a pair do not lie beside each other but minutes apart, and drift of the machine in between is in every pair. Where
//! base came first in each (base, head, base, head) a machine that grows slower makes every pair say that head is slower, and no number of pairs helps. In
//! base, head, head, base it adds to one pair what it takes from the next: a drift that is even becomes noise. Runs tell when they ended, so [`doubts()`]
//! notes an order that hides a drift; it is no reason to refuse them, as nobody knows whether there was one.
//!
//! That a run does not have a cell says nothing of the build: somebody ran other benchmarks, or had no more time. The first that holds decides:
//!
//! | what the runs say | outcome |
//! |---|---|
//! | one build, which is known, computed the cell on both sides of each pair, as that of another program does | not compared |
//! | wherever base has a time and head was asked, head's own record is unsupported, emulated or wrong, and head never has a time | lost: regressed |
//! | head's output is wrong in any run, base's was right and never wrong | regressed |
//! | both have right outputs and wrong ones | inconclusive |
//! | three pairs failed, in all of which head alone crashed, or lacks what it had in others | regressed |
//! | three pairs failed otherwise | inconclusive |
//! | a pair has a time of both | by the pairs that have; the others are told |
//! | a side failed, or all of its samples were disturbed, or head is wrong and base does not say that it has no right output | inconclusive |
//! | head has times and no wrong output, base says that it does not have the cell | new: pass |
//! | one side has times, or neither | not compared |
//!
//! Whose a failure is follows [`super::failures`], but a record tells less than a worker does. Want of memory may be the machine's, and so is
//! nobody's. So is no answer in time: the other run of the pair lay minutes apart, under another load. A pair whose two runs one build computed is no
//! pair of builds, and is left out.

mod doubts;
mod run;

use std::collections::BTreeMap;
use std::time::Duration;

use crossover_results::statistics::holm;

use crate::commands::text::counted;
use crate::plan::PlannedCell;

use super::failures::{Attempt, Failures, MOST};
use super::pair::Side;
use super::stages::{Judged, Outcome, Stage};
use super::verdict::{Evidence, Verdict};

pub use doubts::doubts;
pub use run::{Kind, NoTime, Run, Seen, forget_copies};

/// Both sides with their names.
const SIDES: [(Side, &str); 2] = [(Side::Base, "base"), (Side::Head, "head")];

/// Judges every cell that any of the runs has, by variant, engine and id; a pair is one run of base and one of head.
pub fn judge(pairs: &[[Run; 2]], min_effect: f64) -> Vec<Judged> {
    let mut cells: BTreeMap<[&str; 3], &PlannedCell> = BTreeMap::new();
    for Seen { cell, .. } in pairs.iter().flatten().flat_map(|run| run.cells.values()) {
        cells.entry([&cell.variant, &cell.engine, &cell.id]).or_insert(cell);
    }
    let shown: Vec<Shown<'_>> = cells.into_values().map(|cell| Shown::of(cell, pairs)).collect();
    let found: Vec<Result<Evidence, Outcome>> = shown.iter().map(Shown::evidence).collect();
    let mut corrected = holm(&found.iter().flatten().map(|evidence| evidence.p_value).collect::<Vec<_>>()).into_iter();
    let mut outcome = |found: Result<Evidence, Outcome>| match found {
        Ok(evidence) => {
            // There is one for each that has evidence, in their order.
            let corrected = corrected.next().unwrap_or(1.0);
            let verdict = evidence.verdict(corrected, min_effect);
            Outcome::Timed { stage: Stage::Confirmation, evidence, corrected, verdict }
        }
        Err(outcome) => outcome,
    };
    let doubted = |shown: &Shown<'_>, outcome: Outcome| outcome.doubted(shown.failures().doubt(shown.pairs.len()));
    shown.iter().zip(found).map(|(shown, found)| shown.judged(doubted(shown, outcome(found)))).collect()
}

/// What the pairs show of one cell.
struct Shown<'r> {
    cell: &'r PlannedCell,
    /// What base's and head's run of each pair have of it, where these are not of one build.
    pairs: Vec<[Option<&'r Seen>; 2]>,
    /// The builds of the other pairs, each of which is of one build.
    of_one_build: Vec<&'r str>,
}

fn time(seen: Option<&Seen>) -> Option<f64> {
    seen?.time.as_ref().ok().copied()
}

/// A pair in which a build failed, or said that it does not have the cell; none where both have a time, or where a run did not ask its build.
fn attempt(pair: [Option<&Seen>; 2]) -> Option<Attempt> {
    let [Some(base), Some(head)] = pair else { return None };
    let lack = |seen: &Seen| match &seen.time {
        Ok(_) => Some(None),
        Err(without) => without.lack().map(Some),
    };
    let lacks = [lack(base)?, lack(head)?];
    let has_failed = lacks.iter().any(Option::is_some);
    // Nobody is called late here: see `NoTime::lack`.
    has_failed.then_some(Attempt { lacks, longest: [Duration::ZERO; 2] })
}

/// The build that computed both, if one did. Of those that nobody knows none is the other.
fn one_build<'r>(pair: &[Option<&'r Seen>; 2]) -> Option<&'r str> {
    let [base, head] = pair.map(|seen| seen?.build.as_deref());
    base.filter(|_| base == head)
}

impl<'r> Shown<'r> {
    fn of(cell: &'r PlannedCell, pairs: &'r [[Run; 2]]) -> Self {
        let pairs = pairs.iter().map(|pair| pair.each_ref().map(|run| run.cells.get(&cell.id)));
        let (of_one_build, pairs): (Vec<_>, Vec<_>) = pairs.partition(|pair| one_build(pair).is_some());
        Self { cell, pairs, of_one_build: of_one_build.iter().filter_map(one_build).collect() }
    }

    /// What the pairs with a time of both show, or what there is to say instead.
    fn evidence(&self) -> Result<Evidence, Outcome> {
        if self.has_one_build() {
            return Err(Outcome::LeftOut { why: "the same build on both sides".to_owned() });
        }
        if let Some(outcome) = self.lost().or_else(|| self.wrong()).or_else(|| self.given_up()) {
            return Err(outcome);
        }
        let logs = self.logs();
        if logs.is_empty() { Err(self.without_a_pair()) } else { Ok(Evidence::of(&logs)) }
    }

    fn judged(&self, outcome: Outcome) -> Judged {
        let without = self.pairs.len() - self.logs().len();
        let mut told = Vec::new();
        if without > 0 && matches!(outcome, Outcome::Timed { .. }) {
            told.push(format!("{} without a time of both ({})", counted(without as u64, "pair"), self.reasons()));
        }
        if !self.of_one_build.is_empty() && !self.has_one_build() {
            told.push(format!("{} left out, as one build computed both sides", counted(self.of_one_build.len() as u64, "pair")));
        }
        Judged { cell: self.cell.clone(), outcome, failed: (!told.is_empty()).then(|| told.join("; ")) }
    }

    /// Is no build known but those that computed both sides of a pair? Then it is another program's, say, which may have failed to start in other pairs.
    fn has_one_build(&self) -> bool {
        let mut others = self.pairs.iter().flatten().flatten().filter_map(|seen| seen.build.as_deref());
        !self.of_one_build.is_empty() && others.all(|build| self.of_one_build.contains(&build))
    }

    /// The logarithm of head's time over base's, of the pairs that have both.
    fn logs(&self) -> Vec<f64> {
        let log = |pair: &[Option<&Seen>; 2]| match pair.map(time) {
            [Some(base), Some(head)] => Some((head / base).ln()),
            _ => None,
        };
        self.pairs.iter().filter_map(log).collect()
    }

    fn of_side(&self, side: Side) -> impl Iterator<Item = &'r Seen> {
        self.pairs.iter().filter_map(move |pair| pair[side as usize])
    }

    /// Runs of this side that have a time.
    fn timed(&self, side: Side) -> usize {
        self.of_side(side).filter(|seen| seen.time.is_ok()).count()
    }

    fn untimed(&self, side: Side) -> impl Iterator<Item = &'r NoTime> {
        self.of_side(side).filter_map(|seen| seen.time.as_ref().err())
    }

    fn says(&self, side: Side, kinds: &[Kind]) -> bool {
        self.untimed(side).any(|without| kinds.contains(&without.kind))
    }

    /// The most telling reason why this side has no time.
    fn why(&self, side: Side) -> String {
        let telling = self.untimed(side).min_by_key(|without| without.kind);
        telling.map_or_else(|| "the run does not have it".to_owned(), |without| without.why.clone())
    }

    /// The same of both sides.
    fn reasons(&self) -> String {
        let lacking = SIDES.iter().rev().filter(|(side, _)| self.timed(*side) < self.pairs.len());
        lacking.map(|(side, name)| format!("{name}: {}", self.why(*side))).collect::<Vec<_>>().join("; ")
    }

    /// Head itself says that it does not have the cell, wherever base has a time, and never has one.
    fn lost(&self) -> Option<Outcome> {
        let absent = |head: &Seen| matches!(head.time, Err(NoTime { kind: Kind::Wrong | Kind::Absent, .. }));
        let was_asked = |head: &&Seen| !matches!(head.time, Err(NoTime { kind: Kind::Unmeasured, .. }));
        let beside = self.pairs.iter().filter(|[base, _]| time(*base).is_some()).filter_map(|[_, head]| *head);
        let mut beside = beside.filter(was_asked).map(absent).peekable();
        let is_lost = beside.peek().is_some() && beside.all(|absent| absent) && self.timed(Side::Head) == 0;
        is_lost.then(|| Outcome::Lost { why: self.why(Side::Head) })
    }

    /// One wrong output is one too many where base's are right.
    fn wrong(&self) -> Option<Outcome> {
        let wrong = self.untimed(Side::Head).filter(|without| without.kind == Kind::Wrong).count();
        if wrong == 0 || !self.of_side(Side::Base).any(Seen::is_right) {
            return None;
        }
        let of_head = format!("in {wrong} of {} head is {}", counted(self.pairs.len() as u64, "run"), self.why(Side::Head));
        Some(match self.says(Side::Base, &[Kind::Wrong]) {
            false => Outcome::Failed { verdict: Verdict::Regressed, why: of_head },
            true => Outcome::Failed { verdict: Verdict::Inconclusive, why: format!("{of_head}; base is wrong now and then, too") },
        })
    }

    /// Pairs that failed, and not because a build says that it has no such cell.
    fn failures(&self) -> Failures {
        let was_timed = !self.logs().is_empty();
        let mut failures = Failures::default();
        for attempt in self.pairs.iter().filter_map(|pair| attempt(*pair)).filter(|attempt| attempt.decides(was_timed).is_none()) {
            failures.add(&attempt, Duration::ZERO);
        }
        failures
    }

    /// Too many pairs failed.
    fn given_up(&self) -> Option<Outcome> {
        let (verdict, why) = self.failures().conclusion(self.pairs.len())?;
        let why = match verdict {
            Verdict::Regressed => why,
            // What the other gate advises does not help here.
            _ => format!("{MOST} or more of {} failed, not by head alone ({})", counted(self.pairs.len() as u64, "pair"), self.reasons()),
        };
        Some(Outcome::Failed { verdict, why })
    }

    /// Where no pair has a time of both.
    fn without_a_pair(&self) -> Outcome {
        const TRIED: [Kind; 4] = [Kind::Crashed, Kind::Denied, Kind::Late, Kind::Disturbed];
        let inconclusive = |why| Outcome::Failed { verdict: Verdict::Inconclusive, why };
        const LACKS: [Kind; 2] = [Kind::Wrong, Kind::Absent];
        let is_wrong_alone = self.says(Side::Head, &[Kind::Wrong]) && !self.says(Side::Base, &LACKS);
        if is_wrong_alone || SIDES.iter().any(|(side, _)| self.says(*side, &TRIED)) {
            return inconclusive(self.reasons());
        }
        let lacks = |side: Side, name: &str| Outcome::LeftOut { why: format!("{name} has no time for it: {}", self.why(side)) };
        match [self.timed(Side::Base), self.timed(Side::Head)] {
            [0, 0] => Outcome::Neither { why: self.why(Side::Head) },
            [_, 0] => lacks(Side::Head, "head"),
            // A run that does not have it says nothing of its build.
            [0, _] if self.says(Side::Base, &LACKS) => Outcome::New { why: self.why(Side::Base) },
            [0, _] => lacks(Side::Base, "base"),
            _ => inconclusive(format!("there is no pair in which both have a time ({})", self.reasons())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::fakes::group;

    /// A time, or why there is none; none of either where the run does not have the cell.
    type Had = Option<Result<f64, Kind>>;
    const TIME: Had = Some(Ok(1.0));
    const WRONG: Had = Some(Err(Kind::Wrong));
    const CRASHED: Had = Some(Err(Kind::Crashed));
    const DENIED: Had = Some(Err(Kind::Denied));
    const LATE: Had = Some(Err(Kind::Late));
    const ABSENT: Had = Some(Err(Kind::Absent));
    const DISTURBED: Had = Some(Err(Kind::Disturbed));
    const UNMEASURED: Had = Some(Err(Kind::Unmeasured));

    fn run(times: &[(&str, Result<f64, Kind>)]) -> Run {
        let seen = |(id, time): &(&str, Result<f64, Kind>)| {
            let time = time.map_err(|kind| NoTime { kind, why: format!("{kind:?}") });
            ((*id).to_owned(), Seen { cell: group(&[id]).cells.remove(0), time, build: None, print: 0 })
        };
        Run { cells: times.iter().map(seen).collect(), ..Run::default() }
    }

    fn verdicts(pairs: &[[Run; 2]]) -> Vec<(String, Verdict)> {
        judge(pairs, 0.05).into_iter().map(|judged| (judged.cell.id, judged.outcome.verdict())).collect()
    }

    /// Base always takes 100, with some noise of its own; head so many times as long.
    fn pairs(count: usize, factors: &[(&str, f64)]) -> Vec<[Run; 2]> {
        let noise = |at: usize| 1.0 + 0.004 * ((at * 7 % 11) as f64 - 5.0) / 5.0;
        let side = |at: usize, is_head: bool| {
            run(&factors.iter().map(|(id, factor)| (*id, Ok(100.0 * noise(at) * if is_head { *factor } else { 1.0 }))).collect::<Vec<_>>())
        };
        (0..count).map(|at| [side(2 * at, false), side(2 * at + 1, true)]).collect()
    }

    /// Pairs of runs that have one cell, or do not.
    fn of_one(pairs: &[[Had; 2]]) -> Vec<[Run; 2]> {
        pairs.iter().map(|pair| pair.map(|had| run(&had.map(|time| ("x", time)).into_iter().collect::<Vec<_>>()))).collect()
    }

    fn judged(pairs: &[[Had; 2]]) -> Judged {
        judge(&of_one(pairs), 0.05).remove(0)
    }

    fn verdict(pairs: &[[Had; 2]]) -> Verdict {
        judged(pairs).outcome.verdict()
    }

    #[test]
    fn runs_are_judged_like_pairs_of_processes() {
        let found = verdicts(&pairs(12, &[("faster", 0.8), ("same", 1.0), ("slower", 1.1)]));
        let expected = [("faster", Verdict::Improved), ("same", Verdict::Pass), ("slower", Verdict::Regressed)];
        assert_eq!(found, expected.map(|(id, verdict)| (id.to_owned(), verdict)));
        // Of four pairs no pattern of signs is rare enough, and a change that large is no pass either.
        assert_eq!(verdicts(&pairs(4, &[("slower", 1.1)])), [("slower".to_owned(), Verdict::Inconclusive)]);
    }

    #[test]
    fn what_the_runs_of_a_side_do_not_have_says_nothing_of_its_build() {
        let not_in_head = judged(&[[TIME, None]; 4]);
        assert_eq!(not_in_head.outcome, Outcome::LeftOut { why: "head has no time for it: the run does not have it".into() });
        for (pairs, expected) in [
            ([[TIME, UNMEASURED]; 4], Verdict::NotCompared),
            ([[UNMEASURED, TIME]; 4], Verdict::NotCompared),
            ([[ABSENT, ABSENT]; 4], Verdict::NotCompared),
            ([[None, TIME]; 4], Verdict::NotCompared),
            ([[ABSENT, TIME]; 4], Verdict::Pass),
            ([[TIME, ABSENT]; 4], Verdict::Regressed),
            ([[TIME, ABSENT], [TIME, ABSENT], [None, TIME], [None, TIME]], Verdict::Inconclusive),
            ([[TIME, ABSENT], [TIME, ABSENT], [TIME, UNMEASURED], [TIME, None]], Verdict::Regressed),
            ([[TIME, ABSENT], [TIME, ABSENT], [TIME, ABSENT], [None, TIME]], Verdict::Inconclusive),
            ([[TIME, None], [None, TIME], [TIME, None], [None, TIME]], Verdict::Inconclusive),
            ([[TIME, DISTURBED]; 4], Verdict::Inconclusive),
        ] {
            assert_eq!(verdict(&pairs), expected, "{pairs:?}");
        }
    }

    #[test]
    fn only_what_failed_by_head_alone_three_times_is_a_regression() {
        let timed = [[TIME, TIME]; 5];
        for (failing, alone, beside_others) in [
            // Fewer are a doubt where they are head's, and are told where they are base's.
            ([[TIME, CRASHED]; 2].as_slice(), Verdict::Inconclusive, Verdict::Inconclusive),
            (&[[CRASHED, TIME]; 2], Verdict::Inconclusive, Verdict::Pass),
            (&[[TIME, CRASHED]; 3], Verdict::Regressed, Verdict::Regressed),
            // The other run lay minutes apart, and what the machine did then nobody knows.
            (&[[TIME, LATE]; 3], Verdict::Inconclusive, Verdict::Inconclusive),
            (&[[TIME, DENIED]; 3], Verdict::Inconclusive, Verdict::Inconclusive),
            (&[[CRASHED, TIME]; 3], Verdict::Inconclusive, Verdict::Inconclusive),
            (&[[CRASHED, CRASHED]; 3], Verdict::Inconclusive, Verdict::Inconclusive),
            (&[[TIME, CRASHED], [CRASHED, TIME], [TIME, CRASHED]], Verdict::Inconclusive, Verdict::Inconclusive),
            (&[[ABSENT, CRASHED]; 3], Verdict::Regressed, Verdict::Regressed),
            // Whether it is head's alone, a run without the cell does not say.
            (&[[None, CRASHED]; 3], Verdict::Inconclusive, Verdict::Pass),
        ] {
            assert_eq!(verdict(failing), alone, "{failing:?}");
            assert_eq!(verdict(&[timed.as_slice(), failing].concat()), beside_others, "{failing:?}");
        }
    }

    #[test]
    fn one_wrong_output_is_no_pass_and_is_told() {
        let mut some = [[TIME, TIME]; 8];
        some[3] = [TIME, WRONG];
        some[5] = [TIME, CRASHED];
        let Outcome::Failed { verdict: Verdict::Regressed, why } = judged(&some).outcome else { panic!("{some:?}") };
        assert_eq!(why, "in 1 of 8 runs head is Wrong");
        assert_eq!(verdict(&[[WRONG, WRONG]; 4]), Verdict::NotCompared);
        assert_eq!(verdict(&[[DISTURBED, WRONG]; 4]), Verdict::Regressed, "base was right, only its samples were disturbed");
        // Without a right output of base there is nothing to hold it against, and it is no pass either.
        let alone = Outcome::Failed { verdict: Verdict::Inconclusive, why: "head: Wrong; base: the run does not have it".into() };
        assert_eq!(judged(&[[None, WRONG], [None, TIME]]).outcome, alone);
        assert_eq!(verdict(&[[None, WRONG]; 4]), Verdict::Inconclusive);
        assert_eq!(verdict(&[[ABSENT, WRONG]; 4]), Verdict::NotCompared);
        assert_eq!(verdict(&[[CRASHED, WRONG]; 3]), Verdict::Inconclusive);
        assert_eq!(verdict(&[[TIME, TIME], [TIME, WRONG], [WRONG, TIME], [TIME, TIME]]), Verdict::Inconclusive);
    }

    #[test]
    fn pairs_without_a_time_are_told_with_their_sides_and_best_reasons() {
        let judged = judged(&[[TIME, TIME], [TIME, CRASHED], [TIME, None], [None, TIME], [TIME, UNMEASURED]]);
        assert_eq!(judged.outcome.verdict(), Verdict::Inconclusive);
        assert_eq!(judged.failed.as_deref(), Some("4 pairs without a time of both (head: Crashed; base: the run does not have it)"));
    }

    #[test]
    fn what_one_build_computed_on_both_sides_is_left_out() {
        let mut pairs = pairs(4, &[("ours", 1.0), ("peer", 1.0)]);
        for ([base, head], number) in pairs.iter_mut().zip(1..) {
            for (run, side) in [(base, "base"), (head, "head")] {
                run.cells.get_mut("ours").unwrap().build = Some(format!("{side} {number}"));
                run.cells.get_mut("peer").unwrap().build = Some("torch".to_owned());
            }
        }
        let found = || [("ours".to_owned(), Verdict::Pass), ("peer".to_owned(), Verdict::NotCompared)];
        assert_eq!(verdicts(&pairs), found());
        // A run of head that base's worker computed is no evidence, and hides nothing that the others show.
        pairs[2][1].cells.get_mut("ours").unwrap().build = Some("base 3".to_owned());
        let judged = judge(&pairs, 0.05);
        assert_eq!(judged[0].failed.as_deref(), Some("1 pair left out, as one build computed both sides"));
        assert_eq!(verdicts(&pairs), found());
        // Another program that did not start once is the same program all the same.
        let peer = pairs[1][1].cells.get_mut("peer").unwrap();
        (peer.time, peer.build) = (Err(NoTime { kind: Kind::Denied, why: "not started".into() }), None);
        assert_eq!(verdicts(&pairs), found());
    }
}
