//! Bringing one cell up: the memory pass, then a fresh process that is prepared and verified, ready to be timed.

use crossover_protocol::HelloReply;
use crossover_results::schema::Status;

use crossover_variants::descriptor::{CACHE, WARM};
use crossover_variants::resolve::is_cold;

use crate::outcome::Draft;
use crate::plan::PlannedCell;
use crate::worker::conversation::{Conversation, Ready};
use crate::worker::failure::WorkerFailure;
use crate::worker::steps::{self, Verified};

use super::exchange::CellFiles;
use super::rounds::Live;
use super::sampling::Sampling;
use super::{Halt, Scheduler};

/// Why a cell did not come up.
enum Trouble {
    Worker(WorkerFailure),
    /// It did not say hello.
    Start(WorkerFailure),
    GivenUp(String),
    /// The worker cannot do what the cell asks for, as it has said of itself.
    Incapable(String),
    /// The output is wrong; the tail of stderr goes with it.
    Wrong(Option<String>),
    Halt(Halt),
}

impl From<WorkerFailure> for Trouble {
    fn from(failure: WorkerFailure) -> Self {
        if failure.is_interruption() { Self::Halt(Halt::Interrupted) } else { Self::Worker(failure) }
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Halt(Halt::Store(error))
    }
}

impl Scheduler<'_> {
    /// Brings a cell up, or records why not. A companion is not accounted again and never recorded.
    pub(super) fn start_cell(&mut self, cell: &PlannedCell, companion: bool) -> Result<Option<Live>, Halt> {
        let mut draft = Draft::new(cell.clone(), self.machine.clone());
        let began = self.clock.now();
        let outcome = self.bring_up(&mut draft, companion);
        draft.elapsed += self.clock.now().saturating_sub(began);
        let record = match outcome {
            Ok(conversation) => {
                self.reluctance.came_up(&cell.engine);
                return Ok(Some(Live { draft, conversation, sampling: Sampling::default(), companion }));
            }
            Err(Trouble::Halt(halt)) => return Err(halt),
            Err(Trouble::Start(failure)) if failure.is_interruption() => return Err(Halt::Interrupted),
            Err(Trouble::Start(failure)) => {
                self.reluctance.start_failed(&cell.engine, &failure);
                draft.failed(&failure)
            }
            Err(Trouble::Worker(failure)) => {
                self.reluctance.failed_early(&cell.engine, &failure);
                draft.failed(&failure)
            }
            Err(Trouble::Incapable(reason)) => draft.not_run(Status::Unsupported, reason),
            Err(Trouble::GivenUp(reason)) => draft.not_run(Status::Crashed, format!("not tried: {reason}")),
            Err(Trouble::Wrong(tail)) => {
                self.reluctance.got_through(&cell.engine);
                draft.wrong(tail)
            }
        };
        if !companion {
            self.sink.record(vec![record])?;
        }
        Ok(None)
    }

    fn bring_up(&mut self, draft: &mut Draft, companion: bool) -> Result<Box<dyn Conversation>, Trouble> {
        if let Some(reason) = self.reluctance.news(&draft.cell.engine) {
            self.sink.notice(&format!("{reason}; its other cells are not tried"));
        }
        if let Some(reason) = self.reluctance.given_up(&draft.cell.engine) {
            return Err(Trouble::GivenUp(reason));
        }
        let mut files = self.exchange.files(&draft.cell.id);
        if !companion {
            self.memory_pass(draft, &mut files)?;
        }
        let (mut worker, hello) = self.prepared_worker(draft, &mut files)?;
        let deadline = self.measure.deadline(&draft.cell.engine);
        let output = (!hello.capabilities.judges).then(|| files.output().to_owned());
        let figures = match steps::verify(worker.as_mut(), output, deadline)? {
            Verified::Judged(figures) => figures,
            Verified::Written => self.exchange.judge(self.launcher, &draft.cell.wire(), &files, self.measure.step_timeout)?,
        };
        let passed = figures.passed;
        draft.accuracy = Some(figures);
        if passed {
            return Ok(worker);
        }
        Err(Trouble::Wrong(worker.quit()))
    }

    /// Memory in a process that does nothing else: its high-water mark is this cell's, and counting disturbs no timing.
    fn memory_pass(&mut self, draft: &mut Draft, files: &mut CellFiles) -> Result<(), Trouble> {
        let (mut worker, _) = self.prepared_worker(draft, files)?;
        draft.memory = Some(steps::account(worker.as_mut(), self.measure.deadline(&draft.cell.engine))?);
        self.farewell(&draft.cell, worker)?;
        Ok(())
    }

    fn prepared_worker(&mut self, draft: &mut Draft, files: &mut CellFiles) -> Result<(Box<dyn Conversation>, HelloReply), Trouble> {
        let deadline = self.measure.deadline(&draft.cell.engine);
        let Ready { mut conversation, hello } = self.launch(&draft.cell.engine, draft.cell.threads())?;
        draft.build = Some(self.sink.build(&hello)?);
        if is_cold(&draft.cell.axes) && !hello.capabilities.empties_caches {
            self.farewell(&draft.cell, conversation)?;
            return Err(Trouble::Incapable(format!("the worker {} does not empty caches: ask for {CACHE} = {WARM}", hello.worker)));
        }
        let cell = draft.cell.wire();
        let inputs = match hello.capabilities.draws_inputs {
            true => None,
            false => Some(self.exchange.inputs(self.launcher, &cell, files, self.measure.step_timeout)?),
        };
        draft.prepared = Some(steps::prepare(conversation.as_mut(), cell, inputs, deadline)?);
        Ok((conversation, hello))
    }

    fn launch(&mut self, engine: &str, threads: u32) -> Result<Ready, Trouble> {
        match self.launcher.start(engine, threads, self.measure.deadline(engine)) {
            Ok(ready) => {
                self.reluctance.said_hello(engine);
                Ok(ready)
            }
            Err(failure) => Err(Trouble::Start(failure)),
        }
    }

    /// Ends a worker politely, and keeps what it had to say.
    pub(super) fn farewell(&mut self, cell: &PlannedCell, worker: Box<dyn Conversation>) -> anyhow::Result<()> {
        worker.quit().map_or(Ok(()), |text| self.sink.stderr(cell, &text))
    }
}
