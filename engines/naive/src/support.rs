//! What this engine can be built for, and how it does each operation.
//!
//! Its loops compute in every floating type with exactly the roundings that the precision asks for, so everything that it has a loop
//! for is native. What it cannot do has no meaning: a product of two activations under int8 activations.

use crossover_core::backend::EngineConfig;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result};
use crossover_core::isa::IsaChoice;
use crossover_core::ops::{OpSpec, WeightForm};
use crossover_core::quantize::LONGEST_INT8_SUM;
use crossover_core::support::{NOTHING_TO_TRANSFER, Support};

use crate::backend::NAME;
use crate::stored::expect_type;

/// Refuses configurations that the loops do not cover. (A precision read from text is always covered; one made in code may not be.)
pub(crate) fn check_configuration(config: &EngineConfig) -> Result<()> {
    let precision = config.precision;
    let refusal = |operation: String, reason: String| Err(EngineError::Unsupported { engine: NAME, operation, reason });
    if config.threads == 0 {
        return refusal("0 threads".into(), "a call needs at least one".into());
    }
    if !matches!(config.isa, IsaChoice::Auto | IsaChoice::Scalar) {
        return refusal(format!("isa {}", config.isa), "its loops are scalar".into());
    }
    let refused = |reason: String| refusal(format!("precision {precision}"), reason);
    precision.check().or_else(refused)?;
    // Operands wider than the sums would be rounded before they are multiplied. (Wider activations mean nothing anywhere.)
    let compute = precision.compute();
    if precision.weight.is_float() && precision.weight.unit_roundoff() < compute.unit_roundoff() {
        return refused(format!(
            "weights in {} would be rounded before they are multiplied; accumulate in f64, not {compute}",
            precision.weight
        ));
    }
    Ok(())
}

/// How an operation is done at this precision.
pub(crate) fn supports(precision: Precision, operation: &OpSpec) -> Support {
    match operation {
        OpSpec::Matmul { .. } | OpSpec::Attention { .. } => of_activations(precision).and(Support::Native),
        OpSpec::BucketAttention { .. } | OpSpec::LinearAttention { .. } => of_activations(precision).and(Support::Composed),
        OpSpec::Linear { form, inputs, .. } => linear(precision, *form, *inputs),
        OpSpec::GatedFfn { width, hidden, .. } => {
            let form = form_of(precision);
            linear(precision, form, *width).and(linear(precision, form, *hidden)).and(Support::Composed)
        }
        OpSpec::Mixture { form, width, hidden, .. } => {
            linear(precision, *form, *width).and(linear(precision, *form, *hidden)).and(Support::Composed)
        }
        OpSpec::CrossEntropy { form, inputs, .. } => linear(precision, *form, *inputs).and(Support::Composed),
        OpSpec::AddNorm { .. } | OpSpec::LogSoftmax { .. } | OpSpec::SoftmaxTopK { .. } | OpSpec::Rotary { .. } => Support::Composed,
        OpSpec::Unary { op, .. } => op.undefined().map_or(Support::Native, Support::Unsupported),
        OpSpec::Transfer { .. } => Support::Unsupported(NOTHING_TO_TRANSFER.into()),
        OpSpec::Softmax { .. }
        | OpSpec::Normalize { .. }
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

fn of_activations(precision: Precision) -> Support {
    if precision.activation.is_float() {
        return Support::Native;
    }
    let reason = "there is no weight to quantise: a product of two activations has no int8 meaning here; use a floating precision \
                  or a weight-only one such as int8-weight";
    Support::Unsupported(reason.into())
}

/// The form in which a weight of this precision comes, with the group that does not matter here.
fn form_of(precision: Precision) -> WeightForm {
    match precision.weight {
        DType::I8 => WeightForm::Int8PerChannel,
        DType::I4 => WeightForm::Int4Group { group: 1 },
        dtype => WeightForm::Dense(dtype),
    }
}

/// A product with a weight of this form.
pub(crate) fn linear(precision: Precision, form: WeightForm, inputs: usize) -> Support {
    let integer_activations = !precision.activation.is_float();
    match form {
        WeightForm::Int8PerChannel if integer_activations && inputs > LONGEST_INT8_SUM => {
            Support::Unsupported(format!("a sum of more than {LONGEST_INT8_SUM} int8 products can leave i32"))
        }
        WeightForm::Int8PerChannel => Support::Native,
        _ if integer_activations => Support::Unsupported("int8 activations multiply int8 weights only".into()),
        WeightForm::Int4Group { .. } | WeightForm::Palette { .. } => Support::Native,
        WeightForm::Dense(dtype) | WeightForm::Sparse { dtype, .. } => match expect_type(dtype, precision) {
            Ok(()) => Support::Native,
            Err(_) => Support::Unsupported(format!("weights in {dtype} do not fit {}", precision.compute())),
        },
    }
}
