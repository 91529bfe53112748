//! Softmax in base 2: e^x = 2^(x log2 e), with the factor as a step of its own.
//!
//! Hardware computes powers of two; e^x is one product more. FlashAttention's kernels compute exp2 and fold log2 e into the scale of the
//! scores, where it is free (Dao 2023, FlashAttention-2, section 3). Standing alone, the product is one more pass, and this variant shows
//! whether exp2 pays for it.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::UnaryOp;
use crossover_core::reference::ExactOperation;

use super::description;
use super::exponentials::Exponentials;
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Base2;

impl Variant for Base2 {
    const DESCRIPTOR: Descriptor = Descriptor {
        model: Model { flops: "batch*n*(6*classes + 2)", scratch: "batch*n*(classes + 1) + 1" },
        ..description("softmax/base-2", "2^((x - max) log2 e) over its sum", "Dao 2023, section 3")
    };

    type Bound<B: TransformerBackend> = Exponentials;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Exponentials> {
        let fold = UnaryOp::Affine { scale: std::f64::consts::LOG2_E, shift: 0.0 };
        Ok(Exponentials { steps: vec![fold, UnaryOp::Exp2], shifted: true })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Softmax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softmax::stable::Stable;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn another_base_gives_the_same_softmax() {
        let given = [("n", 9.into()), ("classes", 100.into()), ("distribution", "extreme".into())];
        let inputs = drawn::<Base2>(&axes::<Base2>(&given));
        let gap = distance(&run::<Base2>(&axes::<Base2>(&given), &inputs), &run::<Stable>(&axes::<Stable>(&given), &inputs));
        assert!(gap < 1e-12, "{gap:e}");
    }

    #[test]
    fn masked_entries_get_nothing_and_a_masked_row_is_zero() {
        let axes = axes::<Base2>(&[("n", 2.into()), ("classes", 3.into())]);
        let low = f64::NEG_INFINITY;
        let inputs = [("logits".to_owned(), HostTensor::new(&[1, 2, 3], vec![1.0, low, 1.0, low, low, low]).unwrap())].into();
        assert_eq!(run::<Base2>(&axes, &inputs).values(), [0.5, 0.0, 0.5, 0.0, 0.0, 0.0]);
    }
}
