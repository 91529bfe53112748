//! The engine: checks of operands, the choice of the compute type, and a call to the file that does the work.
//!
//! | file | operations |
//! |---|---|
//! | `matmul.rs`, `linear.rs`, `attention.rs`, `conv.rs` | sums of products |
//! | `softmax.rs`, `normalize.rs`, `reduce.rs` | rows: softmax, norms, reductions, running sums |
//! | `elementwise.rs` | copy, fill, unary, binary, mask, select |
//! | `rows.rs`, `sort.rs` | gather, scatter, argsort, top-k |
//! | `walk.rs`, `buffer.rs`, `element.rs`, `weight.rs`, `operands.rs` | how elements are held, reached, rounded and checked |

use std::borrow::Cow;

use crossover_core::arena::Arena;
use crossover_core::backend::{
    AttentionOperands, AttentionOutputs, EngineConfig, EngineDescription, NormWeights, Operand, PreparedWeight, TransformerBackend,
    unsupported,
};
use crossover_core::check;
use crossover_core::dtype::{DType, PRECISION_PRESETS, Precision};
use crossover_core::error::{EngineError, Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::layout::Layout;
use crossover_core::operands::Types;
use crossover_core::ops::{AttentionSpec, BinaryOp, LinearSpec, MatmulSpec, NormSpec, OpSpec, ReduceOp, SoftmaxAlgorithm, UnaryOp};
use crossover_core::pattern::AttentionPattern;
use crossover_core::support::Support;
use crossover_core::tensor::{Tensor, View, ViewMut};
use crossover_core::weights::HostWeight;

use crate::buffer::{NaiveBuffer, reserved};
use crate::element::Held;
use crate::operands::{indices, indices_mut};
use crate::walk::rows_of;
use crate::weight::{Codes, NaiveWeight};
use crate::{attention, conv, elementwise, linear, matmul, normalize, reduce, rows, softmax, sort, support};

/// The name of this engine in cells and messages.
pub const NAME: &str = "naive";

/// The oracle engine. See the crate's head.
#[derive(Debug)]
pub struct NaiveBackend {
    config: EngineConfig,
    types: Types,
}

/// Evaluates an expression with a type name bound to the compute type.
macro_rules! in_compute_type {
    ($backend:expr, $real:ident => $call:expr) => {
        match $backend.compute() {
            DType::F64 => {
                type $real = f64;
                $call
            }
            _ => {
                type $real = f32;
                $call
            }
        }
    };
}

impl TransformerBackend for NaiveBackend {
    type Buffer = NaiveBuffer;
    type Weight = NaiveWeight;

    fn new(config: &EngineConfig) -> Result<Self> {
        support::check_configuration(config)?;
        Ok(Self { config: *config, types: Types::of(config.precision) })
    }

    fn describe() -> EngineDescription {
        EngineDescription {
            name: NAME,
            summary: "plain loops, one thread, exact roundings: the oracle (compiled for the target's baseline)",
            isa: Cow::Borrowed("scalar"),
            native: PRECISION_PRESETS.iter().map(|(name, _)| *name).collect(),
        }
    }

    fn config(&self) -> &EngineConfig {
        &self.config
    }

    fn threads_used(&self) -> usize {
        1
    }

    fn supports(&self, operation: &OpSpec) -> Support {
        support::supports(self.precision(), operation)
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, dtype: DType, elements: usize) -> Result<NaiveBuffer> {
        NaiveBuffer::zeros(dtype, elements)
    }

    fn upload(&self, host: &HostTensor, dtype: DType) -> Result<Tensor<NaiveBuffer>> {
        Ok(Tensor { buffer: NaiveBuffer::rounded(dtype, host.values())?, layout: Layout::contiguous(host.shape())? })
    }

    fn download(&self, view: View<'_, NaiveBuffer>) -> Result<HostTensor> {
        check::inside("download", view.buffer, &view.layout)?;
        let mut values: Vec<f64> = reserved(DType::F64, view.layout.len())?;
        for row in rows_of(&view) {
            row.fold((), |(), value| values.push(value));
        }
        HostTensor::new(view.shape(), values)
    }

    fn fill(&self, out: ViewMut<'_, NaiveBuffer>, value: f64) -> Result<()> {
        check::output("fill", out.buffer, &out.layout)?;
        elementwise::fill(out, value);
        Ok(())
    }

    fn prepare_weight(&self, weight: &HostWeight) -> Result<NaiveWeight> {
        NaiveWeight::prepare(weight, self.precision())
    }

    fn copy(&self, x: View<'_, NaiveBuffer>, out: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        check::same_shape("copy", &x.layout, &out.layout)?;
        check::inside("copy", x.buffer, &x.layout)?;
        check::output("copy", out.buffer, &out.layout)?;
        elementwise::copy(x, out);
        Ok(())
    }

    fn matmul(&self, spec: MatmulSpec, a: View<'_, NaiveBuffer>, b: View<'_, NaiveBuffer>, c: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        let sizes = check::matmul(&a.layout, &b.layout, &c.layout)?;
        self.expect(|| OpSpec::Matmul { batch: sizes.batch, m: sizes.m, n: sizes.n, k: sizes.k })?;
        self.types.inputs("matmul", [&a, &b])?;
        self.types.output("matmul", &c)?;
        in_compute_type!(self, R => matmul::matmul::<R>(spec, sizes, a, b, c));
        Ok(())
    }

    fn linear(
        &self,
        spec: LinearSpec,
        x: View<'_, NaiveBuffer>,
        weight: &NaiveWeight,
        bias: Option<View<'_, NaiveBuffer>>,
        out: ViewMut<'_, NaiveBuffer>,
    ) -> Result<()> {
        let rows = check::linear(&x.layout, weight, bias.as_ref().map(|bias| &bias.layout), &out.layout)?;
        let (inputs, outputs, form) = (weight.inputs(), weight.outputs(), weight.form());
        self.expect(|| OpSpec::Linear { rows, inputs, outputs, form, spec, bias: bias.is_some() })?;
        self.types.inputs("linear", [&x])?;
        self.types.inputs("linear", [bias.as_ref().unwrap_or(&x)])?;
        self.types.output("linear", &out)?;
        match &weight.codes {
            Codes::Int8 { codes, scales } if self.precision().activation == DType::I8 => {
                linear::linear_int8(spec.activation, x, weight, (codes, scales), bias, out);
            }
            _ => in_compute_type!(self, R => linear::linear::<R>(spec.activation, x, weight, bias, out)),
        }
        Ok(())
    }

    fn softmax(&self, algorithm: SoftmaxAlgorithm, x: Operand<'_, NaiveBuffer>, out: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        check::rows("softmax", &out.layout)?;
        self.types.like_output("softmax", &x, &out)?;
        in_compute_type!(self, R => softmax::softmax::<R>(algorithm, &x, out));
        Ok(())
    }

    fn normalize(
        &self,
        spec: NormSpec,
        x: Operand<'_, NaiveBuffer>,
        weights: NormWeights<'_, NaiveBuffer>,
        out: ViewMut<'_, NaiveBuffer>,
    ) -> Result<()> {
        self.types.norm(spec, &weights, &out)?;
        self.types.like_output("normalize", &x, &out)?;
        in_compute_type!(self, R => normalize::normalize::<R>(spec, &x, weights, out));
        Ok(())
    }

    fn unary(&self, op: UnaryOp, x: Operand<'_, NaiveBuffer>, out: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        self.expect(|| OpSpec::Unary { elements: out.layout.len(), op })?;
        self.types.like_output("unary", &x, &out)?;
        in_compute_type!(self, R => elementwise::unary::<R>(op, &x, out));
        Ok(())
    }

    fn binary(&self, op: BinaryOp, a: Operand<'_, NaiveBuffer>, b: View<'_, NaiveBuffer>, out: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        let stretched = |view: View<'_, NaiveBuffer>| view.layout.broadcast(out.shape());
        let a = match a {
            Operand::Of(a) => Operand::Of(View { layout: stretched(a)?, ..a }),
            Operand::InPlace => Operand::InPlace,
        };
        let b = View { layout: stretched(b)?, ..b };
        self.types.inputs("binary", [&b])?;
        self.types.like_output("binary", &a, &out)?;
        in_compute_type!(self, R => elementwise::binary::<R>(op, &a, b, out));
        Ok(())
    }

    fn reduce(&self, op: ReduceOp, x: View<'_, NaiveBuffer>, out: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        let (_, width) = check::reduce(&x.layout, &out.layout)?;
        self.types.inputs("reduce", [&x])?;
        let mut out = out;
        if op == ReduceOp::ArgMax {
            indices_mut("argmax", out.reborrow(), width)?;
        } else {
            self.types.output("reduce", &out)?;
        }
        in_compute_type!(self, R => reduce::reduce::<R>(op, x, out));
        Ok(())
    }

    fn mask(&self, pattern: &AttentionPattern, query_offset: usize, key_offset: usize, scores: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        self.types.output("mask", &scores)?;
        if scores.layout.rank() < 2 {
            return Err(shape_error("mask", format!("{:?} is not [.., queries, keys]", scores.shape())));
        }
        check::positions("mask", query_offset, scores.layout.dim_from_end(1))?;
        check::positions("mask", key_offset, scores.layout.dim_from_end(0))?;
        in_compute_type!(self, R => elementwise::mask::<R>(pattern, query_offset, key_offset, scores));
        Ok(())
    }

    fn select(&self, condition: View<'_, NaiveBuffer>, otherwise: f64, out: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        check::inside("select", condition.buffer, &condition.layout)?;
        self.types.output("select", &out)?;
        let layout = condition.layout.broadcast(out.shape())?;
        in_compute_type!(self, R => elementwise::select::<R>(View { layout, ..condition }, otherwise, out));
        Ok(())
    }

    fn gather_rows(&self, table: View<'_, NaiveBuffer>, index: View<'_, NaiveBuffer>, out: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        check::gather("gather", &table.layout, &index.layout, &out.layout)?;
        check::inside("gather", table.buffer, &table.layout)?;
        check::output("gather", out.buffer, &out.layout)?;
        rows::gather_rows(table, indices("gather", &index)?, index, out)
    }

    fn scatter_add_rows(&self, x: View<'_, NaiveBuffer>, index: View<'_, NaiveBuffer>, out: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        check::gather("scatter", &out.layout, &index.layout, &x.layout)?;
        self.types.inputs("scatter", [&x])?;
        self.types.output("scatter", &out)?;
        in_compute_type!(self, R => rows::scatter_add_rows::<R>(x, indices("scatter", &index)?, index, out))
    }

    fn stable_argsort(&self, keys: View<'_, NaiveBuffer>, out: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        let (_, width) = check::rows("argsort", &keys.layout)?;
        check::same_shape("argsort", &keys.layout, &out.layout)?;
        let (values, layout) = (indices("argsort", &keys)?, out.layout);
        sort::stable_argsort(&keys, values, indices_mut("argsort", out, width)?, &layout);
        Ok(())
    }

    fn top_k(&self, x: View<'_, NaiveBuffer>, values: ViewMut<'_, NaiveBuffer>, index: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        let (_, width, k) = check::top_k(&x.layout, &values.layout, &index.layout)?;
        self.types.inputs("top-k", [&x])?;
        self.types.output("top-k", &values)?;
        let layout = index.layout;
        sort::top_k(&x, k, values, indices_mut("top-k", index, width)?, &layout);
        Ok(())
    }

    fn cumulative_sum(&self, x: View<'_, NaiveBuffer>, out: ViewMut<'_, NaiveBuffer>) -> Result<()> {
        check::rows("cumulative sum", &x.layout)?;
        check::same_shape("cumulative sum", &x.layout, &out.layout)?;
        if let (NaiveBuffer::I32(values), layout) = (x.buffer, out.layout) {
            check::inside("cumulative sum", x.buffer, &x.layout)?;
            reduce::cumulative_sum_of_integers(&x, values, indices_mut("cumulative sum", out, 0)?, &layout);
            return Ok(());
        }
        self.types.inputs("cumulative sum", [&x])?;
        self.types.output("cumulative sum", &out)?;
        in_compute_type!(self, R => reduce::cumulative_sum::<R>(x, out));
        Ok(())
    }

    fn depthwise_conv(
        &self,
        x: View<'_, NaiveBuffer>,
        filter: View<'_, NaiveBuffer>,
        causal: bool,
        out: ViewMut<'_, NaiveBuffer>,
    ) -> Result<()> {
        let sizes = check::depthwise_conv(&x.layout, &filter.layout, &out.layout)?;
        self.types.inputs("depthwise convolution", [&x, &filter])?;
        self.types.output("depthwise convolution", &out)?;
        in_compute_type!(self, R => conv::depthwise_conv::<R>(sizes, x, filter, causal, out));
        Ok(())
    }

    fn attention(
        &self,
        spec: &AttentionSpec,
        operands: AttentionOperands<'_, NaiveBuffer>,
        outputs: AttentionOutputs<'_, NaiveBuffer>,
        scratch: &mut Arena<NaiveBuffer>,
    ) -> Result<()> {
        in_compute_type!(self, R => self.attention_in::<R>(spec, operands, outputs, scratch))
    }
}

impl NaiveBackend {
    fn precision(&self) -> Precision {
        self.config.precision
    }

    /// The operation, or the error that says why not.
    fn expect(&self, operation: impl Fn() -> OpSpec) -> Result<()> {
        match self.supports(&operation()) {
            Support::Unsupported(reason) => Err(unsupported(NAME, &operation(), reason)),
            _ => Ok(()),
        }
    }

    fn attention_in<R: Held>(
        &self,
        spec: &AttentionSpec,
        operands: AttentionOperands<'_, NaiveBuffer>,
        outputs: AttentionOutputs<'_, NaiveBuffer>,
        scratch: &mut Arena<NaiveBuffer>,
    ) -> Result<()> {
        let sizes = check::attention(&operands, &outputs)?;
        let check::AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim } = sizes;
        self.expect(|| OpSpec::Attention { batch, heads, key_heads, head_dim, value_dim, queries, keys, pairs: 0 })?;
        self.types.attention(spec, sizes, &operands, &outputs)?;
        scratch.scope(|scratch| {
            let mut q = scratch.take(self, self.compute(), &[head_dim])?;
            let mut output = scratch.take(self, self.compute(), &[value_dim])?;
            match (R::slice_of(&mut q.buffer), R::slice_of(&mut output.buffer)) {
                (Some(q), Some(output)) => attention::attention(spec, sizes, operands, outputs, [q, output])?,
                _ => return Err(EngineError::ElementType { operation: "attention", expected: self.compute(), found: q.dtype() }),
            }
            scratch.give(output);
            scratch.give(q);
            Ok(())
        })
    }
}
