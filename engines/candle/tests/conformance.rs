//! The suite that every engine passes, and the proof that it would notice.

use candle_core::Device;
use crossover_candle::CandleBackend;
use crossover_candle::backend::Backend;
use crossover_candle::place::{Cpu, Place};
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::conformance::mutants::{Fault, survivors};
use crossover_core::conformance::{self, Excuse, INT8_EXCUSES, Options};
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::Side;

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
const GPU_EXCUSES: [Excuse; 9] = [
    Excuse { property: "approximate-exponentials", precisions: &ALL, reason: "tables of exponentials exist on the CPU only" },
    Excuse { property: "linear", precisions: &["int8"], reason: ON_CPU_ONLY },
    Excuse { property: "gated-ffn", precisions: &["int8"], reason: ON_CPU_ONLY },
    Excuse { property: "mixture", precisions: &["int8"], reason: ON_CPU_ONLY },
    Excuse { property: "cross-entropy", precisions: &["int8"], reason: ON_CPU_ONLY },
    Excuse { property: "gemm", precisions: &["int8"], reason: NO_WEIGHT },
    Excuse { property: "freivalds", precisions: &["int8"], reason: NO_WEIGHT },
    Excuse { property: "attention", precisions: &["int8"], reason: NO_WEIGHT },
    Excuse { property: "bucket-attention", precisions: &["int8"], reason: NO_WEIGHT },
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
fn on_a_gpu(precision: Precision) -> Option<crossover_candle::CandleCuda> {
    let engine = crossover_candle::CandleCuda::new(&EngineConfig::new(precision, 1));
    if let Err(error) = &engine {
        assert!(std::env::var_os("CROSSOVER_NEEDS_GPU").is_none(), "{error}");
        eprintln!("SKIPPED: {error}");
    }
    engine.ok()
}

#[cfg(feature = "cuda")]
#[test]
fn conforms_on_a_gpu() {
    if on_a_gpu(Precision::F32).is_none() {
        return;
    }
    let report = conformance::run::<crossover_candle::CandleCuda>(&Options::from_environment());
    println!("{report}");
    report.assert_clean();
    report.assert_covers(&GPU_EXCUSES);
}

fn numbers() -> HostTensor {
    HostTensor::new(&[4, 1024], (0..4096).map(|at| f64::from(at) - 2048.0).collect()).unwrap()
}

/// There and back, and what the device says that it held meanwhile.
#[cfg(feature = "cuda")]
#[test]
fn transfers_on_a_gpu() {
    for dtype in [DType::F64, DType::F32, DType::Bf16, DType::F16] {
        let precision = if dtype == DType::F64 { Precision::F64 } else { Precision::new(dtype, dtype, DType::F32) };
        let Some(engine) = on_a_gpu(precision) else { return };
        let sent = engine.upload(&numbers(), dtype).unwrap();
        let [mut host, mut back] = [0, 1].map(|_| engine.tensor(dtype, &[4, 1024]).unwrap());
        engine.take_device_peak().unwrap();
        engine.transfer(Side::Host, sent.view(), host.view_mut()).unwrap();
        engine.transfer(Side::Device, host.view(), back.view_mut()).unwrap();
        let [sent, host, back] = [&sent, &host, &back].map(|tensor| engine.download(tensor.view()).unwrap());
        assert_eq!((&host, &back), (&sent, &sent), "{dtype}");
        let held = engine.take_device_peak().unwrap().expect("a device with memory pools");
        assert!(held >= 2 * dtype.bytes(4096).unwrap() as u64, "{dtype}: {held} bytes");
    }
}

/// Where nothing can be transferred, nothing is copied in its place.
#[test]
fn a_transfer_within_the_host_is_refused() {
    fn refusal<P: Place>() -> String {
        let engine = Backend::<P>::new(&EngineConfig::new(Precision::F32, 1)).unwrap();
        let (x, mut out) = (engine.upload(&numbers(), DType::F32).unwrap(), engine.tensor(DType::F32, &[4, 1024]).unwrap());
        assert_eq!(engine.take_device_peak().unwrap(), None);
        engine.transfer(Side::Host, x.view(), out.view_mut()).unwrap_err().to_string()
    }
    assert!(refusal::<Cpu>().contains("tensors are in the host's memory"), "{}", refusal::<Cpu>());
    assert!(refusal::<Elsewhere>().contains("is on the Host side already"), "{}", refusal::<Elsewhere>());
}

#[test]
fn planted_faults_are_found() {
    let survivors = survivors::<CandleBackend>(&Options::for_mutants());
    let (all, missed) = (Fault::all().count(), survivors.len());
    println!("{} of {all} faults found, missed {survivors:?}", all - missed);
    assert!(missed * 20 <= all, "{missed} of {all} faults were not noticed: {survivors:?}");
}
