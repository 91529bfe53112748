//! Few rows with panels of codes, as a decoder's steps are: codes become numbers in registers and meet x there.
//!
//! Bound by reading the codes once. Scales of groups are applied to the sums of a group, not to its weights, which takes one multiply-add
//! for a group instead of one multiplication for a weight. Where a row is alone, four chains of sums cover the latency of the multiply-add.
//!
//! # What bounds it
//! int4 has the least time: 128 bytes are 16 vectors of weights, each of which takes a shift, a look-up and a multiply-add.

use std::marker::PhantomData;
use std::ops::Range;

use super::codes::Panels;
use super::decode::{Decoder, WithDecoder, with_decoder};
use super::tile::{Finish, Sums};
use super::{Product, Right};
use crate::isa::Kernel;
use crate::vector::Vector;

/// Rows that meet a panel together, as many as leave registers for the codes.
const ROWS_TOGETHER: usize = 4;
/// The most rows; more are worth widening a panel once for all of them.
const MOST_ROWS: usize = 2 * ROWS_TOGETHER;

/// Some columns of a product with few rows.
pub(super) struct Stream<'a> {
    pub(super) product: &'a Product<Right<'a>>,
    pub(super) columns: Range<usize>,
    /// Room for the rows of x.
    pub(super) scratch: &'a mut [f32],
}

/// Can it be done by this kernel? A word must not straddle two groups.
pub(super) fn suits(product: &Product<Right<'_>>) -> bool {
    match &product.right {
        Right::Panels(panels) => {
            let whole = panels.scales.is_none() || panels.group >= panels.k || panels.group.is_multiple_of(panels.code.steps());
            product.m <= MOST_ROWS && whole
        }
        Right::Plain(_) => false,
    }
}

/// Elements of scratch.
pub(super) fn scratch(product: &Product<Right<'_>>) -> usize {
    MOST_ROWS * product.k.next_multiple_of(16)
}

impl Kernel<f32> for Stream<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) {
        let (product, width) = (self.product, 2 * V::LANES);
        let Right::Panels(panels) = &product.right else { return };
        let distance = product.k.next_multiple_of(16);
        for row in 0..product.m {
            // SAFETY: whoever made the product has checked that its matrices are inside their buffers.
            unsafe { product.a.load::<V>(row, &mut self.scratch[row * distance..][..product.k]) };
        }
        // Each panel overwrites the rows that are finished.
        let mut sums = Sums::zeros();
        for column in self.columns.clone().step_by(width) {
            for first in (0..product.m).step_by(ROWS_TOGETHER) {
                let one = OnePanel::<V> {
                    panels,
                    panel: column / width,
                    x: &self.scratch[first * distance..],
                    first,
                    rows: ROWS_TOGETHER.min(product.m - first),
                    sums: &mut sums,
                    vectors: PhantomData,
                };
                with_decoder(panels, one);
            }
            let columns = width.min(self.columns.end - column);
            let finish = Finish {
                alpha: product.alpha,
                beta: product.beta,
                activation: product.activation,
                bias: product.bias.map(|bias| bias.from(0, column)),
                row_scales: None,
                columns: None,
            };
            // SAFETY: likewise.
            unsafe { sums.finish::<V>([product.m, columns], false, &product.c.from(0, column), &finish) };
        }
    }
}

struct OnePanel<'a, V> {
    panels: &'a Panels<'a>,
    panel: usize,
    x: &'a [f32],
    /// Its first row among the product's.
    first: usize,
    rows: usize,
    sums: &'a mut Sums,
    vectors: PhantomData<V>,
}

impl<V: Vector<Element = f32>> WithDecoder for OnePanel<'_, V> {
    #[inline(always)]
    fn run<D: Decoder>(self, decoder: D) {
        match self.rows {
            1 => self.rows::<D, 1, 4>(decoder),
            2 => self.rows::<D, 2, 2>(decoder),
            _ => self.rows::<D, ROWS_TOGETHER, 1>(decoder),
        }
    }
}

impl<V: Vector<Element = f32>> OnePanel<'_, V> {
    /// `ROWS` rows (of which the last may be none of the product's), with so many chains of sums for each.
    #[inline(always)]
    fn rows<D: Decoder, const ROWS: usize, const CHAINS: usize>(self, decoder: D) {
        let (panels, width) = (self.panels, 2 * V::LANES);
        let (words, scales) = (panels.panel(self.panel, width), panels.scales_of(self.panel, width));
        let distance = panels.k.next_multiple_of(16);
        let mut totals = [[V::zero(); 2]; ROWS];
        for (group, first) in (0..panels.k).step_by(panels.group).enumerate() {
            let end = panels.k.min(first + panels.group);
            let mut sums = [[[V::zero(); 2]; ROWS]; CHAINS];
            let whole = (end - first) / D::STEPS;
            for word in 0..whole {
                let at = first + word * D::STEPS;
                let x = &self.x[at..];
                // SAFETY: whole words of the panel; x has a room of its own for each of `ROWS` rows, `distance` apart.
                unsafe {
                    add_word::<V, D, ROWS, CHAINS>(decoder, words.add(at / D::STEPS * width), x.as_ptr(), distance, D::STEPS, &mut sums)
                };
            }
            let rest = end - first - whole * D::STEPS;
            if rest > 0 {
                let at = first + whole * D::STEPS;
                let x = &self.x[at..];
                // SAFETY: likewise.
                unsafe { add_word::<V, D, ROWS, CHAINS>(decoder, words.add(at / D::STEPS * width), x.as_ptr(), distance, rest, &mut sums) };
            }
            for row in 0..ROWS {
                for vector in 0..2 {
                    let mut sum = sums[0][row][vector];
                    for chain in &sums[1..] {
                        sum = sum.add(chain[row][vector]);
                    }
                    let total = &mut totals[row][vector];
                    *total = match scales {
                        // SAFETY: a scale for each column of the panel and group.
                        Some(scales) => sum.mul_add(unsafe { V::load(scales.add(group * width + vector * V::LANES)) }, *total),
                        None => total.add(sum),
                    };
                }
            }
        }
        for (row, totals) in totals.iter().enumerate() {
            for (vector, &total) in totals.iter().enumerate() {
                // SAFETY: room for a vector.
                unsafe { total.store(self.sums.place::<V>(self.first + row, vector).cast()) };
            }
        }
    }
}

/// sums += x times the first `steps` steps of a row of words.
#[inline(always)]
unsafe fn add_word<V: Vector<Element = f32>, D: Decoder, const ROWS: usize, const CHAINS: usize>(
    decoder: D,
    row: *const u32,
    x: *const f32,
    distance: usize,
    steps: usize,
    sums: &mut [[[V; 2]; ROWS]; CHAINS],
) {
    /// Rows of words by which it reads ahead.
    const AHEAD: usize = 32;
    V::prefetch(row.wrapping_add(AHEAD * 2 * V::LANES).cast());
    V::prefetch(row.wrapping_add((AHEAD * 2 + 1) * V::LANES).cast());
    for step in 0..D::STEPS {
        if step >= steps {
            break;
        }
        // SAFETY: the caller's promises.
        unsafe {
            let weights = [decoder.value::<V>(row, 0, step), decoder.value::<V>(row, 1, step)];
            for at in 0..ROWS {
                let left = V::splat(*x.add(at * distance + step));
                let sums = &mut sums[step % CHAINS][at];
                sums[0] = left.mul_add(weights[0], sums[0]);
                sums[1] = left.mul_add(weights[1], sums[1]);
            }
        }
    }
}
