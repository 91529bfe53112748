//! For the tests of variants: one call on the naive engine, on tensors that the test may change.

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;
use crossover_naive::NaiveBackend;

use crate::cell::prepare;
use crate::descriptor::Descriptor;
use crate::inputs::CellInputs;
use crate::registry::{Entry, find};
use crate::resolve::resolve;
use crate::variant::Variant;
use crate::verify::{Judgement, judge};

/// Resolved axes of a variant, at f64 unless the axes say otherwise: `axes::<Dense>(&[("n", 16.into())])`.
pub fn axes<V: Variant>(given: &[(&str, AxisValue)]) -> Axes {
    resolve(descriptor::<V>(), &given_axes(given)).unwrap_or_else(|error| panic!("{error}"))
}

/// What is wrong with these axes.
pub fn axis_error<V: Variant>(given: &[(&str, AxisValue)]) -> String {
    resolve(descriptor::<V>(), &given_axes(given)).expect_err("these axes should be refused").to_string()
}

fn given_axes(given: &[(&str, AxisValue)]) -> Axes {
    let mut all: Axes = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    all.entry("precision".to_owned()).or_insert_with(|| "f64".into());
    all
}

fn descriptor<V: Variant>() -> &'static Descriptor {
    entry::<V>().descriptor
}

fn entry<V: Variant>() -> Entry {
    find(V::DESCRIPTOR.name).unwrap_or_else(|| panic!("{} is not in the registry", V::DESCRIPTOR.name))
}

/// The tensors as drawn.
pub fn drawn<V: Variant>(axes: &Axes) -> HostInputs {
    entry::<V>().draw(axes).expect("tensors can be drawn")
}

/// One poisoned call on the naive engine.
pub fn run<V: Variant>(axes: &Axes, drawn: &HostInputs) -> HostTensor {
    let inputs = CellInputs::new(&entry::<V>(), axes, drawn.clone()).unwrap_or_else(|error| panic!("{error}"));
    let mut cell = prepare::<NaiveBackend, V>(axes, &inputs).unwrap_or_else(|error| panic!("{error}"));
    cell.call_poisoned().unwrap_or_else(|error| panic!("{}: {error}", V::DESCRIPTOR.name));
    cell.output().expect("the output can be read")
}

/// Draws, calls and judges, as the worker does.
pub fn judged<V: Variant>(given: &[(&str, AxisValue)]) -> Judgement {
    let axes = axes::<V>(given);
    let inputs = CellInputs::new(&entry::<V>(), &axes, drawn::<V>(&axes)).unwrap_or_else(|error| panic!("{error}"));
    let mut cell = prepare::<NaiveBackend, V>(&axes, &inputs).unwrap_or_else(|error| panic!("{error}"));
    cell.call_poisoned().unwrap_or_else(|error| panic!("{}: {error}", V::DESCRIPTOR.name));
    judge(&entry::<V>(), &axes, &inputs, &cell.output().expect("the output can be read")).unwrap_or_else(|error| panic!("{error}"))
}

/// Largest absolute difference.
pub fn distance(a: &HostTensor, b: &HostTensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    // A NaN in either must not pass for agreement.
    a.values()
        .iter()
        .zip(b.values())
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |largest, d| if d > largest || d.is_nan() { d } else { largest })
}

/// Norm of the difference over the norm of the second.
pub fn relative_error(a: &HostTensor, b: &HostTensor) -> f64 {
    let square = |x: f64| x * x;
    let difference: f64 = a.values().iter().zip(b.values()).map(|(a, b)| square(a - b)).sum();
    (difference / b.values().iter().copied().map(square).sum::<f64>()).sqrt()
}
