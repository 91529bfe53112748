//! What the gated feed-forward layers share: (activation(x w1^T) * (x w3^T)) w2^T, without biases.
//!
//! Shazeer 2020, section 2: the five variants differ in the activation of the gate only, and each is a file of its own. A gate costs a
//! third matrix: at equal parameters d_ff is two thirds of the plain layer's. The two hidden tensors may be scratch of the engine, which
//! is free to fuse them away.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::LinearSpec;
use crossover_core::tensor::{View, ViewMut};

use super::layers::{D_FF, D_MODEL, FIRST, SECOND, STREAM, X, weight};
use crate::descriptor::{Descriptor, Model};
use crate::linear::{BATCH, ROWS};
use crate::variant::{Bound, Operands, wrong_inputs};

/// What the five descriptions have in common.
pub(crate) const GATED: Descriptor = Descriptor {
    name: "",
    summary: "",
    citation: "Shazeer 2020, section 2",
    task: "ffn/gated",
    problem: &[BATCH, ROWS, D_MODEL, D_FF],
    parameters: &[],
    tensors: &[X, weight("w1", FIRST), weight("w3", FIRST), weight("w2", SECOND)],
    derived: &[],
    output: STREAM,
    conditions: &[],
    model: Model { flops: "batch*n*d_ff*(6*d_model + 1)", scratch: "0" },
};

/// Gate, up and down.
pub struct Gated<B: TransformerBackend> {
    variant: &'static str,
    weights: [B::Weight; 3],
    spec: LinearSpec,
}

impl<B: TransformerBackend> Gated<B> {
    /// Takes "w1", "w3" and "w2".
    pub(crate) fn bind(variant: &'static str, operands: &mut Operands<B>, activation: Activation) -> Result<Self> {
        let weights = [operands.weight("w1")?, operands.weight("w3")?, operands.weight("w2")?];
        Ok(Self { variant, weights, spec: LinearSpec { activation } })
    }
}

impl<B: TransformerBackend> Bound<B> for Gated<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(self.variant, inputs)) };
        backend.gated_ffn(self.spec, x, self.weights.each_ref(), out, scratch)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::testing::sizes;

    use crate::testing::{axes, drawn, run};
    use crate::variant::Variant;

    /// Largest difference of a variant from the formula, recomputed in f64 with plain loops.
    pub(crate) fn distance_from_formula<V: Variant>(gate: impl Fn(f64) -> f64) -> f64 {
        let own = axes::<V>(&sizes(&[]));
        let tensors = drawn::<V>(&own);
        let dot = |x: &[f64], name: &str, row: usize| -> f64 {
            tensors[name].values()[row * x.len()..(row + 1) * x.len()].iter().zip(x).map(|(w, x)| w * x).sum()
        };
        let output = run::<V>(&own, &tensors);
        let mut largest = 0.0f64;
        for (x, found) in tensors["x"].values().chunks(16).zip(output.values().chunks(16)) {
            let hidden: Vec<f64> = (0..32).map(|unit| gate(dot(x, "w1", unit)) * dot(x, "w3", unit)).collect();
            for (channel, found) in found.iter().enumerate() {
                let difference = (found - dot(&hidden, "w2", channel)).abs();
                assert!(difference.is_finite());
                largest = largest.max(difference);
            }
        }
        largest
    }

    /// A gate that is closed lets nothing through, whatever the other branch says.
    #[test]
    fn an_input_that_closes_every_gate_gives_zero() {
        let own = axes::<super::super::reglu::Reglu>(&sizes(&[]));
        let mut tensors = drawn::<super::super::reglu::Reglu>(&own);
        let ones = |shape: &[usize], value: f64| crossover_core::host::HostTensor::new(shape, vec![value; shape.iter().product()]).unwrap();
        tensors.insert("x".into(), ones(&[2, 5, 16], 1.0));
        tensors.insert("w1".into(), ones(&[32, 16], -1.0));
        assert!(run::<super::super::reglu::Reglu>(&own, &tensors).values().iter().all(|&value| value == 0.0));
    }
}
