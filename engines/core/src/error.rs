//! The typed errors of engines and variants. They carry the shapes and precisions involved, so that a message needs no debugger.

use thiserror::Error;

use crate::dtype::DType;

/// What an engine, or a variant on it, can answer instead of a result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// The engine cannot do this; says why.
    #[error("{engine} does not support {operation}: {reason}")]
    Unsupported {
        /// The engine's name.
        engine: &'static str,
        /// The operation, with its sizes.
        operation: String,
        /// Why not.
        reason: String,
    },
    /// Operands whose shapes do not fit together.
    #[error("{operation}: {detail}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// Which shapes, and what was expected.
        detail: String,
    },
    /// An operand of the wrong element type.
    #[error("{operation}: an operand is {found}, expected {expected}")]
    ElementType {
        /// The operation.
        operation: &'static str,
        /// What was expected.
        expected: DType,
        /// What came.
        found: DType,
    },
    /// A size that overflows, or memory that is not there.
    #[error("cannot allocate {elements} elements of {dtype}: {reason}")]
    Allocation {
        /// How many.
        elements: usize,
        /// Of which type.
        dtype: DType,
        /// Why not.
        reason: String,
    },
    /// An index from the data that points outside its table.
    #[error("{operation}: index {index} at position {position} is outside 0..{bound}")]
    Index {
        /// The operation.
        operation: &'static str,
        /// The index.
        index: i64,
        /// Where it stood.
        position: usize,
        /// The table's length.
        bound: usize,
    },
}

/// Shorthand for results of engines and variants.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// A shape error in one line.
pub fn shape_error(operation: &'static str, detail: impl Into<String>) -> EngineError {
    EngineError::Shape { operation, detail: detail.into() }
}
