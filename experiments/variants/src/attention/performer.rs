//! Performer: softmax attention estimated by random features of the exponential kernel (FAVOR+), in O(n features) time and memory.
//!
//! Choromanski et al. 2021, section 2.3 (lemma 1: positive features; equation 5) and section 2.4 (orthogonal directions). With
//! x = q / head_dim^(1/4), exp(x y) = E exp(w x - |x|^2 / 2) exp(w y - |y|^2 / 2) over normal w, so that a product of m features each
//! estimates a softmax numerator without bias. `trigonometric` is the older estimate by cosines and sines (2 m features from m directions),
//! whose relative error explodes where the kernel is small; `relu` is their generalised attention (appendix, "Performer-ReLU"), which
//! is no estimate of softmax. The normaliser is the same estimate, summed.
//!
//! It trades accuracy, which improves with 1 / sqrt(features) and gets exponentially worse with |q| |k|, for linear cost: with n below
//! about twice `features` dense attention is cheaper. The maximum of the exponents is subtracted (one for each query, one for all keys),
//! which cancels, and positive features get a floor of 1e-6, as in the authors' code.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::{ExactOperation, HostInputs};

use super::kernel_features::{FeatureMap, KernelAttention};
use super::operands::{REDRAW, count};
use super::random_directions::{DIRECTIONS, NORMALS, directions};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Model, TensorSpec};
use crate::resolve::{name, size};
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct Performer;

pub(super) const FEATURES: AxisSpec = count("features", "random directions", AxisDefault::SameAs("head_dim"));

pub(super) const KIND: AxisSpec = AxisSpec {
    name: "kind",
    doc: "feature map: positive (FAVOR+), trigonometric, or relu (no softmax estimate)",
    kind: AxisKind::Choice { of: &["positive", "trigonometric", "relu"] },
    default: AxisDefault::Text("positive"),
};

pub(super) const ORTHOGONAL: AxisSpec = AxisSpec {
    name: "orthogonal",
    doc: "are the directions orthogonal in blocks of head_dim",
    kind: AxisKind::Choice { of: &["yes", "no"] },
    default: AxisDefault::Text("yes"),
};

pub(super) const TENSORS_AND_NORMALS: &[TensorSpec] = &[TENSORS[0], TENSORS[1], TENSORS[2], NORMALS];

/// Features of q and k, then two thin products.
pub(super) const FLOPS: &str = "batch*((heads*n + kv_heads*n_kv)*(2*features*(head_dim + 1) \
    + 2*features*(1 + is(kind, trigonometric))*(head_dim + 1) + is(kind, positive)*(3*features + 2*head_dim + 1)) \
    + is(kind, trigonometric)*kv_heads*n_kv*2*(features + head_dim + 2))";

/// The features, and what the larger side needs while they are made.
pub(super) const SCRATCH: &str = "batch*((heads*n + kv_heads*n_kv)*features*(1 + is(kind, trigonometric)) \
    + is(kind, positive)*max(heads*n, kv_heads*n_kv)*(head_dim + 1) \
    + is(kind, trigonometric)*max(max(heads*n, kv_heads*n_kv)*features, kv_heads*n_kv*(head_dim + 1)))";

impl Variant for Performer {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/performer",
        summary: "softmax attention estimated by random features (FAVOR+): linear in the length",
        citation: "Choromanski et al. 2021, sections 2.3 and 2.4",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[FEATURES, KIND, ORTHOGONAL, REDRAW],
        tensors: TENSORS_AND_NORMALS,
        derived: &[DIRECTIONS],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: FLOPS, scratch: SCRATCH },
    };

    type Bound<B: TransformerBackend> = KernelAttention<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<KernelAttention<B>> {
        bound(Self::DESCRIPTOR.name, operands, axes, None)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        derived(axes, drawn)
    }
}

/// The feature map that the axes name.
pub(super) fn bound<B: TransformerBackend>(
    variant: &'static str,
    operands: &mut Operands<B>,
    axes: &Axes,
    chunk: Option<usize>,
) -> Result<KernelAttention<B>> {
    let directions = operands.tensor("directions")?;
    // |q / d^(1/4)|^2 / 2.
    let half = 0.5 / (size(axes, "head_dim") as f64).sqrt();
    let map = match name(axes, "kind") {
        "trigonometric" => FeatureMap::Trigonometric { directions, half },
        "relu" => FeatureMap::Relu { directions },
        _ => FeatureMap::Positive { directions, half },
    };
    Ok(KernelAttention { name: variant, map, chunk, epsilon: 0.0 })
}

/// The scale of queries and keys goes into the directions.
pub(super) fn derived(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
    let scale = (size(axes, "head_dim") as f64).powf(-0.25);
    Ok(Derived::default().tensor("directions", directions(axes, drawn, name(axes, "orthogonal") == "yes", scale)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dense, dot, row, sized, softened, weighted, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, relative_error, run};
    use crossover_core::axes::AxisValue;

    /// Mean squared relative error to dense attention over sixteen redraws, with q and k times `factor`.
    fn error(features: i64, kind: &'static str, orthogonal: &'static str, factor: f64) -> f64 {
        let errors = (0..16).map(|redraw| {
            let parameters: [(&str, AxisValue); 4] =
                [("features", features.into()), ("kind", kind.into()), ("orthogonal", orthogonal.into()), ("redraw", redraw.into())];
            let axes = axes::<Performer>(&with(&sized(2, 32, 16), &parameters));
            let drawn = softened(drawn::<Performer>(&axes), factor);
            relative_error(&run::<Performer>(&axes, &drawn), &dense(&axes, &drawn)).powi(2)
        });
        errors.sum::<f64>() / 16.0
    }

    #[test]
    fn the_error_falls_with_the_root_of_the_features() {
        let errors = [64, 256, 1024].map(|features| error(features, "positive", "no", 0.35).sqrt());
        // Four times the features: half the error. Sixteen draws leave some room.
        assert!(errors.windows(2).all(|pair| (1.5..2.7).contains(&(pair[0] / pair[1]))), "{errors:?}");
        assert!(errors[2] < 0.05, "{errors:?}");
    }

    #[test]
    fn orthogonal_directions_beat_independent_ones() {
        let (orthogonal, independent) = (error(64, "positive", "yes", 0.35), error(64, "positive", "no", 0.35));
        assert!(orthogonal < 0.95 * independent, "{orthogonal} {independent}");
    }

    /// Where the kernel gets small, that is at the usual lengths of q and k; for very short ones it is the other way round.
    #[test]
    fn positive_features_beat_trigonometric_ones() {
        let (positive, trigonometric) = (error(128, "positive", "yes", 1.0), error(128, "trigonometric", "yes", 1.0));
        assert!(positive < 0.8 * trigonometric, "{positive} {trigonometric}");
    }

    #[test]
    fn it_is_the_quadratic_sum_over_its_features() {
        for kind in ["positive", "trigonometric", "relu"] {
            let parameters: [(&str, AxisValue); 2] = [("features", 12.into()), ("kind", kind.into())];
            let axes = axes::<Performer>(&with(&sized(2, 9, 8), &parameters));
            let drawn = drawn::<Performer>(&axes);
            let made = derived(&axes, &drawn).unwrap().tensors.remove(0).1;
            let directions: Vec<&[f64]> = made.values().chunks(8).collect();
            let square = |x: &[f64]| dot(x, x) / 8f64.sqrt() / 2.0;
            // The shifts are left out here, so that the floor of 1e-6 weighs differently: hence the tolerance.
            let expected = weighted(&axes, &drawn, 0.0, |head, i, j| {
                let (q, k) = (row(&drawn["q"], head, i), row(&drawn["k"], head, j));
                let terms = directions.iter().map(|w| match kind {
                    "positive" => (dot(w, q) - square(q) + dot(w, k) - square(k)).exp(),
                    "trigonometric" => (dot(w, q) - dot(w, k)).cos() * square(k).exp(),
                    _ => (dot(w, q).max(0.0) + 1e-3) * (dot(w, k).max(0.0) + 1e-3),
                });
                terms.sum()
            });
            let tolerance = if kind == "positive" { 1e-3 } else { 1e-10 };
            assert!(distance(&run::<Performer>(&axes, &drawn), &expected) < tolerance, "{kind}");
        }
    }

    #[test]
    fn all_kinds_are_right_with_shared_keys_and_after_a_redraw() {
        for kind in ["positive", "trigonometric", "relu"] {
            let parameters: [(&str, AxisValue); 4] =
                [("kv_heads", 2.into()), ("n_kv", 24.into()), ("kind", kind.into()), ("redraw", 3.into())];
            let judgement = judged::<Performer>(&with(&sized(4, 16, 8), &parameters));
            assert_eq!(judgement.complaint, None, "{kind}");
            assert_closed_forms::<Performer>(&with(&sized(4, 16, 8), &parameters));
        }
    }

    #[test]
    fn wrong_parameters_are_named() {
        assert!(axis_error::<Performer>(&[("features", 0.into())]).contains("features = 0 must be a whole number in 1..="));
        assert!(axis_error::<Performer>(&[("kind", "cosine".into())]).contains("must be one of positive, trigonometric, relu"));
    }
}
