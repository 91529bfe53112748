//! The suite that every engine passes, and the proof that it would notice.

use crossover_candle::CandleBackend;
use crossover_core::conformance::mutants::{Fault, survivors};
use crossover_core::conformance::{self, Options};

fn conforms_on(threads: usize) {
    let report = conformance::run::<CandleBackend>(&Options { threads, ..Options::from_environment() });
    println!("{report}");
    report.assert_clean();
}

#[test]
fn conforms_on_one_thread() {
    conforms_on(1);
}

#[test]
fn conforms_on_two_threads() {
    conforms_on(2);
}

#[test]
fn planted_faults_are_found() {
    let survivors = survivors::<CandleBackend>(&Options::for_mutants());
    let (all, missed) = (Fault::all().count(), survivors.len());
    println!("{} of {all} faults found, missed {survivors:?}", all - missed);
    assert!(missed * 20 <= all, "{missed} of {all} faults were not noticed: {survivors:?}");
}
