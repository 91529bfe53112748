//! Group normalisation of rows: each of `groups` equal parts of the channels has its own mean and variance.
//!
//! Wu and He 2018, section 3, equation 7, on the channels of one token (a sequence has no spatial extent to share statistics over). More
//! groups keep statistics local, which suits parts computed on different devices; the arithmetic is that of layer norm.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::{NormKind, NormSpec};

use super::STREAM;
use super::joined::{EPS, Joined, PROBLEM, Statistics, TASK, TENSORS, joined_flops, layer_norm, position};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Model};
use crate::resolve::{number, size};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct GroupNorm;

impl Variant for GroupNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/group-norm",
        summary: "layer norm of each of `groups` parts of the channels",
        citation: "Wu and He 2018, section 3",
        task: TASK,
        problem: PROBLEM,
        parameters: &[
            EPS,
            AxisSpec {
                name: "groups",
                doc: "equal parts of the channels; divides d_model",
                kind: AxisKind::Int { min: 1, max: 1 << 40 },
                default: AxisDefault::Int(8),
            },
        ],
        tensors: TENSORS,
        derived: &[],
        output: STREAM,
        conditions: &[Condition {
            text: "groups must divide d_model",
            holds: |axes| size(axes, "d_model").is_multiple_of(size(axes, "groups").max(1)),
        }],
        model: Model { flops: joined_flops!("7"), scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Joined<Statistics<B>>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>> {
        let spec = NormSpec { kind: NormKind::Group { groups: size(axes, "groups") }, epsilon: number(axes, "eps") };
        Joined::bind(Self::DESCRIPTOR.name, position(axes)?, operands, |operands, suffix| Statistics::affine(spec, operands, suffix))
    }

    fn exact(axes: &Axes) -> Reference {
        layer_norm(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::layer_norm::LayerNorm;
    use crate::testing::{axes, axis_error, distance, drawn, run};

    #[test]
    fn one_group_is_layer_norm_and_more_are_not() {
        let given = [("n", 5.into()), ("d_model", 24.into()), ("position", "pre".into())];
        let inputs = drawn::<LayerNorm>(&axes::<LayerNorm>(&given));
        let dense = run::<LayerNorm>(&axes::<LayerNorm>(&given), &inputs);
        let of_groups = |groups: i64| {
            let given = [given[0].clone(), given[1].clone(), given[2].clone(), ("groups", groups.into())];
            distance(&run::<GroupNorm>(&axes::<GroupNorm>(&given), &inputs), &dense)
        };
        assert!(of_groups(1) < 1e-14 && of_groups(3) > 1e-2, "{:e}, {:e}", of_groups(1), of_groups(3));
    }

    #[test]
    fn groups_must_divide() {
        let error = axis_error::<GroupNorm>(&[("d_model", 24.into()), ("groups", 5.into())]);
        assert!(error.starts_with("norm/group-norm: groups must divide d_model (here"), "{error}");
    }
}
