//! Random feature attention: cosines and sines of random projections of normalised queries and keys.
//!
//! Rahimi and Recht 2007, algorithm 1 (random Fourier features of the Gaussian kernel), used for attention by Peng et al. 2021, section
//! 3.1 ("RFA-Gaussian" over q and k of unit length). For unit vectors the Gaussian kernel is exp(q k / sigma^2) up to a constant that
//! cancels, so the estimate is of attention over *directions* with temperature sigma^2: the lengths of q and k are dropped, and that is
//! part of its error against dense attention. Unlike the trigonometric Performer, the estimated numbers never get small (at least
//! e^(-2 / sigma^2) of the largest), so the relative error stays bounded. Directions are independent; [`super::performer`] has
//! orthogonal ones. The gate of their section 3.2 needs the tokens, and is left out.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::{ExactOperation, HostInputs};

use super::kernel_features::{FeatureMap, KernelAttention};
use super::operands::REDRAW;
use super::performer::{FEATURES, TENSORS_AND_NORMALS};
use super::random_directions::{DIRECTIONS, directions};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Model};
use crate::resolve::{number, size};
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct RandomFourier;

pub(super) const SIGMA: AxisSpec = AxisSpec {
    name: "sigma",
    doc: "width of the Gaussian kernel over unit vectors: small is sharp",
    kind: AxisKind::Float { min: 0.01, max: 100.0 },
    default: AxisDefault::Float(1.0),
};

pub(super) const FLOPS: &str = "batch*(heads*n + kv_heads*n_kv)*(4*head_dim + 2*features*(head_dim + 1) + 4*features*(head_dim + 1))";
pub(super) const SCRATCH: &str = "batch*((heads*n + kv_heads*n_kv)*2*features + max(heads*n, kv_heads*n_kv)*(head_dim + features))";

impl Variant for RandomFourier {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/random-fourier",
        summary: "random Fourier features of normalised queries and keys: linear in the length",
        citation: "Rahimi and Recht 2007, algorithm 1; Peng et al. 2021, section 3.1",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[FEATURES, SIGMA, REDRAW],
        tensors: TENSORS_AND_NORMALS,
        derived: &[DIRECTIONS],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: FLOPS, scratch: SCRATCH },
    };

    type Bound<B: TransformerBackend> = KernelAttention<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<KernelAttention<B>> {
        let map = FeatureMap::Fourier { directions: operands.tensor("directions")? };
        Ok(KernelAttention { name: Self::DESCRIPTOR.name, map, chunk: None, epsilon: 0.0 })
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

/// Rows are divided by their root mean square on the engine, which is their length over sqrt(head_dim): the rest goes in here.
pub(super) fn derived(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
    let scale = 1.0 / ((size(axes, "head_dim") as f64).sqrt() * number(axes, "sigma"));
    Ok(Derived::default().tensor("directions", directions(axes, drawn, false, scale)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dot, row, sized, softened, weighted, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, relative_error, run};
    use crossover_core::axes::AxisValue;
    use crossover_core::host::HostTensor;

    /// softmax over q k / (|q| |k| sigma^2).
    fn over_directions(axes: &Axes, drawn: &HostInputs) -> HostTensor {
        let sigma = number(axes, "sigma");
        weighted(axes, drawn, 0.0, |head, i, j| {
            let (q, k) = (row(&drawn["q"], head, i), row(&drawn["k"], head, j));
            (dot(q, k) / (dot(q, q) * dot(k, k)).sqrt() / (sigma * sigma)).exp()
        })
    }

    fn error(features: i64) -> f64 {
        let errors = (0..6).map(|redraw| {
            let parameters: [(&str, AxisValue); 2] = [("features", features.into()), ("redraw", redraw.into())];
            let axes = axes::<RandomFourier>(&with(&sized(2, 24, 8), &parameters));
            let drawn = drawn::<RandomFourier>(&axes);
            relative_error(&run::<RandomFourier>(&axes, &drawn), &over_directions(&axes, &drawn)).powi(2)
        });
        (errors.sum::<f64>() / 6.0).sqrt()
    }

    #[test]
    fn it_converges_to_attention_over_directions_with_the_root_of_the_features() {
        let errors = [128, 512, 2048].map(error);
        for pair in errors.windows(2) {
            assert!(pair[0] / pair[1] > 1.4 && pair[0] / pair[1] < 2.9, "{errors:?}");
        }
        assert!(errors[2] < 0.15, "{errors:?}");
    }

    #[test]
    fn it_is_the_quadratic_sum_over_its_features() {
        let axes = axes::<RandomFourier>(&with(&sized(2, 9, 8), &[("features", 12.into()), ("sigma", 0.7.into())]));
        let drawn = drawn::<RandomFourier>(&axes);
        let made = derived(&axes, &drawn).unwrap().tensors.remove(0).1;
        let expected = weighted(&axes, &drawn, 0.0, |head, i, j| {
            let (q, k) = (row(&drawn["q"], head, i), row(&drawn["k"], head, j));
            let (q_size, k_size) = ((dot(q, q) / 8.0).sqrt(), (dot(k, k) / 8.0).sqrt());
            made.values().chunks(8).map(|w| (dot(w, q) / q_size - dot(w, k) / k_size).cos()).sum()
        });
        assert!(relative_error(&run::<RandomFourier>(&axes, &drawn), &expected) < 1e-10);
    }

    #[test]
    fn lengths_of_queries_and_keys_do_not_matter() {
        let axes = axes::<RandomFourier>(&sized(2, 9, 8));
        let drawn = drawn::<RandomFourier>(&axes);
        let longer = softened(drawn.clone(), 3.0);
        assert!(distance(&run::<RandomFourier>(&axes, &drawn), &run::<RandomFourier>(&axes, &longer)) < 1e-9);
    }

    #[test]
    fn query_heads_that_share_keys_are_right() {
        assert_closed_forms::<RandomFourier>(&with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("n_kv", 24.into())]));
        let judgement = judged::<RandomFourier>(&with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("n_kv", 24.into())]));
        assert_eq!(judgement.complaint, None);
    }

    #[test]
    fn a_kernel_without_width_is_refused() {
        assert!(axis_error::<RandomFourier>(&[("sigma", 0.0.into())]).contains("must be a number in 0.01..=100"));
    }
}
