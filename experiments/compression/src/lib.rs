//! Host-side compression transforms: from a trained weight to its compressed form, once, in f64.
//!
//! Every engine gets what comes out here, so a difference between engines is a difference between kernels. Weights are
//! [outputs, inputs]. Each transform gives its product and a [`Saving`]: what it saves and how far it is from the given weight.
//! Factorisations: [`svd`], [`low_rank`], [`qr`], [`kronecker`], [`monarch`]. Removal: [`masks`], [`structured`]. Coding:
//! [`quantise`], [`ternary`], [`palette`].
//!
//! One machine gives the same bits every time; two machines may differ in the last bits of a factorisation, because faer picks its
//! kernels by the processor.

pub mod error;
pub mod kronecker;
pub mod low_rank;
pub mod masks;
mod matrix;
pub mod monarch;
pub mod palette;
pub mod qr;
pub mod quantise;
pub mod saving;
pub mod structured;
pub mod svd;
pub mod ternary;
#[cfg(test)]
mod testing;

pub use error::{CompressionError, Result};
pub use matrix::product;
pub use saving::Saving;
