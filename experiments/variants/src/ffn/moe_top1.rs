//! A mixture of experts in which each token goes to the one expert of highest probability.
//!
//! Fedus et al. 2021 (Switch Transformer), section 2.1 for the routing and 2.2 for the capacity: out = p expert(x), where p is the
//! router's probability of the chosen expert. The parameters of `experts` layers for the arithmetic of one (times the capacity). Traded
//! away: tokens beyond the capacity, memory for all experts, and rows gathered by index. The auxiliary loss that balances the load
//! belongs to training and is not here. It approximates no given layer, so its accuracy is measured against itself; one expert is the
//! dense layer.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::dense::Dense;
use super::moe::{CAPACITY, COUNTABLE, Mixture, TENSORS, experts, places_formula};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct MoeTop1;

impl Variant for MoeTop1 {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/moe-top1",
        summary: "probability times output of the most probable of several dense layers, for each token",
        citation: "Fedus et al. 2021, sections 2.1 and 2.2",
        task: "ffn/moe",
        parameters: &[experts(1), CAPACITY],
        tensors: TENSORS,
        derived: &[],
        conditions: &[COUNTABLE],
        model: Model {
            flops: concat!(
                "min(1*batch*n, experts*",
                places_formula!("1"),
                ")*(4*d_model*d_ff + d_ff*(1 + activation) + 3*d_model)",
                " + batch*n*(experts*(2*d_model + 5 + floor(log2(max(2, experts)))))"
            ),
            scratch: "batch*n*(2 + experts)",
        },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Mixture<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Mixture<B>> {
        Mixture::bind(Self::DESCRIPTOR.name, 1, operands, axes)
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
    fn one_expert_is_dense() {
        let own = axes::<MoeTop1>(&sizes(&[("experts", 1.into())]));
        let mut tensors = drawn::<MoeTop1>(&own);
        let output = run::<MoeTop1>(&own, &tensors);
        for name in ["w1", "b1", "w2", "b2"] {
            tensors.insert(name.into(), part(&tensors[name], 0));
        }
        assert!(distance(&output, &dense_output(&own, &tensors)) < 1e-14);
    }

    /// With room for everybody, each token gets the dense layer of its best expert times that expert's probability.
    #[test]
    fn tokens_go_to_their_best_expert() {
        let own = axes::<MoeTop1>(&sizes(&[("experts", 3.into()), ("capacity", 3.0.into())]));
        let tensors = drawn::<MoeTop1>(&own);
        let output = run::<MoeTop1>(&own, &tensors);
        let by_expert: Vec<HostTensor> = (0..3)
            .map(|expert| {
                let mut one = tensors.clone();
                for name in ["w1", "b1", "w2", "b2"] {
                    one.insert(name.into(), part(&tensors[name], expert));
                }
                dense_output(&own, &one)
            })
            .collect();
        let mut used = [0; 3];
        for (row, x) in tensors["x"].values().chunks(16).enumerate() {
            let logit = |w: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>().exp();
            let powers: Vec<f64> = tensors["router"].values().chunks(16).map(logit).collect();
            let best = (0..3).max_by(|&a, &b| powers[a].total_cmp(&powers[b])).unwrap();
            used[best] += 1;
            let gate = powers[best] / powers.iter().sum::<f64>();
            for channel in row * 16..(row + 1) * 16 {
                assert!((output.values()[channel] - gate * by_expert[best].values()[channel]).abs() < 1e-13, "row {row}");
            }
        }
        assert!(used.iter().filter(|&&count| count > 0).count() > 1, "{used:?}");
    }

    /// Ten tokens, one expert that takes all, five places: the first five in order are served, the others get zeros.
    #[test]
    fn tokens_beyond_the_capacity_are_dropped() {
        let own = axes::<MoeTop1>(&sizes(&[("experts", 2.into()), ("capacity", 1.0.into())]));
        let mut tensors = drawn::<MoeTop1>(&own);
        with_equal_experts(&mut tensors, 2);
        // Equal probabilities: ties go to the expert of lower number.
        tensors.insert("router".into(), HostTensor::new(&[2, 16], vec![0.0; 32]).unwrap());
        let output = run::<MoeTop1>(&own, &tensors);
        for name in ["w1", "b1", "w2", "b2"] {
            tensors.insert(name.into(), part(&tensors[name], 0));
        }
        let dense = dense_output(&own, &tensors);
        for (at, (&found, &dense)) in output.values().iter().zip(dense.values()).enumerate() {
            let expected = if at / 16 < 5 { 0.5 * dense } else { 0.0 };
            assert!((found - expected).abs() < 1e-14, "token {}", at / 16);
        }
    }

    #[test]
    fn no_expert_is_refused() {
        assert!(axis_error::<MoeTop1>(&sizes(&[("experts", 0.into())])).contains("must be a whole number in 1..=256"));
        let huge = [("n", (1i64 << 24).into()), ("batch", 1.into())];
        assert!(axis_error::<MoeTop1>(&sizes(&huge)).contains("must be below 2^24"));
    }
}
