//! The four affine maps around attention.
//!
//! Vaswani et al. (2017), section 3.2.2: queries, keys and values are laid out head by head, as every attention variant expects them. T5
//! leaves its scores unscaled and starts its queries smaller by the root of the head's width (Raffel et al. 2020, in the published code);
//! here the factor is in the weights of the queries instead, which is the same function, so that any attention fits.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::{Result, shape_error};
use crossover_core::ops::LinearSpec;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::architecture::Architecture;
use super::attention_block::Relative;
use super::swapped;
use crate::descriptor::{DrawRule, Placed, Role};
use crate::variant::{Bound, Operands};

/// Queries, keys, values and output.
pub(super) const NAMES: [&str; 4] = ["q", "k", "v", "o"];

/// One of the maps.
pub(super) enum Projection<B: TransformerBackend> {
    /// Dense, with a bias where the model has biases.
    Dense { weight: B::Weight, bias: Option<Tensor<B::Buffer>> },
    /// A variant of the family linear.
    Swapped(Box<dyn Bound<B>>),
}

/// The tensors of the projections under a prefix such as `layers.0.`.
pub(super) fn own_tensors(model: &Architecture, prefix: &str) -> Vec<Placed> {
    let mut tensors = Vec::new();
    for which in NAMES {
        let outputs = if which == "k" || which == "v" { model.kv_heads * model.head_dim() } else { model.d_model };
        let place =
            |name: &str, role, shape, draw| Placed { name: format!("{prefix}{which}.{name}").into(), role, shape, draw, form: None };
        tensors.push(place("weight", Role::Weight, vec![outputs, model.d_model], DrawRule::FanIn));
        if model.biases {
            tensors.push(place("bias", Role::Vector, vec![outputs], DrawRule::Around(0.0, 0.02)));
        }
    }
    tensors
}

/// Those of queries, keys, values and the output, under the prefix.
pub(super) fn bind<B: TransformerBackend>(model: &Architecture, prefix: &str, operands: &mut Operands<B>) -> Result<[Projection<B>; 4]> {
    let mut projection = |which: &str| match swapped::projection(model, prefix, which) {
        Some(layer) => Ok(Projection::Swapped(layer.bind(operands)?)),
        None => operands.within(&format!("{prefix}{which}."), Projection::dense),
    };
    Ok([projection("q")?, projection("k")?, projection("v")?, projection("o")?])
}

impl<B: TransformerBackend> Projection<B> {
    fn dense(operands: &mut Operands<B>) -> Result<Self> {
        Ok(Self::Dense { weight: operands.weight("weight")?, bias: operands.optional_tensor("bias") })
    }

    /// Of x [batch, n, inputs].
    pub(super) fn run(
        &mut self,
        backend: &B,
        x: View<'_, B::Buffer>,
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        match self {
            Self::Dense { weight, bias } => {
                let spec = LinearSpec { activation: Activation::None };
                backend.linear(spec, x, weight, bias.as_ref().map(Tensor::view), out)
            }
            Self::Swapped(layer) => layer.run(backend, &[x], out, scratch),
        }
    }

    /// The same as [batch, heads, n, head_dim], rotated where positions are.
    pub(super) fn by_head(
        &mut self,
        backend: &B,
        relative: &Relative<'_, B::Buffer>,
        x: View<'_, B::Buffer>,
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[batch, heads, n, width] = out.shape() else {
            return Err(shape_error("model", format!("heads are laid out as {:?}", out.shape())));
        };
        let mut flat = scratch.take(backend, backend.storage(), &[batch, n, heads * width])?;
        self.run(backend, x, flat.view_mut(), scratch)?;
        let view = flat.view().with(|layout| layout.split(2, heads, width)?.swap(1, 2))?;
        match relative {
            Relative::Rotation { cosines, sines } => backend.rotary(view, *cosines, *sines, out, scratch)?,
            _ => backend.copy(view, out)?,
        }
        scratch.give(flat);
        Ok(())
    }
}
