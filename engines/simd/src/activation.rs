//! Activations on vectors: what products apply to a finished tile.
//!
//! Those without a vector form go through scalar code, lane by lane.

use crossover_core::activation::Activation;

use crate::element::Real;
use crate::elementwise::activate as activate_one;
use crate::vector::Vector;

/// The most lanes of any vector.
const MOST_LANES: usize = 16;

/// The activation of every lane.
#[inline(always)]
pub(crate) fn activate<V: Vector>(activation: Activation, x: V) -> V {
    match activation {
        Activation::None => x,
        Activation::Relu => x.relu(),
        Activation::ReluSquared => {
            let positive = x.relu();
            positive.mul(positive)
        }
        _ => by_lane(x, |lane| activate_one(activation, lane)),
    }
}

#[inline(always)]
fn by_lane<V: Vector>(x: V, function: impl Fn(V::Element) -> V::Element) -> V {
    let mut lanes = [V::Element::ZERO; MOST_LANES];
    // SAFETY: the array has room for the lanes of every vector.
    unsafe { x.store(lanes.as_mut_ptr()) };
    for lane in &mut lanes[..V::LANES] {
        *lane = function(*lane);
    }
    // SAFETY: likewise.
    unsafe { V::load(lanes.as_ptr()) }
}
