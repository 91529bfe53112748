//! The family away from its defaults: every precision that a variant takes, and parameters that change shapes.

use super::bf16_weights::Bf16Weights;
use super::block_sparse::BlockSparse;
use super::csr::Csr;
use super::dense::Dense;
use super::f16_weights::F16Weights;
use super::int4_group::Int4Group;
use super::int8_weight_only::Int8WeightOnly;
use super::kronecker::Kronecker;
use super::low_rank::LowRank;
use super::monarch::MonarchLayer;
use super::n_of_m::NofM;
use super::palette::PaletteLayer;
use super::ternary::Ternary;
use super::testing::{assert_sound, sizes};
use crate::variant::Variant;

const FLOATING: [&str; 4] = ["f64", "f32", "bf16", "f16"];
const INTEGER: [&str; 3] = ["int8", "int8-weight", "int4"];

fn at<V: Variant>(precisions: &[&'static str]) {
    for &precision in precisions {
        for activation in ["none", "relu-squared"] {
            assert_sound::<V>(&sizes(&[("precision", precision.into()), ("activation", activation.into())]));
        }
    }
}

#[test]
fn weights_of_the_cells_precision_take_every_precision() {
    for precisions in [&FLOATING[..], &INTEGER, &["bf16-weight"]] {
        at::<Dense>(precisions);
        at::<LowRank>(precisions);
        at::<Kronecker>(precisions);
        at::<MonarchLayer>(precisions);
    }
}

#[test]
fn weights_in_a_form_of_their_own_take_floating_precisions() {
    at::<Csr>(&FLOATING);
    at::<NofM>(&FLOATING);
    for precision in FLOATING {
        assert_sound::<BlockSparse>(&sizes(&[("precision", precision.into()), ("block", 4.into()), ("density", 0.3.into())]));
    }
    at::<Ternary>(&FLOATING);
    at::<PaletteLayer>(&FLOATING);
    at::<Bf16Weights>(&["f64", "f32", "f16"]);
    at::<F16Weights>(&["f64", "f32", "bf16"]);
    at::<Int8WeightOnly>(&["f64", "f32", "bf16", "f16", "int4"]);
    for precision in ["f64", "f32", "bf16", "f16", "int8-weight"] {
        assert_sound::<Int4Group>(&sizes(&[("precision", precision.into()), ("group", 5.into())]));
    }
}

#[test]
fn parameters_that_change_shapes() {
    let f32 = ("precision", "f32".into());
    assert_sound::<LowRank>(&sizes(&[f32.clone(), ("rank", 7.into()), ("split", "left".into())]));
    assert_sound::<Kronecker>(&sizes(&[f32.clone(), ("factor_out", 3.into()), ("factor_in", 4.into())]));
    assert_sound::<MonarchLayer>(&sizes(&[f32.clone(), ("blocks", 2.into())]));
    assert_sound::<NofM>(&sizes(&[f32.clone(), ("n_keep", 1.into()), ("m_group", 8.into())]));
    assert_sound::<Csr>(&sizes(&[f32.clone(), ("sparsity", 0.999.into())]));
    assert_sound::<BlockSparse>(&sizes(&[f32, ("block", 8.into()), ("density", 0.001.into())]));
}
