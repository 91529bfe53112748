//! The wrapper: every method hands its arguments to the fault, or straight to the engine.

use crate::arena::Arena;
use crate::backend::{
    AttentionOperands, AttentionOutputs, BucketOperands, EngineConfig, EngineDescription, Experts, NormWeights, Operand, Routes,
    TransformerBackend,
};
use crate::dtype::DType;
use crate::error::Result;
use crate::host::HostTensor;
use crate::ops::{
    AttentionSpec, BinaryOp, BucketSpec, LinearAttentionSpec, LinearSpec, MatmulSpec, NormSpec, OpSpec, ReduceOp, Side, SoftmaxAlgorithm,
    UnaryOp,
};
use crate::pattern::AttentionPattern;
use crate::support::Support;
use crate::tensor::{Tensor, View, ViewMut};
use crate::weights::HostWeight;

use super::{ACTIVE, Fault, Mutant, attention, buckets, elementwise, fused, log_softmax, mixture, products, rows, softmax};

type In<'a, B> = View<'a, <B as TransformerBackend>::Buffer>;
type Out<'a, B> = ViewMut<'a, <B as TransformerBackend>::Buffer>;

impl<B: TransformerBackend> TransformerBackend for Mutant<B> {
    type Buffer = B::Buffer;
    type Weight = B::Weight;

    fn new(config: &EngineConfig) -> Result<Self> {
        Ok(Self { inner: B::new(config)?, fault: ACTIVE.get(), memory: Default::default() })
    }

    fn describe() -> EngineDescription {
        B::describe()
    }

    fn config(&self) -> &EngineConfig {
        self.inner.config()
    }

    fn threads_used(&self) -> usize {
        self.inner.threads_used()
    }

    fn supports(&self, operation: &OpSpec) -> Support {
        let answer = self.inner.supports(operation);
        match (&answer, self.fault) {
            (Support::Unsupported(_), Some(Fault::SupportsTooMuch)) => Support::Native,
            (Support::Native, Some(Fault::SupportsTooLittle)) => Support::Unsupported("a planted fault".into()),
            _ => answer,
        }
    }

    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }

    fn allocate(&self, dtype: DType, elements: usize) -> Result<B::Buffer> {
        self.inner.allocate(dtype, elements)
    }

    fn upload(&self, host: &HostTensor, dtype: DType) -> Result<Tensor<B::Buffer>> {
        self.inner.upload(host, dtype)
    }

    fn download(&self, view: In<'_, B>) -> Result<HostTensor> {
        self.inner.download(view)
    }

    fn fill(&self, out: Out<'_, B>, value: f64) -> Result<()> {
        elementwise::fill(self, out, value)
    }

    fn prepare_weight(&self, weight: &HostWeight) -> Result<B::Weight> {
        self.inner.prepare_weight(&products::weight(self.fault, weight)?)
    }

    fn copy(&self, x: In<'_, B>, out: Out<'_, B>) -> Result<()> {
        elementwise::copy(self, x, out)
    }

    fn transfer(&self, to: Side, x: In<'_, B>, out: Out<'_, B>) -> Result<()> {
        self.inner.transfer(to, x, out)
    }

    fn matmul(&self, spec: MatmulSpec, a: In<'_, B>, b: In<'_, B>, c: Out<'_, B>) -> Result<()> {
        match self.fault_of_products() {
            Some(fault) => products::matmul(self, fault, spec, [a, b], c),
            None => self.inner.matmul(spec, a, b, c),
        }
    }

    fn linear(&self, spec: LinearSpec, x: In<'_, B>, weight: &B::Weight, bias: Option<In<'_, B>>, out: Out<'_, B>) -> Result<()> {
        products::linear(self, spec, x, weight, bias, out)
    }

    fn softmax(&self, algorithm: SoftmaxAlgorithm, x: Operand<'_, B::Buffer>, out: Out<'_, B>) -> Result<()> {
        softmax::softmax(self, algorithm, x, out)
    }

    fn normalize(&self, spec: NormSpec, x: Operand<'_, B::Buffer>, weights: NormWeights<'_, B::Buffer>, out: Out<'_, B>) -> Result<()> {
        softmax::normalize(self, spec, x, weights, out)
    }

    fn unary(&self, op: UnaryOp, x: Operand<'_, B::Buffer>, out: Out<'_, B>) -> Result<()> {
        elementwise::unary(self, op, x, out)
    }

    fn binary(&self, op: BinaryOp, a: Operand<'_, B::Buffer>, b: In<'_, B>, out: Out<'_, B>) -> Result<()> {
        elementwise::binary(self, op, a, b, out)
    }

    fn reduce(&self, op: ReduceOp, x: In<'_, B>, out: Out<'_, B>) -> Result<()> {
        rows::reduce(self, op, x, out)
    }

    fn mask(&self, pattern: &AttentionPattern, query_offset: usize, key_offset: usize, scores: Out<'_, B>) -> Result<()> {
        elementwise::mask(self, pattern, [query_offset, key_offset], scores)
    }

    fn select(&self, condition: In<'_, B>, otherwise: f64, out: Out<'_, B>) -> Result<()> {
        elementwise::select(self, condition, otherwise, out)
    }

    fn gather_rows(&self, table: In<'_, B>, indices: In<'_, B>, out: Out<'_, B>) -> Result<()> {
        rows::gather(self, table, indices, out)
    }

    fn scatter_add_rows(&self, x: In<'_, B>, indices: In<'_, B>, out: Out<'_, B>) -> Result<()> {
        rows::scatter(self, x, indices, out)
    }

    fn stable_argsort(&self, keys: In<'_, B>, out: Out<'_, B>) -> Result<()> {
        rows::argsort(self, keys, out)
    }

    fn top_k(&self, x: In<'_, B>, values: Out<'_, B>, indices: Out<'_, B>) -> Result<()> {
        rows::top_k(self, x, values, indices)
    }

    fn cumulative_sum(&self, x: In<'_, B>, out: Out<'_, B>) -> Result<()> {
        rows::cumulative_sum(self, x, out)
    }

    fn depthwise_conv(&self, x: In<'_, B>, filter: In<'_, B>, causal: bool, out: Out<'_, B>) -> Result<()> {
        rows::convolution(self, x, filter, causal, out)
    }

    fn attention(
        &self,
        spec: &AttentionSpec,
        operands: AttentionOperands<'_, B::Buffer>,
        outputs: AttentionOutputs<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        match self.fault_of_products() {
            Some(fault) => attention::attention(self, fault, spec, operands, outputs, scratch),
            None => self.inner.attention(spec, operands, outputs, scratch),
        }
    }

    fn bucket_attention(
        &self,
        spec: BucketSpec,
        operands: BucketOperands<'_, B::Buffer>,
        outputs: AttentionOutputs<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        buckets::bucket_attention(self, spec, operands, outputs, scratch)
    }

    fn linear_attention(
        &self,
        spec: LinearAttentionSpec,
        q: In<'_, B>,
        k: In<'_, B>,
        v: In<'_, B>,
        out: Out<'_, B>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        match self.fault_of_products() {
            Some(fault) => fused::linear_attention(self, fault, spec, [q, k, v], out, scratch),
            None => self.inner.linear_attention(spec, q, k, v, out, scratch),
        }
    }

    fn add_norm(
        &self,
        spec: NormSpec,
        x: In<'_, B>,
        residual: In<'_, B>,
        weights: NormWeights<'_, B::Buffer>,
        sum: Option<Out<'_, B>>,
        out: Out<'_, B>,
    ) -> Result<()> {
        fused::add_norm(self, spec, [x, residual], weights, sum, out)
    }

    fn gated_ffn(
        &self,
        spec: LinearSpec,
        x: In<'_, B>,
        weights: [&B::Weight; 3],
        out: Out<'_, B>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let [gate, up, down] = weights;
        match self.fault {
            Some(Fault::GatedFfnSwapsBranches) => self.inner.gated_ffn(spec, x, [up, gate, down], out, scratch),
            Some(Fault::GatedFfnForgetsActivation) => {
                self.inner.gated_ffn(LinearSpec { activation: crate::activation::Activation::None }, x, weights, out, scratch)
            }
            _ => self.inner.gated_ffn(spec, x, weights, out, scratch),
        }
    }

    fn log_softmax(&self, x: Operand<'_, B::Buffer>, out: Out<'_, B>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        log_softmax::log_softmax(self, x, out, scratch)
    }

    fn softmax_top_k(&self, x: In<'_, B>, values: Out<'_, B>, indices: Out<'_, B>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        fused::softmax_top_k(self, x, values, indices, scratch)
    }

    fn mixture(
        &self,
        spec: LinearSpec,
        x: In<'_, B>,
        routes: Routes<'_, B::Buffer>,
        experts: Experts<'_, B::Weight, B::Buffer>,
        out: Out<'_, B>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        mixture::mixture(self, spec, x, routes, experts, out, scratch)
    }

    fn cross_entropy(
        &self,
        x: In<'_, B>,
        tiles: &[B::Weight],
        targets: In<'_, B>,
        logits: Out<'_, B>,
        out: Out<'_, B>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        fused::cross_entropy(self, [x, targets], tiles, logits, out, scratch)
    }

    fn rotary(&self, x: In<'_, B>, cosines: In<'_, B>, sines: In<'_, B>, out: Out<'_, B>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        fused::rotary(self, x, [cosines, sines], out, scratch)
    }
}
