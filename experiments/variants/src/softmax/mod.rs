//! Softmax over the last dimension, by different recurrences. They compute the same function; they differ in passes over memory and in
//! the range of logits that they survive.

pub mod adaptive;
pub mod base_2;
pub(crate) mod columns;
pub mod cross_entropy;
pub mod cross_entropy_tiled;
pub mod exponentials;
pub mod fast_exp;
pub mod hierarchical;
pub mod huffman;
mod huffman_codes;
pub mod log_softmax;
pub mod naive;
pub mod online;
mod output;
pub mod output_dense;
pub mod sampled;
pub mod sparsemax;
pub mod stable;
pub mod table;
pub mod taylor;
pub mod top_k;

use crossover_core::arena::Arena;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::SoftmaxAlgorithm;
use crossover_core::tensor::{View, ViewMut};

use crate::descriptor::{AxisSpec, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::linear::{BATCH, ROWS, width};
use crate::registry::VariantVisitor;
use crate::variant::{Bound, wrong_inputs};

const PROBLEM: &[AxisSpec] = &[BATCH, ROWS, width("classes", "entries of a row", 1024)];
const LOGITS: &[Dim] = &[Dim::Rows, Dim::Axis("classes")];

/// The parts that all recurrences share.
const fn description(name: &'static str, summary: &'static str, citation: &'static str) -> Descriptor {
    Descriptor {
        name,
        summary,
        citation,
        task: "softmax",
        problem: PROBLEM,
        parameters: &[],
        tensors: &[TensorSpec { name: "logits", role: Role::Activation, shape: LOGITS, draw: DrawRule::Distribution, only_with: None }],
        derived: &[],
        output: LOGITS,
        conditions: &[],
        model: Model { flops: "5*batch*n*classes", scratch: "0" },
    }
}

/// The recurrence that the engine must follow.
pub struct Rows {
    algorithm: SoftmaxAlgorithm,
}

impl<B: TransformerBackend> Bound<B> for Rows {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[logits] = inputs else { return Err(wrong_inputs("softmax/rows", inputs)) };
        backend.softmax(self.algorithm, Operand::Of(logits), out)
    }
}

/// The family's variants.
pub(crate) fn visit(visitor: &mut impl VariantVisitor) {
    visitor.visit::<naive::Naive>();
    visitor.visit::<stable::Stable>();
    visitor.visit::<online::Online>();
    visitor.visit::<base_2::Base2>();
    visitor.visit::<fast_exp::FastExp>();
    visitor.visit::<table::Table>();
    visitor.visit::<taylor::Taylor>();
    visitor.visit::<sparsemax::Sparsemax>();
    visitor.visit::<log_softmax::LogSoftmax>();
    visitor.visit::<top_k::TopKFused>();
    visitor.visit::<top_k::TopKUnfused>();
    visitor.visit::<output_dense::OutputDense>();
    visitor.visit::<cross_entropy::CrossEntropy>();
    visitor.visit::<cross_entropy_tiled::CrossEntropyTiled>();
    visitor.visit::<adaptive::Adaptive>();
    visitor.visit::<hierarchical::Hierarchical>();
    visitor.visit::<huffman::Huffman>();
    visitor.visit::<sampled::Sampled>();
}
