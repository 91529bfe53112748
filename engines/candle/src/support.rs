//! What this engine can be built for, and how it does each operation.
//!
//! Native: a candle operation, or a kernel of ours inside candle, of the asked types. Composed: several of them. Emulated: candle has no
//! product of these types, and another one stands in. Half-precision tensors are widened to the compute type (which is what their
//! precision asks elementwise work to be done in), so that is composed; their products are emulated.

use crossover_core::backend::EngineConfig;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result};
use crossover_core::isa::IsaChoice;
use crossover_core::ops::{OpSpec, ReduceOp, UnaryOp, WeightForm};
use crossover_core::support::Support;

use crate::backend::NAME;
use crate::linear::LONGEST_INT8_SUM;
use crate::weight::expect_type;

/// What an answer depends on besides the operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) precision: Precision,
    /// Tensors are in the host's memory.
    pub(crate) on_cpu: bool,
    /// Operations are recorded.
    pub(crate) training: bool,
    /// Bytes of shared memory for kernels of ours on a GPU, where there are some.
    pub(crate) gpu_kernels: Option<usize>,
}

impl Setting {
    /// A kernel of ours does this on the GPU: in one pass, of the asked types, with sums in f32.
    fn by_gpu_kernel(self) -> bool {
        self.gpu_kernels.is_some() && self.precision.compute() == DType::F32 && self.precision.activation.is_float()
    }
}

/// Refuses configurations that no operation here would mean.
pub(crate) fn check_configuration(config: &EngineConfig) -> Result<()> {
    let precision = config.precision;
    let refusal = |operation: String, reason: String| Err(EngineError::Unsupported { engine: NAME, operation, reason });
    if config.threads == 0 {
        return refusal("0 threads".into(), "a call needs at least one".into());
    }
    if config.isa != IsaChoice::Auto {
        return refusal(format!("isa {}", config.isa), "candle chooses its instructions by itself".into());
    }
    let refused = |reason: String| refusal(format!("precision {precision}"), reason);
    let (storage, compute) = (precision.storage(), precision.compute());
    if !matches!(compute, DType::F64 | DType::F32) {
        return refused(format!("sums are in f64 or f32, not in {compute}"));
    }
    let wider = |dtype: DType| dtype.is_float() && dtype.unit_roundoff() < compute.unit_roundoff();
    if wider(storage) || wider(precision.weight) {
        return refused(format!("operands wider than the sums would be rounded before they are multiplied; not {compute}"));
    }
    let integer_activations = precision.activation == DType::I8;
    if integer_activations != (precision.accumulate == DType::I32) || (integer_activations && precision.weight != DType::I8) {
        return refused("int8 activations go with int8 weights and i32 sums, and only with them".into());
    }
    if (!precision.activation.is_float() && !integer_activations) || precision.weight == DType::I32 {
        return refused("activations are f64, f32, bf16, f16 or int8; weights also int4".into());
    }
    Ok(())
}

/// How an operation is done.
pub(crate) fn supports(setting: Setting, operation: &OpSpec) -> Support {
    let Setting { precision, on_cpu, training, .. } = setting;
    let plain = if precision.storage() == precision.compute() { Support::Native } else { Support::Composed };
    // Where our kernels cannot run, candle's operations are put together.
    let kernel = if on_cpu && !training { plain.clone() } else { Support::Composed };
    let host = || if on_cpu { plain.clone() } else { Support::Emulated("done in the host's memory, with a transfer each way".into()) };
    match operation {
        OpSpec::Matmul { .. } => of_activations(precision),
        OpSpec::Attention { head_dim, value_dim, .. } if setting.by_gpu_kernel() && attention_fits(setting, *head_dim, *value_dim) => {
            Support::Native
        }
        OpSpec::Softmax { .. } | OpSpec::Normalize { .. } | OpSpec::AddNorm { .. } if setting.by_gpu_kernel() => Support::Native,
        OpSpec::Attention { .. } | OpSpec::LinearAttention { .. } => of_activations(precision).and(Support::Composed),
        OpSpec::Linear { form, inputs, .. } => linear(setting, *form, *inputs),
        OpSpec::GatedFfn { width, hidden, .. } => {
            let form = form_of(precision);
            linear(setting, form, *width).and(linear(setting, form, *hidden)).and(Support::Composed)
        }
        OpSpec::AddNorm { .. } | OpSpec::Rotary { .. } | OpSpec::DepthwiseConv { .. } => Support::Composed,
        OpSpec::SoftmaxTopK { .. } => host().and(Support::Composed),
        OpSpec::Unary { op, .. } => match (op.undefined(), op) {
            (Some(reason), _) => Support::Unsupported(reason),
            (None, UnaryOp::ExpTable { .. }) if !on_cpu || training => {
                Support::Unsupported("a table of exponentials exists on the CPU only, and has no gradient".into())
            }
            _ => kernel,
        },
        OpSpec::Softmax { .. } | OpSpec::Normalize { .. } | OpSpec::CumulativeSum { .. } => kernel,
        OpSpec::Reduce { op: ReduceOp::ArgMax, .. } => host(),
        OpSpec::Reduce { .. } => kernel,
        OpSpec::StableArgSort { .. } | OpSpec::TopK { .. } | OpSpec::GatherRows { .. } | OpSpec::ScatterAddRows { .. } => host(),
        OpSpec::Binary { .. } | OpSpec::Mask { .. } | OpSpec::Select { .. } | OpSpec::Copy { .. } => plain,
    }
}

/// The attention kernel's widths and its shared memory.
#[cfg(feature = "cuda")]
fn attention_fits(setting: Setting, head_dim: usize, value_dim: usize) -> bool {
    use crate::cuda::{Element, attention};
    let element = match setting.precision.storage() {
        DType::Bf16 => Element::Bf16,
        DType::F16 => Element::F16,
        _ => Element::F32,
    };
    let most = setting.gpu_kernels.unwrap_or(0);
    head_dim.max(value_dim) <= attention::WIDEST && attention::shared(element, head_dim, value_dim) <= most
}

#[cfg(not(feature = "cuda"))]
fn attention_fits(_: Setting, _: usize, _: usize) -> bool {
    false
}

/// A product of two activations.
fn of_activations(precision: Precision) -> Support {
    let (storage, compute) = (precision.storage(), precision.compute());
    if !precision.activation.is_float() {
        let reason = "there is no weight to quantise: a product of two activations has no int8 meaning here; use a floating precision \
                      or a weight-only one such as int8-weight";
        return Support::Unsupported(reason.into());
    }
    if storage == compute { Support::Native } else { Support::Emulated(widened(storage, compute)) }
}

fn widened(storage: DType, compute: DType) -> String {
    format!("candle has no {storage} product with sums in {compute}: the operands are widened to {compute} at every call")
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
pub(crate) fn linear(setting: Setting, form: WeightForm, inputs: usize) -> Support {
    let precision = setting.precision;
    let (storage, compute) = (precision.storage(), precision.compute());
    if !precision.activation.is_float() {
        return match form {
            WeightForm::Int8PerChannel if inputs > LONGEST_INT8_SUM => {
                Support::Unsupported(format!("a sum of more than {LONGEST_INT8_SUM} int8 products can leave i32"))
            }
            WeightForm::Int8PerChannel if !setting.on_cpu => Support::Unsupported("rows are quantised to int8 on the CPU only".into()),
            WeightForm::Int8PerChannel => {
                Support::Emulated("candle has no integer product: the codes are multiplied in f64, where their sums are exact".into())
            }
            _ => Support::Unsupported("int8 activations multiply int8 weights only".into()),
        };
    }
    match form {
        WeightForm::Dense(dtype) | WeightForm::Sparse { dtype, .. } if expect_type(dtype, precision).is_err() => {
            Support::Unsupported(format!("weights in {dtype} do not fit {compute}"))
        }
        WeightForm::Int4Group { .. } if setting.by_gpu_kernel() => Support::Native,
        WeightForm::Dense(dtype) if dtype == compute && storage == compute => Support::Native,
        WeightForm::Dense(_) if storage != compute => Support::Emulated(widened(storage, compute)),
        WeightForm::Dense(dtype) => {
            Support::Emulated(format!("candle has no product of {storage} by {dtype}: weights are held as {compute}"))
        }
        WeightForm::Sparse { .. } => Support::Emulated(format!("candle has no sparse product: weights are held dense, as {compute}")),
        WeightForm::Int8PerChannel | WeightForm::Int4Group { .. } | WeightForm::Palette { .. } => {
            Support::Emulated(format!("candle has no product with these codes: weights are dequantised to {compute} when prepared"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_is_refused_and_nothing_else() {
        let forced = EngineConfig { isa: IsaChoice::Avx2, ..EngineConfig::new(Precision::F32, 1) };
        let error = check_configuration(&forced).unwrap_err().to_string();
        assert_eq!(error, "candle does not support isa avx2: candle chooses its instructions by itself");
        let none = check_configuration(&EngineConfig::new(Precision::F32, 0)).unwrap_err().to_string();
        assert_eq!(none, "candle does not support 0 threads: a call needs at least one");
    }
}
