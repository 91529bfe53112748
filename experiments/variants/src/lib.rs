//! Every variant, written once over the backend trait.
//!
//! A variant is one file: its description ([`descriptor::Descriptor`]), how it takes its tensors (`bind`), one call (`run`), and the
//! exact operation that it approximates (`exact`). The same code is timed, verified and, on an engine that records, trained.
//!
//! [`registry`] lists them, one line each. [`resolve`] turns axes as given into axes as run. [`cell`] puts a variant on an engine
//! behind one dynamic call, outside the timer. [`mod@verify`] compares an output with the references.

mod adapt;
pub mod attention;
pub mod cell;
pub mod classes;
pub mod descriptor;
pub mod ffn;
pub mod footprint;
pub mod formula;
pub mod inputs;
mod kept;
pub mod linear;
pub mod matching;
pub mod model;
pub mod norm;
pub mod position;
pub mod registry;
#[cfg(test)]
mod registry_tests;
pub mod resolve;
pub mod same_function;
mod selection;
pub mod sizes;
pub mod softmax;
#[cfg(test)]
mod testing;
pub mod transfer;
mod truth;
pub mod variant;
pub mod verify;
