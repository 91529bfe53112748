//! The suite that every engine passes, on every path of this machine, with one thread and with several.

use crossover_core::conformance::{self, Options};
use crossover_core::isa::IsaChoice;
use crossover_simd::SimdBackend;

fn conforms(isa: IsaChoice, threads: usize) {
    let report = conformance::run::<SimdBackend>(&Options { isa, threads, ..Options::from_environment() });
    println!("{isa} on {threads} thread(s)\n{report}");
    report.assert_clean();
}

#[test]
fn scalar_conforms() {
    conforms(IsaChoice::Scalar, 1);
    conforms(IsaChoice::Scalar, 2);
}

// A path that the machine lacks is refused, and then there is nothing to hold.
#[test]
fn avx2_conforms() {
    conforms(IsaChoice::Avx2, 1);
    conforms(IsaChoice::Avx2, 2);
}

#[test]
fn avx512_conforms() {
    conforms(IsaChoice::Avx512, 1);
    conforms(IsaChoice::Avx512, 2);
}

#[test]
fn neon_conforms() {
    conforms(IsaChoice::Neon, 1);
    conforms(IsaChoice::Neon, 2);
}
