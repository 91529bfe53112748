//! The trait of variants, and the operands that they bind.

use std::borrow::Cow;

use crossover_compression::Saving;
use crossover_core::arena::Arena;
use crossover_core::axes::{Axes, AxisValue};
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::error::{EngineError, Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::reference::{ExactOperation, HostInputs};
use crossover_core::tensor::{Tensor, View, ViewMut};
use crossover_core::weights::HostWeight;

use crate::descriptor::{Descriptor, Placed};
use crate::inputs::draw_tensors;
use crate::resolve::precision;

/// A variant: one idea, on any engine.
pub trait Variant: 'static {
    /// What it says about itself.
    const DESCRIPTOR: Descriptor;

    /// The variant with its weights, ready to be called again and again.
    type Bound<B: TransformerBackend>: Bound<B>;

    /// Takes its weights and reads its axes (which are resolved).
    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>>;

    /// The exact dense operation that it computes or approximates: what its accuracy is measured against.
    fn exact(axes: &Axes) -> Reference;

    /// What a right implementation of this very variant gives, which is what an engine is verified against. A variant that computes its
    /// exact operation (up to rounding) leaves this alone.
    fn reference(axes: &Axes) -> Reference {
        Self::exact(axes)
    }

    /// The tensors that are drawn, or that the caller of `apply` brings.
    fn drawn(axes: &Axes) -> Vec<Placed> {
        Self::DESCRIPTOR.tensors.iter().filter(|tensor| tensor.takes_part(axes)).map(|tensor| tensor.placed(axes)).collect()
    }

    /// Draws them from the cell's seed and distribution; a model may read trained weights instead.
    fn draw(axes: &Axes) -> Result<HostInputs> {
        draw_tensors(&Self::drawn(axes), axes)
    }

    /// What [`Variant::derive`] will make of them: known without any values.
    fn derived(axes: &Axes) -> Vec<Placed> {
        Self::DESCRIPTOR.derived.iter().map(|tensor| tensor.placed(axes)).collect()
    }

    /// Makes on the host whatever the engine gets instead of drawn tensors, from these as drawn (not rounded).
    fn derive(_axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        Ok(Derived::default())
    }
}

/// What an output is held against.
#[derive(Debug, Clone, PartialEq)]
pub enum Reference {
    /// A dense operation, computed row by row in f64 without any engine.
    Operation(ExactOperation),
    /// The variant itself, run in f64 on the reference engine that tracks rounding errors
    /// ([`crossover_core::reference::running`]).
    Itself,
    /// The same with other axes, on the inputs that these axes draw: a model with its original components.
    ItselfWith(Axes),
}

impl Reference {
    /// The variant itself with one axis at another value: what it would give if it left nothing out.
    pub fn itself_with(axes: &Axes, axis: &str, value: AxisValue) -> Self {
        let mut other = axes.clone();
        other.insert(axis.to_owned(), value);
        if other == *axes { Self::Itself } else { Self::ItselfWith(other) }
    }
}

/// A bound variant.
pub trait Bound<B: TransformerBackend> {
    /// One call: this is what is timed. The inputs are the activations of the description that take part, in its order.
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()>;

    /// Once, before any call: moves the inputs to where a call is to find them, if that is not where the engine computes.
    fn place(&mut self, _backend: &B, _inputs: &mut [Tensor<B::Buffer>]) -> Result<()> {
        Ok(())
    }

    /// Bytes of state that outlives a call, such as a key/value cache.
    fn state_bytes(&self) -> usize {
        0
    }
}

/// The answer to a call with another number of inputs than the description has.
pub fn wrong_inputs<S>(variant: &'static str, inputs: &[View<'_, S>]) -> EngineError {
    shape_error(variant, format!("called with {} inputs", inputs.len()))
}

/// What a host transform made: each replaces or joins the drawn tensors.
#[derive(Debug, Default)]
pub struct Derived {
    /// Tensors by name.
    pub tensors: Vec<(Cow<'static, str>, HostTensor)>,
    /// Weights by name; several under one name where the shape says so.
    pub weights: Vec<(Cow<'static, str>, Vec<HostWeight>)>,
    /// What was saved, once for each weight that was compressed.
    pub savings: Vec<Saving>,
}

impl Derived {
    /// With a tensor.
    pub fn tensor(mut self, name: &'static str, values: HostTensor) -> Self {
        self.tensors.push((name.into(), values));
        self
    }

    /// With a weight (or several: [count, outputs, inputs]) in the cell's own weight precision.
    pub fn weight(mut self, name: &'static str, values: &HostTensor, axes: &Axes) -> Result<Self> {
        let weights = matrices(values)?.iter().map(|matrix| HostWeight::for_precision(matrix, precision(axes))).collect::<Result<_>>()?;
        self.weights.push((name.into(), weights));
        Ok(self)
    }

    /// With a weight in a form of its own.
    pub fn form(mut self, name: &'static str, weight: HostWeight) -> Self {
        self.weights.push((name.into(), vec![weight]));
        self
    }

    /// With a weight in a form of its own that saves something.
    pub fn compressed(self, name: &'static str, weight: HostWeight, saving: Saving) -> Self {
        self.form(name, weight).saved(saving)
    }

    /// With what a transform saved.
    pub fn saved(mut self, saving: Saving) -> Self {
        self.savings.push(saving);
        self
    }

    /// With several weights in forms of their own.
    pub fn forms(mut self, name: &'static str, weights: Vec<HostWeight>) -> Self {
        self.weights.push((name.into(), weights));
        self
    }
}

/// The matrices of [outputs, inputs] (one) or [count, outputs, inputs].
pub fn matrices(values: &HostTensor) -> Result<Vec<HostTensor>> {
    match *values.shape() {
        [_, _] => Ok(vec![values.clone()]),
        [count, outputs, inputs] => {
            let size = outputs * inputs;
            (0..count).map(|at| HostTensor::new(&[outputs, inputs], values.values()[at * size..(at + 1) * size].to_vec())).collect()
        }
        _ => Err(shape_error("weight", format!("{:?} is neither [outputs, inputs] nor [count, outputs, inputs]", values.shape()))),
    }
}

/// A drawn tensor that a host transform needs.
pub fn source<'a>(drawn: &'a HostInputs, name: &str) -> Result<&'a HostTensor> {
    drawn.get(name).ok_or_else(|| shape_error("derive", format!("the tensor {name:?} is missing")))
}

/// The tensors and prepared weights of one cell, by name, to be taken by `bind`.
pub struct Operands<B: TransformerBackend> {
    tensors: Vec<(Cow<'static, str>, Tensor<B::Buffer>)>,
    weights: Vec<(Cow<'static, str>, Vec<B::Weight>)>,
    /// In front of every name that is asked for: a model binds its components under names such as `layers.0.ffn.`.
    prefix: String,
}

impl<B: TransformerBackend> Operands<B> {
    /// None yet.
    pub fn new() -> Self {
        Self { tensors: Vec::new(), weights: Vec::new(), prefix: String::new() }
    }

    /// Adds a tensor.
    pub fn add_tensor(&mut self, name: impl Into<Cow<'static, str>>, tensor: Tensor<B::Buffer>) {
        self.tensors.push((name.into(), tensor));
    }

    /// Adds prepared weights under one name.
    pub fn add_weights(&mut self, name: impl Into<Cow<'static, str>>, weights: Vec<B::Weight>) {
        self.weights.push((name.into(), weights));
    }

    /// Takes what a component needs, whose names all start with the prefix.
    pub fn within<T>(&mut self, prefix: &str, take: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let length = self.prefix.len();
        self.prefix.push_str(prefix);
        let taken = take(self);
        self.prefix.truncate(length);
        taken
    }

    /// Gives what stands under one name another; the prefix is not looked at.
    pub fn rename(&mut self, from: &str, to: &str) {
        let tensors = self.tensors.iter_mut().map(|(name, _)| name);
        let names = tensors.chain(self.weights.iter_mut().map(|(name, _)| name));
        names.filter(|name| *name == from).for_each(|name| *name = to.to_owned().into());
    }

    /// Takes a tensor that the description promises.
    pub fn tensor(&mut self, name: &str) -> Result<Tensor<B::Buffer>> {
        self.optional_tensor(name).ok_or_else(|| shape_error("bind", format!("the tensor \"{}{name}\" is missing", self.prefix)))
    }

    /// Takes a tensor that takes part only under some parameter.
    pub fn optional_tensor(&mut self, name: &str) -> Option<Tensor<B::Buffer>> {
        let at = self.tensors.iter().position(|(own, _)| own.strip_prefix(self.prefix.as_str()) == Some(name))?;
        Some(self.tensors.swap_remove(at).1)
    }

    /// Takes a prepared weight that the description promises.
    pub fn weight(&mut self, name: &str) -> Result<B::Weight> {
        let mut weights = self.weights(name)?;
        match (weights.pop(), weights.is_empty()) {
            (Some(weight), true) => Ok(weight),
            _ => Err(shape_error("bind", format!("\"{}{name}\" is not one weight", self.prefix))),
        }
    }

    /// Takes all prepared weights of that name, in order.
    pub fn weights(&mut self, name: &str) -> Result<Vec<B::Weight>> {
        let at = self.weights.iter().position(|(own, _)| own.strip_prefix(self.prefix.as_str()) == Some(name));
        let at = at.ok_or_else(|| shape_error("bind", format!("the weight \"{}{name}\" is missing", self.prefix)))?;
        Ok(self.weights.swap_remove(at).1)
    }

    /// Bytes of the tensors still here.
    pub fn tensor_bytes(&self) -> usize {
        self.tensors.iter().map(|(_, tensor)| tensor.bytes()).sum()
    }

    /// Bytes of the weights still here.
    pub fn weight_bytes(&self) -> usize {
        self.weights.iter().flat_map(|(_, weights)| weights).map(PreparedWeight::bytes).sum()
    }
}

impl<B: TransformerBackend> Default for Operands<B> {
    fn default() -> Self {
        Self::new()
    }
}
