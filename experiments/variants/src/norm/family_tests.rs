//! Every norm in every position: right at each precision, its costs as declared, and its tensors those of the position.

use crossover_core::axes::AxisValue;

use super::batch_norm::BatchNorm;
use super::dyt::DynamicTanh;
use super::group_norm::GroupNorm;
use super::joined::{POSITIONS, TASK};
use super::layer_norm::LayerNorm;
use super::none::NoNorm;
use super::rms_norm::RmsNorm;
use super::scale_norm::ScaleNorm;
use crate::linear::testing::assert_sound;
use crate::registry::{VariantVisitor, entries};
use crate::testing::{axes, axis_error, distance, drawn, run};
use crate::variant::Variant;

fn at(position: &'static str, more: &[(&'static str, AxisValue)]) -> Vec<(&'static str, AxisValue)> {
    [("n", 6.into()), ("d_model", 32.into()), ("position", position.into())].into_iter().chain(more.iter().cloned()).collect()
}

#[test]
fn every_norm_is_right_in_every_position() {
    struct Everywhere(usize);
    impl VariantVisitor for Everywhere {
        fn visit<V: Variant>(&mut self) {
            if V::DESCRIPTOR.task != TASK {
                return;
            }
            for position in POSITIONS {
                for precision in ["f64", "f32", "bf16", "f16"] {
                    assert_sound::<V>(&at(position, &[("precision", precision.into())]));
                }
                self.0 += 1;
            }
        }
    }
    let mut seen = Everywhere(0);
    super::visit(&mut seen);
    assert_eq!(seen.0, 7 * 6);
}

/// What a plan groups by is the task and the problem's axes: the same for all, with the position among them.
#[test]
fn norms_are_compared_in_one_position() {
    let norms: Vec<_> = entries().into_iter().filter(|entry| entry.descriptor.task == TASK).collect();
    assert_eq!(norms.len(), 7);
    for norm in norms {
        let names: Vec<&str> = norm.descriptor.problem.iter().map(|axis| axis.name).collect();
        assert_eq!(names, ["batch", "n", "d_model", "position", "depth"], "{}", norm.descriptor.name);
    }
}

#[test]
fn a_position_is_its_formula_whatever_the_norm() {
    fn check<V: Variant>() {
        let name = V::DESCRIPTOR.name;
        let given = |position| at(position, &[("depth", 40.into())]);
        let inputs = drawn::<V>(&axes::<V>(&given("parallel")));
        let of = |position: &'static str, inputs: &_| run::<V>(&axes::<V>(&given(position)), inputs);
        let plain = of("plain", &inputs);
        let plus = |values: &[f64], tensor: &str| -> Vec<f64> { values.iter().zip(inputs[tensor].values()).map(|(a, b)| a + b).collect() };
        let tensor = |values: Vec<f64>| crossover_core::host::HostTensor::new(&[1, 6, 32], values).unwrap();
        let pre = plus(plain.values(), "residual");
        assert!(distance(&of("pre", &inputs), &tensor(pre.clone())) < 1e-13, "{name} pre");
        assert!(distance(&of("parallel", &inputs), &tensor(plus(&pre, "other"))) < 1e-13, "{name} parallel");
        for (position, factor) in [("post", 1.0), ("deep-norm", 80f64.powf(0.25))] {
            let sum = inputs["x"].values().iter().zip(inputs["residual"].values()).map(|(x, r)| x + factor * r).collect();
            let mut summed = inputs.clone();
            summed.insert("x".into(), tensor(sum));
            assert!(distance(&of(position, &inputs), &of("plain", &summed)) < 1e-12, "{name} {position}");
        }
        // A sandwich of equal norms is the plain norm twice, and the stream.
        let sandwich = axes::<V>(&given("sandwich"));
        let mut both = drawn::<V>(&sandwich);
        for tensor in inputs.keys().filter(|tensor| *tensor != "other") {
            both.insert(tensor.clone(), inputs[tensor].clone());
            if both.contains_key(&format!("{tensor}_out")) {
                both.insert(format!("{tensor}_out"), inputs[tensor].clone());
            }
        }
        let mut twice = inputs.clone();
        twice.insert("x".into(), plain);
        let expected = plus(of("plain", &twice).values(), "residual");
        assert!(distance(&run::<V>(&sandwich, &both), &tensor(expected)) < 1e-12, "{name} sandwich");
    }
    check::<LayerNorm>();
    check::<RmsNorm>();
    check::<GroupNorm>();
    check::<ScaleNorm>();
    check::<DynamicTanh>();
    check::<BatchNorm>();
    check::<NoNorm>();
}

#[test]
fn an_unknown_position_is_refused() {
    let error = axis_error::<BatchNorm>(&[("position", "sideways".into())]);
    let expected = "norm/batch-norm: position = sideways must be one of plain, post, pre, sandwich, parallel, deep-norm";
    assert_eq!(error, expected);
}
