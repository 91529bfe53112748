//! Beside what one would run otherwise: every engine against the fastest *peer*, which is an engine in another program's worker.
//!
//! A **row** is one problem (the same task, sizes, precision and threads: a group) and one function. All cells that compute the exact function
//! share a row, since whoever needs it may take any of them: an engine stands there with its fastest one, which is told. What computes another
//! function is held against the same variant with the same parameters only. There are rows where a peer has a cell, whatever became of it.
//!
//! **Whose an engine is** tells the manifest by the workers' names: what `crossover-worker` brought is ours. An engine of which no worker ever said
//! a word, since it could not be started, is a peer too.
//!
//! The **speed** is the fastest peer's median time over the engine's: above 1 is faster than all peers. Its interval divides the ends of both
//! medians' intervals crosswise, as for all ratios of a report. Both were measured in turns; where that is not so (the run was gone on with in
//! between, a baseline that has a time had no room beside one of the two, or the baseline that both share showed another time beside the one than beside the
//! other), the speed is marked `apart`, has no verdict and goes into no mean.
//!
//! A peer that computes in another precision than asked (`emulated`) counts, and is marked: it is what its user gets. An engine of ours that
//! emulates has a speed, and goes into no mean. What is wrong or did not run has its status in the place of a speed.
//!
//! The fastest peer is picked by its measured median and a little favoured by luck, which errs against ours; so is the fastest exact cell of an
//! engine, which errs for whoever has more of them.

mod rows;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crossover_results::schema::Status;

use crate::fits::{Mean, mean};

pub(crate) use rows::peers;
pub(crate) use table::table;

/// The engine that is told of in the first place, where a run has it.
const FIRST: &str = "simd";

/// All rows of a report.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    pub(crate) rows: Vec<Row>,
}

/// One problem and function.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) run: i64,
    pub(crate) machine: String,
    pub(crate) family: String,
    /// The variant that gives the function its name, with its parameters where it is not the exact one.
    pub(crate) op: String,
    /// A row of the wide frame that has the values of its axes.
    pub(crate) at: usize,
    pub(crate) group: String,
    pub(crate) precision: String,
    /// Ours by name, then the peers.
    pub(crate) entries: Vec<Entry>,
    /// Which of the entries is the fastest peer; none where no peer has a time.
    pub(crate) fastest: Option<usize>,
}

/// What one engine has to show.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) engine: String,
    pub(crate) is_peer: bool,
    /// Its row of the wide frame.
    pub(crate) at: usize,
    pub(crate) variant: String,
    pub(crate) status: String,
    pub(crate) median: Option<f64>,
    /// Of the machine's ceiling.
    pub(crate) share: Option<f64>,
    /// Against the fastest peer, where both have a time.
    pub(crate) speed: Option<Speed>,
}

/// The fastest peer's time over an engine's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Speed {
    pub(crate) ratio: f64,
    /// Absent where one of the two has too few samples, and for the fastest peer itself.
    pub(crate) ends: Option<(f64, f64)>,
    /// They are not known to be of the same time.
    pub(crate) apart: bool,
    pub(crate) verdict: Verdict,
}

/// What a speed shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The lower end of the interval is not below 1.
    Ahead,
    /// The upper end is below 1, by more than the noise floor.
    Behind,
    /// Neither.
    Open,
    /// Not of the same time.
    Apart,
}

impl Verdict {
    fn of(ratio: f64, ends: Option<(f64, f64)>, apart: bool, floor: f64) -> Self {
        match ends {
            _ if apart => Self::Apart,
            Some((low, _)) if low >= 1.0 => Self::Ahead,
            Some((_, high)) if high < 1.0 && ratio * (1.0 + floor) < 1.0 => Self::Behind,
            _ => Self::Open,
        }
    }

    /// In a few words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ahead => "at least as fast",
            Self::Behind => "slower",
            Self::Open => "not decided",
            Self::Apart => "rounds may differ",
        }
    }
}

impl Entry {
    /// True for what was computed in another precision than asked.
    pub(crate) fn is_emulated(&self) -> bool {
        self.status == Status::Emulated.name()
    }

    /// Is its speed one of the precision that was asked for, and of the same time as the peer's?
    pub(crate) fn counts(&self) -> Option<Speed> {
        self.speed.filter(|speed| !speed.apart && !self.is_emulated())
    }
}

impl Row {
    /// What an engine has to show here.
    pub(crate) fn of(&self, engine: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.engine == engine)
    }

    /// The fastest peer.
    pub(crate) fn rival(&self) -> Option<&Entry> {
        self.entries.get(self.fastest?)
    }

    /// Does the fastest peer compute in another precision?
    pub(crate) fn rival_emulates(&self) -> bool {
        self.rival().is_some_and(Entry::is_emulated)
    }
}

/// Some rows, each with an engine's speed there.
type Speeds<'p> = Vec<(&'p Row, Speed)>;

/// One engine's speeds over the rows of a family and a precision.
#[derive(Debug)]
pub(crate) struct Class {
    /// `None` for all families.
    pub(crate) family: Option<String>,
    pub(crate) precision: String,
    /// Of the logarithms.
    pub(crate) mean: Mean,
    /// Rows with a speed that counts.
    pub(crate) rows: usize,
    /// Those that are ahead.
    pub(crate) ahead: usize,
    /// Those whose fastest peer computes in another precision.
    pub(crate) emulated: usize,
}

impl Class {
    fn of(family: Option<&str>, precision: &str, rows: &[(&Row, Speed)]) -> Option<Self> {
        let mut logs: BTreeMap<(i64, &str), Vec<f64>> = BTreeMap::new();
        rows.iter().for_each(|(row, speed)| logs.entry((row.run, &row.group)).or_default().push(speed.ratio.ln()));
        Some(Self {
            family: family.map(str::to_owned),
            precision: precision.to_owned(),
            mean: mean(&logs.into_values().collect::<Vec<_>>())?,
            rows: rows.len(),
            ahead: rows.iter().filter(|(_, speed)| speed.verdict == Verdict::Ahead).count(),
            emulated: rows.iter().filter(|(row, _)| row.rival_emulates()).count(),
        })
    }
}

impl Peers {
    /// Is there nothing to tell?
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The machines, sorted.
    pub(crate) fn machines(&self) -> BTreeSet<&str> {
        self.rows.iter().map(|row| row.machine.as_str()).collect()
    }

    /// The rows of a machine.
    pub(crate) fn on<'p>(&'p self, machine: &'p str) -> impl Iterator<Item = &'p Row> {
        self.rows.iter().filter(move |row| row.machine == machine)
    }

    /// The engine of ours that is told of: `simd`, else the one that is first of ours in the most rows of this machine.
    pub(crate) fn foremost<'p>(&'p self, machine: &'p str) -> Option<&'p str> {
        let mut firsts: BTreeMap<&str, usize> = BTreeMap::new();
        for row in self.on(machine) {
            let ours = row.entries.iter().filter(|entry| !entry.is_peer);
            let timed = ours.filter_map(|entry| Some((entry, entry.counts()?.ratio)));
            if let Some((best, _)) = timed.max_by(|one, other| one.1.total_cmp(&other.1)) {
                *firsts.entry(&best.engine).or_default() += 1;
            }
            if row.of(FIRST).is_some_and(|entry| !entry.is_peer) {
                return Some(FIRST);
            }
        }
        firsts.into_iter().max_by_key(|(engine, count)| (*count, std::cmp::Reverse(*engine))).map(|(engine, _)| engine)
    }

    /// The speeds of an engine by family and precision; behind them those of all families, where there are several.
    pub(crate) fn classes(&self, machine: &str, engine: &str) -> Vec<Class> {
        let mut by: BTreeMap<(Option<&str>, &str), Speeds<'_>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.machine == machine) {
            if let Some(speed) = row.of(engine).and_then(Entry::counts) {
                for family in [Some(row.family.as_str()), None] {
                    by.entry((family, &row.precision)).or_default().push((row, speed));
                }
            }
        }
        let several = by.keys().filter_map(|(family, _)| *family).collect::<BTreeSet<_>>().len() > 1;
        let classes = by.into_iter().filter_map(|((family, precision), rows)| Class::of(family, precision, &rows));
        let (all, single): (Vec<Class>, Vec<Class>) = classes.partition(|class| class.family.is_none());
        single.into_iter().chain(all.into_iter().filter(|_| several)).collect()
    }

    /// The rows in which an engine has a speed and is not shown to be ahead, the slowest first.
    pub(crate) fn short(&self, machine: &str, engine: &str) -> Vec<(&Row, &Entry, Speed)> {
        let of = |row: &'_ Row| -> Option<Speed> { row.of(engine)?.speed };
        let mut short: Vec<(&Row, &Entry, Speed)> =
            self.rows.iter().filter(|row| row.machine == machine).filter_map(|row| Some((row, row.of(engine)?, of(row)?))).collect();
        short.retain(|(.., speed)| speed.verdict != Verdict::Ahead);
        short.sort_by(|one, other| one.2.ratio.total_cmp(&other.2.ratio).then(one.0.at.cmp(&other.0.at)));
        short
    }
}
