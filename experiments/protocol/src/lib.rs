//! The worker protocol: JSON lines between the runner and any worker, ours or anybody else's.
//!
//! One request a line on the worker's stdin, one response a line on its stdout; nothing else may appear there. Tensors never
//! travel in the messages: they go by safetensors file. `experiments/PROTOCOL.md` describes the same messages for people who
//! write a worker in another language; these types are the reference.
//!
//! The types are wire types on purpose: the runner turns them into its own and into records (`crossover-results`), so that the
//! wire can keep its shape while the store changes, and the other way round.

mod framing;
mod request;
mod response;
pub mod text;

pub use framing::{MAX_LINE_BYTES, ReadLine, WireError, read_message, write_message};
pub use request::{Cell, Request};
pub use response::{
    AccuracyFigures, Applied, Bandwidth, Capabilities, Ceilings, Conditions, EngineInfo, FailureKind, Fault, HelloReply, Instrument,
    MeasuredReply, MeasuredSample, MemoryFigures, NarrowCeiling, PreparedReply, Response, SupportLevel, TransformFigures,
};

/// Environment variable of our own worker: so many bytes, fewer than a page, are allocated before everything else (its `heap.rs` says why).
pub const HEAP_OFFSET: &str = "CROSSOVER_HEAP_OFFSET";

/// The version of the protocol; `hello` carries it both ways, and a mismatch ends the conversation.
pub const PROTOCOL_VERSION: u32 = 1;
