//! Drawing inputs: from a seed to f64 values, the same bits on every machine.
//!
//! Each tensor has a stream of its own, keyed by the seed and the tensor's name, so that a variant with one more weight still gets the
//! same `q`, `k` and `v` as the others. The elementary functions come from `libm` (the crate), not from the operating system, because
//! two systems' logarithms may differ in the last bit.
//!
//! Distributions matter more than they look: Gaussian queries and keys give nearly flat attention, on which every approximation looks
//! good. `peaked` and `clustered` look more like trained attention.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::Result;
use crate::host::HostTensor;

/// How activations are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Independent standard normal.
    Gaussian,
    /// Standard normal times 4: score variance grows 256-fold, so softmax rows concentrate on few keys.
    Peaked,
    /// Standard normal times 64: logits in the hundreds, beyond what an unshifted exponential survives in f32.
    Extreme,
    /// Rows scatter closely around 8 random centres (spread 0.25): neighbours in content, as in trained attention.
    Clustered,
}

impl Distribution {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gaussian, Self::Peaked, Self::Clustered, Self::Extreme];

    /// The name used as an axis value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Peaked => "peaked",
            Self::Clustered => "clustered",
            Self::Extreme => "extreme",
        }
    }

    /// The distribution of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|distribution| distribution.name() == name)
    }
}

/// How one tensor is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    /// By the cell's distribution.
    Activation,
    /// Independent normal with this standard deviation (a weight matrix: 1 / sqrt(inputs)).
    Normal {
        /// Standard deviation.
        deviation: f64,
    },
    /// Normal around a mean (a norm's scale: 1 with deviation 0.1).
    Around {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        deviation: f64,
    },
    /// Whole numbers below a bound, uniformly.
    Below {
        /// The bound.
        bound: usize,
    },
}

const CLUSTERS: usize = 8;
const CLUSTER_SPREAD: f64 = 0.25;
const PEAK_FACTOR: f64 = 4.0;
const EXTREME_FACTOR: f64 = 64.0;

/// Draws a tensor. The last dimension is the row that clusters are made of.
pub fn draw(name: &str, shape: &[usize], how: Draw, distribution: Distribution, seed: u64) -> Result<HostTensor> {
    let mut normal = Normal::new(name, seed);
    let count = shape.iter().product();
    let values: Vec<f64> = match (how, distribution) {
        (Draw::Normal { deviation }, _) => (0..count).map(|_| deviation * normal.next()).collect(),
        (Draw::Around { mean, deviation }, _) => (0..count).map(|_| mean + deviation * normal.next()).collect(),
        (Draw::Below { bound }, _) => (0..count).map(|_| normal.below(bound.max(1)) as f64).collect(),
        (Draw::Activation, Distribution::Gaussian) => (0..count).map(|_| normal.next()).collect(),
        (Draw::Activation, Distribution::Peaked) => (0..count).map(|_| PEAK_FACTOR * normal.next()).collect(),
        (Draw::Activation, Distribution::Extreme) => (0..count).map(|_| EXTREME_FACTOR * normal.next()).collect(),
        (Draw::Activation, Distribution::Clustered) => clustered(&mut normal, count, shape.last().copied().unwrap_or(1)),
    };
    HostTensor::new(shape, values)
}

fn clustered(normal: &mut Normal, count: usize, width: usize) -> Vec<f64> {
    let centres: Vec<f64> = (0..CLUSTERS * width).map(|_| normal.next()).collect();
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let centre = normal.below(CLUSTERS) * width;
        for channel in 0..width {
            values.push(centres[centre + channel] + CLUSTER_SPREAD * normal.next());
        }
    }
    values
}

/// A stream of standard normal numbers by the Box-Muller transform.
struct Normal {
    stream: ChaCha8Rng,
    spare: Option<f64>,
}

impl Normal {
    fn new(name: &str, seed: u64) -> Self {
        let mut stream = ChaCha8Rng::seed_from_u64(seed);
        stream.set_stream(fnv1a(name));
        Self { stream, spare: None }
    }

    /// Uniform in (0, 1], 53 bits.
    fn uniform(&mut self) -> f64 {
        ((self.stream.next_u64() >> 11) + 1) as f64 * 2f64.powi(-53)
    }

    fn below(&mut self, bound: usize) -> usize {
        // The bias of a remainder is below 2^-60 for the bounds used here.
        (self.stream.next_u64() % bound as u64) as usize
    }

    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        let angle = std::f64::consts::TAU * self.uniform();
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }
}

/// 64-bit FNV-1a: names to stream numbers.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(name: &str, seed: u64) -> HostTensor {
        draw(name, &[64, 64], Draw::Activation, Distribution::Gaussian, seed).unwrap()
    }

    #[test]
    fn the_same_seed_and_name_give_the_same_bits() {
        assert_eq!(gaussian("q", 1), gaussian("q", 1));
        assert_ne!(gaussian("q", 1), gaussian("k", 1));
        assert_ne!(gaussian("q", 1), gaussian("q", 2));
    }

    #[test]
    fn the_first_values_never_change() {
        // Published results depend on these bits.
        let values = draw("q", &[3], Draw::Activation, Distribution::Gaussian, 1).unwrap();
        let bits: Vec<u64> = values.values().iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, FIRST_BITS, "{values:?}");
    }

    const FIRST_BITS: [u64; 3] = [13831384648629084555, 13827808700949764910, 4601471755091638693];

    #[test]
    fn moments_are_those_of_a_normal() {
        let values = gaussian("q", 3);
        let count = values.len() as f64;
        let mean = values.values().iter().sum::<f64>() / count;
        let variance = values.values().iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let fourth = values.values().iter().map(|value| (value - mean).powi(4)).sum::<f64>() / count;
        assert!(mean.abs() < 0.06 && (variance - 1.0).abs() < 0.1 && (fourth / variance.powi(2) - 3.0).abs() < 0.5);
    }

    #[test]
    fn clusters_are_close_inside_and_far_apart() {
        let rows = draw("k", &[200, 16], Draw::Activation, Distribution::Clustered, 5).unwrap();
        let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
        let rows: Vec<&[f64]> = rows.values().chunks(16).collect();
        let near = rows[1..].iter().filter(|row| distance(rows[0], row) < 16f64.sqrt() * CLUSTER_SPREAD * 2.5).count();
        // About 200 / 8 rows share the first row's centre.
        assert!((8..60).contains(&near), "{near}");
    }
}
