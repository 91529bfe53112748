//! Log-softmax: x - log sum exp x over the last dimension, by the largest entry, as an operation of the engine.
//!
//! What losses and beam search want. Taking the logarithm of a softmax instead would turn every probability below the smallest number of
//! the type into minus infinity; here log-probabilities keep their digits. A row of only minus infinity gives minus infinity.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::tensor::{View, ViewMut};

use super::description;
use crate::descriptor::Descriptor;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct LogSoftmax;

/// Nothing to bind.
pub struct LogRows;

impl Variant for LogSoftmax {
    const DESCRIPTOR: Descriptor = Descriptor {
        task: "softmax/log",
        ..description("softmax/log-softmax", "x - log sum exp x, by the largest entry", "the textbook log-sum-exp")
    };

    type Bound<B: TransformerBackend> = LogRows;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<LogRows> {
        Ok(LogRows)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for LogRows {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[logits] = inputs else { return Err(wrong_inputs("softmax/log-softmax", inputs)) };
        backend.log_softmax(Operand::Of(logits), out, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softmax::stable::Stable;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn its_exponential_is_the_softmax() {
        let given = [("n", 9.into()), ("classes", 50.into())];
        let inputs = drawn::<LogSoftmax>(&axes::<LogSoftmax>(&given));
        let logs = run::<LogSoftmax>(&axes::<LogSoftmax>(&given), &inputs);
        let exponentials = HostTensor::new(logs.shape(), logs.values().iter().map(|x| x.exp()).collect()).unwrap();
        assert!(distance(&exponentials, &run::<Stable>(&axes::<Stable>(&given), &inputs)) < 1e-14);
    }

    #[test]
    fn tiny_probabilities_keep_their_logarithm() {
        let axes = axes::<LogSoftmax>(&[("n", 2.into()), ("classes", 2.into()), ("precision", "f32".into())]);
        let low = f64::NEG_INFINITY;
        let inputs = [("logits".to_owned(), HostTensor::new(&[1, 2, 2], vec![0.0, -1000.0, low, low]).unwrap())].into();
        assert_eq!(run::<LogSoftmax>(&axes, &inputs).values(), [0.0, -1000.0, low, low]);
    }
}
