//! Reading and copying a working set over and over.
//!
//! The copy scales on its way (as STREAM's second kernel does): a plain copy would become the system's `memcpy`, whose small-size
//! strategies say more about that library than about the machine.

use std::hint::black_box;

/// A source and a destination that together make up the working set of a copy; reading goes over both as one.
pub struct Buffers {
    source: Vec<f64>,
    destination: Vec<f64>,
}

/// Sums kept side by side, so that reading is not bound by the latency of one addition.
const LANES: usize = 32;
/// Small sets are gone over until at least this much is moved, so that the loop around costs nothing.
const LEAST_BYTES: usize = 4 << 20;

impl Buffers {
    /// Two halves of a working set, touched.
    pub fn new(bytes: usize) -> Self {
        let elements = (bytes / 16).next_multiple_of(LANES).max(LANES);
        Self { source: vec![1.0; elements], destination: vec![2.0; elements] }
    }

    fn passes(&self) -> usize {
        LEAST_BYTES.div_ceil(16 * self.source.len())
    }

    /// Reads everything; returns the bytes read.
    pub fn read(&mut self) -> u64 {
        for _ in 0..self.passes() {
            for half in [&self.source, &self.destination] {
                black_box(sum(black_box(half)));
            }
        }
        (self.passes() * 16 * self.source.len()) as u64
    }

    /// Copies one half onto the other; returns the bytes read and written.
    pub fn copy(&mut self) -> u64 {
        for _ in 0..self.passes() {
            scale(black_box(&self.source), &mut self.destination, black_box(1.0));
            black_box(&mut self.destination);
        }
        (self.passes() * 16 * self.source.len()) as u64
    }
}

/// Defines a function that runs its body compiled for the widest registers that the processor has: with those of the target's baseline,
/// the first-level cache would look slower than it is.
macro_rules! widest {
    ($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty { $body:ident }) => {
        $(#[$doc])*
        fn $name($($argument: $type),*) -> $result {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512($($argument: $type),*) -> $result {
                    $body($($argument),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($argument: $type),*) -> $result {
                    $body($($argument),*)
                }
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has avx512f, as just detected.
                    return unsafe { avx512($($argument),*) };
                } else if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has avx2, as just detected.
                    return unsafe { avx2($($argument),*) };
                }
            }
            $body($($argument),*)
        }
    };
}

widest! {
    /// Sums in many lanes.
    fn sum(values: &[f64]) -> [f64; LANES] { sum_lanes }
}

widest! {
    /// destination = factor * source.
    fn scale(source: &[f64], destination: &mut [f64], factor: f64) -> () { scale_lanes }
}

#[inline(always)]
fn sum_lanes(values: &[f64]) -> [f64; LANES] {
    let mut sums = [0.0; LANES];
    for chunk in values.as_chunks::<LANES>().0 {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums
}

#[inline(always)]
fn scale_lanes(source: &[f64], destination: &mut [f64], factor: f64) {
    for (to, from) in destination.iter_mut().zip(source) {
        *to = factor * from;
    }
}
