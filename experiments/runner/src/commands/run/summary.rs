//! What came of a run, for the person at the terminal: how its cells ended, what pays, and where to read on.
//!
//! What pays is the report program's to say, as it has the frames.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use crossover_results::schema::{Record, Status};
use crossover_results::{Finished, Index};

use crate::commands::handed_over::told_by_report;
use crate::commands::print;
use crate::commands::text::{counted, wrap};
use crate::progress::rough;

use super::folder::OpenRun;

/// Reasons that are listed, each with its first cell.
const LISTED: usize = 10;
/// Characters of a reason that are shown; all of it is in the record.
const SHOWN: usize = 300;

/// Counts by status, and the first reasons for cells without figures.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: BTreeMap<&'static str, (usize, u64)>,
    reasons: Vec<Reason>,
    /// Cells that this invocation recorded.
    new: u64,
    /// Cells without figures that earlier invocations recorded: their reasons are not at hand.
    failed_before: u64,
}

/// Cells that ended alike.
#[derive(Debug)]
struct Reason {
    status: Status,
    text: String,
    /// The first of them.
    example: String,
    cells: u64,
}

impl Tally {
    /// With the cells of earlier invocations.
    pub(super) fn of_earlier(index: &Index) -> Self {
        let mut tally = Self::default();
        index.cells.values().filter(|status| status.is_final()).for_each(|status| tally.count_in(*status));
        tally.failed_before = tally.failed();
        tally
    }

    /// One more.
    pub(super) fn add(&mut self, record: &Record) {
        self.new += 1;
        self.count_in(record.status);
        if !matches!(record.status, Status::Ok | Status::Emulated) {
            self.explain(record);
        }
    }

    fn explain(&mut self, record: &Record) {
        let text = record.reason.as_deref().unwrap_or_default().trim();
        let text: String = text.chars().take(SHOWN).collect();
        if let Some(known) = self.reasons.iter_mut().find(|known| known.status == record.status && known.text == text) {
            known.cells += 1;
        } else if self.reasons.len() < LISTED {
            let example = format!("{} on {} ({})", record.variant, record.engine, record.id);
            self.reasons.push(Reason { status: record.status, text, example, cells: 1 });
        }
    }

    /// Cells of that status.
    pub(super) fn count(&self, status: Status) -> u64 {
        self.counts.get(status.name()).map_or(0, |(_, count)| *count)
    }

    fn count_in(&mut self, status: Status) {
        let place = Status::ALL.iter().position(|known| *known == status).unwrap_or(Status::ALL.len());
        self.counts.entry(status.name()).or_insert((place, 0)).1 += 1;
    }

    /// Cells without figures.
    fn failed(&self) -> u64 {
        Status::ALL.iter().filter(|status| !matches!(status, Status::Ok | Status::Emulated)).map(|status| self.count(*status)).sum()
    }

    fn text(&self) -> String {
        let mut by_place: Vec<_> = self.counts.iter().map(|(name, (place, count))| (place, name, count)).collect();
        by_place.sort();
        let mut text: String = by_place.iter().map(|(_, name, count)| format!("  {name:<12}{count:>8}\n")).collect();
        let failed = self.failed();
        if failed > 0 {
            text += "without figures:\n";
            for Reason { status, text: reason, example, cells } in &self.reasons {
                let others = if *cells > 1 { format!(", and {} more", cells - 1) } else { String::new() };
                text += &format!("  {}: {example}{others}\n", status.name());
                reason.lines().for_each(|line| text += &wrap("      ", line.split_whitespace()));
            }
            let listed: u64 = self.reasons.iter().map(|reason| reason.cells).sum();
            let more = failed.saturating_sub(listed + self.failed_before);
            let others = [(more, counted(more, "other")), (self.failed_before, format!("{} done before", self.failed_before))];
            let others: Vec<String> = others.into_iter().filter(|(count, _)| *count > 0).map(|(_, told)| told).collect();
            if !others.is_empty() {
                let _ = writeln!(text, "  {}; the reports list all of them", others.join(" and "));
            }
        }
        text
    }
}

/// Says what there is and what to do with it.
pub(super) fn conclude(open: &OpenRun, finished: &Finished, tally: &Tally, took: Duration) -> Result<()> {
    let (name, path) = (&open.manifest.experiment, open.folder.path().display());
    print(|out| {
        writeln!(
            out,
            "{name}: {} of {} cells, {} of them now, in {}",
            finished.cells,
            open.manifest.cells_planned,
            tally.new,
            rough(took)
        )?;
        write!(out, "{}", tally.text())?;
        if let Some(noise) = &open.manifest.noise {
            let (percent, pairs) = (100.0 * noise.floor, counted(noise.pairs, "cell"));
            writeln!(out, "noise:   {pairs} taken twice in fresh workers differ by {percent:.1} % at most")?;
        }
        Ok(())
    })?;
    // The report program says what pays, and from where on; a run is a run without it.
    let untold = told_by_report("summary", open.folder.path()).err();
    print(|out| {
        if let Some(why) = untold {
            write!(out, "{}", wrap("summary: ", format!("not there: {why}").split_whitespace()))?;
        }
        writeln!(out, "results: {path}")?;
        writeln!(out, "report:  crossover report {path}")
    })
}

/// What to do after a signal.
pub(super) fn interrupted(open: &OpenRun, tally: &Tally) -> String {
    let recorded = open.done() + tally.new;
    format!(
        "interrupted: {recorded} of {} cells are recorded; go on with\n  crossover run --resume --out {}",
        open.manifest.cells_planned,
        open.folder.path().display()
    )
}

/// What to do after the store failed.
pub(super) fn stopped(open: &OpenRun) -> String {
    format!("the run was stopped; when the cause is mended, go on with\n  crossover run --resume --out {}", open.folder.path().display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Draft;
    use crate::schedule::fakes::group;

    #[test]
    fn cells_that_ended_alike_are_told_once() {
        let mut tally = Tally::default();
        let reasons = ["no kernel", "no kernel", "too large for the memory that there is, by a reason that needs more than one line"];
        for (cell, reason) in group(&["a", "b", "c"]).cells.into_iter().zip(reasons) {
            tally.add(&Draft::new(cell, "m".into()).not_run(Status::Unsupported, reason.into()));
        }
        insta::assert_snapshot!(tally.text(), @"
          unsupported        3
        without figures:
          unsupported: attention/a on fake (a), and 1 more
              no kernel
          unsupported: attention/c on fake (c)
              too large for the memory that there is, by a reason that needs more than
              one line
        ");
    }

    #[test]
    fn what_failed_in_earlier_invocations_is_counted_apart() {
        let mut tally = Tally::default();
        tally.count_in(Status::Crashed);
        tally.failed_before = tally.failed();
        insta::assert_snapshot!(tally.text(), @"
          crashed            1
        without figures:
          1 done before; the reports list all of them
        ");
        for (at, cell) in (0..12).zip(std::iter::repeat_with(|| group(&["a"]).cells.remove(0))) {
            tally.add(&Draft::new(cell, "m".into()).not_run(Status::Unsupported, format!("reason {at}")));
        }
        let text = tally.text();
        assert!(text.ends_with("      reason 9\n  2 others and 1 done before; the reports list all of them\n"), "{text}");
    }
}
