//! From cells to verdicts in two stages: a screening that clears most cells with few pairs, and a confirmation that judges the rest.
//!
//! The screening decides nothing against anybody: it only clears cells whose few pairs exclude the minimum effect. The suspects are measured anew, and
//! what the screening saw of them is thrown away, so that having been picked for looking bad cannot make them look bad. The probabilities of the
//! confirmation are corrected for the number of suspects (Holm), which is right as that stage has its own, independent figures.
//!
//! Within a stage the cells take turns, pair by pair in random order: a disturbance of a minute meets one pair of many cells and not all pairs of
//! one. How many pairs confirm a suspect is fixed before the first of them: to stop when an interval happens to be narrow would make it narrower than it is. It
//! is fixed by how far apart the pairs of its screening lay ([`super::asked`]), of which the confirmation's figures know nothing; so the time goes where the noise is. A
//! time budget ends the stages early; what was not measured by then is inconclusive, never passed. What a pair without a figure means is in [`super::failures`].

use std::time::Duration;

use crossover_results::statistics::holm;

use crate::plan::PlannedCell;
use crate::progress::rough;
use crate::schedule::Clock;
use crate::schedule::random::Random;

use super::asked::Asked;
use super::failures::{Attempt, Decided, Failures};
use super::pair::{Builds, Terms, Trouble, measure};
use super::verdict::{Evidence, Verdict, deviation};

/// Which stage a figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Few pairs.
    Screening,
    /// Many, of their own.
    Confirmation,
}

impl Stage {
    /// The name used in outputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Screening => "screening",
            Self::Confirmation => "confirmation",
        }
    }
}

/// What became of one cell.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The cell.
    pub cell: PlannedCell,
    /// The verdict.
    pub outcome: Outcome,
    /// What happened in pairs that fresh ones took the place of, or that have no time of both.
    pub failed: Option<String>,
}

/// A verdict with its evidence, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// From so many pairs.
    Timed {
        /// The stage that decided.
        stage: Stage,
        /// What its pairs show.
        evidence: Evidence,
        /// The probability, corrected for the number of suspects (of runs, of all cells with evidence); as it is in the screening.
        corrected: f64,
        /// What follows.
        verdict: Verdict,
    },
    /// Base has a time for it, and head does not.
    Lost {
        /// Why.
        why: String,
    },
    /// Head has a time for it, and base does not.
    New {
        /// Why base has none.
        why: String,
    },
    /// Neither has.
    Neither {
        /// Why head has none.
        why: String,
    },
    /// Pairs failed again and again; of runs also: an output was wrong, or nothing pairs up.
    Failed {
        /// What follows.
        verdict: Verdict,
        /// Who failed, how often and how.
        why: String,
    },
    /// There is nothing to compare: no build of the project decides its time, or the runs of one side say nothing of it.
    LeftOut {
        /// Why.
        why: String,
    },
    /// The time was spent before.
    NoTime {
        /// What pairs of the screening show, where there were two or more: they decide nothing against anybody.
        screened: Option<Evidence>,
    },
}

impl Outcome {
    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Timed { verdict, .. } | Self::Failed { verdict, .. } => *verdict,
            Self::Lost { .. } => Verdict::Regressed,
            Self::New { .. } => Verdict::Pass,
            Self::Neither { .. } | Self::LeftOut { .. } => Verdict::NotCompared,
            Self::NoTime { .. } => Verdict::Inconclusive,
        }
    }

    /// Not passed, where there is a doubt: head failed now and then.
    pub fn doubted(self, doubt: Option<String>) -> Self {
        match (self, doubt) {
            (Self::Timed { verdict: Verdict::Pass | Verdict::Improved, .. }, Some(why)) => {
                Self::Failed { verdict: Verdict::Inconclusive, why }
            }
            (outcome, _) => outcome,
        }
    }

    /// Were two builds held against each other, or was there not even time to try?
    pub fn was_compared(&self) -> bool {
        !matches!(self, Self::New { .. } | Self::Neither { .. } | Self::LeftOut { .. })
    }
}

impl From<Decided> for Outcome {
    fn from(decided: Decided) -> Self {
        match decided {
            Decided::Lost(why) => Self::Lost { why },
            Decided::New(why) => Self::New { why },
            Decided::Neither(why) => Self::Neither { why },
        }
    }
}

/// A cell on its way.
#[derive(Default)]
struct Running {
    at: usize,
    /// Pairs that this stage is to take.
    pairs: usize,
    /// Figures of this stage.
    logs: Vec<f64>,
    /// Pairs that were tried, in both stages.
    tried: usize,
    /// Both builds had a time for it once, and their outputs were right.
    was_timed: bool,
    failures: Failures,
    /// What the pairs of the screening showed.
    screened: Option<Evidence>,
    outcome: Option<Outcome>,
}

impl Running {
    fn is_open(&self) -> bool {
        self.outcome.is_none() && self.logs.len() < self.pairs
    }

    /// Pairs that are done; none are left of a cell that is decided.
    fn done(&self) -> usize {
        if self.outcome.is_some() { self.pairs } else { self.logs.len() }
    }

    fn failed(&mut self, attempt: &Attempt, deadline: Duration) {
        if let Some(decided) = attempt.decides(self.was_timed) {
            self.outcome = Some(decided.into());
            return;
        }
        self.failures.add(attempt, deadline);
        self.outcome = self.failures.conclusion(self.tried).map(|(verdict, why)| Outcome::Failed { verdict, why });
    }

    fn judged(self, cells: &[PlannedCell]) -> Judged {
        let outcome = self.outcome.unwrap_or(Outcome::NoTime { screened: self.screened });
        let outcome = outcome.doubted(self.failures.doubt(self.tried));
        let failed = self.failures.told().filter(|_| !matches!(outcome, Outcome::Failed { .. }));
        Judged { cell: cells[self.at].clone(), outcome, failed }
    }
}

/// Cells with what became of them, in the order in which they were given.
#[derive(Debug)]
pub struct Judgement {
    /// The cells.
    pub judged: Vec<Judged>,
    /// Where the time budget ended it, if it did.
    pub spent: Option<Spent>,
}

/// How far a gate had come when its time was spent.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    stage: Stage,
    done: usize,
    all: usize,
    /// What a pair took so far.
    pace: Duration,
}

impl Spent {
    /// In words, with what the rest of the stage would have needed.
    pub fn told(&self) -> String {
        let Self { stage, done, all, pace } = *self;
        let left = rough(pace.mul_f64((all - done) as f64));
        match (stage, done) {
            (Stage::Screening, _) => {
                format!(
                    "the time was spent after {done} of {all} pairs of the screening: the others need {left}, and a confirmation of the suspects comes after them"
                )
            }
            (Stage::Confirmation, 0) => format!("the time was spent before the confirmation, whose {all} pairs need {left}"),
            (Stage::Confirmation, _) => {
                format!("the time was spent after {done} of {all} pairs of the confirmation: the others need {left}")
            }
        }
    }
}

/// Whoever watches: is told the stage, pairs done and pairs to do, and may end it.
pub trait Watch {
    /// How far the gate is.
    fn tell(&mut self, stage: Stage, done: usize, all: usize);

    /// Whether the user wants to end it.
    fn stops(&self) -> bool;
}

/// A gate at work.
struct Gate<'a, 'b> {
    builds: &'a mut Builds<'b>,
    cells: &'a [PlannedCell],
    asked: &'a Asked,
    clock: &'a dyn Clock,
    began: Duration,
    random: Random,
    watch: &'a mut dyn Watch,
    /// Pairs that were tried, in both stages.
    tried: u32,
    spent: Option<Spent>,
}

/// Judges the cells. What there is no time for, or what is stopped, is inconclusive.
pub fn judge(builds: &mut Builds<'_>, cells: &[PlannedCell], asked: &Asked, clock: &dyn Clock, watch: &mut dyn Watch) -> Judgement {
    let random = Random::new(asked.seed);
    let mut gate = Gate { builds, cells, asked, clock, began: clock.now(), random, watch, tried: 0, spent: None };
    let mut all: Vec<Running> = (0..cells.len()).map(|at| Running { at, pairs: asked.screening, ..Running::default() }).collect();
    gate.take_pairs(&mut all, Stage::Screening);
    for one in all.iter_mut().filter(|one| one.outcome.is_none() && one.logs.len() > 1) {
        let evidence = Evidence::of(&one.logs);
        one.screened = Some(evidence);
        // Where the time was spent before, fewer pairs clear a cell, too: their interval is as much wider.
        if evidence.excludes(asked.min_effect) {
            let (corrected, verdict) = (evidence.p_value, Verdict::Pass);
            one.outcome = Some(Outcome::Timed { stage: Stage::Screening, evidence, corrected, verdict });
        }
    }
    let mut suspects: Vec<Running> = all.extract_if(.., |one| one.outcome.is_none()).collect();
    let count = suspects.len();
    for one in &mut suspects {
        one.pairs = asked.pairs_to_confirm(count, deviation(&one.logs));
        one.logs.clear();
    }
    gate.take_pairs(&mut suspects, Stage::Confirmation);
    conclude(&mut suspects, asked);
    all.extend(suspects);
    all.sort_by_key(|one| one.at);
    let spent = gate.spent;
    Judgement { judged: all.into_iter().map(|one| one.judged(cells)).collect(), spent }
}

impl Gate<'_, '_> {
    fn passed(&self) -> Duration {
        self.clock.now().saturating_sub(self.began)
    }

    /// Is the time spent, in this stage with so many of its pairs done?
    fn has_no_time(&mut self, stage: Stage, [done, all]: [usize; 2]) -> bool {
        let is_spent = self.asked.budget.is_some_and(|budget| self.passed() >= budget);
        if is_spent && self.spent.is_none() {
            self.spent = Some(Spent { stage, done, all, pace: self.passed() / self.tried.max(1) });
        }
        is_spent
    }

    /// The pairs of each cell, in random order round by round; pairs that failed are taken again in later rounds.
    fn take_pairs(&mut self, running: &mut [Running], stage: Stage) {
        let all = running.iter().map(|one| one.pairs).sum();
        loop {
            let mut order: Vec<usize> = (0..running.len()).filter(|at| running[*at].is_open()).collect();
            if order.is_empty() {
                return;
            }
            self.random.shuffle(&mut order);
            for at in order {
                if self.watch.stops() || self.has_no_time(stage, [done(running), all]) || self.take_pair(&mut running[at], stage).is_err() {
                    return;
                }
                self.watch.tell(stage, done(running), all);
            }
        }
    }

    /// One pair of a cell; an error where the user wants to stop.
    fn take_pair(&mut self, one: &mut Running, stage: Stage) -> Result<(), ()> {
        let cell = &self.cells[one.at];
        let deadline = self.asked.measure.deadline(&cell.engine);
        // The outputs are looked at in the first and the last pair of the screening: what threads do to each other need not be wrong in the first, and to verify
        // takes as long as to time.
        let is_last = stage == Stage::Screening && one.logs.len() + 1 == one.pairs;
        let terms = Terms { cell, design: &self.asked.design, deadline, verified: !one.was_timed || is_last };
        one.tried += 1;
        self.tried += 1;
        match measure(self.builds, terms, self.clock, &mut self.random) {
            Ok(log) => {
                one.was_timed = true;
                one.logs.push(log);
            }
            Err(Trouble::Failed(attempt)) => one.failed(&attempt, deadline),
            Err(Trouble::Interrupted) => return Err(()),
        }
        Ok(())
    }
}

fn done(running: &[Running]) -> usize {
    running.iter().map(Running::done).sum()
}

/// Verdicts of the suspects, from however many pairs there was time for: two or more, as one shows no spread.
fn conclude(suspects: &mut [Running], asked: &Asked) {
    let mut open: Vec<(&mut Running, Evidence)> = Vec::new();
    for one in suspects.iter_mut().filter(|one| one.outcome.is_none() && one.logs.len() > 1) {
        let evidence = Evidence::of(&one.logs);
        open.push((one, evidence));
    }
    let corrected = holm(&open.iter().map(|(_, evidence)| evidence.p_value).collect::<Vec<_>>());
    for ((one, evidence), corrected) in open.into_iter().zip(corrected) {
        let verdict = evidence.verdict(corrected, asked.min_effect);
        one.outcome = Some(Outcome::Timed { stage: Stage::Confirmation, evidence, corrected, verdict });
    }
}
