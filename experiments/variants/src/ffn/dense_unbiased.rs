//! The dense feed-forward layer without biases.
//!
//! Raffel et al. 2020 (T5, in the published code; the original has biases: Vaswani et al. 2017, section 3.3). Two vectors and two sums
//! fewer; what it gives up is a shift of each hidden unit.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::dense::Dense;
use super::layers::{FIRST, SECOND, TwoLayers, X, weight};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct DenseUnbiased;

impl Variant for DenseUnbiased {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/dense-unbiased",
        summary: "activation(x w1^T) w2^T",
        citation: "Raffel et al. 2020, section 2.1 and the published code",
        task: "ffn/unbiased",
        tensors: &[X, weight("w1", FIRST), weight("w2", SECOND)],
        model: Model { flops: "batch*n*(4*d_model*d_ff + d_ff*activation)", scratch: "batch*n*d_ff" },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = TwoLayers<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<TwoLayers<B>> {
        TwoLayers::without_biases(Self::DESCRIPTOR.name, operands, axes)
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
    fn it_is_the_dense_layer_with_biases_of_zero() {
        let (own, dense) = (axes::<DenseUnbiased>(&sizes(&[])), axes::<Dense>(&sizes(&[])));
        let mut tensors = drawn::<Dense>(&dense);
        for name in ["b1", "b2"] {
            let shape = tensors[name].shape().to_vec();
            tensors.insert(name.into(), HostTensor::new(&shape, vec![0.0; shape[0]]).unwrap());
        }
        let expected = run::<Dense>(&dense, &tensors);
        tensors.retain(|name, _| !name.starts_with('b'));
        assert_eq!(run::<DenseUnbiased>(&own, &tensors), expected);
    }
}
