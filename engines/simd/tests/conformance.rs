//! The suite that every engine passes, on every path of this machine, with one thread and with several; and the proof that it would
//! notice on this engine, too.

use std::io::Write;

use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::conformance::mutants::{Fault, detected, survivors};
use crossover_core::conformance::{self, INT8_EXCUSES, Options};
use crossover_core::dtype::Precision;
use crossover_core::error::EngineError;
use crossover_core::isa::IsaChoice;
use crossover_simd::SimdBackend;

/// The engine on a path, or why the machine has none such.
fn has(isa: IsaChoice) -> Result<(), String> {
    match SimdBackend::new(&EngineConfig { isa, ..EngineConfig::new(Precision::F32, 1) }) {
        Ok(_) => Ok(()),
        Err(EngineError::Unsupported { reason, .. }) => Err(reason),
        Err(error) => panic!("{error}"),
    }
}

/// Told past the test's own output, which is shown for tests that fail only.
fn tell(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn conforms(isa: IsaChoice) {
    if let Err(reason) = has(isa) {
        return tell(&format!("simd is not held to conform on {isa} here: {reason}"));
    }
    for threads in [1, 2] {
        let report = conformance::run::<SimdBackend>(&Options { isa, threads, ..Options::from_environment() });
        println!("{isa} on {threads} thread(s)\n{report}");
        report.warnings().iter().for_each(|warning| tell(&format!("simd on {isa}, {threads} thread(s): {warning}")));
        report.assert_clean();
        report.assert_covers(&INT8_EXCUSES);
    }
}

#[test]
fn scalar_conforms() {
    conforms(IsaChoice::Scalar);
}

#[test]
fn avx2_conforms() {
    conforms(IsaChoice::Avx2);
}

#[test]
fn avx512_conforms() {
    conforms(IsaChoice::Avx512);
}

#[test]
fn amx_conforms() {
    conforms(IsaChoice::Amx);
}

/// What tiles multiply, and nothing else: short enough for an emulator (see NOTES.md).
#[test]
fn products_by_tiles_conform() {
    if let Err(reason) = has(IsaChoice::Amx) {
        return tell(&format!("simd's tiles are not held to conform here: {reason}"));
    }
    let precisions = ["bf16", "int8"].into_iter().filter_map(|name| name.parse().ok()).collect();
    let options = Options { isa: IsaChoice::Amx, precisions, only: vec!["matmul", "linear"], ..Options::from_environment() };
    let report = conformance::run::<SimdBackend>(&options);
    println!("{report}");
    report.assert_clean();
}

#[test]
fn neon_conforms() {
    conforms(IsaChoice::Neon);
}

/// A path that the machine lacks is not held above. So that none is skipped in silence, what is there is asked of the machine.
#[test]
fn the_paths_that_are_held_are_those_of_the_machine() {
    let held = |isa| has(isa).is_ok();
    assert!(held(IsaChoice::Scalar));
    #[cfg(target_arch = "x86_64")]
    {
        assert_eq!(held(IsaChoice::Avx2), is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"));
        assert_eq!(held(IsaChoice::Avx512), is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl"));
    }
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        // By the kernel's list and not by the engine's own question.
        let told = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags = ["amx_tile", "amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni"];
        let there = flags.iter().all(|flag| told.split_whitespace().any(|word| word == *flag));
        match has(IsaChoice::Amx) {
            Ok(()) => assert!(there),
            Err(reason) => assert!(!there || reason.contains("does not permit"), "{reason}"),
        }
    }
    assert_eq!(held(IsaChoice::Neon), cfg!(target_arch = "aarch64"));
    // What records name is a path that was held.
    let best = SimdBackend::describe().isa;
    let is_held = IsaChoice::ALL.into_iter().filter(|&isa| isa != IsaChoice::Auto && held(isa)).any(|isa| best.starts_with(isa.name()));
    assert!(is_held, "{best}");
}

#[test]
fn planted_faults_are_found() {
    let options = Options { threads: 2, ..Options::for_mutants() };
    let survivors = survivors::<SimdBackend>(&options);
    let (all, missed) = (Fault::all().count(), survivors.len());
    println!("{} of {all} faults found, missed {survivors:?}", all - missed);
    assert!(missed * 20 <= all, "{missed} of {all} faults were not noticed: {survivors:?}");
    for harmless in Fault::HARMLESS {
        let found = detected::<SimdBackend>(harmless, &options);
        assert!(found.is_none(), "{harmless:?}: {found:?}");
    }
}
