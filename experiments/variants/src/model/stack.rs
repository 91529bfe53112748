//! Embedding and layers: what every model of the family runs once, or an encoder-decoder twice.
//!
//! The token table belongs to the model, because two stacks share it. Own tensors: `embedding.positions` [n, d_model] where positions
//! are trained; derived: the tables of sinusoidal or rotary positions.

use std::borrow::Cow;

use crossover_core::arena::Arena;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::ops::BinaryOp;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View};

use super::architecture::{Architecture, Attending, Position};
use super::attention_block::{Place, Relative};
use super::layer::{Layer, own_tensors};
use super::swapped;
use crate::descriptor::{DrawRule, Placed, Role};
use crate::position::{alibi, sinusoidal, t5_bias};
use crate::variant::{Bound, Derived, Operands, source};

/// Buckets of T5's relative positions, and the distance from which on the last is shared (Raffel et al. 2020, section 2.1).
const T5_BUCKETS: usize = 32;
const T5_FARTHEST: usize = 128;

/// A bound stack.
pub struct Stack<B: TransformerBackend> {
    model: Architecture,
    /// Added to the embedding.
    positions: Option<Tensor<B::Buffer>>,
    /// Cosines and sines.
    rotation: Option<[Tensor<B::Buffer>; 2]>,
    /// Added to the scores, by distance.
    score_bias: Option<Tensor<B::Buffer>>,
    embedding_norm: Option<Box<dyn Bound<B>>>,
    layers: Vec<Layer<B>>,
    final_norm: Option<Box<dyn Bound<B>>>,
}

/// The tensors of a stack that are drawn.
pub(super) fn drawn(model: &Architecture) -> Vec<Placed> {
    let mut tensors = Vec::new();
    if model.position == Position::Learned {
        let shape = vec![model.n, model.d_model];
        tensors.push(placed(model, "embedding.positions", Role::Vector, shape, DrawRule::Around(0.0, 0.1)));
    }
    if model.position == Position::T5 {
        let shape = vec![model.heads, T5_BUCKETS];
        tensors.push(placed(model, "relative_bias.buckets", Role::Source, shape, DrawRule::Around(0.0, 1.0)));
    }
    tensors.extend((0..model.layers).flat_map(|layer| own_tensors(model, layer)));
    tensors.extend(model.component_tensors(|component, prefix| component.drawn(prefix)));
    for layer in swapped::layers(model) {
        tensors.retain(|tensor| !layer.owns(&tensor.name));
        tensors.extend(layer.drawn());
    }
    tensors
}

/// What host transforms make for it: tables of positions, and whatever the components derive.
pub(super) fn derived(model: &Architecture) -> Vec<Placed> {
    let mut tensors = Vec::new();
    let mut table = |name: &str, shape: [usize; 2]| tensors.push(placed(model, name, Role::Vector, shape.to_vec(), DrawRule::FanIn));
    if model.position == Position::Sinusoidal {
        table("embedding.positions", [model.n, model.d_model]);
    }
    if model.rotates() {
        table("rotation.cosines", [model.n, model.head_dim() / 2]);
        table("rotation.sines", [model.n, model.head_dim() / 2]);
    }
    if model.biases_scores() {
        let reach = if model.position == Position::T5 { T5_FARTHEST } else { model.n - 1 };
        table("relative_bias", [model.heads, 2 * reach + 1]);
    }
    tensors.extend(model.component_tensors(|component, prefix| component.derived(prefix)));
    tensors.extend(swapped::layers(model).iter().flat_map(swapped::Layer::derived));
    tensors
}

/// Makes them.
pub(super) fn derive(model: &Architecture, drawn: &HostInputs, made: &mut Derived) -> Result<()> {
    let named = |name: &str| Cow::from(format!("{}{name}", model.prefix));
    if model.position == Position::Sinusoidal {
        made.tensors.push((named("embedding.positions"), sinusoidal::table(model.n, model.d_model)?));
    }
    if model.rotates() {
        let table = |of: fn(f64) -> f64| rotation_table(model.n, model.head_dim() / 2, model.rope_base, of);
        made.tensors.push((named("rotation.cosines"), table(f64::cos)?));
        made.tensors.push((named("rotation.sines"), table(f64::sin)?));
    }
    match model.position {
        Position::Alibi => made.tensors.push((named("relative_bias"), alibi::by_distance(model.heads, model.n)?)),
        Position::T5 => {
            let buckets = source(drawn, &named("relative_bias.buckets"))?;
            made.tensors.push((named("relative_bias"), t5_bias::by_distance(buckets, model.causal, T5_FARTHEST)?));
        }
        _ => {}
    }
    for (prefix, component) in model.components() {
        component.derive(&prefix, drawn, made)?;
    }
    swapped::layers(model).iter().try_for_each(|layer| layer.derive(drawn, made))
}

fn placed(model: &Architecture, name: &str, role: Role, shape: Vec<usize>, draw: DrawRule) -> Placed {
    Placed { name: Cow::from(format!("{}{name}", model.prefix)), role, shape, draw, form: None }
}

/// Angles of the pairs of channels (Su et al. 2021, section 3.2.2).
fn rotation_table(n: usize, pairs: usize, base: f64, of: fn(f64) -> f64) -> Result<HostTensor> {
    let angle = |at: usize| (at / pairs) as f64 * base.powf(-((at % pairs) as f64) / pairs as f64);
    HostTensor::new(&[n, pairs], (0..n * pairs).map(|at| of(angle(at))).collect())
}

impl<B: TransformerBackend> Stack<B> {
    /// Takes every tensor of the stack.
    pub(super) fn bind(model: Architecture, operands: &mut Operands<B>) -> Result<Self> {
        let prefix = model.prefix;
        let mut tensor = |name: &str| operands.optional_tensor(&format!("{prefix}{name}"));
        let positions = tensor("embedding.positions");
        let score_bias = tensor("relative_bias");
        let rotation = tensor("rotation.cosines").zip(tensor("rotation.sines")).map(|(cosines, sines)| [cosines, sines]);
        if rotation.is_some() != model.rotates() || score_bias.is_some() != model.biases_scores() {
            return Err(shape_error("bind", "the tables of relative positions are missing"));
        }
        let mut norm = |there: bool, name: &str| there.then(|| model.norm.bind(&format!("{prefix}{name}"), operands)).transpose();
        let (embedding_norm, final_norm) = (norm(model.embedding_norm, "embedding.norm.")?, norm(model.pre_norm, "final_norm.")?);
        let layers = (0..model.layers).map(|layer| Layer::bind(&model, layer, operands)).collect::<Result<_>>()?;
        Ok(Self { positions, rotation, score_bias, embedding_norm, final_norm, layers, model })
    }

    /// Keys and values of the tokens so far, layer by layer, where the model caches them.
    pub(super) fn caches(&self) -> impl Iterator<Item = [&Tensor<B::Buffer>; 2]> {
        self.layers.iter().filter_map(Layer::cache)
    }

    /// From token numbers (dense), the first of which is number `at`, to the last layer's stream, a scratch tensor that the caller gives
    /// back.
    pub(super) fn stream(
        &mut self,
        backend: &B,
        table: View<'_, B::Buffer>,
        (at, tokens): (usize, View<'_, B::Buffer>),
        memory: Option<View<'_, B::Buffer>>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let model = &self.model;
        let n = tokens.layout.dim_from_end(0);
        let fits = if matches!(model.attending, Attending::Whole) { (at, n) == (0, model.n) } else { at + n <= model.n };
        if tokens.shape() != [model.batch, n] || !fits {
            return Err(shape_error("model", format!("tokens {:?} from {at} on, expected [{}, {}]", tokens.shape(), model.batch, model.n)));
        }
        let (rows, shape) = (model.batch * n, [model.batch, n, model.d_model]);
        let mut stream = scratch.take(backend, backend.storage(), &shape)?;
        let flat = stream.view_mut().with(|layout| layout.reshape(&[rows, model.d_model]))?;
        backend.gather_rows(table, tokens.with(|layout| layout.reshape(&[rows]))?, flat)?;
        if let Some(positions) = &self.positions {
            backend.binary(BinaryOp::Add, Operand::InPlace, positions.view().narrow(0, at, n)?, stream.view_mut())?;
        }
        if let Some(norm) = &mut self.embedding_norm {
            stream = normalised(backend, norm.as_mut(), stream, scratch)?;
        }
        let relative = match (&self.rotation, &self.score_bias) {
            (Some([cosines, sines]), _) => {
                Relative::Rotation { cosines: cosines.view().narrow(0, at, n)?, sines: sines.view().narrow(0, at, n)? }
            }
            (None, Some(bias)) => Relative::Bias(bias.view()),
            (None, None) => Relative::None,
        };
        let place = Place { at, relative };
        for layer in &mut self.layers {
            layer.run(backend, model, &place, memory, &mut stream, scratch)?;
        }
        if let Some(norm) = &mut self.final_norm {
            stream = normalised(backend, norm.as_mut(), stream, scratch)?;
        }
        Ok(stream)
    }
}

fn normalised<B: TransformerBackend>(
    backend: &B,
    norm: &mut dyn Bound<B>,
    stream: Tensor<B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let mut normed = scratch.take(backend, backend.storage(), stream.shape())?;
    norm.run(backend, &[stream.view()], normed.view_mut(), scratch)?;
    scratch.give(stream);
    Ok(normed)
}
