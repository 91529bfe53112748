//! A mixture of experts in which each token goes to the two experts of highest probability.
//!
//! Shazeer et al. 2017, section 2.1 (without their noise), with the gates and the order of Lepikhin et al. 2020, algorithm 1: the two
//! probabilities are scaled to sum to 1, and second choices take the places that all first choices have left. Twice the arithmetic of
//! `ffn/moe-top1` at the same number of places a choice; their random dropping of weak second choices and the auxiliary loss belong to
//! training and are not here. Equal experts with room for everybody are the dense layer.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::dense::Dense;
use super::moe::{CAPACITY, COUNTABLE, Mixture, TENSORS, experts, places_formula};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct MoeTop2;

impl Variant for MoeTop2 {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/moe-top2",
        summary: "the two most probable of several dense layers, weighted, for each token",
        citation: "Shazeer et al. 2017, section 2.1; Lepikhin et al. 2020, algorithm 1",
        task: "ffn/moe",
        parameters: &[experts(2), CAPACITY],
        tensors: TENSORS,
        derived: &[],
        conditions: &[COUNTABLE],
        model: Model {
            flops: concat!(
                "min(2*batch*n, experts*",
                places_formula!("2"),
                ")*(4*d_model*d_ff + d_ff*(1 + activation) + 3*d_model)",
                " + batch*n*(experts*(2*d_model + 5 + floor(log2(max(2, experts)))) + 4)"
            ),
            scratch: "batch*n*(4 + experts)",
        },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Mixture<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Mixture<B>> {
        Mixture::bind(Self::DESCRIPTOR.name, 2, operands, axes)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::moe::with_equal_experts;
    use super::super::testing::{dense_output, part, sizes};
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn equal_experts_with_room_are_dense() {
        let own = axes::<MoeTop2>(&sizes(&[("experts", 3.into()), ("capacity", 3.0.into())]));
        let mut tensors = drawn::<MoeTop2>(&own);
        with_equal_experts(&mut tensors, 3);
        let output = run::<MoeTop2>(&own, &tensors);
        for name in ["w1", "b1", "w2", "b2"] {
            tensors.insert(name.into(), part(&tensors[name], 0));
        }
        assert!(distance(&output, &dense_output(&own, &tensors)) < 1e-13);
    }

    /// Ten tokens choose experts 0 and 1 alike, with half of the places that they need: the first five are served twice.
    #[test]
    fn first_choices_come_first_and_the_rest_is_dropped() {
        let own = axes::<MoeTop2>(&sizes(&[("experts", 4.into()), ("capacity", 1.0.into())]));
        let mut tensors = drawn::<MoeTop2>(&own);
        with_equal_experts(&mut tensors, 4);
        tensors.insert("router".into(), HostTensor::new(&[4, 16], vec![0.0; 64]).unwrap());
        let output = run::<MoeTop2>(&own, &tensors);
        for name in ["w1", "b1", "w2", "b2"] {
            tensors.insert(name.into(), part(&tensors[name], 0));
        }
        let dense = dense_output(&own, &tensors);
        for (at, (&found, &dense)) in output.values().iter().zip(dense.values()).enumerate() {
            let expected = if at / 16 < 5 { dense } else { 0.0 };
            assert!((found - expected).abs() < 1e-13, "token {}", at / 16);
        }
    }

    #[test]
    fn a_single_expert_is_refused() {
        assert!(axis_error::<MoeTop2>(&sizes(&[("experts", 1.into())])).contains("must be a whole number in 2..=256"));
    }
}
