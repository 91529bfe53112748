//! The k largest of each row, and the k most probable classes.
//!
//! Of few, the best so far are a heap of indices, in the output itself, with the worst of them at its root. A first look at the row gives a
//! bound that the k-th is not below; the second takes no elements below it, a vector at a time, and none that do not beat the root.
//!
//! Of many, each element is packed into one number whose order is the wanted one: the value's bits above, turned so that larger values come
//! first, the index below. The standard library's selection and unstable sort, which need no memory, find the first k and order them.
//!
//! With a softmax, the probabilities of a row are never written: its maximum and sum are taken, and the logits that won are turned into
//! probabilities.
//!
//! # What bounds it
//! Few: reading the input once. Many: comparisons, width to select and k log k to sort.

use std::cmp::Ordering;

use crossover_core::check;
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::tensor::{View, ViewMut};

use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::gemm::Engine;
use crate::operands::{Types, indices_mut};
use crate::pool::Shared;
use crate::rowwise::{Part, RowKernel, for_each_row};
use crate::softmax::share;
use crate::sweep::{Fold, Largest, fold};
use crate::vector::{Lanes, MOST_LANES, Scalar, Vector, exp};
use crate::walk::last_stride;

/// Vectors of largest elements, from which the bound comes.
const SETS: usize = 4;
/// The most that are kept in a heap: beyond, sifting costs more than sorting.
const MOST_IN_HEAP: usize = 32;
/// Elements at the start of a row that the bound is taken from.
const SEARCHED: usize = 1 << 15;

/// The k first of each row in the order "larger value, then lower index"; a NaN counts as larger than every number. With `softmax`, values
/// are probabilities.
pub(crate) fn top_k<E: Lanes + Plain + Packs>(
    engine: &Engine,
    types: Types,
    softmax: bool,
    x: View<'_, SimdBuffer>,
    values: ViewMut<'_, SimdBuffer>,
    index: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let (_, width, k) = check::top_k(&x.layout, &values.layout, &index.layout)?;
    types.inputs("top-k", [&x])?;
    types.output("top-k", &values)?;
    let layout = index.layout;
    let kernel = TopK { softmax, k, indices: Shared::new(indices_mut("top-k", index, width)?), layout };
    // Two rows of scratch beside each other are one of packed elements, which are twice as long.
    let scratch = || if k > MOST_IN_HEAP { Part::Scratch } else { Part::Absent };
    for_each_row::<E, _, 4>(engine, &kernel, [Part::Write(values), Part::Read(x), scratch(), scratch()])
}

/// An element and its index as one number.
pub(crate) trait Packs: Real {
    /// The number.
    type Packed: Ord + Copy;
    /// Numbers are in the order "larger element, then lower index", a NaN before all of them and zeros alike.
    fn packed(self, index: usize) -> Self::Packed;
    /// The index of a number.
    fn index_of(packed: Self::Packed) -> usize;
}

macro_rules! packs {
    ($element:ty, $bits:ty, $packed:ty) => {
        impl Packs for $element {
            type Packed = $packed;

            #[inline(always)]
            fn packed(self, index: usize) -> $packed {
                // Bits of what is not negative rise with it, those of negative numbers fall.
                let bits = (self + 0.0).to_bits();
                let falling = if bits >> (<$bits>::BITS - 1) == 0 { !bits << 1 >> 1 } else { bits };
                let place = if self.is_nan() { 0 } else { falling };
                <$packed>::from(place) << <$bits>::BITS | index as $packed
            }
            #[inline(always)]
            fn index_of(packed: $packed) -> usize {
                packed as $bits as usize
            }
        }
    };
}

packs!(f32, u32, u64);
packs!(f64, u64, u128);

struct TopK {
    softmax: bool,
    k: usize,
    indices: Shared<i32>,
    layout: Layout,
}

impl<E: Lanes + Packs> RowKernel<E, 4> for TopK {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, row: usize, [values, x, packed, _]: [*mut E; 4], width: usize) {
        let first = self.indices.pointer().wrapping_add(self.layout.leading_offset(1, row));
        // SAFETY: a row that the caller promises; its indices are inside of their view, and belong to this task.
        unsafe {
            let mut best = Heap { row: std::slice::from_raw_parts(x, width), first, stride: last_stride(&self.layout) };
            if self.k > MOST_IN_HEAP {
                best.sort(self.k, std::slice::from_raw_parts_mut(packed.cast(), width));
            } else {
                best.fill::<V>(self.k);
            }
            let values = std::slice::from_raw_parts_mut(values, self.k);
            for (at, value) in values.iter_mut().enumerate() {
                *value = best.row[best.get(at)];
            }
            if self.softmax {
                let maximum = fold::<V, _>(Largest, x, width).largest();
                let sum = fold::<V, _>(ShiftedSum(maximum), x, width).sum();
                probabilities(values, maximum, share(sum));
            }
        }
    }
}

/// Logits, descending, to probabilities. Exponentials of neighbours may be out of order by a unit in the last place: none is let rise.
#[inline(always)]
fn probabilities<E: Lanes>(values: &mut [E], maximum: E, share: E) {
    let mut last = E::ONE;
    for value in values {
        let probability = exp(Scalar::splat(*value - maximum)).sum() * share;
        last = if probability > last { last } else { probability };
        *value = last;
    }
}

/// The sum of exp(x - this).
#[derive(Clone, Copy)]
struct ShiftedSum<E>(E);

impl<E: Lanes> Fold<E> for ShiftedSum<E> {
    #[inline(always)]
    fn neutral<V: Vector<Element = E>>(self) -> [V; 2] {
        [V::zero(), V::splat(E::NEG_INFINITY)]
    }
    #[inline(always)]
    fn step<V: Vector<Element = E>>(self, state: V, x: V) -> V {
        state.add(exp(x.sub(V::splat(self.0))))
    }
    #[inline(always)]
    fn join<V: Vector<Element = E>>(self, state: V, other: V) -> V {
        state.add(other)
    }
}

/// Indices into a row, strided.
struct Heap<'a, E> {
    row: &'a [E],
    first: *mut i32,
    stride: usize,
}

impl<E: Real> Heap<'_, E> {
    fn get(&self, at: usize) -> usize {
        // SAFETY: whoever makes a heap owns as many places as are used, and each holds an index.
        unsafe { *self.first.wrapping_add(at * self.stride) as usize }
    }

    fn set(&mut self, at: usize, index: usize) {
        // SAFETY: likewise.
        unsafe { *self.first.wrapping_add(at * self.stride) = index as i32 }
    }

    /// Does the first come before the second in the order?
    fn before(&self, first: usize, second: usize) -> bool {
        let (a, b) = (self.row[first], self.row[second]);
        let larger = a > b || (a.is_nan() && !b.is_nan());
        let equal = a == b || (a.is_nan() && b.is_nan());
        larger || (equal && first < second)
    }

    /// Lets the element at `root` sink until no child comes after it in the order.
    fn sift_down(&mut self, mut root: usize, length: usize) {
        loop {
            let mut last = root;
            for child in [2 * root + 1, 2 * root + 2] {
                if child < length && self.before(self.get(last), self.get(child)) {
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

    fn swap(&mut self, first: usize, second: usize) {
        let (a, b) = (self.get(first), self.get(second));
        self.set(first, b);
        self.set(second, a);
    }

    /// Takes the element in if it comes before the worst of k.
    fn offer(&mut self, candidate: usize, k: usize) {
        if self.before(candidate, self.get(0)) {
            self.set(0, candidate);
            self.sift_down(0, k);
        }
    }

    /// The best k of the row in their order, by way of as many packed elements as the row has.
    fn sort(&mut self, k: usize, packed: &mut [E::Packed])
    where
        E: Packs,
    {
        for (at, (packed, &element)) in packed.iter_mut().zip(self.row).enumerate() {
            *packed = element.packed(at);
        }
        if k < packed.len() {
            packed.select_nth_unstable(k - 1);
        }
        let best = &mut packed[..k];
        best.sort_unstable();
        for (at, &packed) in best.iter().enumerate() {
            self.set(at, E::index_of(packed));
        }
    }

    /// The best k of the row in their order, by way of a heap.
    #[inline(always)]
    unsafe fn fill<V: Vector<Element = E>>(&mut self, k: usize) {
        // SAFETY: the row is a slice.
        let bound = V::splat(unsafe { bound::<V>(self.row, k) });
        let (mut taken, mut worst) = (0, bound);
        for first in (0..self.row.len()).step_by(V::LANES) {
            let count = V::LANES.min(self.row.len() - first);
            // SAFETY: elements of the row.
            let x = unsafe { V::load_first(self.row.as_ptr().add(first), count) };
            // Of equal elements the later comes after: once there are k, it is too late for one that equals the worst.
            let above = if taken < k { x.lanes_above::<true>(bound) } else { x.lanes_above::<false>(worst) };
            let mut left = above & (u32::MAX >> (u32::BITS as usize - count));
            while left != 0 {
                let candidate = first + left.trailing_zeros() as usize;
                left &= left - 1;
                if taken < k {
                    self.set(taken, candidate);
                    taken += 1;
                    if taken == k {
                        (0..k / 2).rev().for_each(|root| self.sift_down(root, k));
                    }
                } else {
                    self.offer(candidate, k);
                }
            }
            if taken == k && above != 0 {
                worst = V::splat(self.row[self.get(0)]);
            }
        }
        for end in (1..k).rev() {
            self.swap(0, end);
            self.sift_down(0, end);
        }
    }
}

/// A number that at least k elements are not below. The largest of each of some dozen sets of elements are so many elements of the row, and
/// the k-th of those is near the k-th of all where k is small: most elements need no other look than at this.
#[inline(always)]
unsafe fn bound<V: Vector>(row: &[V::Element], k: usize) -> V::Element {
    let sets = SETS * V::LANES;
    if k == 0 || 2 * k > sets || row.len() < 2 * sets {
        return V::Element::NEG_INFINITY;
    }
    let mut largest = [V::splat(V::Element::NEG_INFINITY); SETS];
    // As much as is still in the second-level cache for the search that follows.
    for first in (0..=row.len().min(SEARCHED) - sets).step_by(sets) {
        for (at, largest) in largest.iter_mut().enumerate() {
            // SAFETY: elements of the row. A NaN is passed over.
            *largest = unsafe { V::load(row.as_ptr().add(first + at * V::LANES)) }.max(*largest);
        }
    }
    let mut lanes = [V::Element::ZERO; SETS * MOST_LANES];
    for (lanes, largest) in lanes.chunks_exact_mut(V::LANES).zip(largest) {
        // SAFETY: as many elements as a vector has.
        unsafe { largest.store(lanes.as_mut_ptr()) };
    }
    let by_size = |a: &V::Element, b: &V::Element| b.partial_cmp(a).unwrap_or(Ordering::Equal);
    *lanes[..sets].select_nth_unstable_by(k - 1, by_size).1
}

#[cfg(test)]
mod tests {
    use crossover_core::backend::{EngineConfig, TransformerBackend};
    use crossover_core::dtype::{DType, Precision};
    use crossover_core::host::HostTensor;
    use crossover_core::isa::IsaChoice;

    use crate::SimdBackend;

    /// Rows long enough for the bound: random, rising, falling, constant, with NaN and infinities, few large among equal ones.
    #[test]
    fn the_order_is_that_of_a_stable_sort() {
        let random = |at: usize| f64::from((at as u32).wrapping_mul(2_654_435_761) >> 20);
        let rows: [&dyn Fn(usize) -> f64; 9] = [
            &random,
            &|at| at as f64,
            &|at| -(at as f64),
            &|_| 1.0,
            &|at| if at % 7 == 3 { f64::NAN } else { random(at) },
            &|at| [f64::NEG_INFINITY, f64::INFINITY][usize::from(at % 300 == 299)],
            &|at| f64::from(u8::from(at % 97 == 96)),
            &|at| [0.0, -0.0, -1.0][at % 3],
            &|at| if at % 5 == 2 { -f64::NAN } else { -random(at) },
        ];
        for (precision, isa) in [("f32", IsaChoice::Auto), ("f64", IsaChoice::Auto), ("f32", IsaChoice::Scalar)] {
            let precision: Precision = precision.parse().unwrap();
            let engine = SimdBackend::new(&EngineConfig { isa, ..EngineConfig::new(precision, 1) }).unwrap();
            for ((row, width), k) in
                rows.iter().flat_map(|row| [(row, 129), (row, 768), (row, 9000)]).flat_map(|row| [1, 8, 31, 128, 129].map(|k| (row, k)))
            {
                let x: Vec<f64> = (0..width).map(row).collect();
                let on_engine = engine.upload(&HostTensor::new(&[1, width], x.clone()).unwrap(), engine.storage()).unwrap();
                let mut values = engine.tensor(engine.storage(), &[1, k]).unwrap();
                let mut indices = engine.tensor(DType::I32, &[1, k]).unwrap();
                engine.top_k(on_engine.view(), values.view_mut(), indices.view_mut()).unwrap();
                let mut order: Vec<usize> = (0..width).collect();
                order.sort_by(|&a, &b| match (x[a].is_nan(), x[b].is_nan()) {
                    (false, false) => x[b].partial_cmp(&x[a]).unwrap(),
                    (a, b) => b.cmp(&a),
                });
                let found = engine.download(indices.view()).unwrap();
                let expected: Vec<f64> = order[..k].iter().map(|&at| at as f64).collect();
                assert_eq!(found.values(), expected, "{k} of {width}");
            }
        }
    }
}
