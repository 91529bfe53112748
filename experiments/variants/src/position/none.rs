//! No positions: streaming attention without any bias, the floor of the attention-side methods.
//!
//! Under a full mask attention is then blind to order; under a causal mask a model can still count what it sees (Kazemnejad et al. 2023,
//! section 2, "NoPE").

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::reference::ExactOperation;

use super::attended::{Attended, K, Q, V, description, pattern};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct NoPositions;

impl Variant for NoPositions {
    const DESCRIPTOR: Descriptor = description(
        ["position/none", "streaming attention that knows no positions", "Kazemnejad et al. 2023, section 2"],
        &[],
        &[Q, K, V],
        &[],
        &[],
    );

    type Bound<B: TransformerBackend> = Attended<B>;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Attended<B>> {
        Ok(Attended::new(None, axes))
    }

    fn exact(axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: pattern(axes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn without_positions_the_order_of_tokens_does_not_matter() {
        let axes = axes::<NoPositions>(&[("heads", 1.into()), ("n", 12.into()), ("head_dim", 8.into())]);
        let inputs = drawn::<NoPositions>(&axes);
        let reversed =
            |tensor: &HostTensor| HostTensor::new(tensor.shape(), tensor.values().chunks(8).rev().flatten().copied().collect()).unwrap();
        let backwards = inputs.iter().map(|(name, tensor)| (name.clone(), reversed(tensor))).collect();
        assert!(distance(&reversed(&run::<NoPositions>(&axes, &backwards)), &run::<NoPositions>(&axes, &inputs)) < 1e-14);
    }
}
