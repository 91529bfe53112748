//! The suite that every engine passes, and the proof that it would notice.

use candle_core::Device;
use crossover_candle::CandleBackend;
use crossover_candle::backend::Backend;
use crossover_candle::place::Place;
use crossover_core::conformance::mutants::{Fault, survivors};
use crossover_core::conformance::{self, Excuse, INT8_EXCUSES, Options};
use crossover_core::error::Result;

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

/// What the engine refuses on a GPU.
const GPU_EXCUSES: [Excuse; 6] = [
    Excuse { property: "approximate-exponentials", precisions: &ALL, reason: "tables of exponentials exist on the CPU only" },
    Excuse { property: "linear", precisions: &["int8"], reason: ON_CPU_ONLY },
    Excuse { property: "gated-ffn", precisions: &["int8"], reason: ON_CPU_ONLY },
    Excuse { property: "gemm", precisions: &["int8"], reason: NO_WEIGHT },
    Excuse { property: "freivalds", precisions: &["int8"], reason: NO_WEIGHT },
    Excuse { property: "attention", precisions: &["int8"], reason: NO_WEIGHT },
];
const ALL: [&str; 8] = ["f64", "f32", "bf16", "f16", "int8", "int8-weight", "int4", "bf16-weight"];
const ON_CPU_ONLY: &str = "rows are quantised to int8 on the CPU only";
const NO_WEIGHT: &str = "products of two activations have no weight to quantise";

/// The engine as it answers for a GPU, on the host: what it refuses there is known without one.
#[derive(Debug)]
struct Elsewhere;

impl Place for Elsewhere {
    const NAME: &'static str = "candle-elsewhere";
    const SUMMARY: &'static str = "on the CPU, with a GPU's refusals";

    fn device() -> Result<Device> {
        Ok(Device::Cpu)
    }

    fn isa() -> &'static str {
        "none"
    }
}

#[test]
fn refuses_on_a_gpu_what_is_excused() {
    let report = conformance::run::<Backend<Elsewhere>>(&Options::from_environment());
    report.assert_clean();
    report.assert_covers(&GPU_EXCUSES);
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
    report.assert_covers(&GPU_EXCUSES);
}

#[test]
fn planted_faults_are_found() {
    let survivors = survivors::<CandleBackend>(&Options::for_mutants());
    let (all, missed) = (Fault::all().count(), survivors.len());
    println!("{} of {all} faults found, missed {survivors:?}", all - missed);
    assert!(missed * 20 <= all, "{missed} of {all} faults were not noticed: {survivors:?}");
}
