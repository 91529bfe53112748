//! Reformer: queries and keys are hashed by direction, sorted by bucket, and attend inside chunks of the sorted order.
//!
//! Kitaev et al. 2020, section 2 ("LSH attention"): a bucket is the largest of (x R, -x R) for a random R (Andoni et al. 2015);
//! tokens are sorted by bucket, the order is cut into chunks, and each chunk of queries attends to its own chunk of keys and the one
//! before. `hashes` rounds with other R are joined by their log-sum-exps, so that a row's softmax runs over all that any round showed
//! it. With `shared_qk` keys are the queries at length sqrt(head_dim), the input k is not read, and a token sees itself only if it sees
//! nothing else (a bias of -1e4 on it), as in their section "shared-QK attention"; without, queries and keys are hashed alike and
//! sorted each by itself, so that chunks face each other only as far as both fill the buckets alike.
//!
//! Left out: masking of other buckets inside a chunk (neighbours in the order are shown, as with their `attend_across_buckets`), the
//! correction for keys that several rounds show (they count once a round), and the look back of the first chunk to the last. It costs
//! O(n chunk hashes) and a sort; which keys are seen is a discrete choice, made in the compute type.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOutputs, BucketOperands, NormWeights, Operand, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::ops::{BucketSpec, MatmulSpec, NormKind, NormSpec, ReduceOp, SoftmaxAlgorithm};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::flash::Streamed;
use super::operands::{Attended, EQUAL_HEADS, EQUAL_LENGTHS, TOLD_APART, count, divides};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::resolve::{name, size};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Reformer;

/// The rotations that hash.
pub struct Hashed<B: TransformerBackend> {
    /// [hashes, head_dim, buckets / 2].
    rotations: Tensor<B::Buffer>,
    /// Of a round.
    spec: BucketSpec,
}

/// What a token's view of itself gets: its weight vanishes beside any other, but not if it is alone.
const SELF_BIAS: f64 = -1e4;

/// Hashes, buckets, chunks, and whose the keys are.
pub(super) const PARAMETERS: &[AxisSpec] = &[
    count("hashes", "rounds with other rotations", AxisDefault::Int(2)),
    AxisSpec {
        name: "buckets",
        doc: "values of the hash; even",
        kind: AxisKind::Int { min: 2, max: 1 << 31 },
        default: AxisDefault::Share { of: "n", divisor: 8 },
    },
    count("chunk", "tokens of a chunk of the sorted order", AxisDefault::Share { of: "n", divisor: 4 }),
    AxisSpec {
        name: "shared_qk",
        doc: "are the keys the queries, scaled to one length (k is then not read)",
        kind: AxisKind::Choice { of: &["no", "yes"] },
        default: AxisDefault::Text("no"),
    },
];

const HALF_THE_BUCKETS: Dim = Dim::Of("buckets / 2", |axes| size(axes, "buckets") / 2);

pub(super) const EVEN_BUCKETS: Condition =
    Condition { text: "buckets must be even: each direction has its opposite", holds: |axes| size(axes, "buckets").is_multiple_of(2) };

pub(super) const CHUNK_DIVIDES: Condition = Condition { text: "chunk must divide n", holds: |axes| divides(axes, "chunk", "n") };

/// Outputs and log-sum-exps of all rounds, normalised keys, and what hashing the queries or the keys of a round takes.
pub(super) const SCRATCH: &str = "batch*heads*(hashes*n*(head_dim + 1) + is(shared_qk, yes)*n*head_dim \
                                  + n*(buckets + 2 + is(shared_qk, no)))";

impl Variant for Reformer {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/reformer",
        summary: "attention inside chunks of tokens sorted by a hash of their direction",
        citation: "Kitaev et al. 2020, section 2",
        task: "attention/full",
        problem: PROBLEM,
        parameters: PARAMETERS,
        tensors: &[
            TENSORS[0],
            TENSORS[1],
            TENSORS[2],
            TensorSpec {
                name: "rotations",
                role: Role::Vector,
                shape: &[Dim::Axis("hashes"), Dim::Axis("head_dim"), HALF_THE_BUCKETS],
                draw: DrawRule::Around(0.0, 1.0),
                only_with: None,
            },
        ],
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, EQUAL_HEADS, EQUAL_LENGTHS, EVEN_BUCKETS, CHUNK_DIVIDES, TOLD_APART],
        model: Model {
            flops: "batch*heads*(hashes*((1 + is(shared_qk, no))*n*(buckets*(2*head_dim + 1) + floor(log2(max(n, 2)))) \
                    + chunk*(2*n - chunk)*(4*head_dim + 5) + n*(2*head_dim + 5)) + is(shared_qk, yes)*4*n*head_dim)",
            scratch: SCRATCH,
        },
    };

    type Bound<B: TransformerBackend> = Hashed<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Hashed<B>> {
        Hashed::bind(operands, axes, false)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Hashed<B> {
    /// The full or the causal form.
    pub(super) fn bind(operands: &mut Operands<B>, axes: &Axes, causal: bool) -> Result<Self> {
        let scale = Streamed::over(AttentionPattern::Full, axes).spec.scale;
        let self_bias = (name(axes, "shared_qk") == "yes").then_some(SELF_BIAS);
        let spec = BucketSpec { chunk: size(axes, "chunk"), scale, causal, self_bias };
        Ok(Self { rotations: operands.tensor("rotations")?, spec })
    }

    /// Are queries their own keys?
    fn own_keys(&self) -> bool {
        self.spec.self_bias.is_some()
    }

    /// The rows of x [batch, heads, n, width] in the order of their buckets: indices [batch, heads, n].
    fn order(&self, backend: &B, round: usize, x: View<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let (&[batch, heads, n, width], &[_, _, half]) = (x.shape(), self.rotations.shape()) else {
            return Err(wrong_inputs("attention/reformer", &[x]));
        };
        let mut order = scratch.take(backend, DType::I32, &[batch, heads, n])?;
        let mut buckets = scratch.take(backend, DType::I32, &[batch, heads, n])?;
        let mut sides = scratch.take(backend, backend.compute(), &[batch, heads, n, 2 * half])?;
        let rotation =
            self.rotations.view().with(|layout| layout.narrow(0, round, 1)?.merge(0)?.broadcast(&[batch, heads, width, half]))?;
        for (side, sign) in [1.0, -1.0].into_iter().enumerate() {
            backend.matmul(MatmulSpec::scaled(sign), x, rotation, sides.view_mut().narrow(3, side * half, half)?)?;
        }
        backend.reduce(ReduceOp::ArgMax, sides.view(), buckets.view_mut())?;
        scratch.give(sides);
        backend.stable_argsort(buckets.view(), order.view_mut())?;
        scratch.give(buckets);
        Ok(order)
    }

    /// One round: outputs [batch, heads, n, width] and log-sum-exps [batch, heads, n] of all tokens, in their own order.
    fn round(
        &self,
        backend: &B,
        round: usize,
        [q, k, v]: [View<'_, B::Buffer>; 3],
        [out, logs]: [ViewMut<'_, B::Buffer>; 2],
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let of_queries = self.order(backend, round, q, scratch)?;
        let of_keys = if self.own_keys() { None } else { Some(self.order(backend, round, k, scratch)?) };
        let operands = BucketOperands { q, k, v, query_order: of_queries.view(), key_order: of_keys.as_ref().map(Tensor::view) };
        backend.bucket_attention(self.spec, operands, AttentionOutputs { out, log_sum_exp: Some(logs) }, scratch)?;
        for order in of_keys.into_iter().chain([of_queries]) {
            scratch.give(order);
        }
        Ok(())
    }
}

impl<B: TransformerBackend> Bound<B> for Hashed<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let Attended { q, k, v, batch, heads, n, width, .. } = Attended::of("attention/reformer", inputs)?;
        let hashes = self.rotations.shape()[0];
        let mut outputs = scratch.take(backend, backend.storage(), &[batch, heads, n, hashes, width])?;
        let mut logs = scratch.take(backend, backend.compute(), &[batch, heads, n, hashes])?;
        let mut own_keys = None;
        if self.own_keys() {
            let mut keys = scratch.take(backend, backend.storage(), q.shape())?;
            let spec = NormSpec { kind: NormKind::Rms, epsilon: 1e-12 };
            backend.normalize(spec, Operand::Of(q), NormWeights { gamma: None, beta: None }, keys.view_mut())?;
            own_keys = Some(keys);
        }
        let keys = own_keys.as_ref().map_or(k, Tensor::view);
        for round in 0..hashes {
            let target = outputs.view_mut().narrow(3, round, 1)?.with(|layout| layout.merge(3))?;
            let target_logs = logs.view_mut().narrow(3, round, 1)?.with(|layout| layout.merge(2))?;
            self.round(backend, round, [q, keys, v], [target, target_logs], scratch)?;
        }
        backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, logs.view_mut())?;
        let weights = logs.view().with(|layout| layout.unsqueeze(3))?;
        backend.matmul(MatmulSpec::PLAIN, weights, outputs.view(), out.with(|layout| layout.unsqueeze(3))?)?;
        if let Some(keys) = own_keys {
            scratch.give(keys);
        }
        scratch.give(logs);
        scratch.give(outputs);
        Ok(())
    }
}

#[cfg(test)]
#[path = "reformer_tests.rs"]
mod tests;
