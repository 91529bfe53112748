//! How a case makes its tensors and calls its engine.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, NormWeights, Operand, ScoreBias, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::{AttentionSpec, BinaryOp, LinearSpec, MatmulSpec, NormKind, NormSpec, ReduceOp, SoftmaxAlgorithm, UnaryOp};
use crossover_core::tensor::Tensor;
use crossover_core::weights::HostWeight;

/// One run of a case: where its tensors come from.
pub struct Run<'a, B: TransformerBackend> {
    pub engine: &'a B,
    pub seed: usize,
}

/// A call, or a few, on either engine.
pub type Case<B> = fn(&Run<'_, B>) -> Result<Tensor<<B as TransformerBackend>::Buffer>>;

impl<B: TransformerBackend> Run<'_, B> {
    /// Noise of this spread around a mean, in the storage type.
    pub fn given(&self, salt: usize, shape: &[usize], spread: f64, mean: f64) -> Result<Tensor<B::Buffer>> {
        let count = shape.iter().product();
        let values = noise(self.seed * 31 + salt, count).into_iter().map(|value| mean + spread * value).collect();
        self.engine.upload(&HostTensor::new(shape, values)?, self.engine.storage())
    }

    pub fn blank(&self, shape: &[usize]) -> Result<Tensor<B::Buffer>> {
        self.engine.tensor(self.engine.storage(), shape)
    }

    pub fn weight(&self, salt: usize, outputs: usize, inputs: usize) -> Result<B::Weight> {
        let spread = (3.0 / inputs as f64).sqrt();
        let values = noise(self.seed * 37 + salt, outputs * inputs).into_iter().map(|value| spread * value).collect();
        self.engine
            .prepare_weight(&HostWeight::for_precision(&HostTensor::new(&[outputs, inputs], values)?, self.engine.config().precision)?)
    }

    pub fn linear(&self, salt: usize, x: &Tensor<B::Buffer>, outputs: usize, activation: Activation) -> Result<Tensor<B::Buffer>> {
        let weight = self.weight(salt, outputs, x.shape()[1])?;
        let bias = self.given(salt + 1, &[outputs], 0.5, 0.0)?;
        let mut out = self.blank(&[x.shape()[0], outputs])?;
        self.engine.linear(LinearSpec { activation }, x.view(), &weight, Some(bias.view()), out.view_mut())?;
        Ok(out)
    }

    /// Rows with errors: what a linear layer gives.
    pub fn inexact(&self, rows: usize, width: usize) -> Result<Tensor<B::Buffer>> {
        self.linear(7, &self.given(1, &[rows, 48], 1.0, 0.1)?, width, Activation::None)
    }

    pub fn unary(&self, op: UnaryOp, x: &Tensor<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let mut out = self.blank(x.shape())?;
        self.engine.unary(op, Operand::Of(x.view()), out.view_mut())?;
        Ok(out)
    }

    pub fn binary(&self, op: BinaryOp, a: &Tensor<B::Buffer>, b: &Tensor<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let mut out = self.blank(a.shape())?;
        self.engine.binary(op, Operand::Of(a.view()), b.view(), out.view_mut())?;
        Ok(out)
    }

    pub fn softmax(&self, algorithm: SoftmaxAlgorithm, x: &Tensor<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let mut out = self.blank(x.shape())?;
        self.engine.softmax(algorithm, Operand::Of(x.view()), out.view_mut())?;
        Ok(out)
    }

    pub fn log_softmax(&self, x: &Tensor<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let mut out = self.blank(x.shape())?;
        self.engine.log_softmax(Operand::Of(x.view()), out.view_mut(), &mut Arena::new())?;
        Ok(out)
    }

    pub fn normalize(&self, kind: NormKind, x: &Tensor<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let width = x.shape()[1];
        let (gamma, beta) = (self.given(11, &[width], 0.5, 1.0)?, self.given(12, &[width], 0.5, 0.0)?);
        let weights = NormWeights { gamma: Some(gamma.view()), beta: Some(beta.view()) };
        let mut out = self.blank(x.shape())?;
        self.engine.normalize(NormSpec { kind, epsilon: 1e-5 }, Operand::Of(x.view()), weights, out.view_mut())?;
        Ok(out)
    }

    pub fn reduce(&self, op: ReduceOp, x: &Tensor<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let dtype = if op == ReduceOp::ArgMax { DType::I32 } else { self.engine.storage() };
        let mut out = self.engine.tensor(dtype, &x.shape()[..x.shape().len() - 1])?;
        self.engine.reduce(op, x.view(), out.view_mut())?;
        Ok(out)
    }

    pub fn matmul(&self, a: &Tensor<B::Buffer>, b: &Tensor<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let mut out = self.blank(&[a.shape()[0], b.shape()[1]])?;
        self.engine.matmul(MatmulSpec::PLAIN, a.view(), b.view(), out.view_mut())?;
        Ok(out)
    }

    pub fn attention(&self, n: usize, spec: &AttentionSpec, spread: f64, mean: f64) -> Result<[Tensor<B::Buffer>; 2]> {
        let shape = [1, 2, n, 16];
        let (q, k) = (self.given(1, &shape, spread, 0.0)?, self.given(2, &shape, spread, 0.0)?);
        let v = self.given(3, &shape, 1.0, mean)?;
        let (mut out, mut logs) = (self.blank(&shape)?, self.engine.tensor(self.engine.compute(), &shape[..3])?);
        let operands = AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias: ScoreBias::None, key_mask: None };
        let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(logs.view_mut()) };
        self.engine.attention(spec, operands, outputs, &mut Arena::new())?;
        Ok([out, logs])
    }
}

/// Reproducible numbers in -1..1 without structure.
fn noise(seed: usize, count: usize) -> Vec<f64> {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..8).for_each(|_| {
        next();
    });
    (0..count).map(|_| next()).collect()
}
