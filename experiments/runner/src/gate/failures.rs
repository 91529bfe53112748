//! What it means that a worker fails in a pair.
//!
//! A build that does not *have* a cell says so ([`Lack::Absent`]: an unknown variant or engine, one that is not supported, one that is computed in
//! another precision, or a wrong output). It says so every time, so one pair decides: head lost the cell, or it is new, or neither has it.
//!
//! Everything else (a crash, no memory, no answer in time) may be the program's doing or the machine's. Such a pair has no figure, and a fresh one takes its
//! place until [`MOST`] pairs of the cell have failed. Then
//!
//! | the failed pairs | verdict |
//! |---|---|
//! | are all head's | regressed: it fails where base does not |
//! | are all base's | inconclusive: there is nothing to hold head against |
//! | are of both, or nobody's | inconclusive |
//!
//! A failed pair is a side's where that side alone (or head, in a cell that base does not have) crashed, was out of the memory that the experiment allows
//! it, or answered what is no answer. Never a side's are
//!
//! * **a worker that cannot be started.** Both were, before the first pair: what changed since is not in the program;
//! * **one that the kernel killed because the machine had no memory left.** It takes the largest process, not the guilty one.
//!
//! **No answer in time** is a side's only where the other one, in the same pair and so beside the same load, never took more than a [`MARGIN`]th of the
//! deadline to answer. An overloaded machine stalls whom it will: it can let one of two workers wait ten times as long as the other, but hardly three times over, in
//! fresh processes, and the same side each time. With less than that margin it is nobody's, however often head is late.
//!
//! A cell that had a time before and says now that it is absent is broken, not absent. A cell with fewer failed pairs is judged by the others, and
//! the failed ones are told beside it. But where one of them is head's, the others let no cell pass: a build that fails in one launch of four rarely fails in
//! three pairs of five. That is inconclusive, unless the others find a regression.

use std::time::Duration;

use crossover_protocol::{FailureKind, Fault};

use crate::commands::text::counted;
use crate::worker::failure::{Cause, WorkerFailure};

use super::verdict::Verdict;

/// A cell of which so many pairs failed is given up.
pub const MOST: usize = 3;

/// A deadline is a side's own where the other side needed no more than this part of it.
pub const MARGIN: u32 = 10;

/// Why one build has no time for a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// It does not have the cell, or no right output of it.
    Absent(String),
    /// It crashed, needed more memory than it may have, or broke the protocol.
    Crashed(String),
    /// It did not answer in time.
    Late(String),
    /// The machine did not let it work.
    Denied(String),
}

impl Lack {
    /// Of a worker's failure; nothing where the user wants to stop.
    pub fn of(failure: &WorkerFailure) -> Option<Self> {
        let said = failure.to_string();
        Some(match &failure.cause {
            Cause::Interrupted => return None,
            Cause::Fault(Fault { kind: FailureKind::Unsupported | FailureKind::BadRequest, .. }) => Self::Absent(said),
            // To `hello` it answers for which engines it is there.
            Cause::WrongAnswer(_) if failure.step == "hello" => Self::Absent(said),
            Cause::Deadline(_) => Self::Late(said),
            Cause::Spawn(_) | Cause::MissingLibrary { .. } | Cause::MachineMemory => Self::Denied(said),
            _ => Self::Crashed(said),
        })
    }

    fn said(&self) -> &str {
        match self {
            Self::Absent(said) | Self::Crashed(said) | Self::Late(said) | Self::Denied(said) => said,
        }
    }
}

/// A pair without a figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Why base and head have no time; at least one of them has none.
    pub lacks: [Option<Lack>; 2],
    /// The longest that each took for an answer.
    pub longest: [Duration; 2],
}

/// What one pair decides about the cells of two builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// Base has the cell, head does not: why.
    Lost(String),
    /// Head has it, base does not: why.
    New(String),
    /// Neither has it: why head does not.
    Neither(String),
}

impl Attempt {
    /// What follows at once, where builds lack the cell; `was_timed` says that both had it in an earlier pair.
    pub fn decides(&self, was_timed: bool) -> Option<Decided> {
        if was_timed {
            return None;
        }
        match &self.lacks {
            [None, Some(Lack::Absent(why))] => Some(Decided::Lost(why.clone())),
            [Some(Lack::Absent(why)), None] => Some(Decided::New(why.clone())),
            [Some(Lack::Absent(_)), Some(Lack::Absent(why))] => Some(Decided::Neither(why.clone())),
            _ => None,
        }
    }

    /// Whose failure it is.
    fn blame(&self, deadline: Duration) -> Blame {
        let own = |side: usize| match &self.lacks[side] {
            Some(Lack::Crashed(_) | Lack::Absent(_)) => true,
            Some(Lack::Late(_)) => self.longest[1 - side].saturating_mul(MARGIN) <= deadline,
            Some(Lack::Denied(_)) | None => false,
        };
        match &self.lacks {
            [None, Some(_)] if own(1) => Blame::Head,
            [Some(Lack::Absent(_)), Some(Lack::Crashed(_))] => Blame::Head,
            [Some(_), None] if own(0) => Blame::Base,
            _ => Blame::Nobody,
        }
    }

    fn said(&self) -> String {
        let side = |name: &str, lack: &Option<Lack>| lack.as_ref().map(|lack| format!("{name}: {}", lack.said()));
        let [base, head] = &self.lacks;
        [side("head", head), side("base", base)].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    Base,
    Head,
    Nobody,
}

/// The failed pairs of one cell.
#[derive(Debug, Clone, Default)]
pub struct Failures {
    failed: Vec<(Blame, String)>,
}

impl Failures {
    /// One more, where an answer may take as long as `deadline`.
    pub fn add(&mut self, attempt: &Attempt, deadline: Duration) {
        self.failed.push((attempt.blame(deadline), attempt.said()));
    }

    /// What follows, once there were too many of `pairs` that were tried: the verdict and why.
    pub fn conclusion(&self, pairs: usize) -> Option<(Verdict, String)> {
        let (_, last) = self.failed.last().filter(|_| self.failed.len() >= MOST)?;
        let all = |whose: Blame| self.failed.iter().all(|(blame, _)| *blame == whose);
        let share = format!("{} of {}", self.failed.len(), counted(pairs as u64, "pair"));
        Some(if all(Blame::Head) {
            (Verdict::Regressed, format!("head fails where base does not, in {share}; {last}"))
        } else if all(Blame::Base) {
            let advice = "compare with a base that works, by --base REV";
            (Verdict::Inconclusive, format!("base fails where head does not, in {share}; {last}; {advice}"))
        } else {
            let advice = "and that is not head's alone: see that the machine is quiet and has memory to spare, and run the gate again";
            (Verdict::Inconclusive, format!("{share} failed; {last}; {advice}"))
        })
    }

    /// Why the pairs that were timed, of `pairs` that were tried, let no cell pass: head failed where base did not.
    pub fn doubt(&self, pairs: usize) -> Option<String> {
        let of_head: Vec<&String> = self.failed.iter().filter(|(blame, _)| *blame == Blame::Head).map(|(_, said)| said).collect();
        let share = format!("{} of {}", of_head.len(), counted(pairs as u64, "pair"));
        Some(format!("head fails where base does not, in {share}: too few for a verdict, and a reason to see why; {}", of_head.last()?))
    }

    /// What is to be said of failures that fresh pairs took the place of.
    pub fn told(&self) -> Option<String> {
        let (_, last) = self.failed.last()?;
        Some(format!("{} failed, in whose place fresh ones were taken ({last})", counted(self.failed.len() as u64, "pair")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn lack(cause: Cause) -> Option<Lack> {
        Lack::of(&WorkerFailure { step: "measure", cause, stderr_tail: None })
    }

    fn attempt(base: Option<Cause>, head: Option<Cause>, longest: [u64; 2]) -> Attempt {
        Attempt { lacks: [base, head].map(|cause| cause.and_then(lack)), longest: longest.map(Duration::from_secs) }
    }

    fn verdict(attempts: &[Attempt]) -> Option<Verdict> {
        let mut failures = Failures::default();
        attempts.iter().for_each(|attempt| failures.add(attempt, DEADLINE));
        failures.conclusion(attempts.len()).map(|(verdict, _)| verdict)
    }

    #[test]
    fn what_a_build_lacks_decides_at_once_and_a_crash_does_not() {
        let absent = || Some(Cause::Fault(Fault { kind: FailureKind::Unsupported, message: "no".into() }));
        let crash = || Some(Cause::Signalled { signal: 11 });
        let decides = |base, head| attempt(base, head, [0, 0]).decides(false);
        assert!(matches!(decides(None, absent()), Some(Decided::Lost(_))));
        assert!(matches!(decides(absent(), None), Some(Decided::New(_))));
        assert!(matches!(decides(absent(), absent()), Some(Decided::Neither(_))));
        for (base, head) in [(None, crash()), (crash(), None), (crash(), crash()), (absent(), crash()), (crash(), absent())] {
            assert_eq!(decides(base.clone(), head.clone()), None, "{base:?} {head:?}");
        }
        assert_eq!(attempt(None, absent(), [0, 0]).decides(true), None, "it was there before");
        let unknown = WorkerFailure { step: "hello", cause: Cause::WrongAnswer("no engine".into()), stderr_tail: None };
        assert!(matches!(Lack::of(&unknown), Some(Lack::Absent(_))));
        assert_eq!(lack(Cause::Interrupted), None);
    }

    #[test]
    fn only_what_is_heads_alone_three_times_is_a_regression() {
        let crash = || Some(Cause::Signalled { signal: 11 });
        let head = || attempt(None, crash(), [1, 1]);
        let base = || attempt(crash(), None, [1, 1]);
        assert_eq!(verdict(&[head(), head()]), None);
        assert_eq!(verdict(&[head(), head(), head()]), Some(Verdict::Regressed));
        assert_eq!(verdict(&[base(), base(), base()]), Some(Verdict::Inconclusive));
        assert_eq!(verdict(&[head(), base(), head()]), Some(Verdict::Inconclusive));
        let both = || attempt(crash(), crash(), [1, 1]);
        assert_eq!(verdict(&[both(), both(), both()]), Some(Verdict::Inconclusive));
        for machine in [Cause::MachineMemory, Cause::Spawn("no".into())] {
            let denied = || attempt(None, Some(machine.clone()), [1, 1]);
            assert_eq!(verdict(&[denied(), denied(), denied()]), Some(Verdict::Inconclusive), "{machine}");
        }
        let new = || attempt(Some(Cause::Fault(Fault { kind: FailureKind::BadRequest, message: "unknown".into() })), crash(), [1, 1]);
        assert_eq!(verdict(&[new(), new(), new()]), Some(Verdict::Regressed), "it is new, and crashes");
        let late = || Attempt { lacks: [new().lacks[0].clone(), lack(Cause::Deadline(DEADLINE))], ..new() };
        assert_eq!(verdict(&[late(), late(), late()]), Some(Verdict::Inconclusive), "base did nothing beside it");
        let limit = || attempt(None, Some(Cause::MemoryLimit { limit: 9, of_addresses: false }), [1, 1]);
        assert_eq!(verdict(&[limit(), limit(), limit()]), Some(Verdict::Regressed));
    }

    #[test]
    fn one_failure_of_heads_own_is_a_doubt_and_others_are_none() {
        let crash = || Some(Cause::Signalled { signal: 11 });
        let doubt = |attempts: &[Attempt]| {
            let mut failures = Failures::default();
            attempts.iter().for_each(|attempt| failures.add(attempt, DEADLINE));
            failures.doubt(6)
        };
        assert_eq!(doubt(&[attempt(crash(), None, [1, 1]), attempt(crash(), crash(), [1, 1])]), None);
        assert_eq!(doubt(&[attempt(None, Some(Cause::MachineMemory), [1, 1])]), None);
        let said = doubt(&[attempt(None, crash(), [1, 1]), attempt(crash(), None, [1, 1])]).unwrap();
        assert!(said.starts_with("head fails where base does not, in 1 of 6 pairs: ") && said.contains("SIGSEGV"), "{said}");
    }

    #[test]
    fn being_late_is_heads_only_where_base_was_far_from_it() {
        let late = |base_s| attempt(None, Some(Cause::Deadline(DEADLINE)), [base_s, 60]);
        assert_eq!(verdict(&[late(1), late(6), late(2)]), Some(Verdict::Regressed));
        assert_eq!(verdict(&[late(1), late(7), late(2)]), Some(Verdict::Inconclusive), "the machine was slow for base too");
        assert_eq!(verdict(&[late(59), late(59), late(59)]), Some(Verdict::Inconclusive));
    }

    #[test]
    fn the_words_say_how_often_why_and_what_to_do() {
        let mut failures = Failures::default();
        for _ in 0..MOST {
            failures.add(&attempt(Some(Cause::Exited { code: 7 }), None, [1, 1]), DEADLINE);
        }
        let (_, why) = failures.conclusion(5).unwrap();
        assert_eq!(
            why,
            "base fails where head does not, in 3 of 5 pairs; base: measure: the worker exited with code 7 instead of answering; \
             compare with a base that works, by --base REV"
        );
        assert!(failures.told().unwrap().starts_with("3 pairs failed, in whose place fresh ones were taken (base: "));
    }
}
