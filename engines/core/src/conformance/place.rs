//! Operands at odd places: inside larger buffers, offset, transposed, strided, broadcast, with something telling all around.
//!
//! Around what is read stands NaN (for indices: a number that no table has), so that reading outside shows up in the result. Around
//! what is written stand guards that must be there afterwards, bit for bit. (Properties 4 and 5.)

use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::error::{Result, shape_error};
use crate::host::HostTensor;
use crate::layout::Layout;
use crate::tensor::{Tensor, View, ViewMut};

use super::cases::Source;
use super::compare::same_bits;

/// An operand and what the suite knows about it.
pub(super) struct Placed<S> {
    tensor: Tensor<S>,
    whole: Layout,
    /// The whole buffer as it was uploaded.
    before: Vec<f64>,
    /// The logical values in row-major order, rounded as they stand in the buffer.
    pub(super) values: Vec<f64>,
}

impl<S> Placed<S> {
    pub(super) fn view(&self) -> View<'_, S> {
        self.tensor.view()
    }

    pub(super) fn view_mut(&mut self) -> ViewMut<'_, S> {
        self.tensor.view_mut()
    }

    pub(super) fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }
}

/// What stands around an operand.
#[derive(Clone, Copy)]
pub(super) enum Around {
    /// What must not be read.
    Poison,
    /// What must not be written.
    Guards,
}

impl Around {
    fn value(self, dtype: DType, position: usize) -> f64 {
        match self {
            Self::Poison if dtype.is_float() => f64::NAN,
            Self::Poison => f64::from(i32::MIN),
            Self::Guards => dtype.round(1000.0 + (position % 7) as f64),
        }
    }
}

/// Puts values (of this shape) somewhere. The layout is drawn from `layouts`.
pub(super) fn place<B: TransformerBackend>(
    engine: &B,
    layouts: &mut Source,
    dtype: DType,
    (shape, values): (&[usize], &[f64]),
    around: Around,
) -> Result<Placed<B::Buffer>> {
    let (total, layout) = somewhere(layouts, shape)?;
    let mut before: Vec<f64> = (0..total).map(|position| around.value(dtype, position)).collect();
    for (position, &value) in layout.leading_offsets(0).zip(values) {
        before[position] = dtype.round(value);
    }
    let uploaded = engine.upload(&HostTensor::new(&[total], before.clone())?, dtype)?;
    let whole = Layout::contiguous(&[total])?;
    if uploaded.layout != whole {
        return Err(shape_error("upload", format!("{total} values came back as {:?}", uploaded.layout)));
    }
    let values = layout.leading_offsets(0).map(|position| before[position]).collect();
    Ok(Placed { tensor: Tensor { buffer: uploaded.buffer, layout }, whole, before, values })
}

/// The same operand repeated to a larger shape.
pub(super) fn stretched<S>(placed: Placed<S>, shape: &[usize]) -> Result<Placed<S>> {
    let layout = placed.tensor.layout.broadcast(shape)?;
    let values = layout.leading_offsets(0).map(|position| placed.before[position]).collect();
    Ok(Placed { tensor: Tensor { layout, ..placed.tensor }, values, ..placed })
}

/// The logical values of an output, or the first guard that is gone.
pub(super) fn read<B: TransformerBackend>(engine: &B, placed: &Placed<B::Buffer>) -> Result<std::result::Result<Vec<f64>, String>> {
    let after = engine.download(View { buffer: &placed.tensor.buffer, layout: placed.whole })?;
    let mut inside = vec![false; placed.before.len()];
    let mut values = Vec::with_capacity(placed.values.len());
    for position in placed.tensor.layout.leading_offsets(0) {
        inside[position] = true;
        values.push(after.values()[position]);
    }
    for (position, (&now, &was)) in after.values().iter().zip(&placed.before).enumerate() {
        if !inside[position] && !same_bits(now, was) {
            let layout = &placed.tensor.layout;
            return Ok(Err(format!("element {position}, outside the output {layout:?}, was {was} and became {now}")));
        }
    }
    Ok(Ok(values))
}

/// A layout of this shape inside a buffer of that many elements.
fn somewhere(layouts: &mut Source, shape: &[usize]) -> Result<(usize, Layout)> {
    let rank = shape.len();
    let plain = layouts.one_in(3);
    let order = if !plain && rank > 1 && layouts.one_in(3) { layouts.permutation(rank) } else { (0..rank).collect() };
    // Memory has more rows, or more columns, than the view; or only every other element is meant.
    let (mut padded, mut starts) = (shape.to_vec(), vec![0; rank]);
    let mut step = 1;
    if !plain && rank > 0 {
        let axis = layouts.below(rank);
        starts[axis] = layouts.below(3);
        padded[axis] += starts[axis] + layouts.below(3);
        if layouts.one_in(4) && rank < crate::layout::MAX_RANK {
            step = 2 + layouts.below(2);
        }
    }
    let stepped = layouts.below(rank);
    if step > 1 {
        padded[stepped] *= step;
    }
    let dims: Vec<usize> = order.iter().map(|&axis| padded[axis]).collect();
    let count: usize = dims.iter().product();
    let (offset, tail) = (layouts.below(5), 1 + layouts.below(3));
    let total = offset + count + tail;
    let mut layout = Layout::contiguous(&[total])?.narrow(0, offset, count)?.reshape(&dims)?;
    // Memory order to logical order, by swaps.
    let mut current = order;
    for axis in 0..rank {
        while current[axis] != axis {
            let target = current[axis];
            layout = layout.swap(axis, target)?;
            current.swap(axis, target);
        }
    }
    if step > 1 {
        layout = layout.split(stepped, padded[stepped] / step, step)?.narrow(stepped + 1, layouts.below(step), 1)?.merge(stepped)?;
    }
    for axis in 0..rank {
        layout = layout.narrow(axis, starts[axis].min(layout.shape()[axis] - shape[axis]), shape[axis])?;
    }
    Ok((total, layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_of_their_shape_inside_their_buffer_and_of_every_kind() {
        let (mut transposed, mut strided, mut dense, mut offset) = (0, 0, 0, 0);
        for seed in 0..500 {
            let mut layouts = Source::fork(seed);
            for shape in [vec![], vec![5], vec![3, 4], vec![2, 0, 3], vec![2, 3, 4, 5]] {
                let (total, layout) = somewhere(&mut layouts, &shape).unwrap();
                assert_eq!(layout.shape(), shape);
                // An empty view may begin anywhere, as a cut at the end of a strided one does.
                assert!(layout.is_empty() || layout.end() <= total);
                let mut positions: Vec<usize> = layout.leading_offsets(0).collect();
                positions.sort_unstable();
                positions.dedup();
                assert_eq!(positions.len(), layout.len(), "no two elements at one place");
                if shape == [3, 4] {
                    transposed += usize::from(layout.strides()[0] < layout.strides()[1]);
                    strided += usize::from(layout.strides()[1] == 2);
                    dense += usize::from(layout.is_contiguous());
                    offset += usize::from(layout.offset() % 2 == 1);
                }
            }
        }
        assert!([transposed, strided, dense, offset].into_iter().all(|count| count > 20), "{transposed} {strided} {dense} {offset}");
    }
}
