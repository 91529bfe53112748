//! What this engine can be built for, and how it does each operation.
//!
//! A precision without kernels is refused when the engine is built, so that nothing is computed in another one unsaid.

use crossover_core::backend::EngineConfig;
use crossover_core::dtype::{PRECISION_PRESETS, Precision};
use crossover_core::error::{EngineError, Result};
use crossover_core::ops::{OpSpec, WeightForm};
use crossover_core::support::Support;

use crate::backend::NAME;

/// The precisions that have kernels.
const PRECISIONS: [Precision; 2] = [Precision::F64, Precision::F32];

/// Their names.
pub(crate) fn native_precisions() -> Vec<&'static str> {
    PRECISION_PRESETS.iter().filter(|(_, precision)| PRECISIONS.contains(precision)).map(|(name, _)| *name).collect()
}

/// Refuses configurations that the kernels do not cover.
pub(crate) fn check_configuration(config: &EngineConfig) -> Result<()> {
    let precision = config.precision;
    let refused = |reason: String| {
        Err(EngineError::Unsupported { engine: NAME, operation: format!("precision {precision} on {} threads", config.threads), reason })
    };
    if config.threads == 0 {
        return refused("a call needs at least one thread".into());
    }
    if !PRECISIONS.contains(&precision) {
        return refused(format!("it has kernels for {}", native_precisions().join(", ")));
    }
    Ok(())
}

/// How an operation is done at this precision.
pub(crate) fn supports(precision: Precision, operation: &OpSpec) -> Support {
    match operation {
        OpSpec::Linear { form, .. } => linear(precision, *form),
        OpSpec::Attention { .. } | OpSpec::LinearAttention { .. } | OpSpec::GatedFfn { .. } => Support::Composed,
        OpSpec::Unary { op, .. } => op.undefined().map_or(Support::Native, Support::Unsupported),
        OpSpec::Matmul { .. }
        | OpSpec::Softmax { .. }
        | OpSpec::Normalize { .. }
        | OpSpec::AddNorm { .. }
        | OpSpec::SoftmaxTopK { .. }
        | OpSpec::Rotary { .. }
        | OpSpec::Binary { .. }
        | OpSpec::Reduce { .. }
        | OpSpec::Mask { .. }
        | OpSpec::Select { .. }
        | OpSpec::Copy { .. }
        | OpSpec::GatherRows { .. }
        | OpSpec::ScatterAddRows { .. }
        | OpSpec::StableArgSort { .. }
        | OpSpec::TopK { .. }
        | OpSpec::CumulativeSum { .. }
        | OpSpec::DepthwiseConv { .. } => Support::Native,
    }
}

/// A product with a weight of this form.
fn linear(precision: Precision, form: WeightForm) -> Support {
    match form {
        WeightForm::Dense(dtype) if dtype == precision.compute() => Support::Native,
        _ => Support::Unsupported(format!("there is no kernel for weights held as {form:?} at {precision}")),
    }
}
