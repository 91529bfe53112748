//! The suite that every engine passes, and the proof that it would notice.

use crossover_core::conformance::mutants::{Fault, detected, survivors};
use crossover_core::conformance::{self, INT8_EXCUSES, Options};
use crossover_naive::NaiveBackend;

/// It visits single pairs: what the pattern hides is not read at all.
fn options(options: Options) -> Options {
    Options { skips_single_pairs: true, ..options }
}

#[test]
fn conforms() {
    let report = conformance::run::<NaiveBackend>(&options(Options::from_environment()));
    println!("{report}");
    report.assert_clean();
    report.assert_covers(&INT8_EXCUSES);
}

#[test]
fn planted_faults_are_found() {
    let survivors = survivors::<NaiveBackend>(&options(Options::for_mutants()));
    let (all, missed) = (Fault::all().count(), survivors.len());
    println!("{} of {all} faults found, missed {survivors:?}", all - missed);
    assert!(missed * 20 <= all, "{missed} of {all} faults were not noticed: {survivors:?}");
}

#[test]
fn what_is_no_fault_is_not_found() {
    for harmless in Fault::HARMLESS {
        // The composition multiplies whole tiles.
        let found = detected::<NaiveBackend>(harmless, &Options { skips_single_pairs: false, ..Options::for_mutants() });
        assert!(found.is_none(), "{harmless:?}: {found:?}");
    }
}
