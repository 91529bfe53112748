//! The engine: checks of operands, the choice of the compute type, and a call to the file that does the work.

use std::borrow::Cow;

use crossover_core::arena::Arena;
use crossover_core::backend::{
    AttentionOperands, AttentionOutputs, BucketOperands, EngineConfig, EngineDescription, Experts, NormWeights, Operand, PreparedWeight,
    Routes, ScoreBias, TransformerBackend, unsupported,
};
use crossover_core::check;
use crossover_core::compose;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::layout::Layout;
use crossover_core::ops::{
    AttentionSpec, BinaryOp, BucketSpec, LinearAttentionSpec, LinearSpec, MatmulSpec, NormSpec, OpSpec, ReduceOp, SoftmaxAlgorithm, UnaryOp,
};
use crossover_core::pattern::AttentionPattern;
use crossover_core::support::Support;
use crossover_core::tensor::{Tensor, View, ViewMut};
use crossover_core::weights::HostWeight;

use crate::buffer::SimdBuffer;
use crate::gemm::{Blocking, Engine};
use crate::isa::{Extras, Isa};
use crate::linear::Held;
use crate::narrow::Panels;
use crate::operands::{Types, indices, indices_mut};
use crate::pool::Pool;
use crate::walk::rows_of;
use crate::weight::{Packed, SimdWeight};
use crate::workspace::Workspace;
use crate::{
    attention, conv, cross_entropy, elementwise, linear, linear_attention, log_softmax, matmul, mixture, normalize, reduce, rotary, rows,
    softmax, sort, support, top_k,
};

/// The name of this engine in cells and messages.
pub const NAME: &str = "simd";

/// The vector engine. See the crate's head.
#[derive(Debug)]
pub struct SimdBackend {
    config: EngineConfig,
    pub(crate) types: Types,
    pub(crate) engine: Engine,
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

impl TransformerBackend for SimdBackend {
    type Buffer = SimdBuffer;
    type Weight = SimdWeight;

    fn new(config: &EngineConfig) -> Result<Self> {
        support::check_configuration(config)?;
        let (isa, pool) = (Isa::chosen(config.isa)?, Pool::new(config.threads)?);
        let (extras, workspace, blocking) =
            (Extras::of(isa, config.isa), Workspace::new(pool.threads()), Blocking::of_machine(pool.threads()));
        Ok(Self { config: *config, types: Types::of(config.precision), engine: Engine { isa, extras, pool, workspace, blocking } })
    }

    fn describe() -> EngineDescription {
        EngineDescription {
            name: NAME,
            summary: "own vector kernels, packed weights, a pool of threads",
            isa: Cow::Owned(Extras::of(Isa::best(), IsaChoice::Auto).name(Isa::best())),
            native: support::native_precisions(),
        }
    }

    fn config(&self) -> &EngineConfig {
        &self.config
    }

    fn threads_used(&self) -> usize {
        self.engine.pool.threads()
    }

    fn isa(&self) -> Cow<'static, str> {
        Cow::Owned(self.engine.extras.name(self.engine.isa))
    }

    fn supports(&self, operation: &OpSpec) -> Support {
        support::supports(self.engine.extras, self.precision(), operation)
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, dtype: DType, elements: usize) -> Result<SimdBuffer> {
        SimdBuffer::zeros(dtype, elements)
    }

    fn upload(&self, host: &HostTensor, dtype: DType) -> Result<Tensor<SimdBuffer>> {
        Ok(Tensor { buffer: SimdBuffer::rounded(dtype, host.values())?, layout: Layout::contiguous(host.shape())? })
    }

    fn download(&self, view: View<'_, SimdBuffer>) -> Result<HostTensor> {
        check::inside("download", view.buffer, &view.layout)?;
        let mut values: Vec<f64> = Vec::new();
        let (elements, dtype) = (view.layout.len(), DType::F64);
        values.try_reserve_exact(elements).map_err(|error| EngineError::Allocation { elements, dtype, reason: error.to_string() })?;
        for row in rows_of(&view) {
            row.fold((), |(), value| values.push(value));
        }
        HostTensor::new(view.shape(), values)
    }

    fn fill(&self, out: ViewMut<'_, SimdBuffer>, value: f64) -> Result<()> {
        check::output("fill", out.buffer, &out.layout)?;
        elementwise::fill(&self.engine, out, value);
        Ok(())
    }

    fn prepare_weight(&self, weight: &HostWeight) -> Result<SimdWeight> {
        SimdWeight::prepare(weight, self.precision(), self.engine.isa)
    }

    fn copy(&self, x: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
        check::same_shape("copy", &x.layout, &out.layout)?;
        check::inside("copy", x.buffer, &x.layout)?;
        check::output("copy", out.buffer, &out.layout)?;
        elementwise::copy(&self.engine, x, out);
        Ok(())
    }

    fn matmul(&self, spec: MatmulSpec, a: View<'_, SimdBuffer>, b: View<'_, SimdBuffer>, c: ViewMut<'_, SimdBuffer>) -> Result<()> {
        let sizes = check::matmul(&a.layout, &b.layout, &c.layout)?;
        self.expect(|| OpSpec::Matmul { batch: sizes.batch, m: sizes.m, n: sizes.n, k: sizes.k })?;
        self.types.inputs("matmul", [&a, &b])?;
        self.types.output("matmul", &c)?;
        in_compute_type!(self, R => matmul::matmul::<R>(&self.engine, spec, sizes, a, b, c))
    }

    fn linear(
        &self,
        spec: LinearSpec,
        x: View<'_, SimdBuffer>,
        weight: &SimdWeight,
        bias: Option<View<'_, SimdBuffer>>,
        out: ViewMut<'_, SimdBuffer>,
    ) -> Result<()> {
        let rows = check::linear(&x.layout, weight, bias.as_ref().map(|bias| &bias.layout), &out.layout)?;
        let (inputs, outputs, form) = (weight.inputs(), weight.outputs(), weight.form);
        self.expect(|| OpSpec::Linear { rows, inputs, outputs, form, spec, bias: bias.is_some() })?;
        self.types.inputs("linear", [&x])?;
        self.types.inputs("linear", [bias.as_ref().unwrap_or(&x)])?;
        self.types.output("linear", &out)?;
        let integer = self.precision().activation == DType::I8;
        let held = match &weight.packed {
            Packed::F64(panels) => return linear::linear(&self.engine, spec, x, (weight, panels), bias, out),
            Packed::F32(panels) if [x.dtype(), bias.as_ref().map_or(DType::F32, View::dtype), out.dtype()] == [DType::F32; 3] => {
                return linear::linear(&self.engine, spec, x, (weight, panels), bias, out);
            }
            Packed::F32(panels) => Held::Panels(Panels::of_singles(panels, weight.inputs)),
            Packed::Coded(coded) => Held::Panels(coded.panels()),
            Packed::Sparse(sparse) => Held::Sparse(sparse),
        };
        linear::narrow(&self.engine, (spec, integer), x, (weight, held), bias, out)
    }

    fn softmax(&self, algorithm: SoftmaxAlgorithm, x: Operand<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
        check::rows("softmax", &out.layout)?;
        let x = self.types.like_output("softmax", x, &out)?;
        in_compute_type!(self, R => softmax::softmax::<R>(&self.engine, algorithm, x, out))
    }

    fn normalize(
        &self,
        spec: NormSpec,
        x: Operand<'_, SimdBuffer>,
        weights: NormWeights<'_, SimdBuffer>,
        out: ViewMut<'_, SimdBuffer>,
    ) -> Result<()> {
        self.types.norm(spec, weights, &out)?;
        let x = self.types.like_output("normalize", x, &out)?;
        in_compute_type!(self, R => normalize::normalize::<R>(&self.engine, spec, x, weights, out))
    }

    fn unary(&self, op: UnaryOp, x: Operand<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
        self.expect(|| OpSpec::Unary { elements: out.layout.len(), op })?;
        let x = self.types.like_output("unary", x, &out)?;
        in_compute_type!(self, R => elementwise::unary::<R>(&self.engine, op, x, out))
    }

    fn binary(&self, op: BinaryOp, a: Operand<'_, SimdBuffer>, b: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
        let stretched = |view: View<'_, SimdBuffer>| view.layout.broadcast(out.shape());
        let a = match a {
            Operand::Of(a) => Operand::Of(View { layout: stretched(a)?, ..a }),
            Operand::InPlace => Operand::InPlace,
        };
        let b = View { layout: stretched(b)?, ..b };
        self.types.inputs("binary", [&b])?;
        let a = self.types.like_output("binary", a, &out)?;
        in_compute_type!(self, R => elementwise::binary::<R>(&self.engine, op, a, b, out))
    }

    fn reduce(&self, op: ReduceOp, x: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
        let (_, width) = check::reduce(&x.layout, &out.layout)?;
        self.types.inputs("reduce", [&x])?;
        let mut out = out;
        if op == ReduceOp::ArgMax {
            indices_mut("argmax", out.reborrow(), width)?;
        } else {
            self.types.output("reduce", &out)?;
        }
        in_compute_type!(self, R => reduce::reduce::<R>(&self.engine, op, x, out))
    }

    fn mask(&self, pattern: &AttentionPattern, query_offset: usize, key_offset: usize, scores: ViewMut<'_, SimdBuffer>) -> Result<()> {
        self.types.output("mask", &scores)?;
        if scores.layout.rank() < 2 {
            return Err(shape_error("mask", format!("{:?} is not [.., queries, keys]", scores.shape())));
        }
        check::positions("mask", query_offset, scores.layout.dim_from_end(1))?;
        check::positions("mask", key_offset, scores.layout.dim_from_end(0))?;
        in_compute_type!(self, R => elementwise::mask::<R>(&self.engine, pattern, query_offset, key_offset, scores))
    }

    fn select(&self, condition: View<'_, SimdBuffer>, otherwise: f64, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
        check::inside("select", condition.buffer, &condition.layout)?;
        self.types.output("select", &out)?;
        let layout = condition.layout.broadcast(out.shape())?;
        in_compute_type!(self, R => elementwise::select::<R>(&self.engine, View { layout, ..condition }, otherwise, out))
    }

    fn gather_rows(&self, table: View<'_, SimdBuffer>, index: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
        check::gather("gather", &table.layout, &index.layout, &out.layout)?;
        check::inside("gather", table.buffer, &table.layout)?;
        check::output("gather", out.buffer, &out.layout)?;
        rows::gather_rows(&self.engine, table, indices("gather", &index)?, index, out)
    }

    fn scatter_add_rows(&self, x: View<'_, SimdBuffer>, index: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
        check::gather("scatter", &out.layout, &index.layout, &x.layout)?;
        self.types.inputs("scatter", [&x])?;
        self.types.output("scatter", &out)?;
        in_compute_type!(self, R => rows::scatter_add_rows::<R>(&self.engine, x, indices("scatter", &index)?, index, out))
    }

    fn stable_argsort(&self, keys: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
        let (_, width) = check::rows("argsort", &keys.layout)?;
        check::same_shape("argsort", &keys.layout, &out.layout)?;
        let (values, layout) = (indices("argsort", &keys)?, out.layout);
        sort::stable_argsort(&self.engine, (values, &keys.layout), (indices_mut("argsort", out, width)?, &layout))
    }

    fn top_k(&self, x: View<'_, SimdBuffer>, values: ViewMut<'_, SimdBuffer>, index: ViewMut<'_, SimdBuffer>) -> Result<()> {
        in_compute_type!(self, R => top_k::top_k::<R>(&self.engine, self.types, false, x, values, index))
    }

    fn cumulative_sum(&self, x: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
        check::rows("cumulative sum", &x.layout)?;
        check::same_shape("cumulative sum", &x.layout, &out.layout)?;
        if let (SimdBuffer::I32(values), layout) = (x.buffer, out.layout) {
            check::inside("cumulative sum", x.buffer, &x.layout)?;
            reduce::cumulative_sum_of_integers(&x, values, indices_mut("cumulative sum", out, 0)?, &layout);
            return Ok(());
        }
        self.types.inputs("cumulative sum", [&x])?;
        self.types.output("cumulative sum", &out)?;
        in_compute_type!(self, R => reduce::cumulative_sum::<R>(&self.engine, x, out))
    }

    fn depthwise_conv(
        &self,
        x: View<'_, SimdBuffer>,
        filter: View<'_, SimdBuffer>,
        causal: bool,
        out: ViewMut<'_, SimdBuffer>,
    ) -> Result<()> {
        let sizes = check::depthwise_conv(&x.layout, &filter.layout, &out.layout)?;
        self.types.inputs("depthwise convolution", [&x, &filter])?;
        self.types.output("depthwise convolution", &out)?;
        in_compute_type!(self, R => conv::depthwise_conv::<R>(&self.engine, sizes, x, filter, causal, out))
    }

    fn attention(
        &self,
        spec: &AttentionSpec,
        operands: AttentionOperands<'_, SimdBuffer>,
        outputs: AttentionOutputs<'_, SimdBuffer>,
        scratch: &mut Arena<SimdBuffer>,
    ) -> Result<()> {
        let sizes = check::attention(&operands, &outputs)?;
        let check::AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim } = sizes;
        self.expect(|| OpSpec::Attention { batch, heads, key_heads, head_dim, value_dim, queries, keys, pairs: 0 })?;
        if !attention::takes(sizes.head_dim) {
            return compose::attention::streamed(self, spec, operands, outputs, scratch);
        }
        check::positions("attention", spec.query_offset, queries)?;
        self.types.inputs("attention", [&operands.q, &operands.k, &operands.v])?;
        self.types.output("attention", &outputs.out)?;
        if let Some(log_sum_exp) = &outputs.log_sum_exp {
            self.types.output("attention", log_sum_exp)?;
        }
        if let ScoreBias::ByPair(bias) | ScoreBias::ByDistance(bias) = &operands.bias {
            self.types.inputs("attention", [bias])?;
        }
        if let Some(mask) = &operands.key_mask {
            check::inside("attention", mask.buffer, &mask.layout)?;
        }
        attention::attention(self, &self.engine, spec, sizes, operands, outputs, scratch)
    }

    fn bucket_attention(
        &self,
        spec: BucketSpec,
        operands: BucketOperands<'_, SimdBuffer>,
        outputs: AttentionOutputs<'_, SimdBuffer>,
        scratch: &mut Arena<SimdBuffer>,
    ) -> Result<()> {
        let sizes = check::bucket_attention(spec, &operands, &outputs)?;
        self.expect(|| sizes.operation(spec.causal))?;
        self.types.inputs("bucket attention", [&operands.q, &operands.k, &operands.v])?;
        self.types.output("bucket attention", &outputs.out)?;
        if let Some(log_sum_exp) = &outputs.log_sum_exp {
            self.types.output("bucket attention", log_sum_exp)?;
        }
        attention::buckets::attention(self, spec, sizes, operands, outputs, scratch)
    }

    fn linear_attention(
        &self,
        spec: LinearAttentionSpec,
        q: View<'_, SimdBuffer>,
        k: View<'_, SimdBuffer>,
        v: View<'_, SimdBuffer>,
        out: ViewMut<'_, SimdBuffer>,
        scratch: &mut Arena<SimdBuffer>,
    ) -> Result<()> {
        in_compute_type!(self, R => linear_attention::linear_attention::<R>(self, spec, [q, k, v], out, scratch))
    }

    fn add_norm(
        &self,
        spec: NormSpec,
        x: View<'_, SimdBuffer>,
        residual: View<'_, SimdBuffer>,
        weights: NormWeights<'_, SimdBuffer>,
        sum: Option<ViewMut<'_, SimdBuffer>>,
        out: ViewMut<'_, SimdBuffer>,
    ) -> Result<()> {
        self.types.norm(spec, weights, &out)?;
        if let Some(sum) = &sum {
            check::same_shape("add+norm", &sum.layout, &out.layout)?;
            self.types.output("add+norm", sum)?;
        }
        // Both stretch to the shape of the sum, as the addition that this replaces would let them.
        let [x, residual] = [x.with(|layout| layout.broadcast(out.shape()))?, residual.with(|layout| layout.broadcast(out.shape()))?];
        self.types.inputs("add+norm", [&x, &residual])?;
        self.types.output("add+norm", &out)?;
        in_compute_type!(self, R => normalize::add_norm::<R>(&self.engine, spec, [x, residual], weights, sum, out))
    }

    fn mixture(
        &self,
        spec: LinearSpec,
        x: View<'_, SimdBuffer>,
        routes: Routes<'_, SimdBuffer>,
        experts: Experts<'_, SimdWeight, SimdBuffer>,
        out: ViewMut<'_, SimdBuffer>,
        scratch: &mut Arena<SimdBuffer>,
    ) -> Result<()> {
        let sizes = check::mixture(&x.layout, &routes, &experts, &out.layout)?;
        for weight in experts.up.iter().chain(experts.down) {
            self.expect(|| sizes.operation(spec, weight.form))?;
        }
        self.types.inputs("mixture", [&x, &routes.gates, &experts.up_bias, &experts.down_bias])?;
        self.types.output("mixture", &out)?;
        in_compute_type!(self, R => mixture::mixture::<R>(self, (spec, sizes), x, routes, experts, out, scratch))
    }

    fn log_softmax(&self, x: Operand<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>, _: &mut Arena<SimdBuffer>) -> Result<()> {
        check::rows("log-softmax", &out.layout)?;
        let x = self.types.like_output("log-softmax", x, &out)?;
        in_compute_type!(self, R => log_softmax::log_softmax::<R>(&self.engine, x, out))
    }

    fn softmax_top_k(
        &self,
        x: View<'_, SimdBuffer>,
        values: ViewMut<'_, SimdBuffer>,
        index: ViewMut<'_, SimdBuffer>,
        _: &mut Arena<SimdBuffer>,
    ) -> Result<()> {
        in_compute_type!(self, R => top_k::top_k::<R>(&self.engine, self.types, true, x, values, index))
    }

    fn cross_entropy(
        &self,
        x: View<'_, SimdBuffer>,
        tiles: &[SimdWeight],
        targets: View<'_, SimdBuffer>,
        logits: ViewMut<'_, SimdBuffer>,
        out: ViewMut<'_, SimdBuffer>,
        scratch: &mut Arena<SimdBuffer>,
    ) -> Result<()> {
        self.types.inputs("cross-entropy", [&x])?;
        check::of_type("cross-entropy", self.compute(), logits.dtype())?;
        self.types.output("cross-entropy", &logits)?;
        self.types.output("cross-entropy", &out)?;
        in_compute_type!(self, R => cross_entropy::cross_entropy::<R>(self, &self.engine, x, tiles, targets, logits, out, scratch))
    }

    fn rotary(
        &self,
        x: View<'_, SimdBuffer>,
        cosines: View<'_, SimdBuffer>,
        sines: View<'_, SimdBuffer>,
        out: ViewMut<'_, SimdBuffer>,
        _: &mut Arena<SimdBuffer>,
    ) -> Result<()> {
        let tables = rotary::tables(&x, [cosines, sines], &out)?;
        self.types.inputs("rotary", [&x, &tables[0], &tables[1]])?;
        self.types.output("rotary", &out)?;
        in_compute_type!(self, R => rotary::rotary::<R>(&self.engine, x, tables, out))
    }
}

impl SimdBackend {
    fn precision(&self) -> Precision {
        self.config.precision
    }

    /// The operation, or the error that says why not.
    pub(crate) fn expect(&self, operation: impl Fn() -> OpSpec) -> Result<()> {
        match support::refusal(self.engine.extras, self.precision(), &operation()) {
            Some(Support::Unsupported(reason)) => Err(unsupported(NAME, &operation(), reason)),
            _ => Ok(()),
        }
    }
}
