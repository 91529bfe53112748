//! A stack of feed-forward layers that all use one set of weights: x <- x + ffn(x), `layers` times.
//!
//! Lan et al. 2020, section 3.1 (cross-layer sharing; also Dehghani et al. 2019, section 2). The arithmetic of `ffn/stack` with one layer's
//! memory: the weights may stay in a cache from layer to layer. Traded away: what different layers could compute. It approximates no given
//! stack, so its accuracy is measured against itself.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::layers::{FIRST, SECOND, X, bias, weight};
use super::stack::{Residuals, Stack};
use crate::descriptor::{Descriptor, Dim};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SharedStack;

impl Variant for SharedStack {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/shared-stack",
        summary: "x + ffn(x), layer after layer, all with the same weights",
        citation: "Lan et al. 2020, section 3.1",
        tensors: &[X, weight("w1", FIRST), bias("b1", &[Dim::Axis("d_ff")]), weight("w2", SECOND), bias("b2", &[Dim::Axis("d_model")])],
        ..Stack::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Residuals<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Residuals<B>> {
        Residuals::bind(Self::DESCRIPTOR.name, operands, axes)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::sizes;
    use super::*;
    use crate::testing::{axes, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn it_is_the_stack_whose_layers_are_equal() {
        let own = axes::<SharedStack>(&sizes(&[("layers", 3.into())]));
        let mut tensors = drawn::<SharedStack>(&own);
        let shared = run::<SharedStack>(&own, &tensors);
        for (name, shape) in [("w1", &[3, 32, 16][..]), ("b1", &[3, 32]), ("w2", &[3, 16, 32]), ("b2", &[3, 16])] {
            tensors.insert(name.into(), HostTensor::new(shape, tensors[name].values().repeat(3)).unwrap());
        }
        assert_eq!(shared, run::<Stack>(&own, &tensors));
    }
}
