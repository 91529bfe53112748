//! The family away from its defaults: every precision that a variant takes, and parameters that change shapes.

use crossover_core::axes::AxisValue;

use super::activation_sparsity::ActivationSparsity;
use super::block_sparse::BlockSparse;
use super::bottleneck::Bottleneck;
use super::core_periphery::CorePeriphery;
use super::dense::Dense;
use super::depthwise_separable::DepthwiseSeparable;
use super::low_rank::LowRank;
use super::moe_top1::MoeTop1;
use super::moe_top2::MoeTop2;
use super::monarch::Monarch;
use super::n_of_m::NofM;
use super::pruned::Pruned;
use super::shared_stack::SharedStack;
use super::stack::Stack;
use super::structured::Structured;
use super::swiglu::Swiglu;
use super::testing::sizes;
use crate::linear::testing::assert_sound;
use crate::variant::Variant;

const FLOATING: [&str; 4] = ["f64", "f32", "bf16", "f16"];

fn at<V: Variant>(precisions: &[&'static str], given: &[(&'static str, AxisValue)]) {
    for &precision in precisions {
        let all: Vec<(&'static str, AxisValue)> = given.iter().cloned().chain([("precision", precision.into())]).collect();
        assert_sound::<V>(&sizes(&all));
    }
}

#[test]
fn weights_of_the_cells_precision_take_every_precision() {
    let precisions = ["f64", "f32", "bf16", "f16", "int8", "int8-weight", "int4", "bf16-weight"];
    at::<Dense>(&precisions, &[("activation", "relu-squared".into())]);
    at::<Swiglu>(&precisions, &[]);
    at::<LowRank>(&precisions, &[("activation", "relu".into())]);
    at::<Bottleneck>(&precisions, &[]);
    at::<Structured>(&precisions, &[]);
    at::<CorePeriphery>(&precisions, &[("activation", "relu-squared".into())]);
    at::<Monarch>(&precisions, &[("activation", "gelu-tanh".into())]);
    at::<DepthwiseSeparable>(&precisions, &[("causal", "yes".into())]);
    at::<Stack>(&precisions, &[]);
    at::<SharedStack>(&precisions, &[("activation", "silu".into())]);
}

#[test]
fn sparse_weights_take_floating_precisions() {
    at::<Pruned>(&FLOATING, &[("sparsity", 0.8.into())]);
    at::<NofM>(&FLOATING, &[("activation", "relu".into())]);
    at::<BlockSparse>(&FLOATING, &[("block", 8.into())]);
}

/// Choices are made in the compute type, so that a narrow precision leaves nearly all of them determined.
#[test]
fn choices_hold_in_narrow_precisions() {
    at::<ActivationSparsity>(&FLOATING, &[("k_hidden", 5.into())]);
    at::<MoeTop1>(&["f64", "f32", "bf16", "f16", "int8-weight"], &[]);
    at::<MoeTop2>(&["f64", "f32", "bf16", "f16", "int8-weight"], &[]);
}

#[test]
fn parameters_that_change_shapes() {
    let f32 = ["f32"];
    at::<LowRank>(&f32, &[("rank", 3.into()), ("rank2", 11.into()), ("split", "left".into())]);
    at::<Bottleneck>(&f32, &[("keep", 0.001.into())]);
    at::<CorePeriphery>(&f32, &[("core", 1.0.into())]);
    at::<Monarch>(&f32, &[("blocks", 2.into())]);
    at::<DepthwiseSeparable>(&f32, &[("kernel", 4.into()), ("d_ff", 8.into())]);
    at::<Stack>(&f32, &[("layers", 1.into())]);
    at::<SharedStack>(&f32, &[("layers", 5.into())]);
    at::<ActivationSparsity>(&f32, &[("k_hidden", 32.into())]);
    at::<ActivationSparsity>(&f32, &[("k_hidden", 31.into())]);
    at::<MoeTop1>(&f32, &[("experts", 7.into()), ("capacity", 0.01.into())]);
    at::<MoeTop1>(&f32, &[("experts", 64.into()), ("n", 64.into()), ("d_ff", 8.into())]);
    at::<MoeTop2>(&f32, &[("experts", 2.into()), ("capacity", 100.0.into())]);
    at::<MoeTop2>(&f32, &[("experts", 64.into()), ("n", 64.into()), ("d_ff", 8.into())]);
}
