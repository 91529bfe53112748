//! The engine: checks of operands, and a call to the file that does the work.
//!
//! | file | what |
//! |---|---|
//! | `buffer.rs`, `view.rs`, `store.rs`, `cache.rs` | elements, layouts as candle views, writing through a view, index tensors and masks |
//! | `compute.rs` | operands in the compute type, results rounded once |
//! | `place.rs`, `device.rs` | where, and on how many threads |
//! | `matmul.rs`, `linear.rs`, `weight.rs`, `conv.rs` | sums of products |
//! | `softmax.rs`, `normalize.rs`, `reduce.rs` | rows |
//! | `elementwise.rs` | functions of one and two arguments, masks, selections |
//! | `rows.rs`, `sort.rs`, `transfer.rs` | gather, scatter, argsort, top-k; copies between host and device |
//! | `kernel.rs` | kernels of ours as candle operations |
//! | `support.rs`, `error.rs` | what is possible, what went wrong |
//! | `training.rs` | the same with everything recorded, and gradients |

use std::borrow::Cow;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Deref;

use candle_core::{DType as Candle, Device, Var};
use crossover_core::arena::Arena;
use crossover_core::backend::{
    AttentionOperands, AttentionOutputs, EngineConfig, EngineDescription, NormWeights, Operand, PreparedWeight, TransformerBackend,
    unsupported,
};
use crossover_core::check;
use crossover_core::compose::attention::streamed;
use crossover_core::dtype::DType;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::layout::Layout;
use crossover_core::operands::{Types, indices, indices_out};
use crossover_core::ops::{AttentionSpec, BinaryOp, LinearSpec, MatmulSpec, NormSpec, OpSpec, ReduceOp, Side, SoftmaxAlgorithm, UnaryOp};
use crossover_core::pattern::AttentionPattern;
use crossover_core::support::Support;
use crossover_core::tensor::{Tensor, View, ViewMut};
use crossover_core::weights::HostWeight;

use crate::buffer::CandleBuffer;
use crate::cache::Cache;
use crate::device::Workers;
use crate::error::During;
use crate::place::{Cpu, Place};
use crate::support::{Setting, check_configuration, supports};
use crate::weight::CandleWeight;
use crate::{conv, linear, matmul, normalize, reduce, rows, softmax, sort, store, transfer};

/// The name of this engine in messages, wherever its tensors are.
pub const NAME: &str = "candle";

/// The engine with its tensors in one kind of place. See the crate's head.
#[derive(Debug)]
pub struct Backend<P> {
    pub(crate) engine: Engine,
    place: PhantomData<P>,
}

/// The engine on the CPU.
pub type CandleBackend = Backend<Cpu>;

/// What all places share.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) types: Types,
    pub(crate) wide: Candle,
    pub(crate) device: Device,
    pub(crate) workers: Workers,
    pub(crate) training: bool,
    /// Bytes of shared memory for kernels of ours on a GPU; `None` where there are none, or operations are recorded.
    pub(crate) gpu_kernels: Option<usize>,
    pub(crate) cache: RefCell<Cache>,
    /// Of training, in the order in which they were made.
    pub(crate) variables: RefCell<Vec<Var>>,
}

impl<P> Deref for Backend<P> {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl<P: Place> TransformerBackend for Backend<P> {
    type Buffer = CandleBuffer;
    type Weight = CandleWeight;

    fn new(config: &EngineConfig) -> Result<Self> {
        Self::of(config, false)
    }

    fn describe() -> EngineDescription {
        EngineDescription { name: P::NAME, summary: P::SUMMARY, isa: Cow::Borrowed(P::isa()), native: vec!["f64", "f32"] }
    }

    fn config(&self) -> &EngineConfig {
        &self.config
    }

    fn threads_used(&self) -> usize {
        self.workers.used()
    }

    fn supports(&self, operation: &OpSpec) -> Support {
        let Engine { config, training, gpu_kernels, .. } = self.engine;
        supports(Setting { precision: config.precision, on_cpu: P::ON_HOST, training, gpu_kernels }, operation)
    }

    fn synchronize(&self) -> Result<()> {
        self.device.synchronize().during("synchronize")
    }

    fn allocate(&self, dtype: DType, elements: usize) -> Result<CandleBuffer> {
        CandleBuffer::zeros(dtype, elements, &self.device)
    }

    fn upload(&self, host: &HostTensor, dtype: DType) -> Result<Tensor<CandleBuffer>> {
        let mut buffer = CandleBuffer::rounded(dtype, host.values(), &self.device)?;
        if self.training && dtype.is_float() {
            let variable = Var::from_tensor(&buffer.tensor).during("upload")?;
            buffer = CandleBuffer::of(variable.as_tensor().clone(), dtype);
            self.remember(variable);
        }
        Ok(Tensor { buffer, layout: Layout::contiguous(host.shape())? })
    }

    fn download(&self, view: View<'_, CandleBuffer>) -> Result<HostTensor> {
        check::inside("download", view.buffer, &view.layout)?;
        let values = self.read(&view).and_then(|values| values.to_dtype(Candle::F64)?.flatten_all()?.to_vec1::<f64>());
        HostTensor::new(view.shape(), values.during("download")?)
    }

    fn fill(&self, out: ViewMut<'_, CandleBuffer>, value: f64) -> Result<()> {
        check::output("fill", out.buffer, &out.layout)?;
        store::fill(self, out, value)
    }

    fn prepare_weight(&self, weight: &HostWeight) -> Result<CandleWeight> {
        CandleWeight::prepare(self, weight, self.config.precision)
    }

    fn copy(&self, x: View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        check::same_shape("copy", &x.layout, &out.layout)?;
        check::inside("copy", x.buffer, &x.layout)?;
        check::output("copy", out.buffer, &out.layout)?;
        // A copy is its own storage, also where the types are the same.
        let own = self.read(&x).and_then(|x| if x.dtype() == out.buffer.tensor.dtype() { x.force_contiguous() } else { Ok(x) });
        self.write("copy", &own.during("copy")?, out)
    }

    fn transfer(&self, to: Side, x: View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        self.expect(|| OpSpec::Transfer { elements: out.layout.len(), to })?;
        transfer::transfer(self, to, &x, out)
    }

    #[cfg(feature = "cuda")]
    fn take_device_peak(&self) -> Result<Option<u64>> {
        crate::cuda::memory::take_peak(&self.device).during("device memory")
    }

    fn matmul(&self, spec: MatmulSpec, a: View<'_, CandleBuffer>, b: View<'_, CandleBuffer>, c: ViewMut<'_, CandleBuffer>) -> Result<()> {
        let sizes = check::matmul(&a.layout, &b.layout, &c.layout)?;
        self.expect(|| OpSpec::Matmul { batch: sizes.batch, m: sizes.m, n: sizes.n, k: sizes.k })?;
        self.types.inputs("matmul", [&a, &b])?;
        self.types.output("matmul", &c)?;
        matmul::matmul(self, spec, sizes, a, b, c)
    }

    fn linear(
        &self,
        spec: LinearSpec,
        x: View<'_, CandleBuffer>,
        weight: &CandleWeight,
        bias: Option<View<'_, CandleBuffer>>,
        out: ViewMut<'_, CandleBuffer>,
    ) -> Result<()> {
        let rows = check::linear(&x.layout, weight, bias.as_ref().map(|bias| &bias.layout), &out.layout)?;
        let (inputs, outputs, form) = (weight.inputs(), weight.outputs(), weight.form);
        self.expect(|| OpSpec::Linear { rows, inputs, outputs, form, spec, bias: bias.is_some() })?;
        self.types.inputs("linear", [&x, bias.as_ref().unwrap_or(&x)])?;
        self.types.output("linear", &out)?;
        linear::linear(self, spec.activation, x, weight, bias, out)
    }

    fn softmax(&self, algorithm: SoftmaxAlgorithm, x: Operand<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        check::rows("softmax", &out.layout)?;
        self.types.like_output("softmax", &x, &out)?;
        softmax::softmax(self, algorithm, &x, out)
    }

    fn normalize(
        &self,
        spec: NormSpec,
        x: Operand<'_, CandleBuffer>,
        weights: NormWeights<'_, CandleBuffer>,
        out: ViewMut<'_, CandleBuffer>,
    ) -> Result<()> {
        self.types.norm(spec, &weights, &out)?;
        self.types.like_output("normalize", &x, &out)?;
        normalize::normalize(self, spec, &x, weights, out)
    }

    #[cfg(feature = "cuda")]
    fn add_norm(
        &self,
        spec: NormSpec,
        x: View<'_, CandleBuffer>,
        residual: View<'_, CandleBuffer>,
        weights: NormWeights<'_, CandleBuffer>,
        sum: Option<ViewMut<'_, CandleBuffer>>,
        out: ViewMut<'_, CandleBuffer>,
    ) -> Result<()> {
        normalize::add_norm(self, spec, x, residual, weights, sum, out)
    }

    fn unary(&self, op: UnaryOp, x: Operand<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        self.expect(|| OpSpec::Unary { elements: out.layout.len(), op })?;
        self.types.like_output("unary", &x, &out)?;
        if out.layout.is_empty() {
            return Ok(());
        }
        let result = self.map(op, &self.operand(&x, &out).during("unary")?)?;
        self.write("unary", &result, out)
    }

    fn binary(&self, op: BinaryOp, a: Operand<'_, CandleBuffer>, b: View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        let stretched = |view: View<'_, CandleBuffer>| view.layout.broadcast(out.shape());
        let a = match a {
            Operand::Of(a) => Operand::Of(View { layout: stretched(a)?, ..a }),
            Operand::InPlace => Operand::InPlace,
        };
        let b = View { layout: stretched(b)?, ..b };
        self.types.inputs("binary", [&b])?;
        self.types.like_output("binary", &a, &out)?;
        if out.layout.is_empty() {
            return Ok(());
        }
        let result = self.operand(&a, &out).and_then(|a| self.zip(op, &a, &self.read_wide(&b)?)).during("binary")?;
        self.write("binary", &result, out)
    }

    fn reduce(&self, op: ReduceOp, x: View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        let (_, width) = check::reduce(&x.layout, &out.layout)?;
        self.types.inputs("reduce", [&x])?;
        if op == ReduceOp::ArgMax {
            indices_out("argmax", &out, width)?;
        } else {
            self.types.output("reduce", &out)?;
        }
        reduce::reduce(self, op, &x, out)
    }

    fn mask(&self, pattern: &AttentionPattern, query_offset: usize, key_offset: usize, scores: ViewMut<'_, CandleBuffer>) -> Result<()> {
        self.types.output("mask", &scores)?;
        if scores.layout.rank() < 2 {
            return Err(shape_error("mask", format!("{:?} is not [.., queries, keys]", scores.shape())));
        }
        let (queries, keys) = (scores.layout.dim_from_end(1), scores.layout.dim_from_end(0));
        check::positions("mask", query_offset, queries)?;
        check::positions("mask", key_offset, keys)?;
        if scores.layout.is_empty() {
            return Ok(());
        }
        let seen = self.cache.borrow_mut().mask(pattern, [query_offset, key_offset, queries, keys], &self.device);
        let masked = seen.and_then(|seen| self.where_or(&seen, &self.read(&scores.as_view())?, f64::NEG_INFINITY));
        self.write("mask", &masked.during("mask")?, scores)
    }

    fn select(&self, condition: View<'_, CandleBuffer>, otherwise: f64, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        check::inside("select", condition.buffer, &condition.layout)?;
        self.types.output("select", &out)?;
        let condition = View { layout: condition.layout.broadcast(out.shape())?, ..condition };
        if out.layout.is_empty() {
            return Ok(());
        }
        let selected = self.read(&condition).and_then(|condition| {
            let holds = condition.ne(&self.constant(0.0, &condition)?)?;
            self.where_or(&holds, &self.read(&out.as_view())?, otherwise)
        });
        self.write("select", &selected.during("select")?, out)
    }

    fn gather_rows(&self, table: View<'_, CandleBuffer>, index: View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        check::gather("gather", &table.layout, &index.layout, &out.layout)?;
        check::inside("gather", table.buffer, &table.layout)?;
        check::output("gather", out.buffer, &out.layout)?;
        indices("gather", &index)?;
        rows::gather_rows(self, &table, &index, out)
    }

    fn scatter_add_rows(&self, x: View<'_, CandleBuffer>, index: View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        check::gather("scatter", &out.layout, &index.layout, &x.layout)?;
        self.types.inputs("scatter", [&x])?;
        self.types.output("scatter", &out)?;
        indices("scatter", &index)?;
        rows::scatter_add_rows(self, &x, &index, out)
    }

    fn stable_argsort(&self, keys: View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        let (_, width) = check::rows("argsort", &keys.layout)?;
        check::same_shape("argsort", &keys.layout, &out.layout)?;
        indices("argsort", &keys)?;
        indices_out("argsort", &out, width)?;
        sort::stable_argsort(self, &keys, out)
    }

    fn top_k(&self, x: View<'_, CandleBuffer>, values: ViewMut<'_, CandleBuffer>, index: ViewMut<'_, CandleBuffer>) -> Result<()> {
        let (_, width, k) = check::top_k(&x.layout, &values.layout, &index.layout)?;
        self.types.inputs("top-k", [&x])?;
        self.types.output("top-k", &values)?;
        indices_out("top-k", &index, width)?;
        sort::top_k(self, &x, k, values, index)
    }

    fn cumulative_sum(&self, x: View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        check::rows("cumulative sum", &x.layout)?;
        check::same_shape("cumulative sum", &x.layout, &out.layout)?;
        if x.dtype() == DType::I32 {
            indices("cumulative sum", &x)?;
            indices_out("cumulative sum", &out, 0)?;
        } else {
            self.types.inputs("cumulative sum", [&x])?;
            self.types.output("cumulative sum", &out)?;
        }
        reduce::cumulative_sum(self, &x, out)
    }

    fn depthwise_conv(
        &self,
        x: View<'_, CandleBuffer>,
        filter: View<'_, CandleBuffer>,
        causal: bool,
        out: ViewMut<'_, CandleBuffer>,
    ) -> Result<()> {
        let sizes = check::depthwise_conv(&x.layout, &filter.layout, &out.layout)?;
        self.types.inputs("depthwise convolution", [&x, &filter])?;
        self.types.output("depthwise convolution", &out)?;
        conv::depthwise_conv(self, sizes, &x, &filter, causal, out)
    }

    fn attention(
        &self,
        spec: &AttentionSpec,
        operands: AttentionOperands<'_, CandleBuffer>,
        outputs: AttentionOutputs<'_, CandleBuffer>,
        scratch: &mut Arena<CandleBuffer>,
    ) -> Result<()> {
        let sizes = check::attention(&operands, &outputs)?;
        // Before anything runs: a call without pairs would otherwise never reach the product that refuses.
        self.expect(|| OpSpec::Attention {
            batch: sizes.batch,
            heads: sizes.heads,
            key_heads: sizes.key_heads,
            head_dim: sizes.head_dim,
            value_dim: sizes.value_dim,
            queries: sizes.queries,
            keys: sizes.keys,
            // Counting them would be timed, and the answer does not depend on it.
            pairs: 0,
        })?;
        // What the kernels of a GPU rely on; the composition asks once more.
        self.types.attention(spec, sizes, &operands, &outputs)?;
        #[cfg(feature = "cuda")]
        let mut outputs = outputs;
        #[cfg(feature = "cuda")]
        if crate::cuda::engine::attention(self, sizes, spec, &operands, &mut outputs)? {
            return Ok(());
        }
        streamed(self, spec, operands, outputs, scratch)
    }
}

impl<P: Place> Backend<P> {
    /// One that records what it does, if `training`; the configuration must make sense for that.
    pub(crate) fn of(config: &EngineConfig, training: bool) -> Result<Self> {
        check_configuration(config)?;
        Ok(Self { engine: Engine::on_device(config, P::device()?, training)?, place: PhantomData })
    }

    /// The operation, or the error that says why not.
    fn expect(&self, operation: impl Fn() -> OpSpec) -> Result<()> {
        match self.supports(&operation()) {
            Support::Unsupported(reason) => Err(unsupported(NAME, &operation(), reason)),
            _ => Ok(()),
        }
    }
}
