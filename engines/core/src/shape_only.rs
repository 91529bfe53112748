//! An engine without numbers: it checks shapes, computes nothing, and logs every operation it is asked for.
//!
//! Running a variant on it costs microseconds whatever the sizes, and gives the list of operations of one call: the input of the cost
//! model, and of the question whether a real engine supports the cell. Fused operations are logged whole, not as their composition,
//! because that is what the variant asked for.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::activation::Activation;
use crate::arena::Arena;
use crate::backend::{
    AttentionOperands, AttentionOutputs, BucketOperands, EngineConfig, EngineDescription, Experts, NormWeights, Operand, PreparedWeight,
    Routes, TransformerBackend,
};
use crate::check;
use crate::cost::Cost;
use crate::dtype::DType;
use crate::error::{EngineError, Result, shape_error};
use crate::host::HostTensor;
use crate::layout::Layout;
use crate::ops::{
    AttentionSpec, BinaryOp, BucketSpec, LinearAttentionSpec, LinearSpec, MatmulSpec, NormSpec, OpSpec, ReduceOp, Side, SoftmaxAlgorithm,
    UnaryOp, WeightForm,
};
use crate::pattern::AttentionPattern;
use crate::support::Support;
use crate::tensor::{Buffer, Tensor, View, ViewMut};
use crate::weights::HostWeight;

/// The engine; see the module.
#[derive(Debug)]
pub struct ShapeOnly {
    config: EngineConfig,
    log: RefCell<Vec<OpSpec>>,
    /// Buffers so far.
    buffers: Cell<usize>,
    /// Elements taken from a table by index, by the table's number.
    gathered: RefCell<BTreeMap<usize, (ShapeBuffer, usize)>>,
}

/// A buffer of which only type and length exist, and a number to tell it by.
#[derive(Debug, Clone, Copy)]
pub struct ShapeBuffer {
    dtype: DType,
    len: usize,
    number: usize,
}

impl Buffer for ShapeBuffer {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// A weight of which only form and sizes exist.
#[derive(Debug, Clone, Copy)]
pub struct ShapeWeight {
    form: WeightForm,
    outputs: usize,
    inputs: usize,
}

impl ShapeWeight {
    /// A weight that was never drawn.
    pub fn new(form: WeightForm, outputs: usize, inputs: usize) -> Self {
        Self { form, outputs, inputs }
    }
}

impl PreparedWeight for ShapeWeight {
    fn bytes(&self) -> usize {
        self.form.ideal_bytes(self.outputs, self.inputs)
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn inputs(&self) -> usize {
        self.inputs
    }
}

impl ShapeOnly {
    /// The operations asked for since the last call.
    pub fn take_log(&self) -> Vec<OpSpec> {
        self.log.take()
    }

    /// How many buffers there are.
    pub fn buffers(&self) -> usize {
        self.buffers.get()
    }

    /// Bytes of the first so many buffers that nobody can have read who only took rows by index, however different the rows were.
    pub fn unread_bytes(&self, first: usize) -> usize {
        let unread =
            |(_, (table, taken)): (&usize, &(ShapeBuffer, usize))| table.dtype.bytes(table.len.saturating_sub(*taken)).unwrap_or(0);
        self.gathered.borrow().range(..first).map(unread).sum()
    }

    fn note(&self, operation: OpSpec) {
        self.log.borrow_mut().push(operation);
    }
}

/// The cost of a list of operations.
pub fn total_cost(operations: &[OpSpec], config: &EngineConfig) -> Cost {
    operations.iter().map(|operation| operation.cost(config.precision)).fold(Cost::default(), Cost::plus)
}

type In<'a> = View<'a, ShapeBuffer>;
type Out<'a> = ViewMut<'a, ShapeBuffer>;

fn layout_of(operand: &Operand<'_, ShapeBuffer>, out: &Out<'_>) -> Layout {
    match operand {
        Operand::Of(view) => view.layout,
        Operand::InPlace => out.layout,
    }
}

impl TransformerBackend for ShapeOnly {
    type Buffer = ShapeBuffer;
    type Weight = ShapeWeight;

    fn new(config: &EngineConfig) -> Result<Self> {
        Ok(Self { config: *config, log: RefCell::default(), buffers: Cell::new(0), gathered: RefCell::default() })
    }

    fn describe() -> EngineDescription {
        EngineDescription { name: "shape-only", summary: "checks shapes and counts operations", isa: Cow::Borrowed("none"), native: vec![] }
    }

    fn config(&self) -> &EngineConfig {
        &self.config
    }

    fn threads_used(&self) -> usize {
        0
    }

    fn supports(&self, _operation: &OpSpec) -> Support {
        Support::Unsupported("it computes nothing".into())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, dtype: DType, elements: usize) -> Result<ShapeBuffer> {
        let number = self.buffers.get();
        self.buffers.set(number + 1);
        Ok(ShapeBuffer { dtype, len: elements, number })
    }

    fn upload(&self, host: &HostTensor, dtype: DType) -> Result<Tensor<ShapeBuffer>> {
        self.tensor(dtype, host.shape())
    }

    fn download(&self, _view: In<'_>) -> Result<HostTensor> {
        Err(EngineError::Unsupported { engine: "shape-only", operation: "download".into(), reason: "there are no values".into() })
    }

    fn fill(&self, _out: Out<'_>, _value: f64) -> Result<()> {
        Ok(())
    }

    fn prepare_weight(&self, weight: &HostWeight) -> Result<ShapeWeight> {
        Ok(ShapeWeight::new(weight.form(), weight.outputs(), weight.inputs()))
    }

    fn copy(&self, x: In<'_>, out: Out<'_>) -> Result<()> {
        check::same_shape("copy", &x.layout, &out.layout)?;
        self.note(OpSpec::Copy { elements: x.layout.len() });
        Ok(())
    }

    fn transfer(&self, to: Side, x: In<'_>, out: Out<'_>) -> Result<()> {
        check::same_shape("transfer", &x.layout, &out.layout)?;
        self.note(OpSpec::Transfer { elements: x.layout.len(), to });
        Ok(())
    }

    fn matmul(&self, _spec: MatmulSpec, a: In<'_>, b: In<'_>, c: Out<'_>) -> Result<()> {
        let check::MatmulSizes { batch, m, n, k } = check::matmul(&a.layout, &b.layout, &c.layout)?;
        self.note(OpSpec::Matmul { batch, m, n, k });
        Ok(())
    }

    fn linear(&self, spec: LinearSpec, x: In<'_>, weight: &ShapeWeight, bias: Option<In<'_>>, out: Out<'_>) -> Result<()> {
        let rows = check::linear(&x.layout, weight, bias.as_ref().map(|bias| &bias.layout), &out.layout)?;
        let &ShapeWeight { form, outputs, inputs } = weight;
        self.note(OpSpec::Linear { rows, inputs, outputs, form, spec, bias: bias.is_some() });
        Ok(())
    }

    fn softmax(&self, algorithm: SoftmaxAlgorithm, x: Operand<'_, ShapeBuffer>, out: Out<'_>) -> Result<()> {
        let layout = layout_of(&x, &out);
        check::same_shape("softmax", &layout, &out.layout)?;
        let (rows, classes) = check::rows("softmax", &layout)?;
        self.note(OpSpec::Softmax { rows, classes, algorithm });
        Ok(())
    }

    fn normalize(&self, spec: NormSpec, x: Operand<'_, ShapeBuffer>, weights: NormWeights<'_, ShapeBuffer>, out: Out<'_>) -> Result<()> {
        let layout = layout_of(&x, &out);
        check::same_shape("normalize", &layout, &out.layout)?;
        let (rows, width) = check::rows("normalize", &layout)?;
        check::norm_weights(width, [weights.gamma.as_ref().map(|w| &w.layout), weights.beta.as_ref().map(|w| &w.layout)])?;
        self.note(OpSpec::Normalize { rows, width, kind: spec.kind });
        Ok(())
    }

    fn unary(&self, op: UnaryOp, x: Operand<'_, ShapeBuffer>, out: Out<'_>) -> Result<()> {
        check::same_shape("unary", &layout_of(&x, &out), &out.layout)?;
        self.note(OpSpec::Unary { elements: out.layout.len(), op });
        Ok(())
    }

    fn binary(&self, op: BinaryOp, a: Operand<'_, ShapeBuffer>, b: In<'_>, out: Out<'_>) -> Result<()> {
        layout_of(&a, &out).broadcast(out.shape())?;
        b.layout.broadcast(out.shape())?;
        self.note(OpSpec::Binary { elements: out.layout.len(), op });
        Ok(())
    }

    fn reduce(&self, op: ReduceOp, x: In<'_>, out: Out<'_>) -> Result<()> {
        let (rows, width) = check::reduce(&x.layout, &out.layout)?;
        self.note(OpSpec::Reduce { rows, width, op });
        Ok(())
    }

    fn mask(&self, _pattern: &AttentionPattern, _query_offset: usize, _key_offset: usize, scores: Out<'_>) -> Result<()> {
        let (rows, columns) = check::rows("mask", &scores.layout)?;
        self.note(OpSpec::Mask { rows, columns });
        Ok(())
    }

    fn select(&self, condition: In<'_>, _otherwise: f64, out: Out<'_>) -> Result<()> {
        condition.layout.broadcast(out.shape())?;
        self.note(OpSpec::Select { elements: out.layout.len() });
        Ok(())
    }

    fn gather_rows(&self, table: In<'_>, indices: In<'_>, out: Out<'_>) -> Result<()> {
        let (_, rows, width) = check::gather("gather", &table.layout, &indices.layout, &out.layout)?;
        self.gathered.borrow_mut().entry(table.buffer.number).or_insert((*table.buffer, 0)).1 += rows.saturating_mul(width);
        self.note(OpSpec::GatherRows { rows, width });
        Ok(())
    }

    fn scatter_add_rows(&self, x: In<'_>, indices: In<'_>, out: Out<'_>) -> Result<()> {
        let (_, rows, width) = check::gather("scatter-add", &out.layout, &indices.layout, &x.layout)?;
        self.note(OpSpec::ScatterAddRows { rows, width });
        Ok(())
    }

    fn stable_argsort(&self, keys: In<'_>, out: Out<'_>) -> Result<()> {
        check::same_shape("argsort", &keys.layout, &out.layout)?;
        let (rows, width) = check::rows("argsort", &keys.layout)?;
        self.note(OpSpec::StableArgSort { rows, width });
        Ok(())
    }

    fn top_k(&self, x: In<'_>, values: Out<'_>, indices: Out<'_>) -> Result<()> {
        let (rows, width, k) = check::top_k(&x.layout, &values.layout, &indices.layout)?;
        self.note(OpSpec::TopK { rows, width, k });
        Ok(())
    }

    fn cumulative_sum(&self, x: In<'_>, out: Out<'_>) -> Result<()> {
        check::same_shape("cumulative sum", &x.layout, &out.layout)?;
        let (rows, width) = check::rows("cumulative sum", &x.layout)?;
        self.note(OpSpec::CumulativeSum { rows, width });
        Ok(())
    }

    fn depthwise_conv(&self, x: In<'_>, filter: In<'_>, _causal: bool, out: Out<'_>) -> Result<()> {
        let (batch, n, channels, kernel) = check::depthwise_conv(&x.layout, &filter.layout, &out.layout)?;
        self.note(OpSpec::DepthwiseConv { rows: batch * n, channels, kernel });
        Ok(())
    }

    fn attention(
        &self,
        spec: &AttentionSpec,
        operands: AttentionOperands<'_, ShapeBuffer>,
        outputs: AttentionOutputs<'_, ShapeBuffer>,
        _scratch: &mut Arena<ShapeBuffer>,
    ) -> Result<()> {
        let sizes = check::attention(&operands, &outputs)?;
        let check::AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim } = sizes;
        let pairs = spec.pattern.visible_pairs(spec.query_offset, queries, keys);
        self.note(OpSpec::Attention { batch, heads, key_heads, head_dim, value_dim, queries, keys, pairs });
        Ok(())
    }

    fn bucket_attention(
        &self,
        spec: BucketSpec,
        operands: BucketOperands<'_, ShapeBuffer>,
        outputs: AttentionOutputs<'_, ShapeBuffer>,
        _scratch: &mut Arena<ShapeBuffer>,
    ) -> Result<()> {
        let sizes = check::bucket_attention(spec, &operands, &outputs)?;
        self.note(sizes.operation(spec.causal));
        Ok(())
    }

    fn linear_attention(
        &self,
        spec: LinearAttentionSpec,
        q: In<'_>,
        k: In<'_>,
        v: In<'_>,
        _out: Out<'_>,
        _scratch: &mut Arena<ShapeBuffer>,
    ) -> Result<()> {
        let (&[batch, heads, rows, features], &[_, key_heads, keys, value_dim]) = (q.shape(), v.shape()) else {
            return Err(shape_error("linear attention", format!("q {:?}, k {:?}, v {:?}", q.shape(), k.shape(), v.shape())));
        };
        if key_heads == 0 || !heads.is_multiple_of(key_heads) {
            return Err(shape_error("linear attention", format!("{heads} query heads cannot share {key_heads} key heads")));
        }
        // Query heads that share keys are as many more rows to read out of one state.
        let (batch_heads, queries) = (batch * key_heads, rows * (heads / key_heads));
        self.note(OpSpec::LinearAttention { batch_heads, queries, keys, features, value_dim, causal: spec.causal });
        Ok(())
    }

    fn add_norm(
        &self,
        spec: NormSpec,
        x: In<'_>,
        residual: In<'_>,
        _weights: NormWeights<'_, ShapeBuffer>,
        _sum: Option<Out<'_>>,
        out: Out<'_>,
    ) -> Result<()> {
        check::same_shape("add+norm", &x.layout, &out.layout)?;
        check::same_shape("add+norm", &residual.layout, &out.layout)?;
        let (rows, width) = check::rows("add+norm", &x.layout)?;
        self.note(OpSpec::AddNorm { rows, width, kind: spec.kind });
        Ok(())
    }

    fn gated_ffn(
        &self,
        spec: LinearSpec,
        x: In<'_>,
        weights: [&ShapeWeight; 3],
        _out: Out<'_>,
        _scratch: &mut Arena<ShapeBuffer>,
    ) -> Result<()> {
        let (rows, width) = check::rows("gated ffn", &x.layout)?;
        let activation: Activation = spec.activation;
        self.note(OpSpec::GatedFfn { rows, width, hidden: weights[0].outputs, activation });
        Ok(())
    }

    fn mixture(
        &self,
        spec: LinearSpec,
        x: In<'_>,
        routes: Routes<'_, ShapeBuffer>,
        experts: Experts<'_, ShapeWeight, ShapeBuffer>,
        out: Out<'_>,
        _scratch: &mut Arena<ShapeBuffer>,
    ) -> Result<()> {
        let sizes = check::mixture(&x.layout, &routes, &experts, &out.layout)?;
        self.note(sizes.operation(spec, experts.up[0].form));
        Ok(())
    }

    fn log_softmax(&self, x: Operand<'_, ShapeBuffer>, out: Out<'_>, _scratch: &mut Arena<ShapeBuffer>) -> Result<()> {
        let layout = layout_of(&x, &out);
        check::same_shape("log-softmax", &layout, &out.layout)?;
        let (rows, classes) = check::rows("log-softmax", &layout)?;
        self.note(OpSpec::LogSoftmax { rows, classes });
        Ok(())
    }

    fn softmax_top_k(&self, x: In<'_>, values: Out<'_>, indices: Out<'_>, _scratch: &mut Arena<ShapeBuffer>) -> Result<()> {
        let (rows, classes, k) = check::top_k(&x.layout, &values.layout, &indices.layout)?;
        self.note(OpSpec::SoftmaxTopK { rows, classes, k });
        Ok(())
    }

    fn cross_entropy(
        &self,
        x: In<'_>,
        tiles: &[ShapeWeight],
        targets: In<'_>,
        logits: Out<'_>,
        out: Out<'_>,
        _scratch: &mut Arena<ShapeBuffer>,
    ) -> Result<()> {
        let sizes = check::cross_entropy(&x.layout, tiles, [&targets.layout, &logits.layout, &out.layout])?;
        check::of_type("cross-entropy", self.compute(), logits.dtype())?;
        let check::CrossEntropySizes { rows, inputs, .. } = sizes;
        for alike in tiles.chunk_by(|one, other| one.form == other.form) {
            let classes = alike.iter().map(|tile| tile.outputs).sum();
            self.note(OpSpec::CrossEntropy { rows, inputs, classes, form: alike[0].form });
        }
        Ok(())
    }

    fn rotary(&self, x: In<'_>, _cosines: In<'_>, _sines: In<'_>, out: Out<'_>, _scratch: &mut Arena<ShapeBuffer>) -> Result<()> {
        check::same_shape("rotary", &x.layout, &out.layout)?;
        let (rows, width) = check::rows("rotary", &x.layout)?;
        self.note(OpSpec::Rotary { rows, width });
        Ok(())
    }
}
