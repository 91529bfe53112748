//! Stable argsort and top-k, both by a heap of indices that lives in the output.
//!
//! Comparing (key, index) pairs makes every order strict, so heapsort, which needs no memory beside the output, is stable too.

use crossover_core::layout::Layout;
use crossover_core::tensor::{View, ViewMut};

use crate::buffer::SimdBuffer;
use crate::walk::{Row, last_stride, rows_of};

/// A strided row of indices.
struct Indices<'a> {
    values: &'a mut [i32],
    start: usize,
    stride: usize,
}

impl Indices<'_> {
    fn get(&self, at: usize) -> usize {
        self.values[self.start + at * self.stride] as usize
    }

    fn set(&mut self, at: usize, index: usize) {
        self.values[self.start + at * self.stride] = index as i32;
    }

    fn swap(&mut self, first: usize, second: usize) {
        self.values.swap(self.start + first * self.stride, self.start + second * self.stride);
    }

    /// Lets the element at `root` sink until no child comes after it in the order.
    fn sift_down(&mut self, mut root: usize, length: usize, before: impl Fn(usize, usize) -> bool) {
        loop {
            let (left, right) = (2 * root + 1, 2 * root + 2);
            let mut last = root;
            for child in [left, right] {
                if child < length && before(self.get(last), self.get(child)) {
                    last = child;
                }
            }
            if last == root {
                return;
            }
            self.swap(root, last);
            root = last;
        }
    }

    /// Makes a heap whose root comes last in the order.
    fn heapify(&mut self, length: usize, before: impl Fn(usize, usize) -> bool) {
        for root in (0..length / 2).rev() {
            self.sift_down(root, length, &before);
        }
    }

    /// Takes the heap apart from its root: the order, ascending.
    fn unheap(&mut self, length: usize, before: impl Fn(usize, usize) -> bool) {
        for end in (1..length).rev() {
            self.swap(0, end);
            self.sift_down(0, end, &before);
        }
    }
}

/// keys and out have one shape.
pub(crate) fn stable_argsort(keys: &View<'_, SimdBuffer>, values: &[i32], out: &mut [i32], out_layout: &Layout) {
    for (row, start) in rows_of(keys).zip(out_layout.leading_offsets(1)) {
        let key = |index: usize| (values[row.start + index * row.stride], index);
        let before = |first, second| key(first) < key(second);
        let mut order = Indices { values: out, start, stride: last_stride(out_layout) };
        for at in 0..row.width {
            order.set(at, at);
        }
        order.heapify(row.width, before);
        order.unheap(row.width, before);
    }
}

/// The k first of each row in the order "larger value, then lower index"; a NaN counts as larger than every number.
pub(crate) fn top_k(x: &View<'_, SimdBuffer>, k: usize, values: ViewMut<'_, SimdBuffer>, indices: &mut [i32], index_layout: &Layout) {
    if k == 0 {
        return;
    }
    let places = values.layout.leading_offsets(1).zip(index_layout.leading_offsets(1));
    let (value_stride, index_stride) = (last_stride(&values.layout), last_stride(index_layout));
    for (row, (value_start, index_start)) in rows_of(x).zip(places) {
        let mut best = Indices { values: indices, start: index_start, stride: index_stride };
        top_k_of_row(row, k, &mut best);
        for at in 0..k {
            values.buffer.set(value_start + at * value_stride, value(row, best.get(at)));
        }
    }
}

/// Keeps the best k so far in a heap with the worst of them at the root.
fn top_k_of_row(row: Row<'_>, k: usize, best: &mut Indices<'_>) {
    let before = |first: usize, second: usize| {
        let (a, b) = (value(row, first), value(row, second));
        let larger = a > b || (a.is_nan() && !b.is_nan());
        let equal = a == b || (a.is_nan() && b.is_nan());
        larger || (equal && first < second)
    };
    for at in 0..k {
        best.set(at, at);
    }
    best.heapify(k, before);
    for candidate in k..row.width {
        if before(candidate, best.get(0)) {
            best.set(0, candidate);
            best.sift_down(0, k, before);
        }
    }
    best.unheap(k, before);
}

fn value(row: Row<'_>, index: usize) -> f64 {
    row.buffer.get(row.start + index * row.stride)
}
