//! What every engine must pass: random cases against f64, invariants, planted faults. One suite, generic over the engine.
//!
//! # Five lines for a new engine
//! Switch on the feature in the engine's dev-dependencies (`crossover-core = { workspace = true, features = ["conformance"] }`), then:
//!
//! ```text
//! #[test]
//! fn conforms() {
//!     let report = crossover_core::conformance::run::<MyBackend>(&Options::from_environment());
//!     println!("{report}");
//!     report.assert_clean();
//!     report.assert_covers(&[]);
//! }
//! ```
//!
//! and, so that the suite is seen to work on this engine, `mutants::survivors::<MyBackend>(&Options::for_mutants())`, which should be
//! nearly empty. (A fault in something that the engine refuses cannot show; such survivors are listed in the engine's test.)
//!
//! [`Report::assert_covers`] wants an [`Excuse`] for every property that the engine refuses at a precision, so that nothing is left out in
//! silence. `Options` tell what may differ between engines, with the reason. A failure names its property, precision, case and limit; the
//! same options with [`Options::only`] set to the property draw it again.
//!
//! # How it works
//! A *property* is a function that draws one case from a seeded source (`cases.rs`) and checks it on one engine at one precision.
//! Operands are put into larger buffers at odd places: strided, transposed, broadcast, misaligned, with NaN around what is read and
//! guard values around what is written (`place.rs`). References are plain f64 loops over host vectors that share nothing with engines.
//! Every answer of `supports` is held: what is unsupported must be an error when called, everything else must be within tolerance.
//!
//! A failing case is drawn again under smaller and smaller limits, and the smallest that still fails is reported.
//!
//! | file | properties of CONFORMANCE |
//! |---|---|
//! | `gemm.rs` | 1, 2, 3, 6, 7 |
//! | `linear.rs`, `forms.rs` | 1, 2, 7 with weights in every form |
//! | `softmax.rs`, `log_softmax.rs` | 8, 9, 10 |
//! | `attention/` | 11 to 17 |
//! | `fused.rs`, `cross_entropy.rs`, `mixture.rs`, `norm.rs` | 18, 19, and the compositions |
//! | `elementwise.rs`, `exponentials.rs`, `rows.rs` | the small operations |
//! | `determinism.rs` | 20, and warm calls |
//! | `refusals.rs`, `attention/refusals.rs` | what must be a typed error, the same on every engine |
//! | `place.rs`, `cases.rs` | 4 and 5, under all of the others |
//!
//! # What it leaves out
//! The floating-point control register itself is not read, which needs unsafe code: that rounding and subnormals behave as before a
//! call is checked instead. Integer indices as counts beyond i32 are not tried. Speed is not looked at.

mod attention;
mod cases;
mod compare;
mod coverage;
mod cross_entropy;
mod determinism;
mod elementwise;
mod exponentials;
mod forms;
mod fused;
mod gemm;
mod linear;
mod log_softmax;
mod mixture;
pub mod mutants;
mod norm;
mod options;
mod place;
mod refusals;
mod report;
mod rows;
mod softmax;
mod trial;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use coverage::{Excuse, INT8_EXCUSES, Refusals};
pub use options::Options;
pub use report::{Cell, Failure, Report};

use crate::backend::{EngineConfig, TransformerBackend};
use crate::dtype::Precision;
use crate::error::EngineError;
use cases::Source;
use report::Ledger;
use trial::{Outcome, Stop, Trial};

/// One thing that must hold.
struct Property<B: TransformerBackend> {
    name: &'static str,
    /// The operation whose tolerance it uses, and by which it can be selected.
    operation: &'static str,
    check: fn(&mut Trial<'_, B>) -> Outcome,
}

/// How much of the case list a property sees: expensive ones see less.
fn cases_of<B: TransformerBackend>(property: &Property<B>, options: &Options) -> usize {
    match property.name {
        "freivalds" => options.cases.div_ceil(12),
        "ten-repeats" | "threads" => options.cases.div_ceil(3),
        _ => options.cases,
    }
}

fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    let mut all = Vec::new();
    all.extend(gemm::properties());
    all.extend(linear::properties());
    all.extend(forms::properties());
    all.extend(softmax::properties());
    all.extend(log_softmax::properties());
    all.extend(norm::properties());
    all.extend(elementwise::properties());
    all.extend(exponentials::properties());
    all.extend(rows::properties());
    all.extend(attention::properties());
    all.extend(fused::properties());
    all.extend(cross_entropy::properties());
    all.extend(mixture::properties());
    all.extend(determinism::properties());
    all.extend(refusals::properties());
    all
}

/// What is told while a suite runs.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A property is tried at a precision.
    Begins(&'static str, Precision),
    /// Something is wrong.
    Failed(&'a Failure),
}

/// Runs every property at every precision.
pub fn run<B: TransformerBackend>(options: &Options) -> Report {
    run_telling::<B>(options, &mut |_| {})
}

/// The same, and tells how far it is: of a suite that ends this process there is no report.
pub fn run_telling<B: TransformerBackend>(options: &Options, tell: &mut dyn FnMut(Event<'_>)) -> Report {
    let mut report = Report::new(B::describe().name);
    let properties = properties::<B>();
    for &precision in &options.precisions {
        let config = EngineConfig { isa: options.isa, ..EngineConfig::new(precision, options.threads) };
        let engine = match B::new(&config) {
            Ok(engine) => engine,
            Err(EngineError::Unsupported { .. }) => {
                report.refused.insert(format!("everything at {precision}"));
                properties.iter().for_each(|property| report.coverage.note(property.name, precision, false));
                continue;
            }
            Err(error) => {
                report.fail(Failure::of_engine(precision, &error), tell);
                continue;
            }
        };
        if engine.threads_used() > options.threads {
            let message = format!("{} threads are used where {} were granted", engine.threads_used(), options.threads);
            report.fail(Failure { message, ..Failure::of_property("threads", "engine", precision) }, tell);
        }
        for property in properties.iter().filter(|property| options.wants(property.name, property.operation)) {
            tell(Event::Begins(property.name, precision));
            check_property(&engine, property, options, &mut report, tell);
            if options.stop_at_first && !report.failures.is_empty() {
                return report;
            }
        }
    }
    report
}

fn check_property<B: TransformerBackend>(
    engine: &B,
    property: &Property<B>,
    options: &Options,
    report: &mut Report,
    tell: &mut dyn FnMut(Event<'_>),
) {
    let precision = engine.config().precision;
    for case in 0..cases_of(property, options) {
        report.cases += 1;
        let outcome = attempt(engine, property, options, case, options.largest, &mut report.ledger);
        report.coverage.note(property.name, precision, !matches!(outcome, Err(Stop::Refused)));
        match outcome {
            Ok(()) => {}
            Err(Stop::Refused) => {
                report.refused.insert(format!("{} at {precision}", property.operation));
            }
            Err(Stop::Failed(message)) => {
                let first =
                    Failure { message, case, limit: options.largest, ..Failure::of_property(property.name, property.operation, precision) };
                let failure = if options.shrink { shrunk(engine, property, options, first) } else { first };
                report.fail(failure, tell);
                // One failure of a property at a precision is enough: the others would say the same.
                return;
            }
        }
    }
}

/// The same property under the smallest limit on sizes that still fails.
fn shrunk<B: TransformerBackend>(engine: &B, property: &Property<B>, options: &Options, first: Failure) -> Failure {
    const ATTEMPTS: usize = 8;
    let limits = cases::SIZES.into_iter().filter(|&limit| limit > 0 && limit < first.limit);
    for (limit, case) in limits.flat_map(|limit| (first.case..first.case + ATTEMPTS).map(move |case| (limit, case))) {
        if let Err(Stop::Failed(message)) = attempt(engine, property, options, case, limit, &mut Ledger::default()) {
            return Failure { message, case, limit, ..first };
        }
    }
    first
}

/// One case. A panic of the engine is a failure like any other.
fn attempt<B: TransformerBackend>(
    engine: &B,
    property: &Property<B>,
    options: &Options,
    case: usize,
    limit: usize,
    ledger: &mut Ledger,
) -> Outcome {
    let name = format!("{} {}", property.name, engine.config().precision);
    let source = Source::new(options.seed, &name, case, limit, options.work);
    let mut trial = Trial::new(engine, options, property.operation, source, ledger);
    let checked = || (property.check)(&mut trial).and_then(|()| trial.nothing_is_kept());
    catch_unwind(AssertUnwindSafe(checked)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Stop::Failed(format!("it panicked: {}", text.unwrap_or("no message"))))
    })
}
