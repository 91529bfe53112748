//! The suite that every engine passes, and the proof that it would notice.

use crossover_candle::CandleBackend;
use crossover_core::conformance::mutants::{Fault, survivors};
use crossover_core::conformance::{self, INT8_EXCUSES, Options};

fn conforms_on(threads: usize) {
    let report = conformance::run::<CandleBackend>(&Options { threads, ..Options::from_environment() });
    println!("{report}");
    report.assert_clean();
    report.assert_covers(&INT8_EXCUSES);
}

#[test]
fn conforms_on_one_thread() {
    conforms_on(1);
}

#[test]
fn conforms_on_two_threads() {
    conforms_on(2);
}

/// Where there is no device this says so and passes, unless `CROSSOVER_NEEDS_GPU` is set, as it is where a GPU is measured.
#[cfg(feature = "cuda")]
#[test]
fn conforms_on_a_gpu() {
    use crossover_core::backend::{EngineConfig, TransformerBackend};
    use crossover_core::dtype::Precision;

    if let Err(error) = crossover_candle::CandleCuda::new(&EngineConfig::new(Precision::F32, 1)) {
        assert!(std::env::var_os("CROSSOVER_NEEDS_GPU").is_none(), "{error}");
        eprintln!("SKIPPED: {error}");
        return;
    }
    let report = conformance::run::<crossover_candle::CandleCuda>(&Options::from_environment());
    println!("{report}");
    report.assert_clean();
}

#[test]
fn planted_faults_are_found() {
    let survivors = survivors::<CandleBackend>(&Options::for_mutants());
    let (all, missed) = (Fault::all().count(), survivors.len());
    println!("{} of {all} faults found, missed {survivors:?}", all - missed);
    assert!(missed * 20 <= all, "{missed} of {all} faults were not noticed: {survivors:?}");
}
