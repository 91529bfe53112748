//! The token table: looked up at the start, and in a decoder multiplied with at the end (tied, Press and Wolf 2017), unless the head is a
//! matrix of its own.
//!
//! Two factors are put into the tensors on the host: that of the embedding (the root of d_model in Vaswani et al. 2017, section 3.4), and
//! that of a tied head (one over this root in T5, Raffel et al. 2020, in the published code).

use crossover_core::activation::Activation;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::ops::LinearSpec;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::architecture::{Architecture, Head};
use crate::descriptor::{DrawRule, Placed, Role};
use crate::resolve::size;
use crate::variant::{Derived, Operands, source};

const TABLE: &str = "embedding.tokens";
const HEAD: &str = "head";

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

/// The table, and the head that is not made of it, drawn or read.
pub(super) fn drawn(model: &Architecture) -> Vec<Placed> {
    // The embedding has a deviation of 1, whatever its factor.
    let draw = DrawRule::Around(0.0, 1.0 / model.embedding_scale);
    let table = Placed { name: TABLE.into(), role: Role::Vector, shape: shape(model), draw, form: None };
    let untied = model.causal && model.head == Head::Untied;
    [Some(table), untied.then(|| head(model))].into_iter().flatten().collect()
}

/// The tied head, and the table with its factor.
pub(super) fn derived(model: &Architecture) -> Vec<Placed> {
    let table = Placed { name: TABLE.into(), role: Role::Vector, shape: shape(model), draw: DrawRule::FanIn, form: None };
    let tied = model.causal && model.head != Head::Untied;
    [(model.embedding_scale != 1.0).then_some(table), tied.then(|| head(model))].into_iter().flatten().collect()
}

fn shape(model: &Architecture) -> Vec<usize> {
    vec![model.vocabulary, model.d_model]
}

fn head(model: &Architecture) -> Placed {
    Placed { name: HEAD.into(), role: Role::Weight, shape: shape(model), draw: DrawRule::FanIn, form: None }
}

/// Makes them.
pub(super) fn derive(model: &Architecture, axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
    let table = source(drawn, TABLE)?;
    let times = |factor: f64| HostTensor::new(table.shape(), table.values().iter().map(|value| factor * value).collect());
    let mut made = Derived::default();
    if model.embedding_scale != 1.0 {
        made = made.tensor(TABLE, times(model.embedding_scale)?);
    }
    match model.head {
        Head::Tied(factor) if model.causal => made.weight(HEAD, &times(factor)?, axes),
        _ => Ok(made),
    }
}

impl<B: TransformerBackend> Table<B> {
    pub(super) fn bind(causal: bool, operands: &mut Operands<B>) -> Result<Self> {
        Ok(Self { tokens: operands.tensor(TABLE)?, head: causal.then(|| operands.weight(HEAD)).transpose()? })
    }

    /// Logits over the vocabulary.
    pub(super) fn logits(&self, backend: &B, stream: View<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>) -> Result<()> {
        let head = self.head.as_ref().ok_or_else(|| shape_error("model", "an encoder has no head"))?;
        backend.linear(LinearSpec { activation: Activation::None }, stream, head, None, out)
    }
}
