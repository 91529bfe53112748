//! Layouts as candle tensors.
//!
//! candle has no raw strides: a view is what reshape, narrow, permute and broadcast can make of a dense tensor. Most layouts are exactly
//! that, and are taken apart here: axes in descending order of stride, each stride dividing the one before it, and the offset written in
//! the mixed radix of the strides. What does not nest (overlapping windows, a last row whose padding is missing) is gathered by an
//! index tensor, which is made once and kept.

use candle_core::Tensor;
use crossover_core::layout::Layout;

/// The flat positions that a layout visits, in row-major order of the view.
pub(crate) fn positions(layout: &Layout) -> impl Iterator<Item = usize> {
    layout.leading_offsets(0)
}

/// The view as a candle view, sharing the storage; `None` where it does not nest.
pub(crate) fn nested(flat: &Tensor, layout: &Layout) -> candle_core::Result<Option<Tensor>> {
    let mut axes: Vec<usize> = (0..layout.rank()).filter(|&axis| layout.shape()[axis] > 1 && layout.strides()[axis] > 0).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(layout.strides()[axis]));
    let extents: Vec<(usize, usize)> = axes.iter().map(|&axis| (layout.shape()[axis], layout.strides()[axis])).collect();
    let Some(view) = strided(flat, layout.offset(), &extents)? else { return Ok(None) };
    // Back to the order of the layout, then the axes that do not move, then the repeated ones.
    let mut order: Vec<usize> = (0..axes.len()).collect();
    order.sort_by_key(|&at| axes[at]);
    let in_order = order.iter().enumerate().all(|(place, &at)| place == at);
    let mut view = if in_order { view } else { view.permute(order)? };
    for axis in 0..layout.rank() {
        if !axes.contains(&axis) {
            view = view.unsqueeze(axis)?;
        }
    }
    if view.dims() == layout.shape() { Ok(Some(view)) } else { view.broadcast_as(layout.shape()).map(Some) }
}

/// A tensor of these (extent, stride) pairs, strides descending, from `offset` on.
fn strided(flat: &Tensor, offset: usize, axes: &[(usize, usize)]) -> candle_core::Result<Option<Tensor>> {
    let Some(&(outer, outer_stride)) = axes.first() else {
        return flat.narrow(0, offset, 1)?.squeeze(0).map(Some);
    };
    let nests = axes.windows(2).all(|pair| pair[0].1 % pair[1].1 == 0 && pair[1].0 <= pair[0].1 / pair[1].1);
    if !nests {
        return Ok(None);
    }
    let Some(span) = outer.checked_mul(outer_stride).filter(|&span| span <= flat.elem_count()) else { return Ok(None) };
    // The dense block starts where the view does, or earlier where the buffer ends too soon; then by a multiple of a stride, if possible.
    let latest = offset.min(flat.elem_count() - span);
    let behind = offset - latest;
    let steps = axes.iter().skip(1).map(|&(_, stride)| behind.next_multiple_of(stride)).chain([behind]);
    for behind in steps.filter(|&behind| behind <= offset) {
        if let Some(digits) = digits(behind, axes) {
            return dense_block(flat, offset - behind, span, axes, &digits).map(Some);
        }
    }
    Ok(None)
}

/// How far each axis below the outer one starts into its period, and the rest below the last stride; `None` where an axis would run
/// over its end.
fn digits(mut behind: usize, axes: &[(usize, usize)]) -> Option<Vec<usize>> {
    if behind >= axes[0].1 {
        return None;
    }
    let mut digits = Vec::with_capacity(axes.len());
    for pair in axes.windows(2) {
        let (period, (extent, stride)) = (pair[0].1, pair[1]);
        let digit = behind / stride;
        behind %= stride;
        if digit + extent > period / stride {
            return None;
        }
        digits.push(digit);
    }
    digits.push(behind);
    Some(digits)
}

fn dense_block(flat: &Tensor, start: usize, span: usize, axes: &[(usize, usize)], digits: &[usize]) -> candle_core::Result<Tensor> {
    let whole = start == 0 && span == flat.elem_count();
    let block = if whole { flat.clone() } else { flat.narrow(0, start, span)? };
    let mut shape = vec![axes[0].0];
    shape.extend(axes.windows(2).map(|pair| pair[0].1 / pair[1].1));
    let last_stride = axes[axes.len() - 1].1;
    shape.push(last_stride);
    let mut view = block.reshape(shape.as_slice())?;
    for (below, &(extent, _)) in axes.iter().enumerate().skip(1) {
        if shape[below] != extent {
            view = view.narrow(below, digits[below - 1], extent)?;
        }
    }
    view.narrow(axes.len(), digits[axes.len() - 1], 1)?.squeeze(axes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn values(flat: &Tensor, layout: &Layout) -> Option<Vec<u32>> {
        let view = nested(flat, layout).unwrap()?;
        assert_eq!(view.dims(), layout.shape());
        Some(view.flatten_all().unwrap().to_vec1::<u32>().unwrap())
    }

    fn expected(layout: &Layout) -> Vec<u32> {
        positions(layout).map(|at| at as u32).collect()
    }

    #[test]
    fn layouts_that_nest_are_views_of_the_same_elements() {
        let flat = Tensor::arange(0u32, 240, &Device::Cpu).unwrap();
        let base = Layout::contiguous(&[2, 4, 5, 6]).unwrap();
        let layouts = [
            base,
            base.transposed().unwrap(),
            base.narrow(3, 2, 3).unwrap(),
            base.narrow(1, 1, 2).unwrap().narrow(2, 4, 1).unwrap().swap(0, 3).unwrap(),
            base.narrow(0, 1, 1).unwrap().narrow(3, 5, 1).unwrap(),
            base.narrow(2, 1, 1).unwrap().broadcast(&[2, 4, 7, 6]).unwrap(),
            base.split(3, 3, 2).unwrap().swap(1, 3).unwrap().narrow(4, 1, 1).unwrap(),
            Layout::contiguous(&[239]).unwrap().reshape(&[239]).unwrap(),
        ];
        for layout in layouts {
            assert_eq!(values(&flat, &layout), Some(expected(&layout)), "{layout:?}");
        }
    }

    #[test]
    fn a_column_at_the_very_end_is_reached_from_an_earlier_start() {
        let flat = Tensor::arange(0u32, 12, &Device::Cpu).unwrap();
        let layout = Layout::contiguous(&[3, 4]).unwrap().narrow(1, 2, 2).unwrap();
        assert_eq!(values(&flat, &layout), Some(vec![2, 3, 6, 7, 10, 11]));
    }

    #[test]
    fn rows_without_their_last_padding_do_not_nest() {
        // Ten elements cannot be cut into three rows of four, although the view never needs the last two.
        let flat = Tensor::arange(0u32, 10, &Device::Cpu).unwrap();
        let layout = Layout::contiguous(&[3, 4]).unwrap().narrow(1, 0, 2).unwrap();
        assert_eq!(values(&flat, &layout), None);
    }
}
