//! What several test programs need.

/// Integers in -3..=3 without structure: whatever the order of summation, sums of them are exact.
pub fn integers(seed: usize, count: usize) -> Vec<f64> {
    let mut state = seed as u64 + 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % 7) as f64 - 3.0
        })
        .collect()
}
