//! Hierarchical softmax in two levels: -log p(cluster of the target) - log p(target | its cluster).
//!
//! Goodman 2001, "Classes for Fast Maximum Entropy Training", section 2; Morin and Bengio 2005 carry it to neural models. A row touches the
//! clusters and the words of one cluster instead of all words: with sqrt(vocabulary) clusters, 2 sqrt(vocabulary) products instead of
//! vocabulary. Words are put into clusters of equal size in the order of their numbers. Trades away that words are compared with each other
//! directly, and needs a gather of a whole cluster's weights for each row, which is where the time goes.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, PreparedWeight, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::{BinaryOp, LinearSpec, MatmulSpec};
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::output::{LOSSES, TARGETS, W, X, counted, description, flat, loss, places, tile_of};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Hierarchical;

/// Weights of both levels, and where each word is.
pub struct TwoLevels<B: TransformerBackend> {
    clusters: B::Weight,
    /// [vocabulary, d_model], in the order of the clusters.
    words: Tensor<B::Buffer>,
    cluster_of: Tensor<B::Buffer>,
    place_of: Tensor<B::Buffer>,
    places: Tensor<B::Buffer>,
}

/// Rows whose clusters are gathered together.
const ROWS_AT_ONCE: usize = 16;

const fn table(name: &'static str) -> DerivedSpec {
    DerivedSpec { name, role: Role::Index, shape: &[Dim::Axis("vocabulary"), Dim::Of("1", |_| 1)], form: None }
}

impl Variant for Hierarchical {
    const DESCRIPTOR: Descriptor = description(
        [
            "softmax/hierarchical",
            "loss of the target's cluster plus its loss within the cluster",
            "Goodman 2001, section 2; Morin and Bengio 2005",
        ],
        &[AxisSpec {
            name: "clusters",
            doc: "clusters of equal size; divides vocabulary, best near its square root",
            kind: AxisKind::Int { min: 1, max: 1 << 24 },
            default: AxisDefault::Share { of: "vocabulary", divisor: 128 },
        }],
        &[
            X,
            TARGETS,
            TensorSpec {
                name: "w_clusters",
                role: Role::Weight,
                shape: &[Dim::Axis("clusters"), Dim::Axis("d_model")],
                draw: DrawRule::FanIn,
                only_with: None,
            },
            // Gathered by row, so not prepared as a product's weight.
            TensorSpec { role: Role::Vector, ..W },
        ],
        &[table("cluster_of"), table("place_of"), places(&[Dim::Of("min(max(clusters, words of a cluster), 1024)", tile)])],
        (
            LOSSES,
            &[Condition {
                text: "clusters must divide vocabulary",
                holds: |axes| size(axes, "vocabulary").is_multiple_of(size(axes, "clusters").max(1)),
            }],
        ),
        Model {
            flops: "batch*n*((clusters + vocabulary/clusters)*(2*d_model + 7) + 11 \
                    + ceil(clusters/min(max(clusters, vocabulary/clusters), 1024)) \
                    + ceil(vocabulary/clusters/min(max(clusters, vocabulary/clusters), 1024))) \
                    + min(max(clusters, vocabulary/clusters), 1024) \
                    *(ceil(clusters/min(max(clusters, vocabulary/clusters), 1024)) - 1 \
                    + ceil(vocabulary/clusters/min(max(clusters, vocabulary/clusters), 1024)) - 1)",
            scratch: "max( \
                      batch*n*(vocabulary/clusters + 2) + min(batch*n, 16)*vocabulary/clusters*d_model, \
                      min(max(clusters, vocabulary/clusters), 1024) + 1 \
                      + batch*n*max(clusters + 4 + min(clusters, 1024), \
                      vocabulary/clusters + 5 + min(vocabulary/clusters, 1024)))",
        },
    );

    type Bound<B: TransformerBackend> = TwoLevels<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<TwoLevels<B>> {
        Ok(TwoLevels {
            clusters: operands.weight("w_clusters")?,
            words: operands.tensor("w")?,
            cluster_of: operands.tensor("cluster_of")?,
            place_of: operands.tensor("place_of")?,
            places: operands.tensor("places")?,
        })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        let (vocabulary, words) = (size(axes, "vocabulary"), words_of_cluster(axes));
        let table = |of: fn(usize, usize) -> usize| {
            HostTensor::new(&[vocabulary, 1], (0..vocabulary).map(|word| of(word, words.max(1)) as f64).collect())
        };
        Ok(Derived::default()
            .tensor("cluster_of", table(|word, words| word / words)?)
            .tensor("place_of", table(|word, words| word % words)?)
            .tensor("places", counted(tile(axes))?))
    }
}

fn words_of_cluster(axes: &Axes) -> usize {
    size(axes, "vocabulary") / size(axes, "clusters").max(1)
}

fn tile(axes: &Axes) -> usize {
    tile_of(size(axes, "clusters").max(words_of_cluster(axes)))
}

/// An i32 number for each row, looked up by the row's target.
fn looked_up<B: TransformerBackend>(
    backend: &B,
    table: &Tensor<B::Buffer>,
    targets: View<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let mut found = scratch.take(backend, DType::I32, &[targets.layout.len(), 1])?;
    backend.gather_rows(table.view(), targets, found.view_mut())?;
    Ok(found)
}

impl<B: TransformerBackend> TwoLevels<B> {
    /// Logits [rows, words of a cluster] of the words in each row's own cluster.
    fn word_logits(
        &self,
        backend: &B,
        x: View<'_, B::Buffer>,
        clusters: View<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let &[rows, width] = x.shape() else { return Err(wrong_inputs("softmax/hierarchical", &[x])) };
        let count = self.clusters.outputs();
        let words = self.words.layout.len() / (count * width).max(1);
        let table = self.words.view().with(|layout| layout.reshape(&[count, words * width]))?;
        let mut logits = scratch.take(backend, backend.compute(), &[rows, words])?;
        let mut gathered = scratch.take(backend, backend.storage(), &[ROWS_AT_ONCE.min(rows), words * width])?;
        for start in (0..rows).step_by(ROWS_AT_ONCE) {
            let count = ROWS_AT_ONCE.min(rows - start);
            backend.gather_rows(table, clusters.narrow(0, start, count)?, gathered.view_mut().narrow(0, 0, count)?)?;
            let own = gathered.view().with(|layout| layout.narrow(0, 0, count)?.split(1, words, width)?.transposed())?;
            let x = x.with(|layout| layout.narrow(0, start, count)?.unsqueeze(1))?;
            let out = logits.view_mut().with(|layout| layout.narrow(0, start, count)?.unsqueeze(1))?;
            backend.matmul(MatmulSpec::PLAIN, x, own, out)?;
        }
        scratch.give(gathered);
        Ok(logits)
    }
}

impl<B: TransformerBackend> Bound<B> for TwoLevels<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, targets] = inputs else { return Err(wrong_inputs("softmax/hierarchical", inputs)) };
        let x = flat(x)?;
        let rows = x.shape()[0];
        let targets = targets.with(|layout| layout.reshape(&[rows]))?;
        let out = out.with(|layout| layout.reshape(&[rows, 1]))?;

        let clusters = looked_up(backend, &self.cluster_of, targets, scratch)?;
        let cluster_list = clusters.view().with(|layout| layout.reshape(&[rows]))?;
        let mut logits = scratch.take(backend, backend.compute(), &[rows, self.clusters.outputs()])?;
        backend.linear(LinearSpec { activation: Activation::None }, x, &self.clusters, None, logits.view_mut())?;
        let of_cluster = loss(backend, &self.places, logits, cluster_list, scratch)?;

        let logits = self.word_logits(backend, x, cluster_list, scratch)?;
        scratch.give(clusters);
        let places = looked_up(backend, &self.place_of, targets, scratch)?;
        let of_word = loss(backend, &self.places, logits, places.view().with(|layout| layout.reshape(&[rows]))?, scratch)?;
        scratch.give(places);
        backend.binary(BinaryOp::Add, Operand::Of(of_cluster.view()), of_word.view(), out)?;
        scratch.give(of_word);
        scratch.give(of_cluster);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softmax::cross_entropy::CrossEntropy;
    use crate::testing::{axes, axis_error, distance, drawn, run};

    #[test]
    fn one_cluster_is_the_dense_loss() {
        let given = [("n", 21.into()), ("d_model", 8.into()), ("vocabulary", 24.into())];
        let [n, d_model, vocabulary] = given.clone();
        let axes_of_one = axes::<Hierarchical>(&[n, d_model, vocabulary, ("clusters", 1.into())]);
        let inputs = drawn::<Hierarchical>(&axes_of_one);
        let own = run::<Hierarchical>(&axes_of_one, &inputs);
        let mut dense = inputs.clone();
        dense.remove("w_clusters");
        assert!(distance(&own, &run::<CrossEntropy>(&axes::<CrossEntropy>(&given), &dense)) < 1e-13);
    }

    #[test]
    fn the_probabilities_of_all_words_add_up_to_one() {
        let given = [("n", 24.into()), ("d_model", 8.into()), ("vocabulary", 24.into()), ("clusters", 6.into())];
        let axes = axes::<Hierarchical>(&given);
        let mut inputs = drawn::<Hierarchical>(&axes);
        // The same state in every row, each word as a target once.
        let x = inputs["x"].values()[..8].repeat(24);
        inputs.insert("x".into(), HostTensor::new(&[1, 24, 8], x).unwrap());
        inputs.insert("targets".into(), HostTensor::new(&[1, 24], (0..24).map(f64::from).collect()).unwrap());
        let total: f64 = run::<Hierarchical>(&axes, &inputs).values().iter().map(|loss| (-loss).exp()).sum();
        assert!((total - 1.0).abs() < 1e-13, "{total}");
    }

    #[test]
    fn clusters_must_divide() {
        let error = axis_error::<Hierarchical>(&[("vocabulary", 24.into()), ("clusters", 5.into())]);
        assert!(error.starts_with("softmax/hierarchical: clusters must divide vocabulary (here"), "{error}");
    }
}
