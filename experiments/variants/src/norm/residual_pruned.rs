//! Pruned residuals: of a stack of joins only every `every`-th keeps its residual; between them a layer replaces the stream.
//!
//! After Veit et al. 2016, section 4, who cut paths out of a trained residual network to see which of them matter; here skip connections
//! are taken out and the layers stay. Saves one pass a removed join (and its second copy of the stream). Trades away the
//! direct path: information older than the last kept residual survives only through the layers.

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::{NormKind, NormSpec};

use super::stack::{Layer, Stack, description, every};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::{number, size};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct ResidualPruned;

impl Variant for ResidualPruned {
    const DESCRIPTOR: Descriptor = description(
        "norm/residual-pruned",
        "a stack of joins of which every so many-th keeps its residual",
        "Veit et al. 2016, section 4",
        &[every("layers from one kept residual to the next; 1 keeps all")],
        Model { flops: "batch*n*d_model*(7*layers + floor(layers/every))", scratch: "batch*n*d_model*min(1, floor(layers/every))" },
    );

    type Bound<B: TransformerBackend> = Stack<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Stack<B>> {
        let layers = kept(size(axes, "layers"), size(axes, "every"));
        let spec = NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") };
        Ok(Stack { layers, gamma: operands.tensor("gamma")?, beta: operands.tensor("beta")?, spec })
    }

    /// The whole stack.
    fn exact(axes: &Axes) -> Reference {
        Reference::itself_with(axes, "every", AxisValue::Int(1))
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

/// The last of each group of `every` layers keeps its residual.
fn kept(layers: usize, every: usize) -> Vec<Layer> {
    (1..=layers).map(|at| if at.is_multiple_of(every.max(1)) { Layer::Joined } else { Layer::Bare }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::stack::plain;
    use crate::testing::{axes, distance, drawn, run};

    #[test]
    fn kept_residuals_add_and_pruned_ones_do_not() {
        for (every, layers) in [(1, [Layer::Joined; 5]), (2, [Layer::Bare, Layer::Joined, Layer::Bare, Layer::Joined, Layer::Bare])] {
            let axes = axes::<ResidualPruned>(&[("n", 3.into()), ("d_model", 16.into()), ("layers", 5.into()), ("every", every.into())]);
            let inputs = drawn::<ResidualPruned>(&axes);
            let expected = plain(&inputs, &layers.map(|layer| (layer, 1.0)));
            assert!(distance(&run::<ResidualPruned>(&axes, &inputs), &expected) < 1e-12, "every {every}");
        }
    }
}
