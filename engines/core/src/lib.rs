//! The backend trait, tensors, precision, cost model and conformance suite that every engine shares.
//!
//! Read in this order: [`axes`] (what a cell is), [`dtype`] (element types and the precision triple), [`layout`] and [`tensor`] (what
//! operations see), [`ops`] (the operations as values), [`backend`] (the trait), [`compose`] (its default compositions), [`cost`] (what
//! an operation costs), [`mod@reference`] (what it should give, in f64, with the error it may make).

pub mod activation;
#[cfg(target_arch = "x86_64")]
pub mod amx;
pub mod arena;
pub mod axes;
pub mod backend;
pub mod caches;
pub mod check;
pub mod compose;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod control_groups;
pub mod cost;
pub mod device;
pub mod dtype;
pub mod elementary;
pub mod error;
pub mod host;
pub mod inputs;
pub mod isa;
pub mod layout;
pub mod load;
pub mod memory;
pub mod number;
pub mod operands;
pub mod ops;
pub mod palette;
pub mod pattern;
pub mod quantize;
pub mod reference;
pub mod shape_only;
pub mod sparse;
pub mod support;
pub mod tensor;
#[cfg(any(test, feature = "conformance"))]
pub mod testing;
pub mod weights;
