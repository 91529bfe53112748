//! Models of two stacks: an encoder, and a decoder that attends to it.
//!
//! Vaswani et al. (2017), section 3. Both share the token table; the decoder's logits are over it.

use std::marker::PhantomData;

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use super::architecture::{Architecture, DOUBLE_CONDITIONS};
use super::single::original_components;
use super::stack::{self, Stack};
use super::table::{self, Table};
use crate::descriptor::{AxisSpec, Descriptor, Dim, DrawRule, Model, Placed, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// What makes a preset.
pub trait DoublePreset: 'static {
    /// `model/kebab-name`.
    const NAME: &'static str;
    /// One line.
    const SUMMARY: &'static str;
    /// Where it comes from.
    const CITATION: &'static str;
    /// Sizes with their defaults.
    const SIZES: &'static [AxisSpec];
    /// Components and choices with their defaults.
    const CHOICES: &'static [AxisSpec];
}

/// A model of two stacks.
pub struct Double<P>(PhantomData<P>);

const fn tokens(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Activation, shape, draw: DrawRule::Below(|axes| size(axes, "vocabulary")), only_with: None }
}

/// Both stacks, read from one cell's axes.
pub(super) fn stacks(axes: &Axes) -> Result<[Architecture; 2]> {
    let (n, n_target) = (size(axes, "n"), size(axes, "n_target"));
    let encoder = Architecture::stack(axes, false, "encoder.", n, "attention", None)?;
    Ok([encoder, Architecture::stack(axes, true, "decoder.", n_target, "causal_attention", Some(n))?])
}

/// Do all components fit?
pub(super) fn fits(axes: &Axes) -> bool {
    stacks(axes).is_ok()
}

impl<P: DoublePreset> Variant for Double<P> {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: P::NAME,
        summary: P::SUMMARY,
        citation: P::CITATION,
        task: P::NAME,
        problem: P::SIZES,
        parameters: P::CHOICES,
        tensors: &[
            tokens("tokens", &[Dim::Axis("batch"), Dim::Axis("n")]),
            tokens("target_tokens", &[Dim::Axis("batch"), Dim::Axis("n_target")]),
        ],
        derived: &[],
        output: &[Dim::Axis("batch"), Dim::Axis("n_target"), Dim::Axis("vocabulary")],
        conditions: DOUBLE_CONDITIONS,
        // The encoder, then the decoder with its cross-attention and the head; with the original components and all heads.
        model: Model {
            flops: "batch*layers*(n*(8*d_model^2 + 4*d_model*d_ff + 2*d_ff + 20*d_model + n*(4*d_model + 5*heads)) \
                    + n_target*(12*d_model^2 + 4*d_model*d_ff + 2*d_ff + 30*d_model + (n_target + 1)/2*(4*d_model + 5*heads)) \
                    + 4*n*d_model^2 + n*n_target*(4*d_model + 5*heads)) + 2*batch*n_target*d_model*vocabulary",
            scratch: "batch*d_model*max(7*n, n + max(7*n_target, 5*n_target + 2*n))",
        },
    };

    type Bound<B: TransformerBackend> = BoundPair<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<BoundPair<B>> {
        let table = Table::bind(true, operands)?;
        let [encoder, decoder] = stacks(axes)?;
        Ok(BoundPair { table, encoder: Stack::bind(encoder, operands)?, decoder: Stack::bind(decoder, operands)? })
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
        let Ok([encoder, decoder]) = stacks(axes) else { return Vec::new() };
        let mut tensors = vec![table::tokens("tokens", &encoder), table::tokens("target_tokens", &decoder)];
        tensors.extend(table::drawn(&decoder));
        tensors.extend(stack::drawn(&encoder));
        tensors.extend(stack::drawn(&decoder));
        tensors
    }

    fn derived(axes: &Axes) -> Vec<Placed> {
        let Ok([encoder, decoder]) = stacks(axes) else { return Vec::new() };
        table::derived(&decoder).into_iter().chain(stack::derived(&encoder)).chain(stack::derived(&decoder)).collect()
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let [encoder, decoder] = stacks(axes)?;
        let mut made = table::derive(&decoder, axes, drawn)?;
        stack::derive(&encoder, drawn, &mut made)?;
        stack::derive(&decoder, drawn, &mut made)?;
        Ok(made)
    }
}

/// Two stacks with their weights.
pub struct BoundPair<B: TransformerBackend> {
    table: Table<B>,
    encoder: Stack<B>,
    decoder: Stack<B>,
}

impl<B: TransformerBackend> Bound<B> for BoundPair<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[tokens, targets] = inputs else { return Err(wrong_inputs("model", inputs)) };
        let table = self.table.tokens.view();
        let memory = self.encoder.stream(backend, table, (0, tokens), None, scratch)?;
        let stream = self.decoder.stream(backend, table, (0, targets), Some(memory.view()), scratch)?;
        self.table.logits(backend, stream.view(), out)?;
        scratch.give(stream);
        scratch.give(memory);
        Ok(())
    }
}
