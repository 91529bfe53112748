//! LayerScale: residual + lambda x with one trained factor a channel.
//!
//! Touvron et al. 2021, "Going deeper with Image Transformers", section 2, equation 4. ReZero with more freedom: channels can join at
//! different strengths. The same passes, and d_model trained numbers a join instead of one.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::joined::{STREAM_IN, channels};
use super::residual_rezero::Scaled;
use super::{PROBLEM, RESIDUAL_TASK, STREAM, X};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct LayerScale;

impl Variant for LayerScale {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/residual-layer-scale",
        summary: "residual + lambda x, one lambda a channel",
        citation: "Touvron et al. 2021, section 2",
        task: RESIDUAL_TASK,
        problem: PROBLEM,
        parameters: &[],
        tensors: &[X, STREAM_IN, channels("lambda", 0.1, 0.05)],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "2*batch*n*d_model", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Scaled<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Scaled<B>> {
        Ok(Scaled { name: Self::DESCRIPTOR.name, factor: operands.tensor("lambda")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::residual_rezero::ReZero;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn equal_factors_are_rezero() {
        let given = [("n", 5.into()), ("d_model", 16.into())];
        let mut inputs = drawn::<ReZero>(&axes::<ReZero>(&given));
        let rezero = run::<ReZero>(&axes::<ReZero>(&given), &inputs);
        let alpha = inputs.remove("alpha").unwrap().values()[0];
        inputs.insert("lambda".into(), HostTensor::new(&[16], vec![alpha; 16]).unwrap());
        assert_eq!(distance(&run::<LayerScale>(&axes::<LayerScale>(&given), &inputs), &rezero), 0.0);
    }
}
