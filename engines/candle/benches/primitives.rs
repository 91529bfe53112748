//! Candle's tensors on the CPU; on a device too, where the build has one.

use crossover_benches::{Plan, timing};

fn main() {
    let precisions = &["f32", "f64", "bf16"];
    timing::run::<crossover_candle::CandleBackend>(&Plan { precisions, threads: &[1, 2], most_flops: u64::MAX });
    #[cfg(feature = "cuda")]
    timing::run::<crossover_candle::CandleCuda>(&Plan { precisions, threads: &[1], most_flops: u64::MAX });
    #[cfg(feature = "metal")]
    timing::run::<crossover_candle::CandleMetal>(&Plan { precisions, threads: &[1], most_flops: u64::MAX });
}
