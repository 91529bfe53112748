//! The trait of variants, and the operands that they bind.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, ViewMut};

use crate::descriptor::Descriptor;

/// A variant: one idea, on any engine.
pub trait Variant: 'static {
    /// What it says about itself.
    const DESCRIPTOR: Descriptor;

    /// The variant with its tensors, ready to be called again and again.
    type Bound<B: TransformerBackend>: Bound<B>;

    /// Takes its tensors and reads its axes (which are resolved).
    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>>;

    /// The exact dense operation that it computes or approximates.
    fn exact(axes: &Axes) -> ExactOperation;
}

/// A bound variant.
pub trait Bound<B: TransformerBackend> {
    /// One call: this is what is timed.
    fn run(&self, backend: &B, out: ViewMut<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<()>;

    /// Bytes of state that outlives a call, such as a key/value cache.
    fn state_bytes(&self) -> usize {
        0
    }
}

/// The tensors and prepared weights of one cell, by name, to be taken by `bind`.
pub struct Operands<B: TransformerBackend> {
    tensors: Vec<(&'static str, Tensor<B::Buffer>)>,
    weights: Vec<(&'static str, B::Weight)>,
}

impl<B: TransformerBackend> Operands<B> {
    /// None yet.
    pub fn new() -> Self {
        Self { tensors: Vec::new(), weights: Vec::new() }
    }

    /// Adds a tensor.
    pub fn add_tensor(&mut self, name: &'static str, tensor: Tensor<B::Buffer>) {
        self.tensors.push((name, tensor));
    }

    /// Adds a prepared weight.
    pub fn add_weight(&mut self, name: &'static str, weight: B::Weight) {
        self.weights.push((name, weight));
    }

    /// Takes a tensor that the description promises.
    pub fn tensor(&mut self, name: &'static str) -> Result<Tensor<B::Buffer>> {
        self.optional_tensor(name).ok_or_else(|| shape_error("bind", format!("the tensor {name:?} is missing")))
    }

    /// Takes a tensor that takes part only under some parameter.
    pub fn optional_tensor(&mut self, name: &'static str) -> Option<Tensor<B::Buffer>> {
        let at = self.tensors.iter().position(|(own, _)| *own == name)?;
        Some(self.tensors.swap_remove(at).1)
    }

    /// Takes a prepared weight that the description promises.
    pub fn weight(&mut self, name: &'static str) -> Result<B::Weight> {
        let at = self.weights.iter().position(|(own, _)| *own == name);
        let at = at.ok_or_else(|| shape_error("bind", format!("the weight {name:?} is missing")))?;
        Ok(self.weights.swap_remove(at).1)
    }

    /// Bytes of the tensors still here.
    pub fn tensor_bytes(&self) -> usize {
        self.tensors.iter().map(|(_, tensor)| tensor.bytes()).sum()
    }

    /// Bytes of the weights still here.
    pub fn weight_bytes(&self) -> usize {
        self.weights.iter().map(|(_, weight)| weight.bytes()).sum()
    }
}

impl<B: TransformerBackend> Default for Operands<B> {
    fn default() -> Self {
        Self::new()
    }
}
