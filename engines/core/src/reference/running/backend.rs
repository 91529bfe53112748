//! The trait: checks of operands, dense copies, and a call to the file that does the work.
//!
//! Fused operations other than attention and log-softmax keep their default composition, over these primitives.

use std::borrow::Cow;

use super::buffer::{Block, Rows, RunningBuffer, RunningWeight, expect, expect_float, read, read_operand, write};
use super::estimate::Estimate;
use super::{RunningError, attention, discrete, elementwise, linear, norm, products, rows};
use crate::arena::Arena;
use crate::backend::{AttentionOperands, AttentionOutputs, EngineConfig, EngineDescription, NormWeights, Operand, TransformerBackend};
use crate::check;
use crate::dtype::{DType, PRECISION_PRESETS};
use crate::error::{Result, shape_error};
use crate::host::HostTensor;
use crate::layout::Layout;
use crate::operands::Types;
use crate::ops::{AttentionSpec, BinaryOp, LinearSpec, MatmulSpec, NormKind, NormSpec, OpSpec, ReduceOp, Side, SoftmaxAlgorithm, UnaryOp};
use crate::pattern::AttentionPattern;
use crate::support::Support;
use crate::tensor::{Tensor, View, ViewMut};
use crate::weights::HostWeight;

type In<'a> = View<'a, RunningBuffer>;
type Out<'a> = ViewMut<'a, RunningBuffer>;

impl TransformerBackend for RunningError {
    type Buffer = RunningBuffer;
    type Weight = RunningWeight;

    fn new(config: &EngineConfig) -> Result<Self> {
        Ok(Self { config: *config })
    }

    fn describe() -> EngineDescription {
        EngineDescription {
            name: "running-error",
            summary: "f64 with an estimate of the error that an engine may have: a reference, not for users",
            isa: Cow::Borrowed("scalar"),
            native: PRECISION_PRESETS.iter().map(|(name, _)| *name).collect(),
        }
    }

    fn config(&self) -> &EngineConfig {
        &self.config
    }

    fn threads_used(&self) -> usize {
        self.threads()
    }

    fn supports(&self, operation: &OpSpec) -> Support {
        match operation {
            OpSpec::Unary { op, .. } => op.undefined().map_or(Support::Native, Support::Unsupported),
            OpSpec::BucketAttention { .. }
            | OpSpec::LinearAttention { .. }
            | OpSpec::AddNorm { .. }
            | OpSpec::GatedFfn { .. }
            | OpSpec::Mixture { .. }
            | OpSpec::SoftmaxTopK { .. }
            | OpSpec::CrossEntropy { .. }
            | OpSpec::Rotary { .. } => Support::Composed,
            _ => Support::Native,
        }
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, dtype: DType, elements: usize) -> Result<RunningBuffer> {
        RunningBuffer::zeros(dtype, elements)
    }

    fn upload(&self, host: &HostTensor, dtype: DType) -> Result<Tensor<RunningBuffer>> {
        let layout = Layout::contiguous(host.shape())?;
        let mut buffer = RunningBuffer::zeros(dtype, host.len())?;
        buffer.values.iter_mut().zip(host.values()).for_each(|(value, given)| *value = dtype.round(*given));
        Ok(Tensor { buffer, layout })
    }

    fn download(&self, view: In<'_>) -> Result<HostTensor> {
        HostTensor::new(view.shape(), read("download", &view)?.values)
    }

    fn fill(&self, out: Out<'_>, value: f64) -> Result<()> {
        let value = out.dtype().round(value);
        write("fill", out, std::iter::repeat(Estimate::exact(value)))
    }

    fn prepare_weight(&self, weight: &HostWeight) -> Result<RunningWeight> {
        weight.check()?;
        let (outputs, inputs) = (weight.outputs(), weight.inputs());
        let dense = weight.dequantized();
        let values = dense.values();
        let transposed = (0..inputs).flat_map(|input| (0..outputs).map(move |output| values[output * inputs + input])).collect();
        Ok(RunningWeight { outputs, inputs, transposed, bytes: 8 * values.len() })
    }

    fn copy(&self, x: In<'_>, out: Out<'_>) -> Result<()> {
        check::same_shape("copy", &x.layout, &out.layout)?;
        let (block, dtype) = (read("copy", &x)?, out.dtype());
        write("copy", out, block.iter().map(|x| x.stored_as(dtype)))
    }

    /// To either side: what arrives is what was sent.
    fn transfer(&self, _to: Side, x: In<'_>, out: Out<'_>) -> Result<()> {
        self.copy(x, out)
    }

    fn matmul(&self, spec: MatmulSpec, a: In<'_>, b: In<'_>, c: Out<'_>) -> Result<()> {
        let sizes = check::matmul(&a.layout, &b.layout, &c.layout)?;
        self.floats("matmul", &[a.dtype(), b.dtype(), c.dtype()])?;
        let before = if spec.beta == 0.0 { None } else { Some(read("matmul", &c.as_view())?) };
        let (factors, types) = ([read("matmul", &a)?, read("matmul", &b)?], (self.compute(), c.dtype()));
        write("matmul", c, products::matmul(spec, sizes, factors, before.as_ref(), types, self.threads()).iter())
    }

    fn linear(&self, spec: LinearSpec, x: In<'_>, weight: &RunningWeight, bias: Option<In<'_>>, out: Out<'_>) -> Result<()> {
        let rows = check::linear(&x.layout, weight, bias.as_ref().map(|bias| &bias.layout), &out.layout)?;
        self.floats("linear", &[x.dtype(), out.dtype()])?;
        let bias = bias.map(|bias| read("linear", &bias)).transpose()?;
        let types = (self.config.precision, out.dtype());
        let x = read("linear", &x)?;
        write("linear", out, linear::linear(spec.activation, (rows, x), weight, bias.as_ref(), types, self.threads()).iter())
    }

    fn softmax(&self, algorithm: SoftmaxAlgorithm, x: Operand<'_, RunningBuffer>, out: Out<'_>) -> Result<()> {
        let (_, width) = check::rows("softmax", &out.layout)?;
        let x = self.like_output("softmax", x, &out)?;
        let rounding = self.rounding(out.dtype());
        write("softmax", out, rows::softmax(algorithm, &x, width, rounding).iter())
    }

    fn log_softmax(&self, x: Operand<'_, RunningBuffer>, out: Out<'_>, _scratch: &mut Arena<RunningBuffer>) -> Result<()> {
        let (_, width) = check::rows("log-softmax", &out.layout)?;
        let x = self.like_output("log-softmax", x, &out)?;
        let rounding = self.rounding(out.dtype());
        write("log-softmax", out, rows::log_softmax(&x, width, rounding).iter())
    }

    fn normalize(
        &self,
        spec: NormSpec,
        x: Operand<'_, RunningBuffer>,
        weights: NormWeights<'_, RunningBuffer>,
        out: Out<'_>,
    ) -> Result<()> {
        let (_, width) = check::rows("normalize", &out.layout)?;
        check::norm_weights(width, [&weights.gamma, &weights.beta].map(|weight| weight.as_ref().map(|view| &view.layout)))?;
        if let NormKind::Group { groups } = spec.kind {
            check::norm_groups(width, groups)?;
        }
        let gamma = weights.gamma.map(|view| read("normalize", &view)).transpose()?;
        let beta = weights.beta.map(|view| read("normalize", &view)).transpose()?;
        let x = self.like_output("normalize", x, &out)?;
        let rounding = self.rounding(out.dtype());
        write("normalize", out, norm::normalize(spec, &x, width, [gamma.as_ref(), beta.as_ref()], rounding).iter())
    }

    fn unary(&self, op: UnaryOp, x: Operand<'_, RunningBuffer>, out: Out<'_>) -> Result<()> {
        if let Some(reason) = op.undefined() {
            return Err(crate::backend::unsupported("running-error", &OpSpec::Unary { elements: out.layout.len(), op }, reason));
        }
        let x = self.like_output("unary", x, &out)?;
        let (compute, dtype) = (self.compute(), out.dtype());
        write("unary", out, x.iter().map(|x| elementwise::unary(op, x, compute).stored_as(dtype)))
    }

    fn binary(&self, op: BinaryOp, a: Operand<'_, RunningBuffer>, b: In<'_>, out: Out<'_>) -> Result<()> {
        let shape = out.layout;
        let a = match a {
            Operand::Of(a) => Operand::Of(a.with(|layout| layout.broadcast(shape.shape()))?),
            Operand::InPlace => Operand::InPlace,
        };
        let b = b.with(|layout| layout.broadcast(shape.shape()))?;
        self.floats("binary", &[b.dtype()])?;
        let (a, b) = (self.like_output("binary", a, &out)?, read("binary", &b)?);
        let (compute, dtype) = (self.compute(), out.dtype());
        write("binary", out, a.iter().zip(b.iter()).map(|(a, b)| elementwise::binary(op, a, b, compute).stored_as(dtype)))
    }

    fn reduce(&self, op: ReduceOp, x: In<'_>, out: Out<'_>) -> Result<()> {
        let (_, width) = check::reduce(&x.layout, &out.layout)?;
        self.floats("reduce", &[x.dtype()])?;
        if op == ReduceOp::ArgMax {
            expect_indices("argmax", out.dtype(), width)?;
        } else {
            self.floats("reduce", &[out.dtype()])?;
        }
        let x: Vec<Estimate> = read("reduce", &x)?.iter().collect();
        let (compute, dtype) = (self.compute(), out.dtype());
        let reduced = x.chunks(width.max(1)).map(|row| match op {
            ReduceOp::Sum => rows::sum(row.iter().copied(), compute).stored_as(dtype),
            ReduceOp::Mean => {
                let count = Estimate::exact(width as f64);
                elementwise::quotient(rows::sum(row.iter().copied(), compute), count).rounded_in(compute, 2.0).stored_as(dtype)
            }
            ReduceOp::Max | ReduceOp::Min => discrete::extreme(op, row).stored_as(dtype),
            ReduceOp::ArgMax => discrete::argmax(row),
        });
        write("reduce", out, reduced)
    }

    fn mask(&self, pattern: &AttentionPattern, query_offset: usize, key_offset: usize, scores: Out<'_>) -> Result<()> {
        self.floats("mask", &[scores.dtype()])?;
        if scores.layout.rank() < 2 {
            return Err(shape_error("mask", format!("{:?} is not [.., queries, keys]", scores.shape())));
        }
        let (queries, keys) = (scores.layout.dim_from_end(1), scores.layout.dim_from_end(0));
        check::positions("mask", query_offset, queries)?;
        check::positions("mask", key_offset, keys)?;
        let block = read("mask", &scores.as_view())?;
        let masked = block.iter().enumerate().map(|(at, score)| {
            let (row, column) = (at / keys % queries, at % keys);
            if pattern.allows(query_offset + row, key_offset + column) { score } else { Estimate::exact(f64::NEG_INFINITY) }
        });
        write("mask", scores, masked)
    }

    fn select(&self, condition: In<'_>, otherwise: f64, out: Out<'_>) -> Result<()> {
        self.floats("select", &[out.dtype()])?;
        let condition = read("select", &condition.with(|layout| layout.broadcast(out.shape()))?)?;
        let (values, other) = (read("select", &out.as_view())?, Estimate::exact(out.dtype().round(otherwise)));
        let selected = condition.iter().zip(values.iter()).map(|(condition, value)| match elementwise::chosen(condition) {
            Some(true) => value,
            Some(false) => other,
            None => Estimate::undetermined(value.value),
        });
        write("select", out, selected)
    }

    fn gather_rows(&self, table: In<'_>, indices: In<'_>, out: Out<'_>) -> Result<()> {
        let (rows, _, width) = check::gather("gather", &table.layout, &indices.layout, &out.layout)?;
        let indices = indices_of("gather", &indices, rows)?;
        // A table may be far larger than what is read of it, so it is not copied.
        let (table, dtype) = (Rows::of("gather", &table)?, out.dtype());
        let gathered = indices.iter().flat_map(|&(row, known)| {
            let table = &table;
            (0..width).map(move |column| {
                let element = table.get(row, column);
                if known { element.stored_as(dtype) } else { Estimate::undetermined(element.value) }
            })
        });
        write("gather", out, gathered)
    }

    fn scatter_add_rows(&self, x: In<'_>, indices: In<'_>, out: Out<'_>) -> Result<()> {
        let (rows, _, width) = check::gather("scatter", &out.layout, &indices.layout, &x.layout)?;
        self.floats("scatter", &[x.dtype(), out.dtype()])?;
        let indices = indices_of("scatter", &indices, rows)?;
        let (x, mut sums) = (read("scatter", &x)?, read("scatter", &out.as_view())?);
        rows::scatter_add(&x, &indices, width, &mut sums, self.rounding(out.dtype()));
        write("scatter", out, sums.iter())
    }

    fn stable_argsort(&self, keys: In<'_>, out: Out<'_>) -> Result<()> {
        let (_, width) = check::rows("argsort", &keys.layout)?;
        check::same_shape("argsort", &keys.layout, &out.layout)?;
        expect("argsort", DType::I32, keys.dtype())?;
        expect_indices("argsort", out.dtype(), width)?;
        let keys = read("argsort", &keys)?;
        write("argsort", out, discrete::stable_argsort(&keys, width).iter())
    }

    fn top_k(&self, x: In<'_>, values: Out<'_>, indices: Out<'_>) -> Result<()> {
        let (_, width, k) = check::top_k(&x.layout, &values.layout, &indices.layout)?;
        self.floats("top-k", &[x.dtype(), values.dtype()])?;
        expect_indices("top-k", indices.dtype(), width)?;
        let (x, dtype): (Vec<Estimate>, DType) = (read("top-k", &x)?.iter().collect(), values.dtype());
        let (mut best, mut places) = (Vec::new(), Vec::new());
        for row in x.chunks(width.max(1)) {
            let (row_best, row_places) = discrete::top_k(row, k);
            best.extend(row_best.into_iter().map(|value| value.stored_as(dtype)));
            places.extend(row_places);
        }
        write("top-k", values, best)?;
        write("top-k", indices, places)
    }

    fn cumulative_sum(&self, x: In<'_>, out: Out<'_>) -> Result<()> {
        let (_, width) = check::rows("cumulative sum", &x.layout)?;
        check::same_shape("cumulative sum", &x.layout, &out.layout)?;
        let block = read("cumulative sum", &x)?;
        if x.dtype() == DType::I32 {
            expect("cumulative sum", DType::I32, out.dtype())?;
            return write("cumulative sum", out, rows::cumulative_sum_of_integers(&block, width).iter());
        }
        self.floats("cumulative sum", &[out.dtype()])?;
        let rounding = self.rounding(out.dtype());
        write("cumulative sum", out, rows::cumulative_sum(&block, width, rounding).iter())
    }

    fn depthwise_conv(&self, x: In<'_>, filter: In<'_>, causal: bool, out: Out<'_>) -> Result<()> {
        let sizes = check::depthwise_conv(&x.layout, &filter.layout, &out.layout)?;
        self.floats("depthwise convolution", &[x.dtype(), filter.dtype(), out.dtype()])?;
        let (x, filter) = (read("depthwise convolution", &x)?, read("depthwise convolution", &filter)?);
        let types = (self.compute(), out.dtype());
        write("depthwise convolution", out, products::depthwise_conv(sizes, &x, &filter, causal, types).iter())
    }

    fn attention(
        &self,
        spec: &AttentionSpec,
        operands: AttentionOperands<'_, RunningBuffer>,
        outputs: AttentionOutputs<'_, RunningBuffer>,
        _scratch: &mut Arena<RunningBuffer>,
    ) -> Result<()> {
        let sizes = check::attention(&operands, &outputs)?;
        Types::of(self.config.precision).attention(spec, sizes, &operands, &outputs)?;
        let call = attention::Call::new(spec, sizes, &operands, (self.compute(), self.threads()))?;
        let [out, logs] = call.run();
        let dtype = outputs.out.dtype();
        write("attention", outputs.out, out.iter().map(|value| value.stored_as(dtype)))?;
        if let Some(log_sum_exp) = outputs.log_sum_exp {
            let dtype = log_sum_exp.dtype();
            write("attention", log_sum_exp, logs.iter().map(|value| value.stored_as(dtype)))?;
        }
        Ok(())
    }
}

impl RunningError {
    fn floats(&self, operation: &'static str, types: &[DType]) -> Result<()> {
        types.iter().try_for_each(|&found| expect_float(operation, self.storage(), found))
    }

    /// A copy of an operand that has the output's shape, and may be the output.
    fn like_output(&self, operation: &'static str, x: Operand<'_, RunningBuffer>, out: &Out<'_>) -> Result<Block> {
        self.floats(operation, &[out.dtype()])?;
        if let Operand::Of(x) = &x {
            check::same_shape(operation, &x.layout, &out.layout)?;
            self.floats(operation, &[x.dtype()])?;
        }
        read_operand(operation, x, out)
    }
}

/// The rows that indices name, and whether they are determined.
fn indices_of(operation: &'static str, view: &In<'_>, bound: usize) -> Result<Vec<(usize, bool)>> {
    expect(operation, DType::I32, view.dtype())?;
    let indices = read(operation, view)?;
    let row = |(at, index): (usize, Estimate)| Ok((check::index(operation, at, index.value as i32, bound)?, index.is_known()));
    indices.iter().enumerate().map(row).collect()
}

/// An output of indices into rows of this width.
fn expect_indices(operation: &'static str, found: DType, width: usize) -> Result<()> {
    if i32::try_from(width).is_err() {
        return Err(shape_error(operation, format!("rows of {width} elements are too long for i32 indices")));
    }
    expect(operation, DType::I32, found)
}
