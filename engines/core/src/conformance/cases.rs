//! Where cases come from: a seeded stream of sizes and values. The same seed, property, precision, case and limit give the same case.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::pattern::{AttentionPattern, BlockBitmap};

/// Extents around every width that kernels like.
pub(super) const SIZES: [usize; 19] = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129];

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fill {
    /// Bell-shaped around 0.
    Normal(f64),
    /// Bell-shaped with deviation 1 around a mean.
    Around(f64),
    /// Whole numbers from minus to plus this.
    Integers(usize),
    /// Between 0 and this.
    Positive(f64),
}

/// The stream of one case.
#[derive(Debug, Clone)]
pub(super) struct Source {
    stream: ChaCha8Rng,
    /// Which entry of the sizes is this case's turn.
    turn: usize,
    limit: usize,
    work: usize,
}

impl Source {
    pub(super) fn new(seed: u64, name: &str, case: usize, limit: usize, work: usize) -> Self {
        let start = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut stream = ChaCha8Rng::seed_from_u64(seed ^ start);
        stream.set_stream(case as u64);
        // Each property and precision starts elsewhere in the list, so that a short run sees all of it, too.
        Self { stream, turn: case.wrapping_add(start as usize >> 8), limit, work }
    }

    /// A stream of its own, for things that must be drawn alike twice.
    pub(super) fn fork(seed: u64) -> Self {
        Self { stream: ChaCha8Rng::seed_from_u64(seed), turn: 0, limit: 0, work: 0 }
    }

    pub(super) fn seed(&mut self) -> u64 {
        self.stream.next_u64()
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.stream.next_u64() % bound.max(1) as u64) as usize
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn choose<T: Clone>(&mut self, options: &[T]) -> T {
        options[self.below(options.len())].clone()
    }

    /// Uniform in -1..1.
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.stream.next_u64() >> 11) as f64).mul_add(2f64.powi(-52), -1.0)
    }

    pub(super) fn value(&mut self, fill: Fill) -> f64 {
        match fill {
            // Three uniforms are bell enough, and bounded. Their variance is 1.
            Fill::Normal(deviation) => deviation * (self.uniform() + self.uniform() + self.uniform()),
            Fill::Around(mean) => mean + self.value(Fill::Normal(1.0)),
            Fill::Integers(bound) => self.below(2 * bound + 1) as f64 - bound as f64,
            Fill::Positive(bound) => 0.5 * bound * (self.uniform() + 1.0),
        }
    }

    pub(super) fn values(&mut self, fill: Fill, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.value(fill)).collect()
    }

    pub(super) fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for at in (1..count).rev() {
            order.swap(at, self.below(at + 1));
        }
        order
    }

    /// One extent of the list, at least and at most this.
    pub(super) fn size(&mut self, least: usize, most: usize) -> usize {
        let most = most.min(self.limit.max(least));
        let fitting: Vec<usize> = SIZES.into_iter().filter(|size| (least..=most).contains(size)).collect();
        if fitting.is_empty() { least } else { self.choose(&fitting) }
    }

    /// Extents of the list, each at least so much, whose product stays within the work of a case. One of them is the list's next.
    pub(super) fn sizes<const N: usize>(&mut self, least: [usize; N]) -> [usize; N] {
        self.sizes_within(least, self.work)
    }

    /// The same for less work.
    pub(super) fn sizes_within<const N: usize>(&mut self, least: [usize; N], work: usize) -> [usize; N] {
        let mut sizes = least.map(|least| self.size(least, usize::MAX));
        let turn = self.below(N);
        let next = SIZES[self.turn % SIZES.len()];
        if (least[turn]..=self.limit.max(least[turn])).contains(&next) {
            sizes[turn] = next;
        }
        loop {
            let product: usize = sizes.iter().map(|&size| size.max(1)).product();
            let reducible = (0..N).filter(|&axis| axis != turn && sizes[axis] > least[axis].max(1));
            let Some(largest) = reducible.max_by_key(|&axis| sizes[axis]).filter(|_| product > work) else { return sizes };
            sizes[largest] = SIZES.into_iter().rev().find(|&size| size < sizes[largest]).unwrap_or(1).max(least[largest]);
        }
    }

    /// A pattern of any kind, with parameters near the edges of a few dozen positions.
    pub(super) fn pattern(&mut self) -> AttentionPattern {
        let (near, far) = (self.below(4), self.below(40));
        match self.below(9) {
            0 => AttentionPattern::Full,
            1 | 2 => AttentionPattern::Causal,
            3 => AttentionPattern::Window { left: far, right: near },
            4 => AttentionPattern::Window { left: near, right: far },
            5 => AttentionPattern::Dilated { left: near + 1, right: near, dilation: self.below(4) + 1 },
            6 => AttentionPattern::Strided { stride: near + 2 },
            7 => AttentionPattern::GlobalWindow { global: near, left: near, right: near + 1, dilation: 1 + far % 3 },
            _ if self.one_in(2) => AttentionPattern::Fixed { block: far + 1, summary: near },
            _ => {
                let (block, salt) = (self.choose(&[4, 16, 64]), self.below(3));
                let rows = 256 / block;
                AttentionPattern::Blocks(std::sync::Arc::new(BlockBitmap::new(block, rows, rows, |row, column| {
                    (row + column + salt) % 3 != 1
                })))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_drawn_again_from_its_coordinates() {
        let draw = |case| {
            let mut source = Source::new(1, "gemm f32", case, 129, 1000);
            (source.sizes([0, 1, 2]), source.values(Fill::Normal(1.0), 3), source.permutation(5))
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn every_size_has_its_turn_and_limits_hold() {
        let mut seen = std::collections::BTreeSet::new();
        for case in 0..200 {
            let mut source = Source::new(1, "x", case, 129, 500);
            let sizes = source.sizes([0, 1]);
            assert!(sizes[1] >= 1);
            seen.extend(sizes);
            let small = Source::new(1, "x", case, 3, 500).sizes([0, 1]);
            assert!(small.iter().all(|&size| size <= 3));
        }
        assert!(SIZES.iter().all(|size| seen.contains(size)));
    }
}
