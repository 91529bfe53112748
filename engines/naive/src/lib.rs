//! The oracle engine: every primitive as plain loops anyone can check by eye.
//!
//! Other engines are held against this one, so it trades speed for certainty: one thread, one order of summation (k = 0, 1, 2, ...),
//! one rounding where the precision says that there is one, no fused multiply-add, and elementary functions from the `libm` crate, so
//! that the same input gives the same bits on every machine. Nothing is allocated by a call: rows pass through small arrays on the
//! stack, and attention takes its two rows from the caller's arena.
//!
//! Read [`backend`] first: it says which file does what.

#![forbid(unsafe_code)]

pub mod backend;
pub mod buffer;
pub mod weight;

mod attention;
mod conv;
mod element;
mod elementwise;
mod linear;
mod matmul;
mod normalize;
mod operands;
mod reduce;
mod rows;
mod softmax;
mod sort;
mod stored;
mod support;
mod walk;

pub use backend::NaiveBackend;
