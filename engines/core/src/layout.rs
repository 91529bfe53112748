//! How a view lies in its buffer: shape, strides and offset, in elements.
//!
//! Layouts are plain values owned by the core; engines get a buffer and a layout and never make views themselves. That keeps
//! transposes, head splits, cache slices and broadcasts identical on every engine, and free. Strides are never negative and a
//! broadcast dimension has stride 0, so a layout can always be rebuilt from narrow, permute and broadcast by an engine whose
//! library has no raw strides.

use crate::error::{Result, shape_error};

/// The most dimensions that a view can have ([batch, key heads, group, row, column] needs five).
pub const MAX_RANK: usize = 6;

/// Shape, strides and offset of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    rank: usize,
    dims: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
    offset: usize,
}

impl Layout {
    /// Row-major and dense, from the start of the buffer.
    pub fn contiguous(shape: &[usize]) -> Result<Self> {
        if shape.len() > MAX_RANK {
            return Err(shape_error("layout", format!("{} dimensions, at most {MAX_RANK} are possible", shape.len())));
        }
        let mut layout = Self { rank: shape.len(), dims: [1; MAX_RANK], strides: [0; MAX_RANK], offset: 0 };
        // A dimension of 0 must not hide that the others overflow: their product is taken in other orders elsewhere.
        let size = shape.iter().try_fold(1usize, |size, &dim| size.checked_mul(dim.max(1)));
        if size.is_none() {
            return Err(shape_error("layout", format!("the size of {shape:?} overflows")));
        }
        let mut stride = 1usize;
        for (axis, &dim) in shape.iter().enumerate().rev() {
            layout.dims[axis] = dim;
            layout.strides[axis] = stride;
            stride *= dim;
        }
        Ok(layout)
    }

    /// The extents.
    pub fn shape(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Distance between neighbours along each dimension.
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.rank]
    }

    /// Position of the first element.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// True if a dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The extent of the dimension `from_end` places before the last (0 is the last).
    pub fn dim_from_end(&self, from_end: usize) -> usize {
        if from_end < self.rank { self.dims[self.rank - 1 - from_end] } else { 1 }
    }

    /// True for row-major order without holes (the offset may be anything).
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for axis in (0..self.rank).rev() {
            if self.dims[axis] != 1 && self.strides[axis] != expected {
                return false;
            }
            expected *= self.dims[axis];
        }
        true
    }

    /// One past the last element that the view touches.
    pub fn end(&self) -> usize {
        if self.is_empty() {
            return self.offset;
        }
        let reach: usize = (0..self.rank).map(|axis| (self.dims[axis] - 1) * self.strides[axis]).sum();
        self.offset + reach + 1
    }

    /// Part of one dimension.
    pub fn narrow(&self, axis: usize, start: usize, length: usize) -> Result<Self> {
        if axis >= self.rank || start.checked_add(length).is_none_or(|end| end > self.dims[axis]) {
            return Err(shape_error("narrow", format!("{start}..{start}+{length} of dimension {axis} in {:?}", self.shape())));
        }
        let mut narrowed = *self;
        narrowed.dims[axis] = length;
        narrowed.offset += start * self.strides[axis];
        Ok(narrowed)
    }

    /// Every `step`-th index of one dimension, from `start` on.
    pub fn every(&self, axis: usize, start: usize, step: usize) -> Result<Self> {
        if axis >= self.rank || start >= self.dims[axis] || step == 0 {
            return Err(shape_error("every", format!("{step}th from {start} of dimension {axis} in {:?}", self.shape())));
        }
        let mut thinned = *self;
        thinned.dims[axis] = (self.dims[axis] - start).div_ceil(step);
        thinned.offset += start * self.strides[axis];
        thinned.strides[axis] = self.strides[axis].saturating_mul(step);
        Ok(thinned)
    }

    /// Two dimensions swapped.
    pub fn swap(&self, first: usize, second: usize) -> Result<Self> {
        if first >= self.rank || second >= self.rank {
            return Err(shape_error("swap", format!("dimensions {first} and {second} of {:?}", self.shape())));
        }
        let mut swapped = *self;
        swapped.dims.swap(first, second);
        swapped.strides.swap(first, second);
        Ok(swapped)
    }

    /// The last two dimensions swapped: the matrix transpose.
    pub fn transposed(&self) -> Result<Self> {
        if self.rank < 2 {
            return Err(shape_error("transpose", format!("{:?} has fewer than two dimensions", self.shape())));
        }
        self.swap(self.rank - 2, self.rank - 1)
    }

    /// One dimension split in two: `outer * inner` must be its extent.
    pub fn split(&self, axis: usize, outer: usize, inner: usize) -> Result<Self> {
        if axis >= self.rank || self.rank == MAX_RANK || outer.checked_mul(inner) != Some(self.dims[axis]) {
            return Err(shape_error("split", format!("dimension {axis} of {:?} into {outer} x {inner}", self.shape())));
        }
        let mut split = *self;
        split.rank += 1;
        for later in (axis + 1..self.rank).rev() {
            split.dims[later + 1] = self.dims[later];
            split.strides[later + 1] = self.strides[later];
        }
        (split.dims[axis], split.dims[axis + 1]) = (outer, inner);
        (split.strides[axis], split.strides[axis + 1]) = (self.strides[axis] * inner, self.strides[axis]);
        Ok(split)
    }

    /// Two neighbouring dimensions merged; they must lie densely behind each other.
    pub fn merge(&self, axis: usize) -> Result<Self> {
        self.merged(axis).ok_or_else(|| {
            let detail = format!("dimensions {axis} and {} of {:?} with strides {:?}", axis + 1, self.shape(), self.strides());
            shape_error("merge", detail)
        })
    }

    /// The same for those who only try, which costs them no message.
    fn merged(&self, axis: usize) -> Option<Self> {
        let mergeable = axis + 1 < self.rank
            && (self.dims[axis] == 1 || self.dims[axis + 1] == 1 || self.strides[axis] == self.strides[axis + 1] * self.dims[axis + 1]);
        if !mergeable {
            return None;
        }
        let mut merged = *self;
        merged.dims[axis] = self.dims[axis] * self.dims[axis + 1];
        merged.strides[axis] = if self.dims[axis + 1] == 1 { self.strides[axis] } else { self.strides[axis + 1] };
        for later in axis + 2..self.rank {
            merged.dims[later - 1] = self.dims[later];
            merged.strides[later - 1] = self.strides[later];
        }
        merged.rank -= 1;
        (merged.dims[merged.rank], merged.strides[merged.rank]) = (1, 0);
        Some(merged)
    }

    /// A dimension of extent 1 inserted at `axis`.
    pub fn unsqueeze(&self, axis: usize) -> Result<Self> {
        if axis > self.rank || self.rank == MAX_RANK {
            return Err(shape_error("unsqueeze", format!("dimension {axis} of {:?}", self.shape())));
        }
        let mut grown = *self;
        grown.rank += 1;
        grown.dims.copy_within(axis..self.rank, axis + 1);
        grown.strides.copy_within(axis..self.rank, axis + 1);
        (grown.dims[axis], grown.strides[axis]) = (1, 0);
        Ok(grown)
    }

    /// The view repeated to `shape`: missing leading dimensions and extents of 1 are stretched with stride 0.
    pub fn broadcast(&self, shape: &[usize]) -> Result<Self> {
        let mut wide = Self::contiguous(shape)?;
        wide.offset = self.offset;
        let lead = shape.len().checked_sub(self.rank).ok_or_else(|| broadcast_error(self, shape))?;
        for (axis, &extent) in shape.iter().enumerate() {
            wide.strides[axis] = match axis.checked_sub(lead) {
                None => 0,
                Some(own) if self.dims[own] == extent => self.strides[own],
                Some(own) if self.dims[own] == 1 => 0,
                Some(_) => return Err(broadcast_error(self, shape)),
            };
        }
        Ok(wide)
    }

    /// Another shape over the same dense elements.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        let mut reshaped = Self::contiguous(shape)?;
        if reshaped.len() != self.len() || !self.is_contiguous() {
            let detail = format!("{:?} with strides {:?} as {shape:?}", self.shape(), self.strides());
            return Err(shape_error("reshape", detail));
        }
        reshaped.offset = self.offset;
        Ok(reshaped)
    }

    /// Position in the buffer of the element at `index`.
    pub fn position(&self, index: &[usize]) -> usize {
        debug_assert_eq!(index.len(), self.rank);
        self.offset + index.iter().zip(self.strides()).map(|(at, stride)| at * stride).sum::<usize>()
    }

    /// Where a block of the last `trailing` dimensions starts, by its number in row-major order: one entry of
    /// [`Layout::leading_offsets`], for kernels whose threads take blocks in any order.
    #[inline]
    pub fn leading_offset(&self, trailing: usize, mut number: usize) -> usize {
        let mut position = self.offset;
        for axis in (0..self.rank.saturating_sub(trailing)).rev() {
            position += number % self.dims[axis] * self.strides[axis];
            number /= self.dims[axis];
        }
        position
    }

    /// This layout and another [.., rows, width], with as many leading dimensions merged into rows as the strides of both allow.
    pub fn rows_together(mut self, mut other: Self) -> Result<(Self, Self)> {
        if self.rank == 1 {
            (self, other) = (self.unsqueeze(0)?, other.unsqueeze(0)?);
        }
        while self.rank > 2 {
            let axis = self.rank - 3;
            match (self.merged(axis), other.merged(axis)) {
                (Some(merged), Some(merged_other)) => (self, other) = (merged, merged_other),
                _ => break,
            }
        }
        Ok((self, other))
    }

    /// All leading indices in row-major order, as positions of the first element of each "row" of the last `trailing` dimensions.
    pub fn leading_offsets(&self, trailing: usize) -> LeadingOffsets {
        let lead = self.rank.saturating_sub(trailing);
        let remaining = self.dims[..lead].iter().product();
        LeadingOffsets { layout: *self, lead, index: [0; MAX_RANK], position: self.offset, remaining }
    }
}

/// Iterator of [`Layout::leading_offsets`].
#[derive(Debug, Clone)]
pub struct LeadingOffsets {
    layout: Layout,
    lead: usize,
    index: [usize; MAX_RANK],
    position: usize,
    remaining: usize,
}

impl Iterator for LeadingOffsets {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.remaining = self.remaining.checked_sub(1)?;
        let current = self.position;
        for axis in (0..self.lead).rev() {
            self.index[axis] += 1;
            self.position += self.layout.strides[axis];
            if self.index[axis] < self.layout.dims[axis] {
                break;
            }
            self.position -= self.layout.strides[axis] * self.layout.dims[axis];
            self.index[axis] = 0;
        }
        Some(current)
    }
}

fn broadcast_error(layout: &Layout, shape: &[usize]) -> crate::error::EngineError {
    shape_error("broadcast", format!("{:?} does not stretch to {shape:?}", layout.shape()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_split_out_of_a_row_without_moving_anything() {
        // [seq = 3, heads * dim = 8] seen as [heads = 2, seq = 3, dim = 4].
        let rows = Layout::contiguous(&[3, 8]).unwrap();
        let heads = rows.split(1, 2, 4).unwrap().swap(0, 1).unwrap();
        assert_eq!(heads.shape(), [2, 3, 4]);
        assert_eq!(heads.position(&[1, 2, 3]), 2 * 8 + 4 + 3);
        assert!(!heads.is_contiguous());
        assert_eq!(heads.end(), 24);
        assert_eq!(heads.swap(0, 1).unwrap().merge(1).unwrap(), rows);
    }

    #[test]
    fn leading_offsets_walk_rows_in_order() {
        let view = Layout::contiguous(&[2, 3, 4]).unwrap().swap(0, 1).unwrap();
        let offsets: Vec<usize> = view.leading_offsets(1).collect();
        assert_eq!(offsets, [0, 12, 4, 16, 8, 20]);
        assert_eq!(Layout::contiguous(&[0, 4]).unwrap().leading_offsets(1).count(), 0);
        assert_eq!(Layout::contiguous(&[4]).unwrap().leading_offsets(1).count(), 1);
    }

    #[test]
    fn a_block_by_number_is_where_the_walk_passes_it() {
        let layout = Layout::contiguous(&[3, 2, 4, 5, 6]).unwrap().swap(0, 2).unwrap().narrow(0, 1, 2).unwrap();
        for trailing in 0..=5 {
            let walked: Vec<usize> = layout.leading_offsets(trailing).collect();
            assert_eq!((0..walked.len()).map(|at| layout.leading_offset(trailing, at)).collect::<Vec<_>>(), walked);
        }
    }

    #[test]
    fn leading_dimensions_become_rows_where_they_can() {
        let dense = Layout::contiguous(&[2, 3, 4]).unwrap();
        let (x, out) = dense.rows_together(dense).unwrap();
        assert_eq!((x.shape(), out.shape()), (&[6, 4][..], &[6, 4][..]));
        let apart = Layout::contiguous(&[2, 5, 4]).unwrap().narrow(1, 1, 3).unwrap();
        assert_eq!(dense.rows_together(apart).unwrap().0.shape(), [2, 3, 4]);
        let row = Layout::contiguous(&[4]).unwrap();
        assert_eq!(row.rows_together(row).unwrap().0.shape(), [1, 4]);
    }

    #[test]
    fn broadcast_repeats_with_stride_zero() {
        let bias = Layout::contiguous(&[4]).unwrap().broadcast(&[2, 3, 4]).unwrap();
        assert_eq!(bias.strides(), [0, 0, 1]);
        assert!(Layout::contiguous(&[3]).unwrap().broadcast(&[2, 4]).is_err());
        assert!(Layout::contiguous(&[2, 3]).unwrap().broadcast(&[3]).is_err());
    }

    #[test]
    fn impossible_views_are_refused() {
        let layout = Layout::contiguous(&[4, 6]).unwrap();
        assert!(layout.narrow(1, 5, 2).is_err());
        assert!(layout.narrow(1, usize::MAX, 2).is_err());
        assert!(layout.every(1, 6, 2).is_err());
        assert!(layout.every(2, 0, 2).is_err());
        assert!(layout.every(1, 0, 0).is_err());
        assert!(layout.split(1, 4, 2).is_err());
        assert!(layout.transposed().unwrap().merge(0).is_err());
        assert!(layout.transposed().unwrap().reshape(&[24]).is_err());
        assert!(Layout::contiguous(&[usize::MAX, 2]).is_err());
        assert!(Layout::contiguous(&[usize::MAX, 2, 0]).is_err());
        assert!(Layout::contiguous(&[1; 7]).is_err());
    }

    #[test]
    fn every_so_many_rows_are_a_view() {
        let layout = Layout::contiguous(&[3, 7, 2]).unwrap();
        let thinned = layout.every(1, 1, 3).unwrap();
        assert_eq!((thinned.shape(), thinned.strides(), thinned.offset()), (&[3, 2, 2][..], &[14, 6, 1][..], 2));
        // What is thinned to one index stays inside of the buffer, however far the next one would be.
        let single = layout.every(1, 6, usize::MAX).unwrap();
        assert_eq!((single.shape(), single.end()), (&[3, 1, 2][..], 42));
    }

    #[test]
    fn unsqueeze_then_broadcast_shares_key_heads() {
        let keys = Layout::contiguous(&[2, 5, 4]).unwrap().unsqueeze(1).unwrap().broadcast(&[2, 3, 5, 4]).unwrap();
        assert_eq!(keys.strides(), [20, 0, 4, 1]);
    }
}
