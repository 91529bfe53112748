//! For the tests of this family: variants against the dense layer on the same given tensors.

use crossover_core::axes::AxisValue;
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;

use super::dense::Dense;
use crate::testing::{axes, drawn, relative_error, run};
use crate::variant::Variant;

/// A small problem with these parameters.
pub(crate) fn sizes(given: &[(&'static str, AxisValue)]) -> Vec<(&'static str, AxisValue)> {
    let mut all = vec![("batch", 2.into()), ("n", 5.into()), ("d_model", 16.into()), ("d_ff", 32.into())];
    all.retain(|(name, _)| given.iter().all(|(other, _)| other != name));
    all.extend_from_slice(given);
    all
}

/// The dense layer's output at f64 for tensors of another variant.
pub(crate) fn dense_output(own: &crossover_core::axes::Axes, tensors: &HostInputs) -> HostTensor {
    let mut plain = own.clone();
    plain.retain(|name, _| Dense::DESCRIPTOR.axis(name).is_some());
    run::<Dense>(&plain, tensors)
}

/// Relative error of a variant against the dense layer, at f64, on tensors as drawn.
pub(crate) fn error_against_dense<V: Variant>(given: &[(&'static str, AxisValue)]) -> f64 {
    let own = axes::<V>(&sizes(given));
    let tensors = drawn::<V>(&own);
    relative_error(&run::<V>(&own, &tensors), &dense_output(&own, &tensors))
}

/// The matrix or row `at` of a tensor with one more dimension in front.
pub(crate) fn part(tensor: &HostTensor, at: usize) -> HostTensor {
    let shape = &tensor.shape()[1..];
    let size: usize = shape.iter().product();
    HostTensor::new(shape, tensor.values()[at * size..(at + 1) * size].to_vec()).expect("the part is inside")
}
