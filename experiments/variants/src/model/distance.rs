//! Biases by distance: tables [heads, 2 n - 1] whose entry `key - query + n - 1` is added to a score.

use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;

/// Buckets of T5's relative positions.
pub(super) const T5_BUCKETS: usize = 32;
/// Distances from here on share the last bucket.
const T5_FARTHEST: f64 = 128.0;

/// -slope |distance|, slopes 2^(-8/heads), 2^(-16/heads), .. (Press et al. 2022, section 3).
pub(super) fn alibi(heads: usize, n: usize) -> Result<HostTensor> {
    let slope = |head: usize| 2f64.powf(-8.0 * (head + 1) as f64 / heads as f64);
    let values = (0..heads).flat_map(|head| (0..2 * n - 1).map(move |at| -slope(head) * at.abs_diff(n - 1) as f64)).collect();
    HostTensor::new(&[heads, 2 * n - 1], values)
}

/// The trained values of the buckets that the distances fall into.
pub(super) fn t5(buckets: &HostTensor, heads: usize, n: usize, both_ways: bool) -> Result<HostTensor> {
    if buckets.shape() != [heads, T5_BUCKETS] {
        return Err(shape_error("model", format!("relative_bias.buckets is {:?}, expected [{heads}, {T5_BUCKETS}]", buckets.shape())));
    }
    let value = |head: usize, at: usize| buckets.values()[head * T5_BUCKETS + t5_bucket(at as i64 - (n as i64 - 1), both_ways)];
    HostTensor::new(&[heads, 2 * n - 1], (0..heads * (2 * n - 1)).map(|at| value(at / (2 * n - 1), at % (2 * n - 1))).collect())
}

/// Raffel et al. (2020), section 2.1: half of the buckets for exact distances, the rest in logarithmic steps up to 128; an encoder splits
/// them between both directions, a decoder has all of them for the past.
pub(super) fn t5_bucket(distance: i64, both_ways: bool) -> usize {
    let (offset, buckets, distance) = if both_ways {
        let half = T5_BUCKETS / 2;
        (if distance > 0 { half } else { 0 }, half, distance.unsigned_abs())
    } else {
        (0, T5_BUCKETS, (-distance).max(0) as u64)
    };
    let exact = buckets / 2;
    if distance < exact as u64 {
        return offset + distance as usize;
    }
    let share = (distance as f64 / exact as f64).ln() / (T5_FARTHEST / exact as f64).ln();
    offset + (exact + (share * (buckets - exact) as f64) as usize).min(buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_exact_near_by_and_shared_far_away() {
        assert_eq!([0, -1, -7, -8, -15, -16, -127, -500].map(|d| t5_bucket(d, true)), [0, 1, 7, 8, 9, 10, 15, 15]);
        assert_eq!([1, 7, 8, 500].map(|d| t5_bucket(d, true)), [17, 23, 24, 31]);
        assert_eq!([5, 0, -1, -15, -16, -127, -128].map(|d| t5_bucket(d, false)), [0, 0, 1, 15, 16, 31, 31]);
    }

    #[test]
    fn slopes_fall_geometrically_and_biases_with_the_distance() {
        let table = alibi(8, 3).unwrap();
        assert_eq!(table.values()[..5], [-1.0, -0.5, 0.0, -0.5, -1.0]);
        assert_eq!(table.values()[7 * 5..7 * 5 + 2], [-2.0 / 256.0, -1.0 / 256.0]);
    }
}
