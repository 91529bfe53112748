//! The list of benchmarks on a real engine: every operation at its small shapes is one that can be called.

use crossover_benches::OPERATIONS;
use crossover_benches::calls::prepare;
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::dtype::Precision;
use crossover_core::support::Support;
use crossover_naive::NaiveBackend;

#[test]
fn every_small_benchmark_runs() {
    for precision in ["f32", "bf16", "int8", "int4"] {
        let precision: Precision = precision.parse().unwrap();
        let engine = NaiveBackend::new(&EngineConfig::new(precision, 1)).unwrap();
        // The first of each is the smallest.
        let mut called = 0;
        for case in OPERATIONS.iter().filter_map(|operation| operation.cases().next()).filter(|case| case.takes(precision)) {
            assert!(!matches!(engine.supports(&case.spec(precision)), Support::Unsupported(_)), "{case:?}");
            prepare(&engine, &case).and_then(|mut call| call()).unwrap_or_else(|error| panic!("{case:?}: {error}"));
            called += 1;
        }
        let is_plain = precision.weight == precision.activation && precision.activation.is_float();
        assert_eq!(called, if is_plain { OPERATIONS.len() } else { 2 }, "{precision}");
    }
}
