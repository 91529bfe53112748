//! The suite that every engine passes, with one thread and with several, and the proof that it would notice.

use crossover_core::conformance::mutants::{Fault, survivors};
use crossover_core::conformance::{self, Excuse, Options};
use crossover_faer::FaerBackend;

/// What the engine refuses, and why. Everything else must have been held, or the run is a failure.
const EXCUSES: [Excuse; 4] = [
    Excuse {
        property: "",
        precisions: &["bf16", "f16", "int8", "int8-weight", "int4", "bf16-weight"],
        reason: "faer has kernels for f64 and f32",
    },
    Excuse { property: "linear-sparse", precisions: &["f64", "f32"], reason: DENSE },
    Excuse { property: "linear-palette", precisions: &["f64", "f32"], reason: DENSE },
    Excuse { property: "linear-codes", precisions: &["f64", "f32"], reason: DENSE },
];
const DENSE: &str = "faer multiplies dense matrices";

#[test]
fn conforms() {
    for threads in [1, 2] {
        let report = conformance::run::<FaerBackend>(&Options { threads, ..Options::from_environment() });
        println!("{threads} thread(s)\n{report}");
        report.assert_clean();
        report.assert_covers(&EXCUSES);
    }
}

#[test]
fn planted_faults_are_found() {
    let survivors = survivors::<FaerBackend>(&Options::for_mutants());
    println!("{} of {} faults found", Fault::all().count() - survivors.len(), Fault::all().count());
    assert_eq!(survivors.iter().map(|fault| format!("{fault:?}")).collect::<Vec<_>>(), OUT_OF_SIGHT);
}

/// Faults that no engine of dense f64 and f32 can show: in forms of weights that it refuses, and in rounding to a narrower storage type.
const OUT_OF_SIGHT: [&str; 17] = [
    "MatmulTruncates",
    "LinearSharesInt8Scale",
    "LinearClampsInt8At126",
    "LinearTruncatesInt8",
    "LinearSharesRowScale",
    "LinearShiftsInt4Groups",
    "LinearSwapsInt4Halves",
    "LinearDropsLastStored",
    "LinearSwapsBlockSides",
    "LinearStartsBlockRowEarly",
    "LinearRepeatsFirstGroup",
    "LinearIgnoresPaletteScale",
    "LinearShiftsLevels",
    "NormSquaresInStorage",
    "CopyTruncates",
    "ReduceSumsInStorage",
    "CodesAreCut",
];
