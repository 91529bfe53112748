//! Products by faer, and everything around them.

use crossover_benches::{Plan, timing};
use crossover_faer::FaerBackend;

fn main() {
    timing::run::<FaerBackend>(&Plan { precisions: &["f32", "f64"], threads: &[1, 2], most_flops: u64::MAX });
}
