//! cosFormer: rectified queries and keys, reweighted by the cosine of their distance.
//!
//! Qin et al. 2022, section 3.2 (equation 9): s(q_i, k_j) = relu(q_i) relu(k_j) cos(pi/2 (i - j) / M) with M the longer of the two
//! lengths. The cosine of a difference splits into products, so that the sum over keys can be taken first: linear attention over 2 head_dim
//! features. Another similarity than softmax, with a built-in preference for near tokens; the error against dense attention says how
//! different it is. 1e-6 is added to the normaliser, for queries that are rectified to zero.

use std::f64::consts::FRAC_PI_2;

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::{ExactOperation, HostInputs};

use super::kernel_features::{FeatureMap, KernelAttention};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{DerivedSpec, Descriptor, Dim, Model, Role};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct Cosformer;

const EPSILON: f64 = 1e-6;

const PAIR: Dim = Dim::Of("2", |_| 2);

/// Cosine and sine of each position's angle.
pub(super) const ANGLES: &[DerivedSpec] = &[
    DerivedSpec { name: "query_angles", role: Role::Vector, shape: &[Dim::Axis("n"), PAIR], form: None },
    DerivedSpec { name: "key_angles", role: Role::Vector, shape: &[Dim::Axis("n_kv"), PAIR], form: None },
];

pub(super) const FLOPS: &str = "batch*(heads*n + kv_heads*n_kv)*head_dim*(4*(head_dim + 1) + 3)";
pub(super) const SCRATCH: &str = "batch*((heads*n + kv_heads*n_kv)*2 + max(heads*n, kv_heads*n_kv))*head_dim";

impl Variant for Cosformer {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/cosformer",
        summary: "linear attention over rectified rows, reweighted by the cosine of the distance",
        citation: "Qin et al. 2022, section 3.2",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[],
        tensors: TENSORS,
        derived: ANGLES,
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: FLOPS, scratch: SCRATCH },
    };

    type Bound<B: TransformerBackend> = KernelAttention<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<KernelAttention<B>> {
        bound(Self::DESCRIPTOR.name, operands, None)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        derived(axes)
    }
}

pub(super) fn bound<B: TransformerBackend>(
    variant: &'static str,
    operands: &mut Operands<B>,
    chunk: Option<usize>,
) -> Result<KernelAttention<B>> {
    let map = FeatureMap::Cosine { query_angles: operands.tensor("query_angles")?, key_angles: operands.tensor("key_angles")? };
    Ok(KernelAttention { name: variant, map, chunk, epsilon: EPSILON })
}

/// The tables of both sides.
pub(super) fn derived(axes: &Axes) -> Result<Derived> {
    let (n, n_kv) = (size(axes, "n"), size(axes, "n_kv"));
    let table = |rows: usize| {
        let angles = (0..rows).map(|at| FRAC_PI_2 * at as f64 / n.max(n_kv) as f64);
        HostTensor::new(&[rows, 2], angles.flat_map(|angle| [angle.cos(), angle.sin()]).collect())
    };
    Ok(Derived::default().tensor("query_angles", table(n)?).tensor("key_angles", table(n_kv)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, row, sized, weighted, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};

    #[test]
    fn it_is_the_quadratic_sum_of_its_similarity() {
        let axes = axes::<Cosformer>(&with(&sized(2, 9, 8), &[("n_kv", 12.into())]));
        let drawn = drawn::<Cosformer>(&axes);
        let expected = weighted(&axes, &drawn, EPSILON, |head, i, j| {
            let (q, k) = (row(&drawn["q"], head, i), row(&drawn["k"], head, j));
            let product: f64 = q.iter().zip(k).map(|(q, k)| q.max(0.0) * k.max(0.0)).sum();
            product * (FRAC_PI_2 * (i as f64 - j as f64) / 12.0).cos()
        });
        assert!(distance(&run::<Cosformer>(&axes, &drawn), &expected) < 1e-10);
    }

    #[test]
    fn queries_that_are_rectified_to_nothing_give_zero() {
        let axes = axes::<Cosformer>(&sized(1, 4, 8));
        let mut drawn = drawn::<Cosformer>(&axes);
        drawn.insert("q".into(), HostTensor::new(&[1, 1, 4, 8], vec![-1.0; 32]).unwrap());
        assert!(run::<Cosformer>(&axes, &drawn).values().iter().all(|&x| x == 0.0));
    }

    #[test]
    fn query_heads_that_share_keys_are_right() {
        assert_closed_forms::<Cosformer>(&with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("n_kv", 24.into())]));
        assert_eq!(judged::<Cosformer>(&with(&sized(4, 16, 8), &[("kv_heads", 2.into())])).complaint, None);
    }

    #[test]
    fn heads_that_cannot_be_shared_are_refused() {
        assert!(axis_error::<Cosformer>(&[("heads", 4.into()), ("kv_heads", 3.into())]).contains("kv_heads must divide heads"));
    }
}
