//! Property 20: the same bits again and again, other numbers of threads, an unchanged floating-point environment. And warm calls.

use std::hint::black_box;

use crate::activation::Activation;
use crate::arena::Arena;
use crate::backend::{
    AttentionOperands, AttentionOutputs, BucketOperands, EngineConfig, Experts, NormWeights, Operand, Routes, ScoreBias, TransformerBackend,
};
use crate::check::{BucketSizes, MixtureSizes};
use crate::dtype::DType;
use crate::error::Result;
use crate::host::HostTensor;
use crate::ops::{
    AttentionSpec, BucketSpec, LinearAttentionSpec, LinearSpec, MatmulSpec, NormKind, NormSpec, OpSpec, ReduceOp, SoftmaxAlgorithm,
    WeightForm,
};
use crate::pattern::AttentionPattern;
use crate::reference::gamma;
use crate::support::Support;
use crate::tensor::{Tensor, View, ViewMut};
use crate::weights::HostWeight;

use super::Property;
use super::cases::Fill;
use super::trial::{Outcome, Trial, fail};

const PLAIN: LinearSpec = LinearSpec { activation: Activation::None };

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    vec![
        Property { name: "ten-repeats", operation: "repeat", check: ten_repeats },
        Property { name: "threads", operation: "repeat", check: any_number_of_threads },
        Property { name: "warm-calls", operation: "arena", check: warm_calls },
    ]
}

/// The operations that sum, and could sum in another order the next time; and those that take scratch.
const OPERATIONS: [&str; 16] = [
    "matmul",
    "linear",
    "softmax",
    "normalize",
    "reduce",
    "cumulative-sum",
    "scatter",
    "attention",
    "bucket-attention",
    "linear-attention",
    "gated-ffn",
    "log-softmax",
    "softmax-top-k",
    "cross-entropy",
    "mixture",
    "rotary",
];
const WITH_SCRATCH: usize = 7;

/// Inputs of one call of any of them: [rows, width] twice, in the storage type, width even.
struct Inputs {
    rows: usize,
    width: usize,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Inputs {
    fn draw<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Self {
        let [rows, half] = t.source.sizes_within([1, 1], 1 << 9);
        let width = 2 * half;
        let mut draw = |fill| t.source.values(fill, rows * width);
        Self { rows, width, x: draw(Fill::Normal(1.0)), y: draw(Fill::Normal(1.0)) }
    }

    /// What `supports` is asked before the operation is run; nothing for those that every engine must have.
    fn question<B: TransformerBackend>(&self, engine: &B, operation: &str) -> Option<OpSpec> {
        let &Self { rows, width, .. } = self;
        let form = WeightForm::of(engine.config().precision);
        match operation {
            "matmul" => Some(OpSpec::Matmul { batch: 1, m: rows, n: rows, k: width }),
            "linear" => Some(OpSpec::Linear { rows, inputs: width, outputs: rows, form, spec: PLAIN, bias: false }),
            "attention" => {
                let (head_dim, value_dim, queries, keys) = (width, width, rows, rows);
                Some(OpSpec::Attention { batch: 1, heads: 1, key_heads: 1, head_dim, value_dim, queries, keys, pairs: 1 })
            }
            "bucket-attention" => Some(self.buckets().operation(false)),
            "linear-attention" => {
                let (features, value_dim) = (width, width);
                Some(OpSpec::LinearAttention { batch_heads: 1, queries: rows, keys: rows, features, value_dim, causal: true })
            }
            "gated-ffn" => Some(OpSpec::GatedFfn { rows, width, hidden: rows, activation: Activation::None }),
            "log-softmax" => Some(OpSpec::LogSoftmax { rows, classes: width }),
            "softmax-top-k" => Some(OpSpec::SoftmaxTopK { rows, classes: width, k: width }),
            "cross-entropy" => Some(OpSpec::CrossEntropy { rows, inputs: width, classes: rows, form }),
            "mixture" => Some(self.mixture().operation(PLAIN, form)),
            "rotary" => Some(OpSpec::Rotary { rows, width }),
            _ => None,
        }
    }

    /// Runs an operation on plainly laid tensors; `None` if the engine does not have it.
    fn run<B: TransformerBackend>(&self, engine: &B, operation: &str, scratch: &mut Arena<B::Buffer>) -> Result<Option<Vec<f64>>> {
        let asked = self.question(engine, operation);
        if asked.is_some_and(|operation| matches!(engine.supports(&operation), Support::Unsupported(_))) {
            return Ok(None);
        }
        let &Self { rows, width, .. } = self;
        let shape = match operation {
            "matmul" | "linear" => vec![1, 1, rows, rows],
            "reduce" | "cross-entropy" => vec![1, 1, rows],
            "scatter" => vec![rows, width],
            _ => vec![1, 1, rows, width],
        };
        let mut out = engine.tensor(engine.storage(), &shape)?;
        engine.fill(out.view_mut(), 0.0)?;
        let [x, y] = [self.upload(engine, &self.x)?, self.upload(engine, &self.y)?];
        match operation {
            "matmul" | "linear" | "attention" | "bucket-attention" | "linear-attention" | "gated-ffn" | "cross-entropy" | "mixture" => {
                self.product(engine, operation, [x.view(), y.view()], out.view_mut(), scratch)?;
            }
            _ => self.other(engine, operation, x.view(), out.view_mut(), scratch)?,
        }
        engine.synchronize()?;
        Ok(Some(engine.download(out.view())?.values().to_vec()))
    }

    fn upload<B: TransformerBackend>(&self, engine: &B, values: &[f64]) -> Result<Tensor<B::Buffer>> {
        engine.upload(&HostTensor::new(&[1, 1, self.rows, self.width], values.to_vec())?, engine.storage())
    }

    fn product<B: TransformerBackend>(
        &self,
        engine: &B,
        operation: &str,
        [x, y]: [View<'_, B::Buffer>; 2],
        target: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let weight = |outputs: usize, inputs: usize| {
            let host = HostTensor::new(&[outputs, inputs], self.y.clone())?;
            engine.prepare_weight(&HostWeight::for_precision(&host, engine.config().precision)?)
        };
        match operation {
            "matmul" => engine.matmul(MatmulSpec::PLAIN, x, y.transposed()?, target),
            "linear" => engine.linear(PLAIN, x, &weight(self.rows, self.width)?, None, target),
            "gated-ffn" => {
                let (up, down) = (weight(self.rows, self.width)?, weight(self.width, self.rows)?);
                engine.gated_ffn(PLAIN, x, [&up, &up, &down], target, scratch)
            }
            "cross-entropy" => {
                let tile = weight(self.rows, self.width)?;
                let targets = (0..self.rows).rev().map(|word| word as f64).collect();
                let targets = engine.upload(&HostTensor::new(&[1, 1, self.rows], targets)?, DType::I32)?;
                let mut logits = scratch.take(engine, engine.compute(), &[1, 1, self.rows, self.rows])?;
                let done = engine.cross_entropy(x, std::slice::from_ref(&tile), targets.view(), logits.view_mut(), target, scratch);
                scratch.give(logits);
                done
            }
            "mixture" => self.mix(engine, x, target, scratch),
            "attention" => {
                let spec = AttentionSpec { pattern: AttentionPattern::Causal, scale: 0.3, soft_cap: None, query_offset: 0 };
                let operands = AttentionOperands { q: x, k: y, v: y, bias: ScoreBias::None, key_mask: None };
                engine.attention(&spec, operands, AttentionOutputs { out: target, log_sum_exp: None }, scratch)
            }
            "bucket-attention" => {
                let BucketSizes { n, chunk, .. } = self.buckets();
                // From both ends to the middle.
                let order = (0..n).map(|at| if at % 2 == 0 { at / 2 } else { n - 1 - at / 2 } as f64).collect();
                let order = engine.upload(&HostTensor::new(&[1, 1, n], order)?, DType::I32)?;
                let spec = BucketSpec { chunk, scale: 0.3, causal: false, self_bias: None };
                let operands = BucketOperands { q: x, k: y, v: y, query_order: order.view(), key_order: None };
                engine.bucket_attention(spec, operands, AttentionOutputs { out: target, log_sum_exp: None }, scratch)
            }
            _ => {
                let spec = LinearAttentionSpec { causal: true, epsilon: 1.0, chunk: 16 };
                let absolute = |values: &[f64]| self.upload(engine, &values.iter().map(|value| value.abs()).collect::<Vec<_>>());
                let (q, k) = (absolute(&self.x)?, absolute(&self.y)?);
                engine.linear_attention(spec, q.view(), k.view(), y, target, scratch)
            }
        }
    }

    /// Two chunks, or one where tokens are odd in number.
    fn buckets(&self) -> BucketSizes {
        let &Self { rows, width, .. } = self;
        let chunk = if rows.is_multiple_of(2) { rows / 2 } else { rows };
        BucketSizes { batch: 1, heads: 1, n: rows, width, chunk, orders: 1 }
    }

    /// Two experts, of which each token has both, and the second one not room for all.
    fn mixture(&self) -> MixtureSizes {
        let &Self { rows, width, .. } = self;
        MixtureSizes { tokens: rows, choices: 2, places: rows.div_ceil(2), experts: 2, width, hidden: rows }
    }

    fn mix<B: TransformerBackend>(
        &self,
        engine: &B,
        x: View<'_, B::Buffer>,
        target: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let MixtureSizes { tokens, choices, places, experts, width, hidden } = self.mixture();
        let weights = |outputs: usize, inputs: usize| {
            let host = HostWeight::for_precision(&HostTensor::new(&[outputs, inputs], self.y.clone())?, engine.config().precision)?;
            [(); 2].map(|()| engine.prepare_weight(&host)).into_iter().collect::<Result<Vec<B::Weight>>>()
        };
        let (up, down) = (weights(hidden, width)?, weights(width, hidden)?);
        let tensor = |dtype: DType, shape: &[usize], value: fn(usize) -> f64| {
            engine.upload(&HostTensor::new(shape, (0..shape.iter().product()).map(value).collect())?, dtype)
        };
        let [up_bias, down_bias] = [hidden, width].map(|width| tensor(engine.storage(), &[experts, width], |at| at as f64 * 0.01));
        let (up_bias, down_bias) = (up_bias?, down_bias?);
        let chosen = tensor(DType::I32, &[tokens, choices], |at| (at % 2) as f64)?;
        let gates = tensor(engine.compute(), &[tokens, choices], |at| 1.0 / (at + 2) as f64)?;
        let (x, target) = (x.with(|layout| layout.reshape(&[tokens, width]))?, target.with(|layout| layout.reshape(&[tokens, width]))?);
        let routes = Routes { chosen: chosen.view(), gates: gates.view(), places };
        let experts = Experts { up: &up, up_bias: up_bias.view(), down: &down, down_bias: down_bias.view() };
        engine.mixture(PLAIN, x, routes, experts, target, scratch)
    }

    fn other<B: TransformerBackend>(
        &self,
        engine: &B,
        operation: &str,
        x: View<'_, B::Buffer>,
        target: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &Self { rows, width, .. } = self;
        match operation {
            "softmax" => engine.softmax(SoftmaxAlgorithm::Online, Operand::Of(x), target),
            "normalize" => {
                let spec = NormSpec { kind: NormKind::Layer, epsilon: 1e-5 };
                engine.normalize(spec, Operand::Of(x), NormWeights { gamma: None, beta: None }, target)
            }
            "reduce" => engine.reduce(ReduceOp::Sum, x, target),
            "cumulative-sum" => engine.cumulative_sum(x, target),
            "scatter" => {
                // All rows into a few: additions to one row could come in any order.
                let indices = (0..rows).map(|row| (row % 3 % rows) as f64).collect();
                let indices = engine.upload(&HostTensor::new(&[rows], indices)?, DType::I32)?;
                engine.scatter_add_rows(x.with(|layout| layout.reshape(&[rows, width]))?, indices.view(), target)
            }
            "log-softmax" => engine.log_softmax(Operand::Of(x), target, scratch),
            "softmax-top-k" => {
                let mut indices = engine.tensor(DType::I32, &[1, 1, rows, width])?;
                engine.softmax_top_k(x, target, indices.view_mut(), scratch)
            }
            _ => {
                let table = engine.upload(&HostTensor::new(&[rows, width / 2], vec![0.5; rows * width / 2])?, engine.storage())?;
                engine.rotary(x, table.view(), table.view(), target, scratch)
            }
        }
    }
}

/// Is rounding to nearest even, and are subnormals kept? As seen by arithmetic, which is what the control bits are for.
fn environment() -> [bool; 4] {
    let (one, half_unit, least) = (black_box(1.0f32), black_box(f32::EPSILON / 2.0), black_box(f32::MIN_POSITIVE));
    let subnormal = black_box(f32::from_bits(1));
    [one + half_unit == 1.0, one - half_unit / 2.0 == 1.0, least / 2.0 > 0.0, subnormal * 2.0 > 0.0]
}

fn ten_repeats<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let inputs = Inputs::draw(t);
    let before = environment();
    for operation in OPERATIONS {
        let Some(first) = inputs.run(t.engine, operation, &mut t.scratch)? else { continue };
        for repeat in 1..10 {
            let again = inputs.run(t.engine, operation, &mut t.scratch)?.unwrap_or_default();
            t.identical(&format!("repeat {repeat} of {operation}"), &again, &first)?;
        }
        if environment() != before {
            return fail(format!("{operation} changed how this thread rounds or treats subnormals"));
        }
    }
    Ok(())
}

/// One thread against several. Sums may be taken in another order: twice gamma of their length, relative to values of order
/// sqrt(length), is the stated bound.
fn any_number_of_threads<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let inputs = Inputs::draw(t);
    let single = B::new(&EngineConfig { threads: 1, ..*t.engine.config() })?;
    if single.threads_used() > 1 {
        return fail(format!("{} threads are used where one was granted", single.threads_used()));
    }
    let longest = inputs.rows.max(inputs.width) + 8;
    let relative = 2.0 * gamma(4 * longest, t.u()) + 2.0 * t.storage().unit_roundoff();
    for operation in OPERATIONS {
        let Some(many) = inputs.run(t.engine, operation, &mut t.scratch)? else { continue };
        let one = inputs.run(&single, operation, &mut Arena::new())?.unwrap_or_default();
        let largest = many.iter().fold(longest as f64, |largest, value| largest.max(value.abs()));
        let close = |(many, one): (&f64, &f64)| (many - one).abs() <= relative * largest;
        if !many.iter().zip(&one).all(close) || many.len() != one.len() {
            return fail(format!("{operation}: {} threads give something else than one", t.engine.threads_used()));
        }
    }
    Ok(())
}

/// A second call takes nothing new from the arena, and nothing is left out.
fn warm_calls<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let inputs = Inputs::draw(t);
    for operation in &OPERATIONS[WITH_SCRATCH..] {
        let mut scratch = Arena::new();
        if inputs.run(t.engine, operation, &mut scratch)?.is_none() {
            continue;
        }
        let peak = scratch.peak_bytes();
        inputs.run(t.engine, operation, &mut scratch)?;
        if scratch.outstanding() != 0 {
            return fail(format!("{operation} keeps {} scratch tensors", scratch.outstanding()));
        }
        if scratch.peak_bytes() != peak {
            return fail(format!("{operation} took {peak} bytes of scratch at first, then {}", scratch.peak_bytes()));
        }
    }
    Ok(())
}
