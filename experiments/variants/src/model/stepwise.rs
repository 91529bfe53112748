//! Decoders that are called step by step: the prompt in one call, then token by token.
//!
//! Vaswani et al. (2017), section 3.1 (the decoder is auto-regressive); Shazeer (2019), section 2.4 (what a step with cached keys and values
//! reads). Three variants share this file's model and its tensors, so that what one leaves in its cache is what the next finds:
//! * *prefill* reads the prompt and fills the cache;
//! * *decode* finds the cache of the prompt and takes some steps, each over one token;
//! * *decode-recompute* takes the same steps without a cache, each over everything so far: what a cache is worth is the difference.
//!
//! A step's output is the logits, not the token: a choice among logits that differ by less than rounding says nothing about an engine. By
//! default the tokens are given (`choice = forced`), so that every step can be verified at any precision; with `choice = greedy` the
//! largest logit is the next token, chosen inside the call as a decoder does it, and what hangs on a choice closer than rounding counts as
//! undetermined.
//!
//! What it trades away: the cache of the prompt is made before the timer by the host's reference engine, from the weights as the cell has
//! them (rounded, quantised) and without any other rounding than that of the finished cache, which takes long for a large model; and a cache needs attention that is a pattern over keys (full, window, dilated and so on), not a projection of them.

use std::marker::PhantomData;

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::dtype::DType;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::ops::ReduceOp;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;
use crossover_core::reference::running::RunningError;
use crossover_core::tensor::{View, ViewMut};

use super::architecture::{Architecture, Attending, conditions};
use super::attention_block::caches;
use super::naming::Naming;
use super::single::{TEXT, draw_with_weights, original_components};
use super::stack::{self, Stack};
use super::table::{self, Table};
use crate::cell::{OnEngine, config, on_engine};
use crate::descriptor::{AxisSpec, Condition, Descriptor, Dim, DrawRule, Model, Placed, Role, TensorSpec};
use crate::inputs::CellInputs;
use crate::registry::find;
use crate::resolve::{name, size};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reads the prompt into the cache; the logits of its last token.
    Prefill,
    /// Steps over a cache.
    Cached,
    /// The same steps over everything so far.
    Recomputed,
}

/// What makes a preset.
pub trait StepwisePreset: 'static {
    /// `model/kebab-name`.
    const NAME: &'static str;
    /// One line.
    const SUMMARY: &'static str;
    /// Where it comes from.
    const CITATION: &'static str;
    /// What a call does.
    const PHASE: Phase;
    /// Sizes with their defaults.
    const SIZES: &'static [AxisSpec];
    /// Components and choices with their defaults.
    const CHOICES: &'static [AxisSpec];
    /// Operations of a call, and elements of scratch, with the original components.
    const MODEL: Model;
}

/// A decoder that is called step by step.
pub struct Stepwise<P>(PhantomData<P>);

const fn tokens(name: &'static str, role: Role, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role, shape, draw: DrawRule::Below(|axes| size(axes, "vocabulary")), only_with: None }
}

const PROMPT: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("n")];
const GIVEN: &[Dim] = &[Dim::Axis("batch"), Dim::Of("steps, or 1 with choice = greedy", given_tokens)];
const LAST: &[Dim] = &[Dim::Axis("batch"), Dim::Of("1", |_| 1), Dim::Axis("vocabulary")];
const LOGITS: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("steps"), Dim::Axis("vocabulary")];

/// The token after the prompt is given in any case, those after it only where they are forced.
fn given_tokens(axes: &Axes) -> usize {
    if is_greedy(axes) { 1 } else { size(axes, "steps") }
}

fn is_greedy(axes: &Axes) -> bool {
    name(axes, "choice") == "greedy"
}

/// Do the components fit?
pub(super) fn fits(axes: &Axes) -> bool {
    architecture(axes, Phase::Cached).is_ok()
}

/// The decoder with room for the prompt and all steps.
pub(super) fn architecture(axes: &Axes, phase: Phase) -> Result<Architecture> {
    let attending = if phase == Phase::Recomputed { Attending::Growing } else { Attending::Cached as fn(AttentionPattern) -> Attending };
    Architecture::stepwise(axes, size(axes, "n") + size(axes, "steps"), attending)
}

/// The conditions of a decoder, with that of this family.
const CONDITIONS: &[Condition] = &conditions(fits);

impl<P: StepwisePreset> Variant for Stepwise<P> {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: P::NAME,
        summary: P::SUMMARY,
        citation: P::CITATION,
        task: match P::PHASE {
            Phase::Prefill => P::NAME,
            Phase::Cached | Phase::Recomputed => "model/decode",
        },
        problem: P::SIZES,
        parameters: P::CHOICES,
        tensors: match P::PHASE {
            Phase::Prefill => &[tokens("prompt", Role::Activation, PROMPT)],
            Phase::Cached => &[tokens("prompt", Role::Source, PROMPT), tokens("tokens", Role::Activation, GIVEN)],
            Phase::Recomputed => &[tokens("prompt", Role::Activation, PROMPT), tokens("tokens", Role::Activation, GIVEN)],
        },
        derived: &[],
        output: if matches!(P::PHASE, Phase::Prefill) { LAST } else { LOGITS },
        conditions: CONDITIONS,
        model: P::MODEL,
    };

    type Bound<B: TransformerBackend> = BoundStepwise<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<BoundStepwise<B>> {
        let table = Table::bind(true, operands)?;
        let stack = Stack::bind(architecture(axes, P::PHASE)?, operands)?;
        let [prompt, steps] = ["n", "steps"].map(|axis| size(axes, axis));
        Ok(BoundStepwise { phase: P::PHASE, greedy: is_greedy(axes), prompt, steps, table, stack })
    }

    /// The same weights with the original components.
    fn exact(axes: &Axes) -> Reference {
        original_components(axes, P::CHOICES)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn drawn(axes: &Axes) -> Vec<Placed> {
        // Resolved axes have passed the condition that every component fits.
        let Ok(model) = architecture(axes, P::PHASE) else { return Vec::new() };
        let own = Self::DESCRIPTOR.tensors.iter().map(|tensor| tensor.placed(axes));
        own.chain(table::drawn(&model)).chain(stack::drawn(&model)).collect()
    }

    fn draw(axes: &Axes) -> Result<HostInputs> {
        let naming = if name(axes, "position") == "rope" { Naming::Llama } else { Naming::Gpt2 };
        let mut all = draw_with_weights(&Self::drawn(axes), axes, naming, size(axes, "n") + size(axes, "steps"))?;
        // A text is read as one passage: the prompt, and the tokens that follow it.
        if let Some(read) = all.remove(TEXT) {
            let [prompt, given] = [size(axes, "n"), given_tokens(axes)];
            all.insert("prompt".to_owned(), columns(&read, 0, prompt)?);
            all.insert("tokens".to_owned(), columns(&read, prompt, given)?);
        }
        Ok(all)
    }

    fn derived(axes: &Axes) -> Vec<Placed> {
        let Ok(model) = architecture(axes, P::PHASE) else { return Vec::new() };
        let cached = if P::PHASE == Phase::Recomputed { Vec::new() } else { caches(&model) };
        table::derived(&model).into_iter().chain(stack::derived(&model)).chain(cached).collect()
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let model = architecture(axes, P::PHASE)?;
        let mut made = table::derive(&model, axes, drawn)?;
        stack::derive(&model, drawn, &mut made)?;
        match P::PHASE {
            Phase::Recomputed => {}
            Phase::Prefill => {
                for place in caches(&model) {
                    made.tensors.push((place.name, HostTensor::new(&place.shape, vec![0.0; place.shape.iter().product()])?));
                }
            }
            Phase::Cached => {
                let filled = prefilled(axes, drawn)?;
                made.tensors.extend(caches(&model).into_iter().map(|place| place.name).zip(filled));
            }
        }
        Ok(made)
    }
}

/// Columns of a matrix of tokens.
fn columns(tokens: &HostTensor, first: usize, count: usize) -> Result<HostTensor> {
    let &[rows, width] = tokens.shape() else { return Err(shape_error("text", format!("tokens {:?}", tokens.shape()))) };
    let values = tokens.values().chunks(width).flat_map(|row| row[first..first + count].to_vec()).collect();
    HostTensor::new(&[rows, count], values)
}

/// What the prefill variant leaves in the caches: keys and values layer by layer, from the cell's own rounded or quantised weights, computed
/// in f64 on the reference engine.
fn prefilled(axes: &Axes, drawn: &HostInputs) -> Result<Vec<HostTensor>> {
    type Prefill = super::presets::Prefill;
    let entry = find(Prefill::DESCRIPTOR.name).ok_or_else(|| shape_error("derive", "the prefill variant is missing"))?;
    let mut own = axes.clone();
    own.retain(|axis, _| entry.descriptor.axis(axis).is_some());
    let inputs = CellInputs::new(&entry, &own, drawn.clone())?;
    let backend = RunningError::new(&config(&own)?)?;
    let OnEngine { mut operands, activations, .. } = on_engine(&backend, &inputs)?;
    let mut bound = Prefill::bind(&mut operands, &own)?;
    let prompt = activations.first().ok_or_else(|| shape_error("derive", "the prompt is missing"))?;
    let mut scratch = Arena::new();
    let stream = bound.stack.stream(&backend, bound.table.tokens.view(), (0, prompt.view()), None, &mut scratch)?;
    scratch.give(stream);
    bound.stack.caches().flatten().map(|cache| backend.download(cache.view())).collect()
}

/// A decoder with its weights and caches.
pub struct BoundStepwise<B: TransformerBackend> {
    phase: Phase,
    greedy: bool,
    prompt: usize,
    steps: usize,
    table: Table<B>,
    stack: Stack<B>,
}

impl<B: TransformerBackend> Bound<B> for BoundStepwise<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        match (self.phase, inputs) {
            (Phase::Prefill, &[prompt]) => {
                let stream = self.stack.stream(backend, self.table.tokens.view(), (0, prompt), None, scratch)?;
                self.table.logits(backend, stream.view().narrow(1, self.prompt - 1, 1)?, out)?;
                scratch.give(stream);
                Ok(())
            }
            (Phase::Cached, &[tokens]) => self.cached(backend, tokens, out, scratch),
            (Phase::Recomputed, &[prompt, tokens]) => self.recomputed(backend, [prompt, tokens], out, scratch),
            _ => Err(wrong_inputs("model", inputs)),
        }
    }
}

impl<B: TransformerBackend> BoundStepwise<B> {
    fn cached(
        &mut self,
        backend: &B,
        tokens: View<'_, B::Buffer>,
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let mut newest = scratch.take(backend, DType::I32, &[tokens.layout.dim_from_end(1), 1])?;
        for step in 0..self.steps {
            self.next_token(backend, tokens, step, &out, newest.view_mut())?;
            let stream = self.stack.stream(backend, self.table.tokens.view(), (self.prompt + step, newest.view()), None, scratch)?;
            self.table.logits(backend, stream.view(), out.reborrow().narrow(1, step, 1)?)?;
            scratch.give(stream);
        }
        scratch.give(newest);
        Ok(())
    }

    fn recomputed(
        &mut self,
        backend: &B,
        [prompt, tokens]: [View<'_, B::Buffer>; 2],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let batch = tokens.layout.dim_from_end(1);
        let mut all = scratch.take(backend, DType::I32, &[batch, self.prompt + self.steps])?;
        backend.copy(prompt, all.view_mut().narrow(1, 0, self.prompt)?)?;
        for step in 0..self.steps {
            let length = self.prompt + step + 1;
            self.next_token(backend, tokens, step, &out, all.view_mut().narrow(1, length - 1, 1)?)?;
            let mut so_far = scratch.take(backend, DType::I32, &[batch, length])?;
            backend.copy(all.view().narrow(1, 0, length)?, so_far.view_mut())?;
            let stream = self.stack.stream(backend, self.table.tokens.view(), (0, so_far.view()), None, scratch)?;
            self.table.logits(backend, stream.view().narrow(1, length - 1, 1)?, out.reborrow().narrow(1, step, 1)?)?;
            scratch.give(stream);
            scratch.give(so_far);
        }
        scratch.give(all);
        Ok(())
    }

    /// The token that a step starts with: given, or the largest logit of the step before.
    fn next_token(
        &self,
        backend: &B,
        tokens: View<'_, B::Buffer>,
        step: usize,
        out: &ViewMut<'_, B::Buffer>,
        token: ViewMut<'_, B::Buffer>,
    ) -> Result<()> {
        if self.greedy && step > 0 {
            return backend.reduce(ReduceOp::ArgMax, out.as_view().narrow(1, step - 1, 1)?, token);
        }
        backend.copy(tokens.narrow(1, step, 1)?, token)
    }
}
