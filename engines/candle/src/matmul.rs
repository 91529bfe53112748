//! C = alpha A B + beta C through candle's product.
//!
//! candle's CPU product takes any strides inside a matrix, but only one stride over the batch; batches that do not collapse to one (a
//! key head repeated for a group of queries) are copied first. Its half-precision products do not sum in f32 (bf16 has none at all,
//! f16 rounds between blocks of k), so half operands are widened: said aloud by `supports`.

use candle_core::Tensor;
use crossover_core::check::MatmulSizes;
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::ops::MatmulSpec;
use crossover_core::tensor::{View, ViewMut};

use crate::backend::Engine;
use crate::buffer::CandleBuffer;
use crate::error::During;

pub(crate) fn matmul(
    engine: &Engine,
    spec: MatmulSpec,
    sizes: MatmulSizes,
    a: View<'_, CandleBuffer>,
    b: View<'_, CandleBuffer>,
    c: ViewMut<'_, CandleBuffer>,
) -> Result<()> {
    if c.layout.is_empty() {
        return Ok(());
    }
    let result = product(engine, spec, sizes, a, b, &c).during("matmul")?;
    engine.write("matmul", &result, c)
}

fn product(
    engine: &Engine,
    spec: MatmulSpec,
    sizes: MatmulSizes,
    a: View<'_, CandleBuffer>,
    b: View<'_, CandleBuffer>,
    c: &ViewMut<'_, CandleBuffer>,
) -> candle_core::Result<Tensor> {
    let MatmulSizes { batch, m, n, k } = sizes;
    let product = if k == 0 {
        Tensor::zeros((batch, m, n), engine.wide(), &engine.device)?
    } else if batch > 1 && repeats(&b.layout) {
        // One matrix for all: the rows of all batches are one product. candle does that by itself, but in 0.11.1 also where the rows
        // of A are not dense behind each other, and then gets it wrong.
        let a = engine.read_wide(&a)?.reshape((batch * m, k))?;
        let b = batched(engine, b, [batch, k, n])?.get(0)?;
        engine.workers.run(|| a.matmul(&b))?
    } else {
        let (a, b) = (batched(engine, a, [batch, m, k])?, batched(engine, b, [batch, k, n])?);
        engine.workers.run(|| a.matmul(&b))?
    };
    let product = product.reshape(c.shape())?;
    let scaled = if spec.alpha == 1.0 { product } else { product.affine(spec.alpha, 0.0)? };
    if spec.beta == 0.0 {
        return Ok(scaled);
    }
    let before = engine.read_wide(&c.as_view())?;
    let before = if spec.beta == 1.0 { before } else { before.affine(spec.beta, 0.0)? };
    engine.binary_of_candle(&scaled, &before, Tensor::add)
}

/// The view with its leading dimensions merged into one.
fn batched(engine: &Engine, view: View<'_, CandleBuffer>, shape: [usize; 3]) -> candle_core::Result<Tensor> {
    let tensor = match collapsed(&view.layout) {
        Some(layout) => engine.read_as(view.buffer, &layout)?.reshape_or_keep(shape)?,
        None => engine.read(&view)?.reshape(&shape)?,
    };
    let tensor = tensor.to_dtype(engine.wide())?;
    // The libraries behind other devices want one of the two inner strides to be 1.
    if engine.device.is_cpu() { Ok(tensor) } else { tensor.contiguous() }
}

/// [batch, rows, columns], where the strides allow it.
fn collapsed(layout: &Layout) -> Option<Layout> {
    let mut layout = *layout;
    while layout.rank() > 3 {
        layout = layout.merge(0).ok()?;
    }
    if layout.rank() == 2 { layout.unsqueeze(0).ok() } else { Some(layout) }
}

/// The same matrix for every batch.
fn repeats(layout: &Layout) -> bool {
    collapsed(layout).is_some_and(|layout| layout.strides()[0] == 0)
}

/// candle's reshape records a step and may copy, even where there is nothing to do.
trait ReshapeOrKeep: Sized {
    fn reshape_or_keep(self, shape: [usize; 3]) -> candle_core::Result<Self>;
}

impl ReshapeOrKeep for Tensor {
    fn reshape_or_keep(self, shape: [usize; 3]) -> candle_core::Result<Self> {
        if self.dims() == shape { Ok(self) } else { self.reshape(&shape) }
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::backend::{EngineConfig, TransformerBackend};
    use crossover_core::dtype::{DType, Precision};
    use crossover_core::host::HostTensor;
    use crossover_core::ops::MatmulSpec;

    use crate::backend::CandleBackend;

    /// candle 0.11.1 stacks the batches of A where B is the same for all, without looking at how a batch of A lies.
    #[test]
    fn one_matrix_for_transposed_batches() {
        let engine = CandleBackend::new(&EngineConfig::new(Precision::F64, 1)).unwrap();
        let count = |shape: &[usize]| {
            let values = (0..shape.iter().product::<usize>()).map(|at| (at % 7) as f64 - 2.0).collect();
            engine.upload(&HostTensor::new(shape, values).unwrap(), DType::F64).unwrap()
        };
        let (a, b, mut c) = (count(&[2, 3, 4]), count(&[1, 3, 5]), engine.tensor(DType::F64, &[2, 4, 5]).unwrap());
        let wide = b.view().with(|layout| layout.broadcast(&[2, 3, 5])).unwrap();
        engine.matmul(MatmulSpec::PLAIN, a.view().transposed().unwrap(), wide, c.view_mut()).unwrap();
        let (a, b) = (engine.download(a.view()).unwrap(), engine.download(b.view()).unwrap());
        let found = engine.download(c.view()).unwrap();
        for (at, &found) in found.values().iter().enumerate() {
            let (batch, row, column) = (at / 20, at / 5 % 4, at % 5);
            let sum: f64 = (0..3).map(|k| a.values()[batch * 12 + k * 4 + row] * b.values()[k * 5 + column]).sum();
            assert_eq!(found, sum, "batch {batch}, row {row}, column {column}");
        }
    }
}
