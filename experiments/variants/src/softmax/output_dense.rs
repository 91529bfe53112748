//! The dense output layer: logits of every word, then log-softmax. The baseline of the task.
//!
//! Bengio et al. 2003, section 2, in logarithms. One number a word and row in memory (the logit, which becomes the result), 2 d_model
//! operations for each. Where results are stored narrower than they are computed, logits have scratch of their own, so that they are not
//! rounded before their logarithm is taken.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, PreparedWeight, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::LinearSpec;
use crossover_core::tensor::{View, ViewMut};

use super::columns::wide;
use super::output::{LOG_PROBABILITIES, W, X, description};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct OutputDense;

/// One weight.
pub struct Projected<B: TransformerBackend> {
    w: B::Weight,
}

impl Variant for OutputDense {
    const DESCRIPTOR: Descriptor = description(
        ["softmax/output-dense", "log softmax(w x) over the whole vocabulary", "Bengio et al. 2003, section 2"],
        &[],
        &[X, W],
        &[],
        (LOG_PROBABILITIES, &[]),
        Model { flops: "batch*n*vocabulary*(2*d_model + 5)", scratch: "0" },
    );

    type Bound<B: TransformerBackend> = Projected<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Projected<B>> {
        Ok(Projected { w: operands.weight("w")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Projected<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs("softmax/output-dense", inputs)) };
        let plain = LinearSpec { activation: Activation::None };
        if out.dtype() == backend.compute() {
            backend.linear(plain, x, &self.w, None, out.reborrow())?;
            return backend.log_softmax(Operand::InPlace, out, scratch);
        }
        let mut logits = wide(backend, x.shape(), self.w.outputs(), scratch)?;
        backend.linear(plain, x, &self.w, None, logits.view_mut())?;
        backend.log_softmax(Operand::Of(logits.view()), out, scratch)?;
        scratch.give(logits);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softmax::output::plain_losses;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn every_word_gets_its_log_probability() {
        let axes = axes::<OutputDense>(&[("n", 5.into()), ("d_model", 8.into()), ("vocabulary", 19.into())]);
        let mut inputs = drawn::<OutputDense>(&axes);
        let out = run::<OutputDense>(&axes, &inputs);
        for word in 0..19 {
            inputs.insert("targets".into(), HostTensor::new(&[1, 5], vec![word as f64; 5]).unwrap());
            let losses = plain_losses(&inputs, |_, _| true).into_iter().map(|loss| -loss).collect();
            let of_word = out.values().iter().skip(word).step_by(19).copied().collect();
            assert!(distance(&HostTensor::new(&[5], of_word).unwrap(), &HostTensor::new(&[5], losses).unwrap()) < 1e-13);
        }
    }
}
