//! Causal routing attention: inside each cluster of queries and keys, a query sees the keys that came before it, and its own.
//!
//! Roy et al. 2021, section 4 (causal attention inside clusters); see [`super::routing`] for the clusters. Positions are compared inside each
//! cluster to make the mask. What is hidden is the content of later tokens: which tokens a centroid takes depends on all of the sequence,
//! as it does in the paper, so that a later token may displace an earlier one though never show itself. One cluster is causal to the
//! last bit. A query that finds no earlier key in a cluster gets zeros from it, which count in the mean over its clusters.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::operands::{EQUAL_HEADS, TOLD_APART};
use super::patterns::attention_over;
use super::routing::{CLUSTERS_DIVIDE, Centroids, Routing};
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct RoutingCausal;

impl Variant for RoutingCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/routing-causal",
        summary: "causal attention inside balanced clusters of queries and keys",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE, EQUAL_HEADS, CLUSTERS_DIVIDE, TOLD_APART],
        model: Model {
            flops: "batch*heads*(2*n*head_dim*(7 + 2*clusters) + 2*clusters*n*floor(log2(max(n, 2))) \
                    + n^2/clusters*(4*head_dim + 7) + n + 2*n*(head_dim + 1))",
            scratch: "batch*heads*max(n^2/clusters + max(n + 4*n*head_dim, n^2/clusters + 4*n), n + n*(head_dim + clusters + 2))",
        },
        ..Routing::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Centroids<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Centroids<B>> {
        Centroids::bind(operands, axes, true)
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::approximation::{assert_closed_forms, dense_causal, dot, row, sized, with};
    use super::super::checks::{changed, rows_of, seen};
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::axes::AxisValue;
    use crossover_core::host::HostTensor;

    fn given(n: i64, clusters: i64) -> Vec<(&'static str, AxisValue)> {
        with(&sized(2, n, 8), &[("clusters", clusters.into()), ("batch", 2.into())])
    }

    #[test]
    fn one_cluster_is_causal_attention() {
        let axes = axes::<RoutingCausal>(&given(10, 1));
        let drawn = drawn::<RoutingCausal>(&axes);
        assert!(distance(&run::<RoutingCausal>(&axes, &drawn), &dense_causal(&axes, &drawn)) < 1e-12);
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
    fn it_is_causal_attention_inside_clusters_averaged() {
        let axes = axes::<RoutingCausal>(&with(&sized(2, 12, 8), &[("clusters", 3.into())]));
        let drawn = drawn::<RoutingCausal>(&axes);
        let output = run::<RoutingCausal>(&axes, &drawn);
        for (head, i) in (0..2).flat_map(|head| (0..12).map(move |i| (head, i))) {
            let centroid = |c: usize| &drawn["centroids"].values()[(head * 3 + c) * 8..][..8];
            let (mut sum, mut count) = (vec![0.0; 8], 0.0);
            for c in (0..3).filter(|&c| taken(&drawn["q"], head, centroid(c), 4).contains(&i)) {
                let keys: Vec<usize> = taken(&drawn["k"], head, centroid(c), 4).into_iter().filter(|j| *j <= i).collect();
                let weight = |j: usize| (dot(row(&drawn["q"], head, i), row(&drawn["k"], head, j)) / 8f64.sqrt()).exp();
                let total: f64 = keys.iter().map(|&j| weight(j)).sum();
                for &j in &keys {
                    sum.iter_mut().zip(row(&drawn["v"], head, j)).for_each(|(sum, v)| *sum += weight(j) * v / total);
                }
                count += 1.0;
            }
            let expected = sum.iter().map(|sum| sum / f64::max(count, 1.0));
            assert!(expected.zip(row(&output, head, i)).all(|(a, b)| (a - b).abs() < 1e-12), "{head} {i}");
        }
    }

    /// Values take no part in the routing, so they must not show at all.
    #[test]
    fn no_value_of_a_later_token_reaches_back() {
        let axes = axes::<RoutingCausal>(&given(16, 2));
        let mut tensors = drawn::<RoutingCausal>(&axes);
        let before = run::<RoutingCausal>(&axes, &tensors);
        tensors.insert("v".into(), changed(&tensors["v"], 9..16, |value| 3.0 - value));
        let after = run::<RoutingCausal>(&axes, &tensors);
        assert_eq!(rows_of(&before, 0..9), rows_of(&after, 0..9));
        assert_ne!(rows_of(&before, 9..16), rows_of(&after, 9..16));
        assert!(seen::<RoutingCausal>(&given(16, 2), 7).iter().all(|key| *key <= 7));
    }

    #[test]
    fn it_is_right_for_several_sequences_and_costs_what_it_says() {
        for clusters in [1, 2, 8] {
            assert_eq!(judged::<RoutingCausal>(&given(16, clusters)).complaint, None);
            assert_closed_forms::<RoutingCausal>(&given(16, clusters));
        }
    }

    #[test]
    fn clusters_that_do_not_divide_are_refused() {
        let error = axis_error::<RoutingCausal>(&[("n", 10.into()), ("clusters", 4.into())]);
        assert!(error.contains("clusters must divide n and n_kv"), "{error}");
    }
}
