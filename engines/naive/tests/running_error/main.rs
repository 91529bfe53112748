//! The running-error reference, calibrated: on the same calls, this engine's results are within the estimated errors, and use enough
//! of them.
//!
//! Each case is written once over the trait and run on both engines, at every precision, over several seeds. The largest share of
//! the tolerance (error over [`SLACK`] deviations) must be at most 1, and at least 1 % somewhere, or the estimate would notice nothing. In
//! f64 both may take the very same steps, and agree to the last bit.

mod cases;
mod run;

use crossover_core::activation::Activation;
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::conformance::{self, Options};
use crossover_core::dtype::{DType, PRECISION_PRESETS, Precision};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::{BinaryOp, UnaryOp};
use crossover_core::reference::running::{RunningBuffer, RunningError, SLACK};
use crossover_core::tensor::Tensor;
use crossover_naive::NaiveBackend;
use crossover_naive::buffer::NaiveBuffer;

use cases::{attentions, choices, inverse, products, rowwise};
use run::{Case, Run};

/// The share of the tolerance that must be used somewhere.
const LEAST: f64 = 0.01;

const UNARY: [UnaryOp; 20] = [
    UnaryOp::Exp,
    UnaryOp::Exp2,
    UnaryOp::ExpPolynomial { degree: 4 },
    UnaryOp::ExpTable { bits: 6 },
    UnaryOp::ExpTaylor { degree: 3 },
    UnaryOp::Log,
    UnaryOp::Sqrt,
    UnaryOp::Reciprocal,
    UnaryOp::Square,
    UnaryOp::Abs,
    UnaryOp::Cos,
    UnaryOp::Sin,
    UnaryOp::Tanh,
    UnaryOp::Sigmoid,
    UnaryOp::EluPlusOne,
    UnaryOp::Affine { scale: -1.7, shift: 0.3 },
    UnaryOp::Activation(Activation::Relu),
    UnaryOp::Activation(Activation::Gelu),
    UnaryOp::Activation(Activation::GeluTanh),
    UnaryOp::Activation(Activation::ReluSquared),
];

const BINARY: [BinaryOp; 6] =
    [BinaryOp::Add, BinaryOp::Subtract, BinaryOp::Multiply, BinaryOp::Divide, BinaryOp::Maximum, BinaryOp::Minimum];

/// How much of the tolerance one case uses.
#[derive(Default)]
struct Use {
    largest: f64,
    elements: usize,
    undetermined: usize,
}

impl Use {
    /// Compares a result with its reference, element by element.
    fn compare(&mut self, what: &str, found: &[f64], reference: &(HostTensor, HostTensor)) {
        for (at, (&found, (&expected, &deviation))) in found.iter().zip(reference.0.values().iter().zip(reference.1.values())).enumerate() {
            self.elements += 1;
            if deviation.is_infinite() {
                self.undetermined += 1;
            } else if found != expected && !(found.is_nan() && expected.is_nan()) {
                let share = (found - expected).abs() / (SLACK * deviation);
                assert!(share <= 1.0, "{what}, element {at}: {found} instead of {expected}, {share} of the tolerance");
                self.largest = self.largest.max(share);
            }
        }
    }
}

/// Runs a case on both engines, over a few seeds.
fn measure(
    what: &str,
    precision: Precision,
    naive_case: impl Fn(&Run<'_, NaiveBackend>) -> Result<Tensor<NaiveBuffer>>,
    reference_case: impl Fn(&Run<'_, RunningError>) -> Result<Tensor<RunningBuffer>>,
) -> Use {
    let config = EngineConfig::new(precision, 1);
    let (naive, reference) = (NaiveBackend::new(&config).unwrap(), RunningError::new(&config).unwrap());
    let mut used = Use::default();
    for seed in 0..4 {
        let Ok(found) = naive_case(&Run { engine: &naive, seed }) else { continue };
        let expected = reference_case(&Run { engine: &reference, seed }).unwrap();
        let found = naive.download(found.view()).unwrap();
        used.compare(&format!("{what} at {precision}"), found.values(), &reference.download_with_deviation(expected.view()).unwrap());
    }
    println!("{what:28} {precision:12} largest share {:.4}, undetermined {} of {}", used.largest, used.undetermined, used.elements);
    used
}

impl Use {
    /// Some of the tolerance must be used, and little may be undetermined.
    fn assert_telling(&self, what: &str, precision: Precision) {
        let idle = self.elements == 0 || precision.storage() == DType::F64;
        assert!(idle || self.largest >= LEAST, "{what} at {precision}: the tolerance is never used beyond {}", self.largest);
        assert!(self.undetermined * 4 <= self.elements, "{what} at {precision}: {} are undetermined", self.undetermined);
    }
}

fn calibrate_all(naive: Vec<(&'static str, Case<NaiveBackend>)>, reference: Vec<(&'static str, Case<RunningError>)>) {
    for ((what, naive), (_, reference)) in naive.into_iter().zip(reference) {
        for (_, precision) in PRECISION_PRESETS {
            measure(what, precision, naive, reference).assert_telling(what, precision);
        }
    }
}

#[test]
fn products_are_within_the_estimate() {
    calibrate_all(products(), products());
}

#[test]
fn attention_is_within_the_estimate() {
    calibrate_all(attentions(), attentions());
}

#[test]
fn rows_are_within_the_estimate() {
    calibrate_all(rowwise(), rowwise());
}

#[test]
fn choices_are_right_or_undetermined() {
    for ((what, naive), (_, reference)) in choices().into_iter().zip(choices()) {
        for (_, precision) in PRECISION_PRESETS {
            let used = measure(what, precision, naive, reference);
            let most = if precision.storage() == DType::Bf16 { 0.9 } else { 0.5 };
            assert!(used.undetermined as f64 <= most * used.elements as f64, "{what} at {precision}: {} undetermined", used.undetermined);
        }
    }
}

#[test]
fn functions_are_within_the_estimate() {
    fn of_one<B: TransformerBackend>(run: &Run<'_, B>, op: UnaryOp) -> Result<Tensor<B::Buffer>> {
        let x = run.inexact(20, 31)?;
        let positive = matches!(op, UnaryOp::Log | UnaryOp::Sqrt | UnaryOp::Reciprocal);
        run.unary(op, &if positive { run.unary(UnaryOp::Square, &x)? } else { x })
    }
    fn of_two<B: TransformerBackend>(run: &Run<'_, B>, op: BinaryOp) -> Result<Tensor<B::Buffer>> {
        run.binary(op, &run.inexact(20, 31)?, &run.given(9, &[20, 31], 1.0, 0.0)?)
    }
    for (_, precision) in PRECISION_PRESETS {
        for op in UNARY {
            let what = format!("{op:?}");
            measure(&what, precision, |run| of_one(run, op), |run| of_one(run, op)).assert_telling(&what, precision);
        }
        for op in BINARY {
            let what = format!("{op:?}");
            measure(&what, precision, |run| of_two(run, op), |run| of_two(run, op)).assert_telling(&what, precision);
        }
    }
}

/// Newton's iteration for an inverse of softmax rows corrects its own errors, which the model of independent errors cannot see: the
/// estimate is some ten times too large, but still far below the result.
#[test]
fn an_iteration_that_corrects_itself_is_overestimated_within_reason() {
    let used = measure("Newton's inverse", Precision::F32, inverse, inverse);
    assert!(used.largest >= 0.001 && used.undetermined == 0);
}

#[test]
fn its_values_conform() {
    let report = conformance::run::<RunningError>(&Options { precisions: vec![Precision::F64], ..Options::from_environment() });
    println!("{report}");
    report.assert_clean();
}
