//! Calls that must be refused, by the same typed error on every engine, and without keeping scratch.

use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::error::EngineError;

use super::super::trial::{Outcome, Trial, fail};
use super::problem::{Features, Problem};

/// Queries whose last positions are beyond the largest number: not an attention over no keys, and not one over others.
pub(super) fn positions_are_numbers<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut problem = Problem::draw_filled(t, Features::ALL);
    let operation = problem.operation();
    problem.spec.query_offset = usize::MAX - t.source.below(problem.sizes.queries);
    let storage = t.storage();
    match problem.answer(t, storage)? {
        Err(EngineError::Shape { .. }) => Ok(()),
        Err(error @ EngineError::Unsupported { .. }) => t.done(&operation, Err(error)),
        other => fail(format!("queries from {} on: {other:?}, expected a shape error", problem.spec.query_offset)),
    }
}

/// Queries in a type that is neither the storage nor the compute type.
pub(super) fn types_are_of_the_precision<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let problem = Problem::draw_filled(t, Features::ALL);
    let foreign = if t.compute() == DType::F64 { DType::Bf16 } else { DType::F64 };
    let foreign = t.source.choose(&[foreign, DType::I32]);
    match problem.answer(t, foreign)? {
        Err(EngineError::ElementType { found, .. }) if found == foreign => Ok(()),
        Err(error @ EngineError::Unsupported { .. }) => t.done(&problem.operation(), Err(error)),
        other => fail(format!("queries in {foreign}: {other:?}, expected an error of their type")),
    }
}
