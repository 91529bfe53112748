//! The timed part: warm-up, then rounds over the live workers in random order until every cell has enough.

use std::time::Duration;

use crossover_protocol::MeasuredReply;

use crossover_variants::resolve::is_cold;

use crate::definition::Measure;
use crate::outcome::Draft;
use crate::plan::Group;
use crate::worker::conversation::Conversation;
use crate::worker::failure::WorkerFailure;
use crate::worker::steps;

use super::baseline::beside;
use super::sampling::Sampling;
use super::warm_up::warm_up;
use super::{Clock, Halt, Scheduler};

/// A cell whose worker is verified and waits to be asked.
pub(super) struct Live {
    pub(super) draft: Draft,
    pub(super) conversation: Box<dyn Conversation>,
    pub(super) sampling: Sampling,
    /// Measured along for the cells beside it, never recorded itself.
    pub(super) companion: bool,
}

impl Live {
    /// Baselines stay to the end of the chunk, so that every cell has one beside it to its last sample.
    fn stays(&self) -> bool {
        self.companion || self.draft.cell.baseline
    }

    fn take(&mut self, clock: &dyn Clock, measure: &Measure, samples: u32, calls: u32) -> Result<(MeasuredReply, Duration), WorkerFailure> {
        let began = clock.now();
        let taken = steps::measure(self.conversation.as_mut(), samples, calls, measure.deadline(&self.draft.cell.engine));
        let passed = clock.now().saturating_sub(began);
        self.draft.elapsed += passed;
        let taken = taken?;
        steps::check_claimed_time(self.conversation.as_mut(), &taken.samples, passed)?;
        Ok((taken, passed))
    }

    fn warm_up(&mut self, clock: &dyn Clock, measure: &Measure) -> Result<(), WorkerFailure> {
        // Emptying the caches takes longer than most calls, and each call is on the clock by itself: more in a sample would gain nothing.
        let cold = is_cold(&self.draft.cell.axes);
        let sample_time = if cold { Duration::ZERO } else { measure.sample_time };
        let warm = warm_up(measure.cell_budget, sample_time, |samples, calls| {
            let (taken, passed) = self.take(clock, measure, samples, calls)?;
            Ok((taken.samples, passed))
        })?;
        self.sampling.warmup_calls = warm.calls;
        self.sampling.settle(if cold { warm.wall_ns } else { warm.call_ns }, sample_time);
        Ok(())
    }

    fn batch(&mut self, round: u32, clock: &dyn Clock, measure: &Measure) -> Result<(), WorkerFailure> {
        let (samples, calls) = (self.sampling.batch(measure), self.sampling.calls);
        let (taken, passed) = self.take(clock, measure, samples, calls)?;
        self.sampling.add(round, &taken, passed);
        Ok(())
    }
}

impl Scheduler<'_> {
    /// Measures the live cells of a group to their ends and records them.
    pub(super) fn run_rounds(&mut self, group: &Group, live: Vec<Live>) -> Result<(), Halt> {
        let mut live = self.for_each(live, |cell, clock, measure| cell.warm_up(clock, measure))?;
        let mut round = 0;
        while live.iter().any(|cell| !cell.companion && cell.sampling.verdict(self.measure).is_none()) {
            self.random.shuffle(&mut live);
            live = self.for_each(live, |cell, clock, measure| cell.batch(round, clock, measure))?;
            live = self.let_go(group, live, Live::stays)?;
            round += 1;
        }
        self.let_go(group, live, |_| false).map(drop)
    }

    /// Does one thing with each worker, one after the other; those that fail at it are recorded and gone.
    fn for_each(
        &mut self,
        live: Vec<Live>,
        act: impl Fn(&mut Live, &dyn Clock, &Measure) -> Result<(), WorkerFailure>,
    ) -> Result<Vec<Live>, Halt> {
        let mut left = Vec::with_capacity(live.len());
        for mut cell in live {
            match act(&mut cell, self.clock, self.measure) {
                Ok(()) => left.push(cell),
                Err(failure) if failure.is_interruption() => return Err(Halt::Interrupted),
                Err(failure) if !cell.companion => {
                    self.reluctance.failed_timed(&cell.draft.cell.engine, &failure);
                    self.sink.record(vec![cell.draft.failed(&failure)])?;
                }
                Err(_) => {}
            }
        }
        Ok(left)
    }

    /// Records and ends the cells that have enough, except those that stay.
    fn let_go(&mut self, group: &Group, live: Vec<Live>, stays: impl Fn(&Live) -> bool) -> Result<Vec<Live>, Halt> {
        let (mut left, mut enough) = (Vec::with_capacity(live.len()), Vec::new());
        for cell in live {
            match cell.sampling.verdict(self.measure) {
                None if !cell.companion => left.push(cell),
                _ if stays(&cell) => left.push(cell),
                verdict => enough.push((cell, verdict)),
            }
        }
        let (mut leaving, mut records) = (Vec::with_capacity(enough.len()), Vec::new());
        for (Live { draft, conversation, sampling, companion }, verdict) in enough {
            leaving.push((draft.cell.clone(), conversation));
            if !companion {
                self.reluctance.got_through(&draft.cell.engine);
                let beside = beside(&draft.cell, group, &left);
                let stop = verdict.unwrap_or_else(|| sampling.cut_short(self.measure));
                records.push(draft.measured(sampling, stop, beside));
            }
        }
        // The records first, and all that end in this round with one wait for the disk: from here on a kill loses nothing of them.
        if !records.is_empty() {
            self.sink.record(records)?;
        }
        for (cell, conversation) in leaving {
            self.farewell(&cell, conversation)?;
        }
        Ok(left)
    }
}
