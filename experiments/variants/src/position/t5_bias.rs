//! T5's relative positions: a trained bias for each head and bucket of distances, added to the scores.
//!
//! Raffel et al. 2020, section 2.1: near distances have a bucket each, far ones share logarithmically wider ones, and everything from
//! `max_distance` on the last. Under a full mask half of the buckets is for keys after the query; under a causal mask all are for keys before
//! it. The host spreads the buckets over distances, so that the kernel looks up one value a distance. (T5 does not scale its scores by
//! 1 / sqrt(head_dim); here they are, so that the variants of this family differ in nothing else.)

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;

use super::attended::{Attended, K, Q, V, description, is_causal};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Dim, DrawRule, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct T5Bias;

impl Variant for T5Bias {
    const DESCRIPTOR: Descriptor = description(
        ["position/t5-bias", "streaming attention with a trained bias for each bucket of distances", "Raffel et al. 2020, section 2.1"],
        &[
            AxisSpec {
                name: "buckets",
                doc: "trained values of a head; a multiple of 4",
                kind: AxisKind::Int { min: 4, max: 1 << 16 },
                default: AxisDefault::Int(32),
            },
            AxisSpec {
                name: "max_distance",
                doc: "distance from which on the last bucket is shared",
                kind: AxisKind::Int { min: 2, max: 1 << 30 },
                default: AxisDefault::Int(128),
            },
        ],
        &[
            Q,
            K,
            V,
            TensorSpec {
                name: "bias",
                role: Role::Source,
                shape: &[Dim::Axis("heads"), Dim::Axis("buckets")],
                draw: DrawRule::Around(0.0, 1.0),
                only_with: None,
            },
        ],
        &[DerivedSpec {
            name: "by_distance",
            role: Role::Vector,
            shape: &[Dim::Axis("heads"), Dim::Of("2 max_distance + 1", |axes| 2 * size(axes, "max_distance") + 1)],
            form: None,
        }],
        &[
            Condition { text: "buckets must be a multiple of 4", holds: |axes| size(axes, "buckets").is_multiple_of(4) },
            Condition {
                text: "the distances with a bucket of their own must end before the last one: buckets / 2 < max_distance",
                holds: |axes| size(axes, "buckets") / 2 < size(axes, "max_distance"),
            },
        ],
    );

    type Bound<B: TransformerBackend> = Attended<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Attended<B>> {
        Ok(Attended::new(Some(operands.tensor("by_distance")?), axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let table = by_distance(source(drawn, "bias")?, is_causal(axes), size(axes, "max_distance"))?;
        Ok(Derived::default().tensor("by_distance", table))
    }
}

/// The trained values [heads, buckets], each at the distances of its bucket: [heads, 2 farthest + 1].
pub(crate) fn by_distance(trained: &HostTensor, causal: bool, farthest: usize) -> Result<HostTensor> {
    let &[heads, buckets] = trained.shape() else {
        return Err(shape_error("t5 bias", format!("{:?} is not [heads, buckets]", trained.shape())));
    };
    // Beyond the farthest distance both ends of the table are repeated, as both last buckets are.
    let places: Vec<usize> =
        (0..=2 * farthest).map(|entry| bucket(entry.abs_diff(farthest), entry > farthest, causal, buckets, farthest)).collect();
    let spread = trained.values().chunks(buckets.max(1)).flat_map(|row| places.iter().map(|&place| row[place])).collect();
    HostTensor::new(&[heads, 2 * farthest + 1], spread)
}

/// The bucket of a distance to a key before or after the query.
fn bucket(distance: usize, after: bool, causal: bool, buckets: usize, farthest: usize) -> usize {
    let (first, count) = match (causal, after) {
        (true, true) => return 0,
        (true, false) => (0, buckets),
        (false, after) => (if after { buckets / 2 } else { 0 }, buckets / 2),
    };
    let exact = count / 2;
    if distance < exact {
        return first + distance;
    }
    let growth = (distance as f64 / exact as f64).ln() / (farthest as f64 / exact as f64).ln();
    // Powers that fall on a border must not slip below it by a rounding.
    let step = (growth * (count - exact) as f64 + 1e-9).floor() as usize;
    first + (exact + step).min(count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::attended::plain;
    use crate::testing::{axes, axis_error, distance, drawn, run};

    #[test]
    fn buckets_are_those_of_whole_number_arithmetic() {
        // 8 exact distances, then 8 buckets whose borders are 8 16^(k / 8): d is beyond border k if d^8 8^k >= 8^8 128^k.
        let expected = |d: u128| {
            let beyond = (1..8).filter(|&k| d.pow(8) * 8u128.pow(k) >= 8u128.pow(8) * 128u128.pow(k)).count();
            if d < 8 { d as usize } else { 8 + beyond }
        };
        for distance in 0..400 {
            assert_eq!(bucket(distance, false, false, 32, 128), expected(distance as u128), "{distance}");
            assert_eq!(bucket(distance, true, false, 32, 128), 16 + expected(distance as u128), "{distance}");
        }
        // Causal: 16 exact distances, and as many buckets after them.
        assert_eq!([0, 15, 16, 32, 64, 127, 500].map(|d| bucket(d, false, true, 32, 128)), [0, 15, 16, 21, 26, 31, 31]);
    }

    #[test]
    fn it_is_attention_with_the_bias_of_the_bucket() {
        for (mask, causal) in [("full", false), ("causal", true)] {
            let given = [
                ("heads", 2.into()),
                ("n", 40.into()),
                ("head_dim", 8.into()),
                ("mask", mask.into()),
                ("buckets", 8.into()),
                ("max_distance", 16.into()),
            ];
            let axes = axes::<T5Bias>(&given);
            let inputs = drawn::<T5Bias>(&axes);
            let expected = plain(&inputs, causal, |head, query, key| {
                inputs["bias"].values()[head * 8 + bucket(query.abs_diff(key), key > query, causal, 8, 16)]
            });
            assert!(distance(&run::<T5Bias>(&axes, &inputs), &expected) < 1e-13, "{mask}");
        }
    }

    #[test]
    fn impossible_buckets_are_refused() {
        let error = axis_error::<T5Bias>(&[("buckets", 30.into())]);
        assert!(error.starts_with("position/t5-bias: buckets must be a multiple of 4 (here"), "{error}");
        let error = axis_error::<T5Bias>(&[("max_distance", 16.into())]);
        assert!(error.contains("buckets / 2 < max_distance (here"), "{error}");
    }
}
