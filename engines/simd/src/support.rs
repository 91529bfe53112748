//! What this engine can be built for, and how it does each operation.
//!
//! # What is called native
//! An operation on rows (softmax, norms, elementwise) computes in f32 and rounds once, which is what every precision asks for: native. A
//! product is native where a kernel multiplies operands of the asked types: f32 and f64; bf16 by the instruction for pairs of bf16; int8
//! codes in integers; and weights held narrow (codes, 16-bit floats) under f32 activations, where the precision itself asks for f32
//! products of what the weights stand for. A product of 16-bit activations without an instruction for them is widened and multiplied as
//! singles. Its results are those of exact products with f32 sums, but its speed is that of f32: emulated. Attention of a few rows on bf16
//! operands is bound by reading keys and values, and widens them on the way: native where attention of many rows is.

use crossover_core::backend::EngineConfig;
use crossover_core::dtype::{DType, PRECISION_PRESETS, Precision};
use crossover_core::error::{EngineError, Result};
use crossover_core::isa::IsaChoice;
use crossover_core::ops::{OpSpec, WeightForm};
use crossover_core::quantize::LONGEST_INT8_SUM;
use crossover_core::support::{NOTHING_TO_TRANSFER, Support};

use crate::backend::NAME;
use crate::isa::{Extras, Isa};
use crate::{attention, mixture};

/// The precisions whose layers are native on this machine.
pub(crate) fn native_precisions() -> Vec<&'static str> {
    let extras = Extras::of(Isa::best(), IsaChoice::Auto);
    let native = |precision: Precision| linear(extras, precision, WeightForm::of(precision), 1) == Way::Native;
    PRECISION_PRESETS.iter().filter(|(_, precision)| native(*precision)).map(|(name, _)| *name).collect()
}

/// Refuses configurations that the kernels do not cover.
pub(crate) fn check_configuration(config: &EngineConfig) -> Result<()> {
    let precision = config.precision;
    let refusal = |operation: String, reason: String| Err(EngineError::Unsupported { engine: NAME, operation, reason });
    if config.threads == 0 {
        return refusal("0 threads".into(), "a call needs at least one".into());
    }
    let refused = |reason: String| refusal(format!("precision {precision}"), reason);
    precision.check().or_else(refused)?;
    // What is valid and has no kernel: sums wider than the numbers that they are of, weights wider than their sums.
    match (precision.compute(), precision.storage()) {
        (DType::F64, DType::F64) => Ok(()),
        (DType::F64, _) => refused("sums in f64 are of f64 activations only".into()),
        _ if precision.weight == DType::F64 => refused("weights in f64 do not fit sums in f32".into()),
        _ => Ok(()),
    }
}

/// Why an operation is not native. A value: operations ask before each call, and a warm call allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Native,
    Widened(DType),
    WidenedWeight,
    WidenedEntries(DType),
    NoWeight,
    Int8Only,
    TooLong,
    TooWide,
}

impl Way {
    fn refuses(self) -> bool {
        matches!(self, Self::NoWeight | Self::Int8Only | Self::TooLong | Self::TooWide)
    }

    fn support(self) -> Support {
        match self {
            Self::Native => Support::Native,
            Self::Widened(narrow) => Support::Emulated(format!("{narrow} operands are widened and multiplied as f32")),
            Self::WidenedWeight => Support::Emulated("the weight is widened to dense f64 when it is prepared".into()),
            Self::WidenedEntries(narrow) => Support::Emulated(format!("stored entries in {narrow} are held as f32")),
            Self::NoWeight => Support::Unsupported(
                "there is no weight to quantise: a product of two activations has no int8 meaning here; use a floating precision or a \
                 weight-only one such as int8-weight"
                    .into(),
            ),
            Self::Int8Only => Support::Unsupported("int8 activations multiply int8 weights only".into()),
            Self::TooLong => Support::Unsupported(format!("a sum of more than {LONGEST_INT8_SUM} int8 products can leave i32")),
            Self::TooWide => Support::Unsupported("weights in f64 do not fit sums in f32".into()),
        }
    }
}

/// Why a product must not be called, if so.
pub(crate) fn refusal(extras: Extras, precision: Precision, operation: &OpSpec) -> Option<Support> {
    let way = match operation {
        OpSpec::Linear { form, inputs, .. } | OpSpec::CrossEntropy { form, inputs, .. } => linear(extras, precision, *form, *inputs),
        OpSpec::Mixture { form, width, hidden, .. } => linear(extras, precision, *form, *width.max(hidden)),
        OpSpec::Matmul { .. } | OpSpec::Attention { .. } | OpSpec::BucketAttention { .. } | OpSpec::LinearAttention { .. } => {
            of_activations(extras, precision)
        }
        OpSpec::Unary { op, .. } => return op.undefined().map(Support::Unsupported),
        _ => return None,
    };
    way.refuses().then(|| way.support())
}

/// How an operation is done at this precision.
pub(crate) fn supports(extras: Extras, precision: Precision, operation: &OpSpec) -> Support {
    match operation {
        OpSpec::Linear { form, inputs, .. } | OpSpec::CrossEntropy { form, inputs, .. } => {
            linear(extras, precision, *form, *inputs).support()
        }
        OpSpec::Matmul { .. } => of_activations(extras, precision).support(),
        // Operands of 16 bits are widened by the composition.
        OpSpec::LinearAttention { .. } if precision.storage() == precision.compute() => of_activations(extras, precision).support(),
        OpSpec::LinearAttention { .. } => of_activations(extras, precision).support().and(Support::Composed),
        OpSpec::Attention { head_dim, .. } | OpSpec::BucketAttention { width: head_dim, .. } => {
            of_activations(extras, precision).support().and(if attention::takes(*head_dim) { Support::Native } else { Support::Composed })
        }
        OpSpec::Mixture { form, width, hidden, .. } => {
            let layers = linear(extras, precision, *form, *width.max(hidden)).support();
            if mixture::takes(precision, *form) { layers } else { layers.and(Support::Composed) }
        }
        OpSpec::GatedFfn { width, hidden, .. } => {
            let way = |inputs: usize| linear(extras, precision, WeightForm::of(precision), inputs).support();
            way(*width).and(way(*hidden)).and(Support::Composed)
        }
        OpSpec::Unary { op, .. } => op.undefined().map_or(Support::Native, Support::Unsupported),
        OpSpec::Transfer { .. } => Support::Unsupported(NOTHING_TO_TRANSFER.into()),
        OpSpec::Softmax { .. }
        | OpSpec::LogSoftmax { .. }
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

/// A product of two activations.
fn of_activations(extras: Extras, precision: Precision) -> Way {
    match precision.activation {
        DType::I8 => Way::NoWeight,
        DType::Bf16 if extras.bf16 => Way::Native,
        narrow @ (DType::Bf16 | DType::F16) => Way::Widened(narrow),
        _ => Way::Native,
    }
}

/// A product with a weight of this form.
fn linear(extras: Extras, precision: Precision, form: WeightForm, inputs: usize) -> Way {
    match (precision.activation, form) {
        (DType::I8, WeightForm::Int8PerChannel) if inputs > LONGEST_INT8_SUM => Way::TooLong,
        (DType::I8, WeightForm::Int8PerChannel) => Way::Native,
        (DType::I8, _) => Way::Int8Only,
        (DType::F64, WeightForm::Dense(DType::F64)) => Way::Native,
        (DType::F64, _) => Way::WidenedWeight,
        (_, WeightForm::Dense(DType::F64) | WeightForm::Sparse { dtype: DType::F64, .. }) => Way::TooWide,
        (DType::F32, WeightForm::Sparse { dtype: narrow @ (DType::Bf16 | DType::F16), .. }) => Way::WidenedEntries(narrow),
        (DType::Bf16, WeightForm::Dense(DType::Bf16)) if extras.bf16 => Way::Native,
        (narrow @ (DType::Bf16 | DType::F16), _) => Way::Widened(narrow),
        _ => Way::Native,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_native_where_there_is_an_instruction_for_it() {
        let bf16: Precision = "bf16".parse().unwrap();
        let product = OpSpec::Matmul { batch: 1, m: 1, n: 1, k: 1 };
        let with = |bf16: bool| Extras { bf16, vnni: false, amx: false };
        assert_eq!(supports(with(true), bf16, &product), Support::Native);
        assert!(matches!(supports(with(false), bf16, &product), Support::Emulated(_)));
        let mixed = WeightForm::Int8PerChannel;
        assert_eq!(linear(with(true), bf16, mixed, 8), Way::Widened(DType::Bf16), "bf16 times what int8 stands for");
    }

    #[test]
    fn every_preset_is_taken_and_senseless_triples_are_not() {
        for (name, precision) in PRECISION_PRESETS {
            check_configuration(&EngineConfig::new(precision, 1)).unwrap();
            let own = linear(Extras { bf16: true, vnni: true, amx: false }, precision, WeightForm::of(precision), 64);
            assert_eq!(own == Way::Native, name != "f16", "{name}: {own:?}");
        }
        for (weight, activation, accumulate) in
            [(DType::F64, DType::F32, DType::F32), (DType::I4, DType::I8, DType::I32), (DType::F32, DType::Bf16, DType::F64)]
        {
            assert!(check_configuration(&EngineConfig::new(Precision::new(weight, activation, accumulate), 1)).is_err());
        }
    }

    #[test]
    fn sums_that_can_leave_i32_are_refused() {
        let (int8, extras) = ("int8".parse().unwrap(), Extras { bf16: false, vnni: false, amx: false });
        assert_eq!(linear(extras, int8, WeightForm::Int8PerChannel, LONGEST_INT8_SUM), Way::Native);
        assert!(linear(extras, int8, WeightForm::Int8PerChannel, LONGEST_INT8_SUM + 1).refuses());
    }
}
