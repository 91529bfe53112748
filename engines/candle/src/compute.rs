//! Getting operands in and results out: what all operations share.
//!
//! An operation reads views as candle tensors in the compute type (widening is exact), asks candle, and hands the result to be stored,
//! which rounds once. Where storage and compute type are the same, neither step copies.

use candle_core::{DType as Candle, Tensor};
use crossover_core::backend::Operand;
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::tensor::{View, ViewMut};

use crate::backend::Engine;
use crate::buffer::{CandleBuffer, candle_type};
use crate::device::Workers;
use crate::error::During;
use crate::kernel;
use crate::store;
use crate::view::nested;

impl Engine {
    /// A view as a tensor of its own type. It may share the buffer's storage.
    pub(crate) fn read(&self, view: &View<'_, CandleBuffer>) -> candle_core::Result<Tensor> {
        self.read_as(view.buffer, &view.layout)
    }

    pub(crate) fn read_as(&self, buffer: &CandleBuffer, layout: &Layout) -> candle_core::Result<Tensor> {
        let flat = &buffer.tensor;
        if layout.is_empty() {
            return Tensor::zeros(layout.shape(), flat.dtype(), &self.device);
        }
        if layout.is_contiguous() {
            let part = if layout.len() == flat.elem_count() { flat.clone() } else { flat.narrow(0, layout.offset(), layout.len())? };
            return part.reshape(layout.shape());
        }
        if let Some(view) = nested(flat, layout)? {
            return Ok(view);
        }
        let index = self.cache.borrow_mut().positions(layout, &self.device)?;
        flat.index_select(&index, 0)?.reshape(layout.shape())
    }

    /// A view as a tensor of the compute type.
    pub(crate) fn read_wide(&self, view: &View<'_, CandleBuffer>) -> candle_core::Result<Tensor> {
        self.read(view)?.to_dtype(self.wide())
    }

    /// An operand that may be the output itself, in the compute type.
    pub(crate) fn operand(&self, x: &Operand<'_, CandleBuffer>, out: &ViewMut<'_, CandleBuffer>) -> candle_core::Result<Tensor> {
        match x {
            Operand::Of(view) => self.read_wide(view),
            Operand::InPlace => self.read_wide(&out.as_view()),
        }
    }

    /// candle's name of the compute type.
    pub(crate) fn wide(&self) -> Candle {
        self.wide
    }

    /// Own kernels may be used: on the CPU, where nothing is recorded.
    pub(crate) fn fused(&self) -> bool {
        self.device.is_cpu() && !self.training
    }

    /// Stores a result; it must share no storage with a buffer. Rounds once where the output is narrower.
    pub(crate) fn write(&self, operation: &'static str, result: &Tensor, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
        let wanted = candle_type(out.dtype())?;
        let result = self.rounded(result, wanted).during(operation)?;
        store::store(self, &result, out).during(operation)
    }

    /// Rounds once. candle goes from f64 to the half types by way of f32, which rounds twice, and cuts floats off to integers; where our
    /// kernels may be used, one puts the values on the grid of the type first.
    fn rounded(&self, result: &Tensor, wanted: Candle) -> candle_core::Result<Tensor> {
        let grid = match (result.dtype(), wanted) {
            (Candle::F64, Candle::BF16) => DType::Bf16,
            (Candle::F64, Candle::F16) => DType::F16,
            (Candle::F64 | Candle::F32 | Candle::BF16 | Candle::F16, Candle::I32) => DType::I32,
            _ => return result.to_dtype(wanted),
        };
        if !self.fused() {
            return result.to_dtype(wanted);
        }
        let wide = result.to_dtype(Candle::F64)?.contiguous()?;
        kernel::elements::<f64>("round", &wide, |value| grid.round(value))?.to_dtype(wanted)
    }

    /// One of candle's functions of one argument, on no more threads than granted.
    pub(crate) fn unary_of_candle(
        &self,
        x: &Tensor,
        function: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Tensor> {
        if !self.must_cut(x) {
            return function(x);
        }
        let flat = x.flatten_all()?;
        let pieces: Vec<Tensor> =
            pieces(flat.elem_count()).map(|(start, length)| function(&flat.narrow(0, start, length)?)).collect::<Result<_, _>>()?;
        Tensor::cat(&pieces, 0)?.reshape(x.shape())
    }

    /// The same for two arguments of one shape.
    pub(crate) fn binary_of_candle(
        &self,
        a: &Tensor,
        b: &Tensor,
        function: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Tensor> {
        if !self.must_cut(a) {
            return function(a, b);
        }
        let (left, right) = (a.flatten_all()?, b.flatten_all()?);
        let pieces: Vec<Tensor> = pieces(left.elem_count())
            .map(|(start, length)| function(&left.narrow(0, start, length)?, &right.narrow(0, start, length)?))
            .collect::<Result<_, _>>()?;
        Tensor::cat(&pieces, 0)?.reshape(a.shape())
    }

    fn must_cut(&self, x: &Tensor) -> bool {
        self.workers.in_pieces && x.elem_count() > Workers::PIECE
    }
}

fn pieces(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).step_by(Workers::PIECE).map(move |start| (start, Workers::PIECE.min(count - start)))
}

#[cfg(test)]
mod tests {
    use crossover_core::backend::{EngineConfig, TransformerBackend};
    use crossover_core::dtype::{DType, Precision};
    use crossover_core::host::HostTensor;
    use crossover_core::ops::{BinaryOp, SoftmaxAlgorithm, UnaryOp};

    use super::*;
    use crate::backend::CandleBackend;

    const SHAPE: [usize; 2] = [700, 201];

    fn engine(threads: usize) -> CandleBackend {
        CandleBackend::new(&EngineConfig::new(Precision::F64, threads)).unwrap()
    }

    fn values() -> Vec<f64> {
        (0..SHAPE[0] * SHAPE[1]).map(|at| ((at * 37) % 101) as f64 * 0.01).collect()
    }

    /// What an operation makes of a tensor above candle's threshold.
    fn result(engine: &CandleBackend, call: impl FnOnce(View<'_, CandleBuffer>, ViewMut<'_, CandleBuffer>) -> Result<()>) -> Vec<f64> {
        let x = engine.upload(&HostTensor::new(&SHAPE, values()).unwrap(), DType::F64).unwrap();
        let mut out = engine.tensor(DType::F64, &SHAPE).unwrap();
        call(x.view(), out.view_mut()).unwrap();
        engine.download(out.view()).unwrap().values().to_vec()
    }

    #[test]
    fn pieces_make_the_whole() {
        let mut engine = engine(1);
        engine.engine.workers.in_pieces = true;
        let roots = result(&engine, |x, out| engine.unary(UnaryOp::Sqrt, Operand::Of(x), out));
        assert_eq!(roots, values().iter().map(|value| value.sqrt()).collect::<Vec<_>>());
        let sums = result(&engine, |x, out| {
            // The first row, for all rows: not dense.
            engine.binary(BinaryOp::Add, Operand::Of(x), x.narrow(0, 0, 1)?, out)
        });
        let values = values();
        let expected: Vec<f64> = values.iter().enumerate().map(|(at, value)| value + values[at % SHAPE[1]]).collect();
        assert_eq!(sums, expected);
    }

    #[test]
    fn shared_rows_are_the_same_rows() {
        let softmax = |threads| {
            let engine = engine(threads);
            result(&engine, |x, out| engine.softmax(SoftmaxAlgorithm::Online, Operand::Of(x), out))
        };
        assert_eq!(softmax(1), softmax(3));
    }
}
