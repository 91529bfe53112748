//! The kernel benchmarks of every engine: one list of operations and shapes, one body that times them.
//!
//! An engine's `benches/primitives.rs` names the engine, its precisions and threads ([`Plan`]), and nothing else. What is timed is in
//! [`list`]: every primitive and fused operation of the trait, each with its shapes, the small ones first. [`calls`] puts an operation on an
//! engine and makes it ready to be called; `timing` (with the feature `criterion`) lets criterion time the calls, the engine's `synchronize` inside the clock, as the
//! worker does it.
//!
//! Criterion keeps nothing of a benchmark but its id and its samples, so the id says all ([`id`]):
//!
//! ```text
//! matmul/engine=simd,precision=f32,threads=1/m=512,n=512,k=512
//! ```
//!
//! By it `crossover import criterion` knows which operation was timed, and what that costs by the cost model of the cells; so shares of the
//! machine's ceilings follow as for any cell.
//!
//! # What this trades away
//! Nothing is verified here, and nothing is interleaved: that is what cells are for (`crossover run`). A benchmark is for whoever works on
//! one kernel and wants its time now. `fill` and `transfer` are not in the list: the first has no cost of its own in the model, the second
//! exists on devices only and has an experiment (`transfers`).

pub mod calls;
pub mod id;
pub mod list;
#[cfg(feature = "criterion")]
pub mod timing;

pub use id::Id;
pub use list::{Case, OPERATIONS, Operation};

/// What an engine runs of the list.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Names of precisions.
    pub precisions: &'static [&'static str],
    /// Numbers of threads.
    pub threads: &'static [usize],
    /// Shapes that take more operations a call are left out: an oracle of plain loops would take minutes for them.
    pub most_flops: u64,
}
