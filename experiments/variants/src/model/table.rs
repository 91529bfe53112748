//! The token table: looked up at the start, and in a decoder multiplied with at the end (tied, Press and Wolf 2017).

use crossover_core::activation::Activation;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::{Result, shape_error};
use crossover_core::ops::LinearSpec;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::architecture::Architecture;
use crate::descriptor::{DrawRule, Placed, Role};
use crate::resolve::size;
use crate::variant::{Derived, Operands, source};

const TABLE: &str = "embedding.tokens";

/// The table, and as a prepared weight where there is a head.
pub(super) struct Table<B: TransformerBackend> {
    pub(super) tokens: Tensor<B::Buffer>,
    head: Option<B::Weight>,
}

/// Token numbers of one sequence length, as an input.
pub(super) fn tokens(name: &'static str, model: &Architecture) -> Placed {
    let draw = DrawRule::Below(|axes| size(axes, "vocabulary"));
    Placed { name: name.into(), role: Role::Activation, shape: vec![model.batch, model.n], draw, form: None }
}

/// The table, drawn or read.
pub(super) fn drawn(model: &Architecture) -> Placed {
    let shape = vec![model.vocabulary, model.d_model];
    Placed { name: TABLE.into(), role: Role::Vector, shape, draw: DrawRule::Around(0.0, 1.0), form: None }
}

/// The head that is made of it.
pub(super) fn derived(model: &Architecture) -> Option<Placed> {
    let shape = vec![model.vocabulary, model.d_model];
    model.causal.then(|| Placed { name: "head".into(), role: Role::Weight, shape, draw: DrawRule::FanIn, form: None })
}

/// Makes it.
pub(super) fn derive(model: &Architecture, axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
    let made = Derived::default();
    if model.causal { made.weight("head", source(drawn, TABLE)?, axes) } else { Ok(made) }
}

impl<B: TransformerBackend> Table<B> {
    pub(super) fn bind(causal: bool, operands: &mut Operands<B>) -> Result<Self> {
        Ok(Self { tokens: operands.tensor(TABLE)?, head: causal.then(|| operands.weight("head")).transpose()? })
    }

    /// Logits over the vocabulary.
    pub(super) fn logits(&self, backend: &B, stream: View<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>) -> Result<()> {
        let head = self.head.as_ref().ok_or_else(|| shape_error("model", "an encoder has no head"))?;
        backend.linear(LinearSpec { activation: Activation::None }, stream, head, None, out)
    }
}
