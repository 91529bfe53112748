//! The protocol's questions, one function each, with every answer checked before anyone uses it.

use std::path::PathBuf;
use std::time::Duration;

use crossover_protocol::{
    AccuracyFigures, Ceilings, Cell, HelloReply, MeasuredReply, MeasuredSample, MemoryFigures, PROTOCOL_VERSION, PreparedReply, Request,
    Response, SupportLevel,
};

use super::conversation::Conversation;
use super::failure::{Cause, WorkerFailure};

type Result<T> = std::result::Result<T, WorkerFailure>;

/// The name of a request, as in the protocol.
pub fn name_of(request: &Request) -> &'static str {
    match request {
        Request::Hello { .. } => "hello",
        Request::Prepare { .. } => "prepare",
        Request::Verify { .. } => "verify",
        Request::Measure { .. } => "measure",
        Request::Account {} => "account",
        Request::Materialize { .. } => "materialize",
        Request::Judge { .. } => "judge",
        Request::Apply { .. } => "apply",
        Request::Probe { .. } => "probe",
        Request::Quit {} => "quit",
    }
}

/// What `verify` led to.
pub enum Verified {
    /// The worker compared by itself.
    Judged(AccuracyFigures),
    /// Its output waits in the file.
    Written,
}

/// Asks who the worker is, and makes sure that it speaks this protocol.
pub fn hello(worker: &mut dyn Conversation, deadline: Duration) -> Result<HelloReply> {
    let request = Request::Hello { protocol: PROTOCOL_VERSION };
    match worker.request(&request, deadline)? {
        Response::Hello(reply) if reply.protocol == PROTOCOL_VERSION => Ok(reply),
        Response::Hello(reply) => Err(misfit(
            worker,
            &request,
            format!("it speaks protocol version {}, this program speaks {PROTOCOL_VERSION}: use a worker of this version", reply.protocol),
        )),
        other => Err(unexpected(worker, &request, &other)),
    }
}

/// Prepares a cell.
pub fn prepare(worker: &mut dyn Conversation, cell: Cell, inputs: Option<PathBuf>, deadline: Duration) -> Result<PreparedReply> {
    let request = Request::Prepare { cell, inputs };
    match worker.request(&request, deadline)? {
        Response::Prepared(reply) if reply.support == SupportLevel::Emulated && reply.reason.is_none() => {
            Err(misfit(worker, &request, "`emulated` without a reason".to_owned()))
        }
        Response::Prepared(reply) if reply.transform.is_some() && reply.derive_ns.is_none() => {
            Err(misfit(worker, &request, "`transform` without the `derive_ns` that it took".to_owned()))
        }
        Response::Prepared(reply) => Ok(reply),
        other => Err(unexpected(worker, &request, &other)),
    }
}

/// Runs the cell once; a worker that does not judge leaves its output in `output`.
pub fn verify(worker: &mut dyn Conversation, output: Option<PathBuf>, deadline: Duration) -> Result<Verified> {
    let wants_file = output.is_some();
    let request = Request::Verify { output };
    match worker.request(&request, deadline)? {
        Response::Verified(figures) if !wants_file => Ok(Verified::Judged(figures)),
        Response::Written {} if wants_file => Ok(Verified::Written),
        other => Err(unexpected(worker, &request, &other)),
    }
}

/// Takes samples. The answer must have exactly those that were asked for, and they must fit into the time that passed.
pub fn measure(worker: &mut dyn Conversation, samples: u32, calls: u32, deadline: Duration) -> Result<MeasuredReply> {
    let request = Request::Measure { samples, calls };
    let taken = match worker.request(&request, deadline)? {
        Response::Measured(taken) => taken,
        other => return Err(unexpected(worker, &request, &other)),
    };
    if taken.samples.len() != samples as usize {
        return Err(misfit(worker, &request, format!("{} samples where {samples} were asked for", taken.samples.len())));
    }
    if let Some(odd) = taken.samples.iter().find(|sample| sample.calls != calls) {
        return Err(misfit(worker, &request, format!("a sample of {} calls where {calls} were asked for", odd.calls)));
    }
    Ok(taken)
}

/// Fails a worker whose samples say that they took no time, or longer than the whole request did: such a clock, or unit, is wrong.
pub fn check_claimed_time(worker: &mut dyn Conversation, taken: &[MeasuredSample], passed: Duration) -> Result<()> {
    let claimed = taken.iter().fold(0u64, |sum, sample| sum.saturating_add(sample.ns));
    // One clock tick of 1/64 s for coarse clocks, one per cent for clocks that are slewed.
    let bound = passed.mul_f64(1.01) + Duration::from_millis(16);
    let text = match taken.iter().any(|sample| sample.ns == 0 || sample.calls == 0) {
        true => "a sample of no time or no calls".to_owned(),
        false if Duration::from_nanos(claimed) <= bound => return Ok(()),
        false => format!("samples of {claimed} ns together, though only {} ns passed between request and answer", passed.as_nanos()),
    };
    Err(WorkerFailure { step: "measure", cause: Cause::WrongAnswer(text), stderr_tail: worker.stderr_tail() })
}

/// Accounts for memory.
pub fn account(worker: &mut dyn Conversation, deadline: Duration) -> Result<MemoryFigures> {
    let request = Request::Account {};
    match worker.request(&request, deadline)? {
        Response::Accounted(figures) => Ok(figures),
        other => Err(unexpected(worker, &request, &other)),
    }
}

/// Lets our own worker write a cell's inputs.
pub fn materialize(worker: &mut dyn Conversation, cell: Cell, inputs: PathBuf, deadline: Duration) -> Result<()> {
    let request = Request::Materialize { cell, inputs };
    match worker.request(&request, deadline)? {
        Response::Written {} => Ok(()),
        other => Err(unexpected(worker, &request, &other)),
    }
}

/// Lets our own worker judge another one's output.
pub fn judge(worker: &mut dyn Conversation, cell: Cell, output: PathBuf, deadline: Duration) -> Result<AccuracyFigures> {
    let request = Request::Judge { cell, output };
    match worker.request(&request, deadline)? {
        Response::Verified(figures) => Ok(figures),
        other => Err(unexpected(worker, &request, &other)),
    }
}

/// Measures the machine's ceilings.
pub fn probe(worker: &mut dyn Conversation, threads: u32, deadline: Duration) -> Result<Ceilings> {
    let request = Request::Probe { threads };
    match worker.request(&request, deadline)? {
        Response::Probed(ceilings) => Ok(ceilings),
        other => Err(unexpected(worker, &request, &other)),
    }
}

fn unexpected(worker: &mut dyn Conversation, request: &Request, response: &Response) -> WorkerFailure {
    // Only the kind of the answer: its content may be long.
    let shown = serde_json::to_value(response).ok().and_then(|value| value["type"].as_str().map(str::to_owned));
    misfit(worker, request, format!("it answered `{}`", shown.unwrap_or_default()))
}

fn misfit(worker: &mut dyn Conversation, request: &Request, text: String) -> WorkerFailure {
    WorkerFailure { step: name_of(request), cause: Cause::WrongAnswer(text), stderr_tail: worker.stderr_tail() }
}
