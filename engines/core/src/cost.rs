//! The cost model: how many operations and how many bytes one call of an operation takes, in closed form.
//!
//! A multiply and an add count as two operations. A comparison, a division and a transcendental call count as one each, because no
//! count for them is portable; where they dominate (softmax, GELU) the bytes are the better ceiling anyway. Bytes are compulsory
//! traffic: every operand read once, every result written once.

use crate::activation::Activation;
use crate::check::{AttentionSizes, MixtureSizes};
use crate::dtype::{DType, Precision};
use crate::ops::{NormKind, OpSpec, WeightForm};

/// Operations and compulsory bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Operations.
    pub flops: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl Cost {
    /// With so many bytes more to read.
    fn reading(self, bytes: u64) -> Self {
        Self { bytes_read: self.bytes_read.saturating_add(bytes), ..self }
    }

    /// Both together, saturating.
    pub fn plus(self, other: Self) -> Self {
        Self {
            flops: self.flops.saturating_add(other.flops),
            bytes_read: self.bytes_read.saturating_add(other.bytes_read),
            bytes_written: self.bytes_written.saturating_add(other.bytes_written),
        }
    }
}

/// Operations a row of softmax takes for each class: maximum, subtraction, exponential, sum, quotient.
const SOFTMAX_FLOPS: u64 = 5;

/// Operations that log-softmax takes for each class: the same with a second subtraction for the quotient.
const LOG_SOFTMAX_FLOPS: u64 = 5;

/// Operations that a loss takes for each class: those of softmax without the quotient.
const CROSS_ENTROPY_FLOPS: u64 = 4;

impl OpSpec {
    /// The cost at a precision.
    pub fn cost(&self, precision: Precision) -> Cost {
        let width = Width { storage: precision.storage() };
        match *self {
            Self::Matmul { batch, m, n, k } => {
                let product = |a: usize, b: usize| wide(batch).saturating_mul(wide(a)).saturating_mul(wide(b));
                width.cost(product(m, n).saturating_mul(2 * wide(k)), product(m, k).saturating_add(product(k, n)), product(m, n))
            }
            Self::Linear { rows, inputs, outputs, form, spec, bias } => width.linear([rows, inputs, outputs], form, spec.activation, bias),
            Self::Softmax { rows, classes, .. } => width.through(area(rows, classes), SOFTMAX_FLOPS),
            Self::LogSoftmax { rows, classes } => width.through(area(rows, classes), LOG_SOFTMAX_FLOPS),
            Self::Normalize { rows, width: channels, kind } => width.through(area(rows, channels), norm_flops(kind)),
            Self::AddNorm { rows, width: channels, kind } => {
                let elements = area(rows, channels);
                width.cost(elements.saturating_mul(norm_flops(kind) + 1), elements.saturating_mul(2), elements)
            }
            Self::Unary { elements, op } => width.through(wide(elements), op.flops()),
            Self::Select { elements } => width.through(wide(elements), 1),
            Self::Copy { elements } | Self::Transfer { elements, .. } => width.through(wide(elements), 0),
            Self::Binary { elements, .. } => width.cost(wide(elements), wide(elements).saturating_mul(2), wide(elements)),
            Self::Reduce { rows, width: columns, .. } => width.cost(area(rows, columns), area(rows, columns), wide(rows)),
            Self::Mask { rows, columns } => width.through(area(rows, columns), 0),
            Self::GatherRows { rows, width: columns } => width.through(area(rows, columns), 0),
            Self::ScatterAddRows { rows, width: columns } => {
                width.cost(area(rows, columns), area(rows, columns).saturating_mul(2), area(rows, columns))
            }
            Self::StableArgSort { rows, width: columns } | Self::TopK { rows, width: columns, .. } => {
                let comparisons = area(rows, columns).saturating_mul(u64::from(columns.max(2).ilog2()));
                width.cost(comparisons, area(rows, columns), area(rows, columns))
            }
            Self::CumulativeSum { rows, width: columns } => width.through(area(rows, columns), 1),
            Self::DepthwiseConv { rows, channels, kernel } => width.through(area(rows, channels), 2 * wide(kernel)),
            Self::Attention { batch, heads, key_heads, head_dim, value_dim, queries, keys, pairs } => {
                width.attention(AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim }, pairs)
            }
            Self::BucketAttention { batch_heads, n, width: channels, chunk, causal, orders } => {
                // The first chunk looks back to none. Where keys are hidden, each pair's positions are compared.
                let pairs = area(chunk, (2 * n).saturating_sub(chunk));
                let per_pair = 4 * wide(channels) + SOFTMAX_FLOPS + u64::from(causal);
                let (heads, rows) = (wide(batch_heads), area(n, channels));
                let cost = width.cost(
                    heads.saturating_mul(pairs).saturating_mul(per_pair),
                    heads.saturating_mul(rows).saturating_mul(3),
                    heads.saturating_mul(rows),
                );
                // Tokens are numbers of four bytes.
                cost.reading(heads.saturating_mul(4 * area(n, orders)))
            }
            Self::LinearAttention { batch_heads, queries, keys, features, value_dim, .. } => {
                let state = area(features, value_dim + 1);
                let read = area(queries, features).saturating_add(area(keys, features)).saturating_add(area(keys, value_dim));
                width.cost(
                    wide(batch_heads).saturating_mul(state.saturating_mul(2 * (wide(queries) + wide(keys)))),
                    wide(batch_heads).saturating_mul(read),
                    wide(batch_heads).saturating_mul(area(queries, value_dim)),
                )
            }
            Self::GatedFfn { rows, width: channels, hidden, activation } => {
                let flops = area(rows, hidden).saturating_mul(6 * wide(channels) + activation.flops() + 1);
                let cost = width.cost(flops, area(rows, channels), area(rows, channels));
                cost.reading(weight_bytes(WeightForm::Dense(precision.weight), 3 * hidden, channels))
            }
            Self::Mixture { tokens, choices, places, experts, width: channels, hidden, activation, form } => {
                let sizes = MixtureSizes { tokens, choices, places, experts, width: channels, hidden };
                width.mixture(sizes, activation, form)
            }
            Self::SoftmaxTopK { rows, classes, k } => {
                width.cost(area(rows, classes).saturating_mul(SOFTMAX_FLOPS), area(rows, classes), area(rows, 2 * k))
            }
            Self::CrossEntropy { rows, inputs, classes, form } => {
                let products = wide(rows).saturating_mul(wide(form.products(classes, inputs)));
                let flops = products.saturating_mul(2).saturating_add(area(rows, classes).saturating_mul(CROSS_ENTROPY_FLOPS));
                // Targets are indices of four bytes.
                width.cost(flops, area(rows, inputs), wide(rows)).reading(weight_bytes(form, classes, inputs)).reading(4 * wide(rows))
            }
            Self::Rotary { rows, width: channels } => width.through(area(rows, channels), 3),
        }
    }
}

fn weight_bytes(form: WeightForm, outputs: usize, inputs: usize) -> u64 {
    wide(form.ideal_bytes(outputs, inputs))
}

fn norm_flops(kind: NormKind) -> u64 {
    match kind {
        // Mean, centred square, scale and shift.
        NormKind::Layer | NormKind::Group { .. } => 7,
        NormKind::Rms => 4,
    }
}

fn wide(size: usize) -> u64 {
    size as u64
}

fn area(rows: usize, columns: usize) -> u64 {
    wide(rows).saturating_mul(wide(columns))
}

struct Width {
    storage: DType,
}

impl Width {
    fn bytes(&self, elements: u64) -> u64 {
        // Storage is always a floating type of whole bytes.
        elements.saturating_mul(self.storage.bytes(1).unwrap_or(8) as u64)
    }

    fn cost(&self, flops: u64, read: u64, written: u64) -> Cost {
        Cost { flops, bytes_read: self.bytes(read), bytes_written: self.bytes(written) }
    }

    /// x [rows, inputs] by a weight of this form.
    fn linear(&self, [rows, inputs, outputs]: [usize; 3], form: WeightForm, activation: Activation, bias: bool) -> Cost {
        let results = area(rows, outputs);
        let extra = activation.flops() + u64::from(bias);
        let products = wide(rows).saturating_mul(wide(form.products(outputs, inputs)));
        let flops = products.saturating_mul(2).saturating_add(results.saturating_mul(extra));
        let read = area(rows, inputs).saturating_add(if bias { wide(outputs) } else { 0 });
        self.cost(flops, read, results).reading(weight_bytes(form, outputs, inputs))
    }

    /// Of so many visible pairs a head.
    fn attention(&self, sizes: AttentionSizes, pairs: u64) -> Cost {
        let AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim } = sizes;
        let all_heads = area(batch, heads);
        let per_pair = 2 * wide(head_dim) + 2 * wide(value_dim) + SOFTMAX_FLOPS;
        // Keys and values that several query heads share are read once.
        let shared = area(batch, key_heads).saturating_mul(area(keys, head_dim).saturating_add(area(keys, value_dim)));
        self.cost(
            all_heads.saturating_mul(pairs).saturating_mul(per_pair),
            all_heads.saturating_mul(area(queries, head_dim)).saturating_add(shared),
            all_heads.saturating_mul(area(queries, value_dim)),
        )
    }

    /// Of the rows that find a place, at most: both layers with their biases, the gate and the sum over choices.
    fn mixture(&self, sizes: MixtureSizes, activation: Activation, form: WeightForm) -> Cost {
        let MixtureSizes { tokens, choices, width, hidden, experts, .. } = sizes;
        let rows = wide(sizes.kept());
        let products = wide(form.products(hidden, width)).saturating_add(wide(form.products(width, hidden)));
        let row = products.saturating_mul(2) + wide(hidden).saturating_mul(1 + activation.flops()) + 3 * wide(width);
        let experts = wide(experts).min(rows);
        let layers = weight_bytes(form, hidden, width).saturating_add(weight_bytes(form, width, hidden));
        let small = self.bytes(experts * (wide(hidden) + wide(width)) + area(tokens, choices)) + 4 * area(tokens, choices);
        let cost = self.cost(rows.saturating_mul(row), area(tokens, width), area(tokens, width));
        cost.reading(experts.saturating_mul(layers)).reading(small)
    }

    /// Each element read, changed by `flops` operations, and written.
    fn through(&self, elements: u64, flops: u64) -> Cost {
        self.cost(elements.saturating_mul(flops), elements, elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{LinearSpec, UnaryOp};
    use crate::sparse::Structure;

    #[test]
    fn a_product_costs_two_operations_a_term() {
        let cost = OpSpec::Matmul { batch: 2, m: 3, n: 5, k: 7 }.cost(Precision::F32);
        assert_eq!(cost, Cost { flops: 2 * 2 * 3 * 5 * 7, bytes_read: 4 * 2 * (21 + 35), bytes_written: 4 * 2 * 15 });
    }

    #[test]
    fn quantised_weights_weigh_less() {
        let read = |form, precision| {
            let spec = LinearSpec { activation: Activation::None };
            OpSpec::Linear { rows: 1, inputs: 64, outputs: 64, form, spec, bias: false }.cost(precision).bytes_read
        };
        let int4: Precision = "int4".parse().unwrap();
        assert_eq!(read(WeightForm::Dense(DType::F32), Precision::F32), 4 * 64 + 4 * 64 * 64);
        assert_eq!(read(WeightForm::Int4Group { group: 32 }, int4), 4 * 64 + 64 * 32 + 4 * 64 * 2);
    }

    #[test]
    fn sparse_weights_cost_their_stored_entries() {
        let cost = |form| {
            let spec = LinearSpec { activation: Activation::ReluSquared };
            OpSpec::Linear { rows: 3, inputs: 64, outputs: 32, form, spec, bias: false }.cost(Precision::F32)
        };
        let (x, out, extra) = (4 * 3 * 64, 4 * 3 * 32, 2 * 3 * 32);
        let csr = cost(WeightForm::Sparse { dtype: DType::Bf16, structure: Structure::Unstructured, stored: 100 });
        assert_eq!(csr, Cost { flops: 2 * 3 * 100 + extra, bytes_read: x + 200 + 4 * (100 + 33), bytes_written: out });
        let pairs = cost(WeightForm::Sparse { dtype: DType::F32, structure: Structure::NofM { n: 2, m: 4 }, stored: 1024 });
        assert_eq!(pairs, Cost { flops: 2 * 3 * 1024 + extra, bytes_read: x + 4096 + 256, bytes_written: out });
        let ternary = cost(WeightForm::Palette { levels: 3 });
        assert_eq!(ternary, Cost { flops: 2 * 3 * 2048 + extra, bytes_read: x + 512 + 4 * 35, bytes_written: out });
    }

    #[test]
    fn log_softmax_costs_what_softmax_does() {
        let cost = OpSpec::LogSoftmax { rows: 3, classes: 100 }.cost(Precision::F32);
        assert_eq!(cost, Cost { flops: 5 * 3 * 100, bytes_read: 4 * 300, bytes_written: 4 * 300 });
    }

    #[test]
    fn a_loss_costs_its_layer_and_four_operations_a_word_and_moves_no_logits() {
        let form = WeightForm::Dense(DType::F32);
        let cost = OpSpec::CrossEntropy { rows: 3, inputs: 64, classes: 100, form }.cost(Precision::F32);
        let (x, w, targets) = (4 * 3 * 64, 4 * 100 * 64, 4 * 3);
        assert_eq!(cost, Cost { flops: 3 * 100 * (2 * 64 + 4), bytes_read: x + w + targets, bytes_written: 4 * 3 });
    }

    #[test]
    fn a_mixture_costs_the_rows_that_find_a_place_and_the_experts_that_can_be_asked() {
        let form = WeightForm::Dense(DType::F32);
        let of = |tokens, places| {
            let spec = OpSpec::Mixture { tokens, choices: 2, places, experts: 4, width: 8, hidden: 16, activation: Activation::None, form };
            spec.cost(Precision::F32)
        };
        let row = 4 * 8 * 16 + 16 + 3 * 8;
        let expert = 4 * (2 * 8 * 16 + 16 + 8);
        let expected = Cost { flops: 20 * row, bytes_read: 4 * 80 + 4 * expert + 8 * 20, bytes_written: 4 * 80 };
        assert_eq!(of(10, 6), expected);
        // Twelve of the twenty.
        assert_eq!(of(10, 3), Cost { flops: 12 * row, ..expected });
        assert_eq!(of(1, 6), Cost { flops: 2 * row, bytes_read: 4 * 8 + 2 * expert + 8 * 2, bytes_written: 4 * 8 });
    }

    #[test]
    fn chunks_cost_themselves_and_the_one_before_and_a_comparison_where_they_hide_the_future() {
        let of = |causal: bool, orders: usize| {
            OpSpec::BucketAttention { batch_heads: 3, n: 12, width: 8, chunk: 4, causal, orders }.cost(Precision::F32)
        };
        let (pairs, rows) = (4 * 4 + 2 * 4 * 8, 4 * 3 * 12 * 8);
        let full = Cost { flops: 3 * pairs * (4 * 8 + 5), bytes_read: 3 * rows + 4 * 3 * 12, bytes_written: rows };
        assert_eq!(of(false, 1), full);
        assert_eq!(of(true, 2), Cost { flops: full.flops + 3 * pairs, bytes_read: full.bytes_read + 4 * 3 * 12, ..full });
    }

    #[test]
    fn shared_keys_are_read_once_and_met_by_every_query_head() {
        let cost = |key_heads| {
            let (batch, heads, head_dim, value_dim, queries, keys, pairs) = (2, 8, 16, 4, 3, 5, 11);
            OpSpec::Attention { batch, heads, key_heads, head_dim, value_dim, queries, keys, pairs }.cost(Precision::F32)
        };
        let (own, shared) = (cost(8), cost(2));
        assert_eq!(own, Cost { flops: 2 * 8 * 11 * 45, bytes_read: 4 * 2 * 8 * (3 * 16 + 5 * 20), bytes_written: 4 * 2 * 8 * 3 * 4 });
        assert_eq!(shared, Cost { bytes_read: 4 * 2 * (8 * 3 * 16 + 2 * 5 * 20), ..own });
    }

    #[test]
    fn a_polynomial_is_counted_by_its_terms() {
        let flops = |op| OpSpec::Unary { elements: 10, op }.cost(Precision::F32).flops;
        let ops = [UnaryOp::Exp2, UnaryOp::ExpTable { bits: 4 }, UnaryOp::ExpPolynomial { degree: 3 }, UnaryOp::ExpTaylor { degree: 2 }];
        assert_eq!(ops.map(flops), [10, 10, 60, 40]);
    }

    #[test]
    fn absurd_sizes_saturate() {
        let huge = usize::MAX;
        let cost = OpSpec::Matmul { batch: huge, m: huge, n: huge, k: 2 }.cost(Precision::F64);
        assert_eq!(cost.flops, u64::MAX);
    }
}
