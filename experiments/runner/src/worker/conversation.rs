//! The seam between scheduling and processes.

use std::time::Duration;

use crossover_protocol::{HelloReply, Request, Response};

use super::failure::WorkerFailure;

/// One worker that can be asked. Dropping it ends the worker at once, politely or not.
pub trait Conversation {
    /// Asks, and waits for the answer until the deadline. `failed` comes back as a failure with the cause `Fault`; the worker
    /// lives on after that one, and after no other.
    fn request(&mut self, request: &Request, deadline: Duration) -> Result<Response, WorkerFailure>;

    /// The last lines of the worker's stderr so far, where there are any.
    fn stderr_tail(&mut self) -> Option<String>;

    /// Asks the worker to go, and sees to it that it does. Returns the last lines of its stderr.
    fn quit(self: Box<Self>) -> Option<String>;
}

/// A worker that has said hello.
pub struct Ready {
    /// The worker.
    pub conversation: Box<dyn Conversation>,
    /// What it said of itself.
    pub hello: HelloReply,
}

/// Starts workers.
pub trait Launcher {
    /// A fresh worker for the engine and so many threads, hello said and checked.
    fn start(&mut self, engine: &str, threads: u32, deadline: Duration) -> Result<Ready, WorkerFailure>;

    /// How many bytes the heaps of later workers begin with, where somebody is to decide that: see `heap.rs` of the worker.
    fn shift_heaps(&mut self, _bytes: u32) {}

    /// A fresh worker of our own, for what the others cannot do by themselves: draw inputs, and judge.
    fn start_clerk(&mut self, deadline: Duration) -> Result<Ready, WorkerFailure>;
}
