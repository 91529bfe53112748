//! The candle engine: the trait over Hugging Face's candle tensors, on the CPU by default.
//!
//! candle is what a Rust program reaches for when it wants PyTorch's manners: tensors that own their storage, operations that return new
//! tensors, autograd. This engine measures what the trait's operations cost when they are asked of such a library, and it is the one
//! engine that can *train*: [`CandleBackend::for_training`](backend::Backend::for_training) records everything that a variant does, unchanged, and gives gradients.
//!
//! What it trades away: an operation allocates its result (candle has no destination-passing form), so a warm call is not free of
//! allocations as on the other CPU engines; a view that candle cannot express is gathered element by element; and where candle's
//! CPU operation does not exist or loses a NaN, this crate brings a small kernel of its own as a candle custom operation.
//! `NOTES.md` beside this crate lists which is which; `support.rs` says it to the program.
//!
//! Read [`backend`] first: it says which file does what.

#![cfg_attr(not(feature = "cuda"), forbid(unsafe_code))]

pub mod backend;
pub mod buffer;
pub mod place;
pub mod training;
pub mod weight;

mod cache;
mod compute;
mod conv;
#[cfg(any(feature = "cuda", test))]
mod cuda;
mod device;
mod elementwise;
mod error;
mod kernel;
mod linear;
mod matmul;
mod normalize;
mod reduce;
mod rows;
mod softmax;
mod sort;
mod store;
mod support;
mod transfer;
mod view;

pub use backend::CandleBackend;

/// The engine on an NVIDIA GPU.
#[cfg(feature = "cuda")]
pub type CandleCuda = backend::Backend<place::Cuda>;
/// The engine on an Apple GPU.
#[cfg(feature = "metal")]
pub type CandleMetal = backend::Backend<place::Metal>;
