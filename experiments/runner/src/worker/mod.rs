//! Workers as the runner sees them: child processes that answer one request at a time.
//!
//! [`conversation`] is the seam: the scheduler speaks to the traits there and never to a process, so its logic is tested without
//! any. [`process`] is the real side: pipes, deadlines, signals and reaping. [`launcher`] knows which command runs which engine, and
//! [`control_group`] bounds its memory.
//! [`steps`] asks the protocol's questions and checks that the answers fit. [`failure`] says how all of it can go wrong.

pub mod control_group;
pub mod conversation;
pub mod failure;
pub mod launcher;
pub mod process;
mod stderr_tail;
pub mod steps;
