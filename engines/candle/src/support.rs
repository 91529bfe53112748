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
use crossover_core::quantize::LONGEST_INT8_SUM;
use crossover_core::support::{NOTHING_TO_TRANSFER, Support};

use crate::backend::NAME;
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
    precision.check().or_else(refused)?;
    // Operands wider than the sums would be rounded before they are multiplied. (Wider activations mean nothing anywhere.)
    let compute = precision.compute();
    if precision.weight.is_float() && precision.weight.unit_roundoff() < compute.unit_roundoff() {
        return refused(format!("weights in {} would be rounded before they are multiplied; not {compute}", precision.weight));
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
        _ if setting.by_gpu_kernel() && gpu_kernel_serves(setting, operation) => Support::Native,
        OpSpec::Attention { .. } | OpSpec::LinearAttention { .. } => of_activations(precision).and(Support::Composed),
        // Rows are moved by index.
        OpSpec::BucketAttention { .. } => of_activations(precision).and(host()).and(Support::Composed),
        OpSpec::Linear { form, rows, inputs, outputs, .. } => linear(setting, *form, [*rows, *inputs, *outputs]),
        OpSpec::GatedFfn { rows, width, hidden, .. } => {
            let layer = |inputs: usize, outputs: usize| linear(setting, form_of(precision), [*rows, inputs, outputs]);
            layer(*width, *hidden).and(layer(*hidden, *width)).and(Support::Composed)
        }
        OpSpec::Mixture { places, width, hidden, form, .. } => {
            let layer = |inputs: usize, outputs: usize| linear(setting, *form, [*places, inputs, outputs]);
            layer(*width, *hidden).and(layer(*hidden, *width)).and(host()).and(Support::Composed)
        }
        OpSpec::CrossEntropy { rows, inputs, classes, form } => linear(setting, *form, [*rows, *inputs, *classes]).and(Support::Composed),
        OpSpec::LogSoftmax { .. } | OpSpec::AddNorm { .. } | OpSpec::Rotary { .. } | OpSpec::DepthwiseConv { .. } => Support::Composed,
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
        OpSpec::Transfer { .. } if on_cpu => Support::Unsupported(NOTHING_TO_TRANSFER.into()),
        OpSpec::Transfer { .. } => Support::Native,
        OpSpec::Binary { .. } | OpSpec::Mask { .. } | OpSpec::Select { .. } | OpSpec::Copy { .. } => plain,
    }
}

/// Do kernels of ours that are there do this operation at its sizes? The engine asks the same before it calls them.
#[cfg(any(feature = "cuda", test))]
fn gpu_kernel_serves(setting: Setting, operation: &OpSpec) -> bool {
    use crate::cuda::{attention, rows};
    use crossover_core::check::AttentionSizes;
    match *operation {
        OpSpec::Attention { batch, heads, key_heads, head_dim, value_dim, queries, keys, .. } => {
            let sizes = AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim };
            attention::fits(&sizes, setting.gpu_kernels.unwrap_or(0))
        }
        OpSpec::Softmax { rows, classes, .. } => rows::fits(rows, classes, 1),
        OpSpec::Normalize { rows, width, kind } | OpSpec::AddNorm { rows, width, kind } => rows::fits(rows, width, rows::groups_of(kind)),
        _ => false,
    }
}

#[cfg(not(any(feature = "cuda", test)))]
fn gpu_kernel_serves(_: Setting, _: &OpSpec) -> bool {
    false
}

/// An int4 product by the kernel of ours that is there.
#[cfg(any(feature = "cuda", test))]
fn int4_by_gpu_kernel(sizes: [usize; 4]) -> Support {
    crate::cuda::int4::blocks(sizes).map_or_else(Support::Unsupported, |_| Support::Native)
}

#[cfg(not(any(feature = "cuda", test)))]
fn int4_by_gpu_kernel(_: [usize; 4]) -> Support {
    Support::Unsupported("this build has no kernels for a GPU".into())
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

/// A product with a weight of this form: rows, inputs, outputs.
fn linear(setting: Setting, form: WeightForm, [rows, inputs, outputs]: [usize; 3]) -> Support {
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
        WeightForm::Int4Group { group } if setting.by_gpu_kernel() => int4_by_gpu_kernel([rows, inputs, outputs, group]),
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
    use crossover_core::ops::{NormKind, SoftmaxAlgorithm};

    use super::*;

    /// Bytes of shared memory that a block has on a large GPU.
    const PLENTY: usize = 227 << 10;

    fn bf16() -> Precision {
        Precision::new(DType::Bf16, DType::Bf16, DType::F32)
    }

    #[test]
    fn a_refusal_names_what_is_refused_and_nothing_else() {
        let forced = EngineConfig { isa: IsaChoice::Avx2, ..EngineConfig::new(Precision::F32, 1) };
        let error = check_configuration(&forced).unwrap_err().to_string();
        assert_eq!(error, "candle does not support isa avx2: candle chooses its instructions by itself");
        let none = check_configuration(&EngineConfig::new(Precision::F32, 0)).unwrap_err().to_string();
        assert_eq!(none, "candle does not support 0 threads: a call needs at least one");
    }

    /// Whatever the kernels' calls cannot count must not be called native.
    #[test]
    fn a_gpu_kernel_is_promised_only_where_it_can_be_called() {
        let setting = Setting { precision: bf16(), on_cpu: false, training: false, gpu_kernels: Some(PLENTY) };
        let attention = |batch: usize, heads: usize, head_dim: usize, queries: usize| OpSpec::Attention {
            batch,
            heads,
            key_heads: heads,
            head_dim,
            value_dim: head_dim,
            queries,
            keys: queries,
            pairs: 0,
        };
        for (fits, operation) in [
            (true, attention(1, 8, 64, 1024)),
            (true, attention(65_535, 65_535, 256, i32::MAX as usize)),
            (false, attention(1, 8, 257, 1024)),
            (false, attention(65_536, 8, 64, 1024)),
            (false, attention(1, 65_536, 64, 1024)),
            (false, attention(1, 8, 64, 1 << 31)),
        ] {
            assert_eq!(supports(setting, &operation) == Support::Native, fits, "{operation:?}");
        }
        // Halves of this width would fit alone; beside an operand in f32 they are widened.
        let little = Setting { gpu_kernels: Some(100 << 10), ..setting };
        assert_eq!(supports(little, &attention(1, 8, 128, 1024)), Support::Native);
        assert_ne!(supports(little, &attention(1, 8, 256, 1024)), Support::Native);
        let softmax = |rows| OpSpec::Softmax { rows, classes: 1, algorithm: SoftmaxAlgorithm::Stable };
        assert_eq!(supports(setting, &softmax(i32::MAX as usize)), Support::Native);
        assert_ne!(supports(setting, &softmax(1 << 31)), Support::Native);
        let norm = |rows| OpSpec::Normalize { rows, width: 8, kind: NormKind::Group { groups: 4 } };
        assert_eq!(supports(setting, &norm(1 << 28)), Support::Native);
        assert_ne!(supports(setting, &norm(1 << 29)), Support::Native);
    }

    /// 524,280 rows were once the most.
    #[test]
    fn an_int4_product_has_any_number_of_rows_that_a_gpu_could_hold() {
        let setting = Setting { precision: Precision::F32, on_cpu: false, training: false, gpu_kernels: Some(PLENTY) };
        let answer = |rows, outputs| linear(setting, WeightForm::Int4Group { group: 32 }, [rows, 64, outputs]);
        assert_eq!(answer(600_000, 4096), Support::Native);
        assert_eq!(answer(1, 1_000_000), Support::Native);
        let refused = |[rows, inputs, outputs, group]: [usize; 4]| {
            let answer = linear(setting, WeightForm::Int4Group { group }, [rows, inputs, outputs]);
            let Support::Unsupported(reason) = answer else { panic!("{answer:?}") };
            reason.strip_suffix(" are more than the int4 kernel counts").map(str::to_owned).unwrap_or(reason)
        };
        assert_eq!(refused([1 << 30, 64, 1 << 12, 32]), "1073741824 rows by 4096 outputs");
        assert_eq!(refused([1, 1 << 31, 1, 32]), "2147483648 inputs");
        assert_eq!(refused([1, 64, 1 << 31, 32]), "2147483648 outputs");
        assert_eq!(refused([1 << 31, 64, 1, 32]), "2147483648 rows");
        assert_eq!(refused([1, 64, 1, 1 << 31]), "2147483648 inputs of a group");
    }
}
