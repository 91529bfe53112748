//! The engine's operations by kernels of ours: operands as tensors, a call, the result stored.
//!
//! Each answers `None` (or false) where the kernels do not serve, and the caller composes. Operands of one half type are read as they are;
//! of different types they are widened to f32 first, which is exact.

use candle_core::{DType as Candle, Device, Shape, Tensor};
use crossover_core::backend::{AttentionOperands, AttentionOutputs, NormWeights, Operand, ScoreBias};
use crossover_core::check::{self, AttentionSizes};
use crossover_core::error::Result;
use crossover_core::ops::{AttentionSpec, NormSpec, SoftmaxAlgorithm};
use crossover_core::quantize::Int4Groups;
use crossover_core::tensor::{View, ViewMut};

use super::attention::{self, Buffers};
use super::device::{self, Call};
use super::{Element, int4, rows};
use crate::backend::Engine;
use crate::buffer::CandleBuffer;
use crate::error::During;

/// Bytes of shared memory that a kernel of ours may have on this device; `None` where none can run.
pub(crate) fn shared_memory(device: &Device) -> Option<usize> {
    let device = device.as_cuda_device().ok()?;
    device::architecture(device).map(|_| device::most_shared(device))
}

fn element(dtype: Candle) -> Option<Element> {
    match dtype {
        Candle::F32 => Some(Element::F32),
        Candle::BF16 => Some(Element::Bf16),
        Candle::F16 => Some(Element::F16),
        _ => None,
    }
}

impl Engine {
    /// Kernels of ours serve: there are some for this device, nothing is recorded, and sums are in f32.
    fn has_kernels(&self) -> bool {
        self.gpu_kernels.is_some() && self.wide() == Candle::F32
    }

    /// Operands in one type that the kernels know: their own where all have the same, else f32.
    fn in_one_type(&self, tensors: Vec<Tensor>) -> candle_core::Result<(Element, Vec<Tensor>)> {
        let own = tensors.first().map(Tensor::dtype).filter(|&dtype| tensors.iter().all(|tensor| tensor.dtype() == dtype));
        match own.and_then(element) {
            Some(element) => Ok((element, tensors)),
            None => Ok((Element::F32, tensors.iter().map(|tensor| tensor.to_dtype(Candle::F32)).collect::<candle_core::Result<_>>()?)),
        }
    }

    fn read_operand(&self, x: &Operand<'_, CandleBuffer>, out: &ViewMut<'_, CandleBuffer>) -> candle_core::Result<Tensor> {
        match x {
            Operand::Of(view) => self.read(view),
            Operand::InPlace => self.read(&out.as_view()),
        }
    }

    /// As dense rows, in the type of the output where it is that already: a narrower operand must not round a wide result.
    fn dense_rows(
        &self,
        operands: Vec<Tensor>,
        out: &ViewMut<'_, CandleBuffer>,
    ) -> candle_core::Result<(Element, Vec<Tensor>, usize, usize)> {
        let narrow = out.buffer.tensor.dtype();
        let fits = operands.iter().all(|operand| operand.dtype() == narrow);
        let (element, operands) = if fits {
            self.in_one_type(operands)?
        } else {
            (Element::F32, operands.iter().map(|operand| operand.to_dtype(Candle::F32)).collect::<candle_core::Result<_>>()?)
        };
        let dense: Vec<Tensor> = operands.iter().map(Tensor::contiguous).collect::<candle_core::Result<_>>()?;
        let width = out.layout.dim_from_end(0);
        Ok((element, dense, out.layout.len() / width, width))
    }

    /// A weight of a norm, a bias, a mask: dense and in f32.
    fn dense_wide(&self, view: &View<'_, CandleBuffer>) -> candle_core::Result<Tensor> {
        self.read(view)?.to_dtype(Candle::F32)?.contiguous()
    }
}

/// The softmax of rows; the output is not empty.
pub(crate) fn softmax(
    engine: &Engine,
    algorithm: SoftmaxAlgorithm,
    x: &Operand<'_, CandleBuffer>,
    out: &ViewMut<'_, CandleBuffer>,
) -> candle_core::Result<Option<Tensor>> {
    if !engine.has_kernels() {
        return Ok(None);
    }
    let (element, operands, rows, width) = engine.dense_rows(vec![engine.read_operand(x, out)?], out)?;
    let Some(launch) = rows::softmax(element, algorithm, [0, 1], rows, width) else { return Ok(None) };
    let (dtype, shape) = (operands[0].dtype(), Shape::from(out.shape()));
    Call { launch, tensors: operands.iter().collect(), dtype, shape }.run().map(Some)
}

/// norm(x), or norm(x + residual) with the sum where it is asked for; the output is not empty.
pub(crate) fn add_norm(
    engine: &Engine,
    spec: NormSpec,
    x: &Operand<'_, CandleBuffer>,
    residual: Option<&View<'_, CandleBuffer>>,
    weights: NormWeights<'_, CandleBuffer>,
    keep_sum: bool,
    out: &ViewMut<'_, CandleBuffer>,
) -> candle_core::Result<Option<(Tensor, Option<Tensor>)>> {
    if !engine.has_kernels() {
        return Ok(None);
    }
    let mut read = vec![engine.read_operand(x, out)?];
    if let Some(residual) = residual {
        read.push(engine.read(residual)?);
    }
    let (element, operands, rows, width) = engine.dense_rows(read, out)?;
    let dtype = operands[0].dtype();
    let weight = |view: Option<View<'_, CandleBuffer>>| view.map(|view| engine.dense_wide(&view)).transpose();
    let (gamma, beta) = (weight(weights.gamma)?, weight(weights.beta)?);
    let sum = keep_sum.then(|| Tensor::zeros(out.shape(), dtype, &engine.device)).transpose()?;
    let mut tensors: Vec<&Tensor> = operands.iter().collect();
    let residual = (operands.len() > 1).then_some(2);
    let [gamma, beta, sum_at] = [gamma.as_ref(), beta.as_ref(), sum.as_ref()].map(|tensor| {
        tensors.extend(tensor);
        tensor.map(|_| tensors.len())
    });
    let buffers = rows::NormBuffers { out: 0, sum: sum_at, x: 1, residual, gamma, beta };
    let Some(launch) = rows::add_norm(element, spec, buffers, rows, width) else { return Ok(None) };
    let normal = Call { launch, tensors, dtype, shape: Shape::from(out.shape()) }.run()?;
    Ok(Some((normal, sum)))
}

/// Attention over a pattern. False where the kernels do not serve, and nothing was written.
pub(crate) fn attention(
    engine: &Engine,
    sizes: AttentionSizes,
    spec: &AttentionSpec,
    operands: &AttentionOperands<'_, CandleBuffer>,
    outputs: &mut AttentionOutputs<'_, CandleBuffer>,
) -> Result<bool> {
    let AttentionSizes { batch, heads, queries, keys, head_dim, value_dim, .. } = sizes;
    let some = [batch, heads, queries, keys, head_dim, value_dim].iter().all(|&size| size > 0);
    if !some || !engine.has_kernels() || !attention::fits(&sizes, engine.gpu_kernels.unwrap_or(0)) {
        return Ok(false);
    }
    let logs = outputs.log_sum_exp.is_some();
    let (out, logs) = attended(engine, sizes, spec, operands, logs).during("attention")?;
    engine.write("attention", &out, outputs.out.reborrow())?;
    if let (Some(logs), Some(target)) = (logs, &mut outputs.log_sum_exp) {
        engine.write("attention", &logs, target.reborrow())?;
    }
    Ok(true)
}

fn attended(
    engine: &Engine,
    sizes: AttentionSizes,
    spec: &AttentionSpec,
    operands: &AttentionOperands<'_, CandleBuffer>,
    logs: bool,
) -> candle_core::Result<(Tensor, Option<Tensor>)> {
    let AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim } = sizes;
    let read = [&operands.q, &operands.k, &operands.v].map(|view| engine.read(view)).into_iter().collect::<candle_core::Result<_>>()?;
    let (element, read) = engine.in_one_type(read)?;
    let mut tensors: Vec<Tensor> = read.iter().map(with_dense_rows).collect::<candle_core::Result<_>>()?;
    let strides = [0, 1, 2].map(|at: usize| [0, 1, 2].map(|axis: usize| tensors[at].stride()[axis]));
    let plan = engine.cache.borrow_mut().plan(&spec.pattern, [spec.query_offset, queries, keys], &engine.device)?;
    let dtype = tensors[0].dtype();
    tensors.extend(plan);
    let mut number = |tensor: Tensor| {
        tensors.push(tensor);
        tensors.len()
    };
    let kept_logs = logs.then(|| Tensor::zeros((batch, heads, queries), Candle::F32, &engine.device)).transpose()?;
    let log_sum_exp = kept_logs.clone().map(&mut number);
    let KernelBias { by_pair, strides: bias_strides, by_distance, reach } = KernelBias::read(engine, &operands.bias, sizes)?;
    let bias = by_pair.map(&mut number);
    let distance = by_distance.map(&mut number);
    let key_mask = operands.key_mask.as_ref().map(|view| engine.dense_wide(view)).transpose()?.map(&mut number);
    let buffers = Buffers { out: 0, log_sum_exp, operands: [1, 2, 3], plan: [4, 5, 6], bias, distance, key_mask };
    let (query_offset, scale, soft_cap) = (spec.query_offset, spec.scale, spec.soft_cap);
    let call = attention::Call {
        element,
        batch,
        heads,
        key_heads,
        queries,
        keys,
        head_dim,
        value_dim,
        query_offset,
        scale,
        soft_cap,
        strides,
        bias_strides,
        reach,
    };
    // The sizes fit: composing here would pass under the kernel's name.
    let launch = attention::launch(&call, buffers).ok_or_else(|| {
        candle_core::Error::Msg(format!(
            "positions from {query_offset} on, or {reach} distances, are more than the attention kernel counts"
        ))
    })?;
    let shape = Shape::from((batch, heads, queries, value_dim));
    let out = Call { launch, tensors: tensors.iter().collect(), dtype, shape }.run()?;
    Ok((out, kept_logs))
}

/// A bias as the kernels read it: of a pair by its strides, of a distance as a dense table of 2 reach + 1 entries a head.
#[derive(Default)]
struct KernelBias {
    by_pair: Option<Tensor>,
    strides: [usize; 4],
    by_distance: Option<Tensor>,
    reach: usize,
}

impl KernelBias {
    fn read(engine: &Engine, bias: &ScoreBias<'_, CandleBuffer>, sizes: AttentionSizes) -> candle_core::Result<Self> {
        let AttentionSizes { batch, heads, queries, keys, .. } = sizes;
        match bias {
            ScoreBias::None => Ok(Self::default()),
            ScoreBias::ByPair(view) => {
                // Narrow first, then repeated: a broadcast has no elements of its own.
                let values = engine.read(view)?.to_dtype(Candle::F32)?.broadcast_as((batch, heads, queries, keys))?;
                let strides = [0, 1, 2, 3].map(|axis: usize| values.stride()[axis]);
                Ok(Self { by_pair: Some(values), strides, ..Self::default() })
            }
            ScoreBias::ByDistance(view) => {
                let span = check::distance_bias(view.shape(), heads).map_err(candle_core::Error::wrap)?;
                Ok(Self { by_distance: Some(engine.dense_wide(view)?), reach: span / 2, ..Self::default() })
            }
        }
    }
}

/// The kernels step from row to row by any stride, but within a row by one.
fn with_dense_rows(tensor: &Tensor) -> candle_core::Result<Tensor> {
    let last = tensor.dims().len() - 1;
    if tensor.stride()[last] == 1 || tensor.dims()[last] == 1 { Ok(tensor.clone()) } else { tensor.contiguous() }
}

/// An int4 weight as the kernel reads it.
#[derive(Debug)]
pub(crate) struct PackedInt4 {
    codes: Tensor,
    scales: Tensor,
    group: usize,
}

impl PackedInt4 {
    /// `None` where no kernel of ours would read it.
    pub(crate) fn prepare(engine: &Engine, weight: &Int4Groups) -> candle_core::Result<Option<Self>> {
        if !engine.has_kernels() || weight.codes.is_empty() {
            return Ok(None);
        }
        let (codes, scales) = (int4::packed(weight), weight.scales.clone());
        let (words, count) = (codes.len(), scales.len());
        let codes = Tensor::from_vec(codes, words, &engine.device)?;
        Ok(Some(Self { codes, scales: Tensor::from_vec(scales, count, &engine.device)?, group: weight.group }))
    }

    pub(crate) fn bytes(&self) -> usize {
        4 * (self.codes.elem_count() + self.scales.elem_count())
    }

    /// x W^T + bias in f32; an error where [`int4::blocks`] says one, which `supports` says, too.
    pub(crate) fn product(
        &self,
        engine: &Engine,
        x: &View<'_, CandleBuffer>,
        bias: Option<&View<'_, CandleBuffer>>,
        [rows, inputs, outputs]: [usize; 3],
    ) -> candle_core::Result<Tensor> {
        let (element, read) = engine.in_one_type(vec![engine.read(x)?])?;
        let x = read[0].contiguous()?;
        let bias = bias.map(|bias| engine.dense_wide(bias)).transpose()?;
        let mut tensors = vec![&x, &self.codes, &self.scales];
        tensors.extend(bias.as_ref());
        let buffers = int4::Buffers { out: 0, x: 1, codes: 2, scales: 3, bias: bias.as_ref().map(|_| 4) };
        let launch = int4::launch(element, buffers, [rows, inputs, outputs, self.group]).map_err(candle_core::Error::Msg)?;
        Call { launch, tensors, dtype: Candle::F32, shape: Shape::from((rows, outputs)) }.run()
    }
}
