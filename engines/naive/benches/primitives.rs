//! The oracle's own speed at small sizes: it may be slow, but must not become absurd.

use crossover_benches::{Plan, timing};
use crossover_naive::NaiveBackend;

fn main() {
    let precisions = &["f64", "f32", "bf16", "f16", "int8", "int8-weight", "int4"];
    timing::run::<NaiveBackend>(&Plan { precisions, threads: &[1], most_flops: 50_000_000 });
}
