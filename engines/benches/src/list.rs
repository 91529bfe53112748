//! Which operations are timed, at which shapes.
//!
//! The small shape of each operation stands first and is one that plain loops manage; the others are those for which the engines have
//! targets: products of a Transformer's sizes, a decoder's steps of one and eight rows, rows out of every cache (4096 rows of 768 singles
//! are 12.6 MB each way), attention of 12 heads of 64.

use crossover_core::activation::Activation;
use crossover_core::check::MixtureSizes;
use crossover_core::cost::Cost;
use crossover_core::dtype::{DType, Precision};
use crossover_core::ops::{BinaryOp, LinearSpec, NormKind, OpSpec, ReduceOp, SoftmaxAlgorithm, UnaryOp, WeightForm};
use crossover_core::pattern::AttentionPattern;
use crossover_core::sparse::Structure;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// The right operand as it stands, or as the transpose of what stands in memory.
    Matmul {
        is_transposed: bool,
    },
    /// A dense weight in the precision's form.
    Linear,
    /// A weight of which the last size is the share that is kept, in percent, anywhere.
    LinearCsr,
    /// A weight of which every second pair of inputs is kept.
    LinearTwoOfFour,
    Softmax(SoftmaxAlgorithm),
    LogSoftmax,
    Norm(NormKind),
    Unary(UnaryOp),
    Binary(BinaryOp),
    Reduce(ReduceOp),
    CausalMask,
    Select,
    Copy,
    GatherRows,
    ScatterAddRows,
    StableArgsort,
    TopK,
    CumulativeSum,
    DepthwiseConv,
    Attention(Seen),
    /// Inside the chunks of a sorted sequence; keys have an order of their own.
    Buckets {
        is_causal: bool,
    },
    LinearAttention {
        is_causal: bool,
    },
    AddNorm,
    GatedFfn,
    SoftmaxTopK,
    /// The best of several experts for each token, with a quarter more places than tokens.
    Mixture,
    /// Over one tile: all words at once.
    CrossEntropy,
    Rotary,
}

/// Which keys a query sees; the last query sees the last key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Seen {
    All,
    Earlier,
    /// So many to either side: the last size.
    Near,
}

/// One entry of the list.
#[derive(Debug, PartialEq)]
pub struct Operation {
    /// Its name, in the style of variants.
    pub name: &'static str,
    /// Names of its sizes, in their order.
    pub axes: &'static [&'static str],
    /// The shapes at which it is timed, the smallest first.
    pub shapes: &'static [&'static [usize]],
    pub(crate) kind: Kind,
}

const PRODUCTS: &[&[usize]] =
    &[&[128, 128, 128], &[512, 512, 512], &[1024, 1024, 1024], &[2048, 2048, 2048], &[512, 3072, 768], &[128, 768, 768]];
/// The products of layers, and a decoder's steps.
const LAYERS: &[&[usize]] = &[
    &[32, 256, 256],
    &[512, 512, 512],
    &[1024, 1024, 1024],
    &[2048, 2048, 2048],
    &[512, 3072, 768],
    &[128, 768, 768],
    &[1, 4096, 4096],
    &[8, 4096, 4096],
];
/// Rows that a weight of narrow codes is timed with: it is a decoder's steps that they are for.
const ROWS_OF_A_STEP: usize = 32;
const ROWS: &[&[usize]] = &[&[64, 512], &[4096, 768]];
const SORTED: &[&[usize]] = &[&[64, 512], &[256, 4096]];
const SCORES: &[&[usize]] = &[&[256, 256], &[2048, 2048]];
const HEADS: &[&[usize]] = &[&[2, 64, 256, 256], &[12, 64, 512, 512], &[12, 64, 2048, 2048]];
const HEADS_AND_A_STEP: &[&[usize]] = &[&[2, 64, 256, 256], &[12, 64, 2048, 2048], &[12, 64, 1, 4096]];

const MNK: &[&str] = &["m", "n", "k"];
const LAYER: &[&str] = &["rows", "outputs", "inputs"];
const ROW: &[&str] = &["rows", "width"];
const CLASSES: &[&str] = &["rows", "classes"];
const TOP: &[&str] = &["rows", "width", "k"];
const ATTENTION: &[&str] = &["heads", "head_dim", "queries", "keys"];
const BUCKETS: &[&str] = &["heads", "head_dim", "n", "chunk"];
const CHUNKS: &[&[usize]] = &[&[2, 32, 256, 32], &[8, 64, 1024, 64], &[8, 64, 1024, 256]];
const FEATURES: &[&str] = &["heads", "n", "features", "value_dim"];

const fn entry(name: &'static str, kind: Kind, axes: &'static [&'static str], shapes: &'static [&'static [usize]]) -> Operation {
    Operation { name, axes, shapes, kind }
}

/// All of it.
pub static OPERATIONS: [Operation; 38] = [
    entry("matmul", Kind::Matmul { is_transposed: false }, MNK, PRODUCTS),
    entry("matmul-transposed", Kind::Matmul { is_transposed: true }, MNK, PRODUCTS),
    entry("linear", Kind::Linear, LAYER, LAYERS),
    entry(
        "linear-csr",
        Kind::LinearCsr,
        &["rows", "outputs", "inputs", "kept"],
        &[&[16, 128, 256, 10], &[128, 768, 3072, 10], &[128, 768, 3072, 50]],
    ),
    entry("linear-2-of-4", Kind::LinearTwoOfFour, LAYER, &[&[16, 128, 256], &[128, 768, 3072]]),
    entry("softmax-naive", Kind::Softmax(SoftmaxAlgorithm::Naive), CLASSES, ROWS),
    entry("softmax-stable", Kind::Softmax(SoftmaxAlgorithm::Stable), CLASSES, ROWS),
    entry("softmax-online", Kind::Softmax(SoftmaxAlgorithm::Online), CLASSES, ROWS),
    entry("log-softmax", Kind::LogSoftmax, CLASSES, ROWS),
    entry("layer-norm", Kind::Norm(NormKind::Layer), ROW, ROWS),
    entry("rms-norm", Kind::Norm(NormKind::Rms), ROW, ROWS),
    entry("gelu", Kind::Unary(UnaryOp::Activation(Activation::Gelu)), ROW, ROWS),
    entry("exp", Kind::Unary(UnaryOp::Exp), ROW, ROWS),
    entry("add", Kind::Binary(BinaryOp::Add), ROW, ROWS),
    entry("sum", Kind::Reduce(ReduceOp::Sum), ROW, ROWS),
    entry("arg-max", Kind::Reduce(ReduceOp::ArgMax), ROW, ROWS),
    entry("mask-causal", Kind::CausalMask, &["rows", "columns"], SCORES),
    entry("select", Kind::Select, ROW, ROWS),
    entry("copy", Kind::Copy, ROW, ROWS),
    entry("gather-rows", Kind::GatherRows, ROW, ROWS),
    entry("scatter-add-rows", Kind::ScatterAddRows, ROW, ROWS),
    entry("stable-argsort", Kind::StableArgsort, ROW, SORTED),
    entry("top-k", Kind::TopK, TOP, &[&[64, 512, 8], &[256, 4096, 32]]),
    entry("cumulative-sum", Kind::CumulativeSum, ROW, ROWS),
    entry("depthwise-conv", Kind::DepthwiseConv, &["n", "channels", "kernel"], &[&[64, 128, 5], &[2048, 768, 5]]),
    entry("attention-full", Kind::Attention(Seen::All), ATTENTION, HEADS),
    entry("attention-causal", Kind::Attention(Seen::Earlier), ATTENTION, HEADS_AND_A_STEP),
    entry(
        "attention-window",
        Kind::Attention(Seen::Near),
        &["heads", "head_dim", "queries", "keys", "window"],
        &[&[2, 64, 256, 256, 32], &[12, 64, 2048, 2048, 256]],
    ),
    entry("bucket-attention", Kind::Buckets { is_causal: false }, BUCKETS, CHUNKS),
    entry("bucket-attention-causal", Kind::Buckets { is_causal: true }, BUCKETS, CHUNKS),
    entry("linear-attention", Kind::LinearAttention { is_causal: false }, FEATURES, &[&[2, 128, 32, 32], &[12, 2048, 64, 64]]),
    entry("linear-attention-causal", Kind::LinearAttention { is_causal: true }, FEATURES, &[&[2, 128, 32, 32], &[12, 2048, 64, 64]]),
    entry("add-norm", Kind::AddNorm, ROW, ROWS),
    entry("gated-ffn", Kind::GatedFfn, &["rows", "width", "hidden"], &[&[16, 64, 128], &[128, 768, 3072]]),
    entry(
        "mixture",
        Kind::Mixture,
        &["tokens", "width", "hidden", "experts"],
        &[&[16, 64, 128, 4], &[128, 256, 1024, 8], &[64, 256, 1024, 16]],
    ),
    entry("softmax-top-k", Kind::SoftmaxTopK, &["rows", "classes", "k"], &[&[64, 512, 8], &[256, 32768, 8]]),
    entry("cross-entropy", Kind::CrossEntropy, &["rows", "classes", "inputs"], &[&[64, 512, 64], &[128, 32768, 256]]),
    entry("rotary", Kind::Rotary, &["heads", "n", "head_dim"], &[&[2, 64, 64], &[12, 2048, 64]]),
];

/// One operation at one shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// The operation.
    pub operation: &'static Operation,
    /// Its sizes, in the order of its axes: one of its shapes.
    pub shape: &'static [usize],
}

impl Operation {
    /// It at each of its shapes.
    pub fn cases(&'static self) -> impl Iterator<Item = Case> {
        self.shapes.iter().map(move |shape| Case { operation: self, shape })
    }

    /// Weights may be narrower than what they multiply, and only where there are any.
    fn takes(&self, precision: Precision) -> bool {
        let is_plain = precision.weight == precision.activation && precision.activation.is_float();
        is_plain || matches!(self.kind, Kind::Linear | Kind::GatedFfn)
    }
}

impl Case {
    /// Is it there to be timed at that precision?
    pub fn takes(&self, precision: Precision) -> bool {
        let is_weight_only = precision.weight != precision.activation;
        self.operation.takes(precision) && (!is_weight_only || self.shape[0] <= ROWS_OF_A_STEP)
    }

    /// The operation with its sizes, as engines are asked for their support of it.
    pub fn spec(&self, precision: Precision) -> OpSpec {
        let at = |axis: usize| self.shape.get(axis).copied().unwrap_or(0);
        let (rows, width) = (at(0), at(1));
        match self.operation.kind {
            Kind::Matmul { .. } => OpSpec::Matmul { batch: 1, m: at(0), n: at(1), k: at(2) },
            Kind::Linear => layer(self.shape, WeightForm::of(precision)),
            Kind::LinearCsr => {
                let stored = kept(self.shape).iter().filter(|kept| **kept).count();
                layer(self.shape, WeightForm::Sparse { dtype: precision.weight, structure: Structure::Unstructured, stored })
            }
            Kind::LinearTwoOfFour => {
                let (structure, stored) = (Structure::NofM { n: 2, m: 4 }, at(1) * at(2) / 2);
                layer(self.shape, WeightForm::Sparse { dtype: precision.weight, structure, stored })
            }
            Kind::Softmax(algorithm) => OpSpec::Softmax { rows, classes: width, algorithm },
            Kind::LogSoftmax => OpSpec::LogSoftmax { rows, classes: width },
            Kind::Norm(kind) => OpSpec::Normalize { rows, width, kind },
            Kind::Unary(op) => OpSpec::Unary { elements: rows * width, op },
            Kind::Binary(op) => OpSpec::Binary { elements: rows * width, op },
            Kind::Reduce(op) => OpSpec::Reduce { rows, width, op },
            Kind::CausalMask => OpSpec::Mask { rows, columns: width },
            Kind::Select => OpSpec::Select { elements: rows * width },
            Kind::Copy => OpSpec::Copy { elements: rows * width },
            Kind::GatherRows => OpSpec::GatherRows { rows, width },
            Kind::ScatterAddRows => OpSpec::ScatterAddRows { rows, width },
            Kind::StableArgsort => OpSpec::StableArgSort { rows, width },
            Kind::TopK => OpSpec::TopK { rows, width, k: at(2) },
            Kind::CumulativeSum => OpSpec::CumulativeSum { rows, width },
            Kind::DepthwiseConv => OpSpec::DepthwiseConv { rows, channels: width, kernel: at(2) },
            Kind::Attention(_) => self.attention(),
            Kind::Buckets { is_causal } => {
                OpSpec::BucketAttention { batch_heads: at(0), width: at(1), n: at(2), chunk: at(3), causal: is_causal, orders: 2 }
            }
            Kind::LinearAttention { is_causal } => OpSpec::LinearAttention {
                batch_heads: at(0),
                queries: at(1),
                keys: at(1),
                features: at(2),
                value_dim: at(3),
                causal: is_causal,
            },
            Kind::AddNorm => OpSpec::AddNorm { rows, width, kind: NormKind::Layer },
            Kind::GatedFfn => OpSpec::GatedFfn { rows, width, hidden: at(2), activation: Activation::Silu },
            Kind::Mixture => self.mixture().operation(LinearSpec { activation: Activation::Gelu }, WeightForm::of(precision)),
            Kind::SoftmaxTopK => OpSpec::SoftmaxTopK { rows, classes: width, k: at(2) },
            Kind::CrossEntropy => OpSpec::CrossEntropy { rows, inputs: at(2), classes: width, form: WeightForm::of(precision) },
            Kind::Rotary => OpSpec::Rotary { rows: at(0) * at(1), width: at(2) },
        }
    }

    /// The sizes of a mixture of experts.
    pub(crate) fn mixture(&self) -> MixtureSizes {
        let [tokens, width, hidden, experts] = [0, 1, 2, 3].map(|axis| self.shape.get(axis).copied().unwrap_or(1));
        MixtureSizes { tokens, choices: 1, places: (5 * tokens).div_ceil(4 * experts), experts, width, hidden }
    }

    fn attention(&self) -> OpSpec {
        let at = |axis: usize| self.shape.get(axis).copied().unwrap_or(0);
        let (heads, head_dim, queries, keys) = (at(0), at(1), at(2), at(3));
        let pairs = self.pattern().visible_pairs(self.query_offset(), queries, keys);
        OpSpec::Attention { batch: 1, heads, key_heads: heads, head_dim, value_dim: head_dim, queries, keys, pairs }
    }

    /// Which pairs an attention looks at; that of a mask is causal.
    pub(crate) fn pattern(&self) -> AttentionPattern {
        let window = self.shape.get(4).copied().unwrap_or(0);
        match self.operation.kind {
            Kind::Attention(Seen::All) => AttentionPattern::Full,
            Kind::Attention(Seen::Near) => AttentionPattern::Window { left: window, right: window },
            _ => AttentionPattern::Causal,
        }
    }

    /// The last query of an attention sees the last key.
    pub(crate) fn query_offset(&self) -> usize {
        self.shape.get(3).zip(self.shape.get(2)).map_or(0, |(keys, queries)| keys.saturating_sub(*queries))
    }

    /// Operations and compulsory bytes of a call, by the cost model of the cells.
    ///
    /// One operation has another cost here. The model counts a mask as a pass over all scores, as nothing in the operation says how many pairs
    /// it masks; here that is known, and a call need only write these.
    pub fn cost(&self, precision: Precision) -> Cost {
        if self.operation.kind != Kind::CausalMask {
            return self.spec(precision).cost(precision);
        }
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let masked = (rows as u64 * columns as u64).saturating_sub(AttentionPattern::Causal.visible_pairs(0, rows, columns));
        let bytes = precision.storage().bytes(1).unwrap_or(8) as u64;
        Cost { flops: 0, bytes_read: 0, bytes_written: masked * bytes }
    }
}

fn layer(shape: &[usize], form: WeightForm) -> OpSpec {
    let [rows, outputs, inputs] = [0, 1, 2].map(|axis| shape[axis]);
    OpSpec::Linear { rows, inputs, outputs, form, spec: LinearSpec { activation: Activation::None }, bias: false }
}

/// The entries of a sparse weight that are kept: scattered, and the same everywhere.
pub(crate) fn kept(shape: &[usize]) -> Vec<bool> {
    let [outputs, inputs, percent] = [1, 2, 3].map(|axis| shape[axis]);
    (0..outputs * inputs).map(|at| (at.wrapping_mul(2_654_435_761) >> 8) % 100 < percent).collect()
}

/// The type of indices.
pub(crate) const INDEX: DType = DType::I32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::mem::{Discriminant, discriminant};

    use super::*;

    fn cases() -> impl Iterator<Item = Case> {
        OPERATIONS.iter().flat_map(Operation::cases)
    }

    #[test]
    fn shapes_have_the_sizes_that_their_axes_name() {
        for case in cases() {
            assert_eq!(case.shape.len(), case.operation.axes.len(), "{case:?}");
            assert!(case.shape.iter().all(|size| *size > 0), "{case:?}");
        }
        let names: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), OPERATIONS.len(), "two operations have one name");
    }

    #[test]
    fn every_operation_that_has_a_cost_is_timed() {
        let specs: Vec<Discriminant<OpSpec>> = cases().map(|case| discriminant(&case.spec(Precision::F32))).collect();
        let distinct = specs.iter().enumerate().filter(|(at, spec)| !specs[..*at].contains(spec)).count();
        // All but transfers; a new operation of the trait makes the match below incomplete, and then wants an entry.
        assert_eq!(distinct, 26);
        let is_timed = |spec: OpSpec| match spec {
            OpSpec::Transfer { .. } => false,
            OpSpec::Matmul { .. }
            | OpSpec::Linear { .. }
            | OpSpec::Softmax { .. }
            | OpSpec::LogSoftmax { .. }
            | OpSpec::Normalize { .. }
            | OpSpec::Unary { .. }
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
            | OpSpec::DepthwiseConv { .. }
            | OpSpec::Attention { .. }
            | OpSpec::BucketAttention { .. }
            | OpSpec::LinearAttention { .. }
            | OpSpec::AddNorm { .. }
            | OpSpec::GatedFfn { .. }
            | OpSpec::Mixture { .. }
            | OpSpec::SoftmaxTopK { .. }
            | OpSpec::CrossEntropy { .. }
            | OpSpec::Rotary { .. } => true,
        };
        assert!(cases().all(|case| is_timed(case.spec(Precision::F32))));
    }

    #[test]
    fn every_operation_has_a_shape_for_plain_loops() {
        for operation in &OPERATIONS {
            let least = operation.cases().map(|case| case.cost(Precision::F32).flops).min().unwrap();
            assert!(least <= 50_000_000, "{}: {least}", operation.name);
        }
    }

    #[test]
    fn narrow_weights_are_timed_where_there_are_weights_and_few_rows() {
        let int4: Precision = "int4".parse().unwrap();
        let taken: Vec<String> =
            cases().filter(|case| case.takes(int4)).map(|case| format!("{} {:?}", case.operation.name, case.shape)).collect();
        let expected = ["linear [32, 256, 256]", "linear [1, 4096, 4096]", "linear [8, 4096, 4096]", "gated-ffn [16, 64, 128]"];
        assert_eq!(taken, expected);
        let int8: Precision = "int8".parse().unwrap();
        assert!(cases().any(|case| case.takes(int8) && case.shape == [2048, 2048, 2048]));
        assert!(cases().all(|case| case.takes(Precision::F32)));
    }

    #[test]
    fn a_mask_costs_what_it_writes() {
        let case = OPERATIONS.iter().find(|operation| operation.name == "mask-causal").unwrap().cases().next().unwrap();
        assert_eq!(case.cost(Precision::F32), Cost { flops: 0, bytes_read: 0, bytes_written: 4 * (256 * 255 / 2) });
    }

    #[test]
    fn about_as_many_entries_are_kept_as_asked() {
        for (percent, outputs) in [(10, 768), (50, 768)] {
            let shape = [128, outputs, 3072, percent];
            let share = kept(&shape).iter().filter(|kept| **kept).count() as f64 / (outputs * 3072) as f64;
            assert!((share - percent as f64 / 100.0).abs() < 0.005, "{share}");
        }
    }
}
