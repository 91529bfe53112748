//! Routing attention: queries and keys are clustered by content, and attention stays inside each cluster.
//!
//! Roy et al. 2021, section 4 and algorithm 1: q and k are layer-normed without scale and shift, compared with `clusters` centroids of the
//! head, and each centroid takes the n / clusters nearest queries and keys, so that clusters are balanced; attention runs inside each.
//! Mapped here: the normed vectors only route, and scores are taken of q and k themselves, so that one cluster is dense attention; a
//! query that several clusters take gets the mean of their results, one that none takes gets zeros (the residual carries it). The
//! centroids are given: their moving average belongs to training.
//!
//! O(n^2 / clusters + n clusters). Drawn centroids know nothing of the data: the error against dense attention is that of an untrained
//! clustering. Which tokens a cluster takes is a discrete choice, made in the compute type.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, NormWeights, Operand, ScoreBias, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::ops::{AttentionSpec, BinaryOp, MatmulSpec, NormKind, NormSpec};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::flash::Streamed;
use super::operands::{Attended, EQUAL_HEADS, count, divides};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, Condition, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};
use crossover_core::compose::later::hide_later;
use crossover_core::compose::per_head::{blocks, gather, scatter_add};

/// The variant.
pub struct Routing;

/// The centroids.
pub struct Centroids<B: TransformerBackend> {
    centroids: Tensor<B::Buffer>,
    spec: AttentionSpec,
    causal: bool,
}

/// Clusters are of one size.
pub(super) const CLUSTERS_DIVIDE: Condition = Condition {
    text: "clusters must divide n and n_kv",
    holds: |axes| divides(axes, "clusters", "n") && divides(axes, "clusters", "n_kv"),
};

impl Variant for Routing {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/routing",
        summary: "attention inside balanced clusters of queries and keys",
        citation: "Roy et al. 2021, section 4",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[count("clusters", "centroids; each takes n / clusters queries", AxisDefault::Share { of: "n", divisor: 16 })],
        tensors: &[
            TENSORS[0],
            TENSORS[1],
            TENSORS[2],
            TensorSpec {
                name: "centroids",
                role: Role::Vector,
                shape: &[Dim::Axis("heads"), Dim::Axis("clusters"), Dim::Axis("head_dim")],
                draw: DrawRule::Around(0.0, 1.0),
                only_with: None,
            },
        ],
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, EQUAL_HEADS, CLUSTERS_DIVIDE],
        model: Model {
            flops: "batch*heads*((n + n_kv)*head_dim*(7 + 2*clusters) + clusters*(n*floor(log2(max(n, 2))) \
                    + n_kv*floor(log2(max(n_kv, 2)))) + n*n_kv/clusters*(4*head_dim + 5) + 2*n*(head_dim + 1))",
            scratch: "batch*heads*max(n + 2*(n + n_kv)*head_dim, max(n + n_kv*(head_dim + clusters + 2), n*(head_dim + clusters + 2)))",
        },
    };

    type Bound<B: TransformerBackend> = Centroids<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Centroids<B>> {
        Centroids::bind(operands, axes, false)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Centroids<B> {
    /// The full or the causal form.
    pub(super) fn bind(operands: &mut Operands<B>, axes: &Axes, causal: bool) -> Result<Self> {
        let spec = Streamed::over(AttentionPattern::Full, axes).spec;
        Ok(Self { centroids: operands.tensor("centroids")?, spec, causal })
    }

    /// For the causal form, what hides the future inside each cluster: [batch * heads, clusters, taken, taken].
    fn past(
        &self,
        backend: &B,
        [of_queries, of_keys]: [&Tensor<B::Buffer>; 2],
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Option<Tensor<B::Buffer>>> {
        let (&[batch, heads, clusters, rows], &[.., columns]) = (of_queries.shape(), of_keys.shape()) else { return Ok(None) };
        if !self.causal {
            return Ok(None);
        }
        let mut bias = scratch.take(backend, backend.compute(), &[batch * heads, clusters, rows, columns])?;
        backend.fill(bias.view_mut(), 0.0)?;
        let [queries, keys] = [of_queries.view().with(|layout| layout.merge(0))?, of_keys.view().with(|layout| layout.merge(0))?];
        hide_later(backend, queries, keys, bias.view_mut(), scratch)?;
        Ok(Some(bias))
    }

    /// The rows of x [batch, heads, rows, width] that each centroid takes: [batch, heads, clusters, rows / clusters].
    fn route(&self, backend: &B, x: View<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let (&[batch, heads, rows, width], &[_, clusters, _]) = (x.shape(), self.centroids.shape()) else {
            return Err(wrong_inputs("attention/routing", &[x]));
        };
        let taken = [batch, heads, clusters, rows.checked_div(clusters).unwrap_or(0)];
        let mut indices = scratch.take(backend, DType::I32, &taken)?;
        let mut unit = scratch.take(backend, backend.compute(), x.shape())?;
        let mut affinity = scratch.take(backend, backend.compute(), &[batch, heads, clusters, rows])?;
        let spec = NormSpec { kind: NormKind::Layer, epsilon: 1e-5 };
        backend.normalize(spec, Operand::Of(x), NormWeights { gamma: None, beta: None }, unit.view_mut())?;
        let centroids = self.centroids.view().with(|layout| layout.unsqueeze(0)?.broadcast(&[batch, heads, clusters, width]))?;
        backend.matmul(MatmulSpec::PLAIN, centroids, unit.view().transposed()?, affinity.view_mut())?;
        let mut values = scratch.take(backend, backend.compute(), &taken)?;
        backend.top_k(affinity.view(), values.view_mut(), indices.view_mut())?;
        for tensor in [values, affinity, unit] {
            scratch.give(tensor);
        }
        Ok(indices)
    }
}

/// The chosen rows of x, cluster by cluster: [batch, heads, clusters * taken, width].
fn collected<B: TransformerBackend>(
    backend: &B,
    x: View<'_, B::Buffer>,
    indices: &Tensor<B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let mut rows = scratch.take(backend, backend.storage(), x.shape())?;
    gather(backend, x, indices.view(), rows.view_mut())?;
    Ok(rows)
}

/// out[i] = mean of the rows that were made for i, or zeros.
fn averaged<B: TransformerBackend>(
    backend: &B,
    rows: View<'_, B::Buffer>,
    indices: View<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let &[batch, heads, n, _] = rows.shape() else { return Err(wrong_inputs("attention/routing", &[rows])) };
    let mut sums = scratch.take(backend, backend.compute(), rows.shape())?;
    let mut counts = scratch.take(backend, backend.compute(), &[batch, heads, n, 1])?;
    let mut one = scratch.take(backend, backend.compute(), &[1, 1, 1, 1])?;
    backend.fill(sums.view_mut(), 0.0)?;
    backend.fill(counts.view_mut(), 0.0)?;
    backend.fill(one.view_mut(), 1.0)?;
    let ones = one.view().with(|layout| layout.broadcast(&[batch, heads, n, 1]))?;
    scatter_add(backend, rows, indices, sums.view_mut())?;
    scatter_add(backend, ones, indices, counts.view_mut())?;
    backend.binary(BinaryOp::Maximum, Operand::InPlace, ones, counts.view_mut())?;
    backend.binary(BinaryOp::Divide, Operand::Of(sums.view()), counts.view(), out)?;
    for tensor in [one, counts, sums] {
        scratch.give(tensor);
    }
    Ok(())
}

impl<B: TransformerBackend> Bound<B> for Centroids<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let Attended { q, k, v, .. } = Attended::of("attention/routing", inputs)?;
        let clusters = self.centroids.shape()[1];
        let of_queries = self.route(backend, q, scratch)?;
        let of_keys = self.route(backend, k, scratch)?;
        let past = self.past(backend, [&of_queries, &of_keys], scratch)?;
        let queries = collected(backend, q, &of_queries, scratch)?;
        let keys = collected(backend, k, &of_keys, scratch)?;
        let values = collected(backend, v, &of_keys, scratch)?;
        scratch.give(of_keys);
        let mut mixed = scratch.take(backend, backend.storage(), q.shape())?;
        let operands = AttentionOperands {
            q: queries.view().with(blocks(clusters))?,
            k: keys.view().with(blocks(clusters))?,
            v: values.view().with(blocks(clusters))?,
            bias: past.as_ref().map_or(ScoreBias::None, |past| ScoreBias::ByPair(past.view())),
            key_mask: None,
        };
        let outputs = AttentionOutputs { out: mixed.view_mut().with(blocks(clusters))?, log_sum_exp: None };
        backend.attention(&self.spec, operands, outputs, scratch)?;
        for tensor in [values, keys, queries].into_iter().chain(past) {
            scratch.give(tensor);
        }
        averaged(backend, mixed.view(), of_queries.view(), out, scratch)?;
        scratch.give(mixed);
        scratch.give(of_queries);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dense, dot, row, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::axes::AxisValue;
    use crossover_core::host::HostTensor;

    #[test]
    fn one_cluster_is_dense_attention() {
        let axes = axes::<Routing>(&with(&sized(2, 10, 8), &[("clusters", 1.into()), ("n_kv", 7.into()), ("batch", 2.into())]));
        let drawn = drawn::<Routing>(&axes);
        assert!(distance(&run::<Routing>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-12);
    }

    /// The rows of a head that a centroid takes.
    fn taken(x: &HostTensor, head: usize, centroid: &[f64], count: usize) -> Vec<usize> {
        let affinity = |at: usize| {
            let x = row(x, head, at);
            let mean = x.iter().sum::<f64>() / 8.0;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 8.0;
            (dot(centroid, x) - mean * centroid.iter().sum::<f64>()) / (variance + 1e-5).sqrt()
        };
        let mut order: Vec<usize> = (0..x.shape()[2]).collect();
        order.sort_by(|&a, &b| affinity(b).total_cmp(&affinity(a)));
        order.truncate(count);
        order
    }

    #[test]
    fn it_is_attention_inside_clusters_averaged() {
        let axes = axes::<Routing>(&with(&sized(2, 12, 8), &[("clusters", 3.into()), ("n_kv", 9.into())]));
        let drawn = drawn::<Routing>(&axes);
        let output = run::<Routing>(&axes, &drawn);
        let mut untaken = 0;
        for head in 0..2 {
            let centroid = |c: usize| &drawn["centroids"].values()[(head * 3 + c) * 8..][..8];
            for i in 0..12 {
                let (mut sum, mut count) = (vec![0.0; 8], 0.0);
                for c in (0..3).filter(|&c| taken(&drawn["q"], head, centroid(c), 4).contains(&i)) {
                    let keys = taken(&drawn["k"], head, centroid(c), 3);
                    let weights: Vec<f64> =
                        keys.iter().map(|&j| (dot(row(&drawn["q"], head, i), row(&drawn["k"], head, j)) / 8f64.sqrt()).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    for (weight, &j) in weights.iter().zip(&keys) {
                        sum.iter_mut().zip(row(&drawn["v"], head, j)).for_each(|(sum, v)| *sum += weight * v / total);
                    }
                    count += 1.0;
                }
                untaken += usize::from(count == 0.0);
                let expected = sum.iter().map(|sum| sum / f64::max(count, 1.0));
                assert!(expected.zip(row(&output, head, i)).all(|(a, b)| (a - b).abs() < 1e-12), "{head} {i}");
            }
        }
        assert!(untaken > 0, "no token was left out, which this draw should show");
    }

    #[test]
    fn it_is_right_for_several_sequences_and_costs_what_it_says() {
        let parameters: [(&str, AxisValue); 3] = [("batch", 2.into()), ("clusters", 4.into()), ("n_kv", 24.into())];
        let given = with(&sized(2, 16, 8), &parameters);
        assert_eq!(judged::<Routing>(&given).complaint, None);
        assert_closed_forms::<Routing>(&given);
    }

    #[test]
    fn clusters_that_do_not_divide_are_refused() {
        let error = axis_error::<Routing>(&[("n", 10.into()), ("clusters", 4.into())]);
        assert!(error.contains("clusters must divide n and n_kv"), "{error}");
    }
}
