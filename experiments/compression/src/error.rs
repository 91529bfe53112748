//! The typed errors of the transforms: each carries the shape it met and says what would be right.

use crossover_core::error::EngineError;
use thiserror::Error;

/// Why a transform gave nothing.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CompressionError {
    /// A tensor whose shape the transform cannot take.
    #[error("{transform}: the shape {shape:?} does not fit, expected {expected}")]
    Shape {
        /// The transform.
        transform: &'static str,
        /// What came.
        shape: Vec<usize>,
        /// What would be right.
        expected: String,
    },
    /// A NaN, an infinity, or a value beyond what the compressed form can hold.
    #[error("{transform}: the value {value} at position {position} is not {expected}")]
    Value {
        /// The transform.
        transform: &'static str,
        /// Row-major position.
        position: usize,
        /// What stood there.
        value: f64,
        /// What would be right.
        expected: &'static str,
    },
    /// A rank, sparsity, group or the like that does not fit this weight.
    #[error("{transform} of {shape:?}: {parameter} is {given}, expected {expected}")]
    Parameter {
        /// The transform.
        transform: &'static str,
        /// Which parameter.
        parameter: &'static str,
        /// What came.
        given: String,
        /// What would be right.
        expected: String,
        /// The shape of the weight.
        shape: Vec<usize>,
    },
    /// An iteration that did not come to an end.
    #[error("{transform}: no convergence on the shape {shape:?}; the matrix is finite, so please report it")]
    NoConvergence {
        /// The transform.
        transform: &'static str,
        /// The shape of the matrix.
        shape: Vec<usize>,
    },
    /// An error of the core types.
    #[error(transparent)]
    Core(#[from] EngineError),
}

/// Shorthand for results of transforms.
pub type Result<T> = std::result::Result<T, CompressionError>;
