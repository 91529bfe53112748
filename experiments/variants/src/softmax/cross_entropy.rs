//! Cross-entropy with all logits in memory: -log softmax(w x) at the target.
//!
//! The usual training loss, as frameworks compute it: a matrix [rows, vocabulary] of logits, in the compute type, is written, read for the
//! target's logit and for the sum of exponentials, and dropped. The baseline of the tiled form, from which it differs in the number of
//! tiles and in nothing else: here it is one.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::tensor::{View, ViewMut};

use super::output::{LOSSES, TARGETS, W, X, description, losses};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct CrossEntropy;

/// One weight.
pub struct Materialised<B: TransformerBackend> {
    w: B::Weight,
}

impl Variant for CrossEntropy {
    const DESCRIPTOR: Descriptor = description(
        ["softmax/cross-entropy", "-log softmax(w x)[target], all logits in memory", "Bengio et al. 2003, section 2"],
        &[],
        &[X, TARGETS, W],
        &[],
        (LOSSES, &[]),
        Model { flops: "batch*n*vocabulary*(2*d_model + 4)", scratch: "batch*n*vocabulary" },
    );

    type Bound<B: TransformerBackend> = Materialised<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Materialised<B>> {
        Ok(Materialised { w: operands.weight("w")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Materialised<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, targets] = inputs else { return Err(wrong_inputs("softmax/cross-entropy", inputs)) };
        losses(backend, std::slice::from_ref(&self.w), [x, targets], out, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softmax::output::plain_losses;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn it_is_the_loss_also_where_the_vocabulary_is_no_multiple_of_a_tile() {
        for words in [2i64, 37, 2500] {
            let axes = axes::<CrossEntropy>(&[("n", 7.into()), ("d_model", 8.into()), ("vocabulary", words.into())]);
            let inputs = drawn::<CrossEntropy>(&axes);
            let expected = HostTensor::new(&[1, 7, 1], plain_losses(&inputs, |_, _| true)).unwrap();
            assert!(distance(&run::<CrossEntropy>(&axes, &inputs), &expected) < 1e-12, "{words}");
        }
    }
}
