//! The vector engine at the operations and shapes for which it has targets.

use crossover_benches::{Plan, timing};
use crossover_simd::SimdBackend;

fn main() {
    let precisions = &["f32", "f64", "bf16", "int8", "int8-weight", "int4"];
    timing::run::<SimdBackend>(&Plan { precisions, threads: &[1, 2], most_flops: u64::MAX });
}
