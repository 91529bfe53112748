//! Hierarchical softmax in two levels: -log p(cluster of the target) - log p(target | its cluster).
//!
//! Goodman 2001, "Classes for Fast Maximum Entropy Training", section 2; Morin and Bengio 2005 carry it to neural models. A row touches the
//! clusters and the words of one cluster instead of all words: with sqrt(vocabulary) clusters, 2 sqrt(vocabulary) products instead of
//! vocabulary. Words are put into clusters in the order of their numbers; where the clusters do not divide the vocabulary, the first ones hold
//! a word more, and the others an empty place that no probability goes to. Trades away that words are compared with each other directly,
//! and needs a gather of a whole cluster's weights for each row, which is where the time goes.
//!
//! It is its own truth: with the same word weights a flat softmax is another model, trained to other probabilities, and the distance to it
//! would say nothing about either. (With one cluster the two are the same, which a test holds.)

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
use crate::descriptor::{
    AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Dim, DrawRule, Model, Placed, Role, TensorSpec,
};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct Hierarchical;

/// Weights of both levels, and where each word is.
pub struct TwoLevels<B: TransformerBackend> {
    clusters: B::Weight,
    /// [clusters words, d_model], in the order of the clusters.
    words: Tensor<B::Buffer>,
    cluster_of: Tensor<B::Buffer>,
    place_of: Tensor<B::Buffer>,
    places: Tensor<B::Buffer>,
    /// [clusters, words of a cluster]: 1 where there is a word; only where some place has none.
    taken: Option<Tensor<B::Buffer>>,
}

/// Rows whose clusters are gathered together.
const ROWS_AT_ONCE: usize = 16;

const fn table(name: &'static str) -> DerivedSpec {
    DerivedSpec { name, role: Role::Index, shape: &[Dim::Axis("vocabulary"), Dim::Of("1", |_| 1)], form: None }
}

const CLUSTER_OF: DerivedSpec = table("cluster_of");
const PLACE_OF: DerivedSpec = table("place_of");
const PLACES: DerivedSpec = places(&[Dim::Of("min(max(clusters, words of a cluster), 1024)", tile)]);
const WORDS: Dim = Dim::Of("ceil(vocabulary / clusters)", words_of_cluster);

/// The word weights with rows of zeros where a place is empty, instead of `w`, where there are such places.
const PADDED: DerivedSpec = DerivedSpec {
    name: "w",
    role: Role::Vector,
    shape: &[Dim::Of("clusters * words of a cluster", |axes| size(axes, "clusters") * words_of_cluster(axes)), Dim::Axis("d_model")],
    form: None,
};

/// Which places hold a word, where some do not.
const TAKEN: DerivedSpec = DerivedSpec { name: "taken", role: Role::Vector, shape: &[Dim::Axis("clusters"), WORDS], form: None };

impl Variant for Hierarchical {
    const DESCRIPTOR: Descriptor = description(
        [
            "softmax/hierarchical",
            "loss of the target's cluster plus its loss within the cluster",
            "Goodman 2001, section 2; Morin and Bengio 2005",
        ],
        &[AxisSpec {
            name: "clusters",
            doc: "clusters, of which the first may hold a word more than the last; best near the square root of vocabulary",
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
        &[CLUSTER_OF, PLACE_OF, PLACES, PADDED, TAKEN],
        (
            LOSSES,
            &[Condition {
                text: "there must be a word for each cluster: clusters <= vocabulary",
                holds: |axes| size(axes, "clusters") <= size(axes, "vocabulary"),
            }],
        ),
        Model {
            flops: "batch*n*((clusters + ceil(vocabulary/clusters))*(2*d_model + 7) \
                    + ceil(vocabulary/clusters)*min(1, clusters*ceil(vocabulary/clusters) - vocabulary) + 11 \
                    + ceil(clusters/min(max(clusters, ceil(vocabulary/clusters)), 1024)) \
                    + ceil(ceil(vocabulary/clusters)/min(max(clusters, ceil(vocabulary/clusters)), 1024))) \
                    + min(max(clusters, ceil(vocabulary/clusters)), 1024) \
                    *(ceil(clusters/min(max(clusters, ceil(vocabulary/clusters)), 1024)) - 1 \
                    + ceil(ceil(vocabulary/clusters)/min(max(clusters, ceil(vocabulary/clusters)), 1024)) - 1)",
            scratch: "max( \
                      batch*n*(ceil(vocabulary/clusters) + 2) + min(batch*n, 16)*ceil(vocabulary/clusters)*d_model, \
                      min(max(clusters, ceil(vocabulary/clusters)), 1024) + 1 \
                      + batch*n*max(clusters + 4 + 2*min(clusters, 1024), \
                      ceil(vocabulary/clusters)*(1 + min(1, clusters*ceil(vocabulary/clusters) - vocabulary)) \
                      + 5 + 2*min(ceil(vocabulary/clusters), 1024)))",
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
            taken: operands.optional_tensor("taken"),
        })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derived(axes: &Axes) -> Vec<Placed> {
        let of_padding: &[DerivedSpec] = if has_empty_places(axes) { &[PADDED, TAKEN] } else { &[] };
        [CLUSTER_OF, PLACE_OF, PLACES].iter().chain(of_padding).map(|tensor| tensor.placed(axes)).collect()
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let (vocabulary, clusters, words) = (size(axes, "vocabulary"), size(axes, "clusters"), words_of_cluster(axes));
        let homes: Vec<(usize, usize)> = (0..vocabulary).map(|word| home(word, vocabulary, clusters)).collect();
        let table =
            |of: fn(&(usize, usize)) -> usize| HostTensor::new(&[vocabulary, 1], homes.iter().map(|home| of(home) as f64).collect());
        let derived = Derived::default()
            .tensor("cluster_of", table(|home| home.0)?)
            .tensor("place_of", table(|home| home.1)?)
            .tensor("places", counted(tile(axes))?);
        if !has_empty_places(axes) {
            return Ok(derived);
        }
        let (width, given) = (size(axes, "d_model"), source(drawn, "w")?.values());
        let (mut padded, mut taken) = (vec![0.0; clusters * words * width], vec![0.0; clusters * words]);
        for ((cluster, place), row) in homes.iter().zip(given.chunks(width.max(1))) {
            let at = cluster * words + place;
            padded[at * width..(at + 1) * width].copy_from_slice(row);
            taken[at] = 1.0;
        }
        let padded = HostTensor::new(&[clusters * words, width], padded)?;
        Ok(derived.tensor("w", padded).tensor("taken", HostTensor::new(&[clusters, words], taken)?))
    }
}

/// Cluster and place of a word: of the clusters the first vocabulary mod clusters have a word more.
fn home(word: usize, vocabulary: usize, clusters: usize) -> (usize, usize) {
    let (least, fuller) = (vocabulary / clusters.max(1), vocabulary % clusters.max(1));
    let in_fuller = fuller * (least + 1);
    if word < in_fuller {
        return (word / (least + 1), word % (least + 1));
    }
    let (word, least) = (word - in_fuller, least.max(1));
    (fuller + word / least, word % least)
}

/// Places of a cluster.
fn words_of_cluster(axes: &Axes) -> usize {
    size(axes, "vocabulary").div_ceil(size(axes, "clusters").max(1))
}

fn has_empty_places(axes: &Axes) -> bool {
    !size(axes, "vocabulary").is_multiple_of(size(axes, "clusters").max(1))
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

    /// Which places of each row's cluster hold a word: [rows, words of a cluster], where some do not.
    fn taken_of(&self, backend: &B, clusters: View<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<Option<Tensor<B::Buffer>>> {
        let Some(table) = &self.taken else { return Ok(None) };
        let mut taken = scratch.take(backend, backend.storage(), &[clusters.layout.len(), table.layout.dim_from_end(0)])?;
        backend.gather_rows(table.view(), clusters, taken.view_mut())?;
        Ok(Some(taken))
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
        let of_cluster = loss(backend, &self.places, logits, cluster_list, None, scratch)?;

        let logits = self.word_logits(backend, x, cluster_list, scratch)?;
        let taken = self.taken_of(backend, cluster_list, scratch)?;
        scratch.give(clusters);
        let places = looked_up(backend, &self.place_of, targets, scratch)?;
        let words = places.view().with(|layout| layout.reshape(&[rows]))?;
        let of_word = loss(backend, &self.places, logits, words, taken.as_ref().map(Tensor::view), scratch)?;
        if let Some(taken) = taken {
            scratch.give(taken);
        }
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
    use crate::linear::testing::assert_sound;
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
        for clusters in [6i64, 5, 7, 23] {
            let total = total_probability(clusters);
            assert!((total - 1.0).abs() < 1e-13, "{clusters} clusters: {total}");
        }
    }

    fn total_probability(clusters: i64) -> f64 {
        let given = [("n", 24.into()), ("d_model", 8.into()), ("vocabulary", 24.into()), ("clusters", clusters.into())];
        let axes = axes::<Hierarchical>(&given);
        let mut inputs = drawn::<Hierarchical>(&axes);
        // The same state in every row, each word as a target once.
        let x = inputs["x"].values()[..8].repeat(24);
        inputs.insert("x".into(), HostTensor::new(&[1, 24, 8], x).unwrap());
        inputs.insert("targets".into(), HostTensor::new(&[1, 24], (0..24).map(f64::from).collect()).unwrap());
        run::<Hierarchical>(&axes, &inputs).values().iter().map(|loss| (-loss).exp()).sum()
    }

    #[test]
    fn costs_are_as_declared_where_clusters_do_not_divide() {
        for (vocabulary, clusters) in [(503i64, 31i64), (306, 19), (64, 63)] {
            let sizes = [("n", 5.into()), ("d_model", 16.into()), ("vocabulary", vocabulary.into()), ("clusters", clusters.into())];
            for precision in ["f32", "f64", "bf16"] {
                let [n, d_model, vocabulary, clusters] = sizes.clone();
                assert_sound::<Hierarchical>(&[n, d_model, vocabulary, clusters, ("precision", precision.into())]);
            }
        }
        for vocabulary in [50_257i64, 30_522] {
            axes::<Hierarchical>(&[("vocabulary", vocabulary.into())]);
        }
    }

    #[test]
    fn no_cluster_may_be_empty() {
        let error = axis_error::<Hierarchical>(&[("vocabulary", 24.into()), ("clusters", 25.into())]);
        assert!(error.starts_with("softmax/hierarchical: there must be a word for each cluster: clusters <= vocabulary (here"), "{error}");
    }
}
