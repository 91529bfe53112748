//! The suite that every engine passes, with one thread and with several.

use crossover_core::conformance::{self, Options};
use crossover_faer::FaerBackend;

#[test]
fn conforms() {
    for threads in [1, 2] {
        let report = conformance::run::<FaerBackend>(&Options { threads, ..Options::from_environment() });
        println!("{threads} thread(s)\n{report}");
        report.assert_clean();
    }
}
