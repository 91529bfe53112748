//! For the tests of this family: variants against the dense layer on the same given tensors.

use crossover_core::axes::AxisValue;
use crossover_core::host::HostTensor;

use super::dense::Dense;
use crate::formula::evaluate;
use crate::registry::find;
use crate::testing::{axes, drawn, judged, relative_error, run};
use crate::variant::Variant;

/// A small problem with these parameters.
pub(crate) fn sizes(given: &[(&'static str, AxisValue)]) -> Vec<(&'static str, AxisValue)> {
    let mut all = vec![("batch", 2.into()), ("n", 5.into()), ("d_in", 16.into()), ("d_out", 24.into()), ("activation", "silu".into())];
    all.retain(|(name, _)| given.iter().all(|(other, _)| other != name));
    all.extend_from_slice(given);
    all
}

/// Relative error of a variant against the dense layer, at f64, on tensors as drawn.
pub(crate) fn error_against_dense<V: Variant>(given: &[(&'static str, AxisValue)]) -> f64 {
    error_with_weight::<V>(given, |w| w)
}

/// The same for a changed weight.
pub(crate) fn error_with_weight<V: Variant>(given: &[(&'static str, AxisValue)], change: impl Fn(HostTensor) -> HostTensor) -> f64 {
    let own = axes::<V>(&sizes(given));
    let mut tensors = drawn::<V>(&own);
    let w = change(tensors["w"].clone());
    tensors.insert("w".into(), w);
    let mut plain = own.clone();
    plain.retain(|name, _| Dense::DESCRIPTOR.axis(name).is_some());
    relative_error(&run::<V>(&own, &tensors), &run::<Dense>(&plain, &tensors))
}

/// Each value of a weight replaced.
pub(crate) fn mapped(weight: &HostTensor, change: impl Fn(usize, f64) -> f64) -> HostTensor {
    let values = weight.values().iter().enumerate().map(|(at, &value)| change(at, value)).collect();
    HostTensor::new(weight.shape(), values).expect("the shape stays")
}

/// A cell away from the defaults: right by the worker's judgement, and its closed forms agree with the metered operations within two in
/// a hundred.
pub(crate) fn assert_sound<V: Variant>(given: &[(&'static str, AxisValue)]) {
    let name = V::DESCRIPTOR.name;
    let judgement = judged::<V>(given);
    assert_eq!(judgement.complaint, None, "{name} {given:?}");
    assert!(judgement.rows_checked > 0, "{name} {given:?}");
    let (entry, axes) = (find(name).expect("it is listed"), axes::<V>(given));
    let run = entry.dry_run(&axes).expect("it can be run on shapes");
    // Scratch is declared in elements of f32: only cells that hold everything in four bytes can be compared.
    let elements = if axes["precision"].as_text() == Some("f32") { Some(run.scratch_bytes as f64 / 4.0) } else { None };
    let metered = [("flops", V::DESCRIPTOR.model.flops, Some(entry.cost(&axes).expect("it has a cost").flops as f64))];
    for (what, formula, metered) in metered.into_iter().chain([("scratch", V::DESCRIPTOR.model.scratch, elements)]) {
        let (closed, metered) = (evaluate(formula, &axes).expect("it can be read"), metered.unwrap_or(f64::NAN));
        assert!(metered.is_nan() || (closed - metered).abs() <= 0.02 * metered, "{name} {given:?}: {what} {closed}, metered {metered}");
    }
}
