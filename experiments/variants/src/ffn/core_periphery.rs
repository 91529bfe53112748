//! A non-linear core of hidden units, and all other units as one linear map.
//!
//! No paper's method, described here as what it is. The `core` share of hidden units of highest score (norm of the row of w1 times norm
//! of the column of w2, as in `ffn/structured`) stays as it is. Every other unit gets the straight line that fits its activation best:
//! its pre-activation is taken as normal with the unit's bias as mean and the norm of its row of w1 as deviation (inputs of unit
//! variance), and the line is the least-squares one (the gain of Bussgang 1952, which by the lemma of Stein 1981 is the mean slope).
//! Units that are linear need no hidden value, so all of them together are one matrix [d_model, d_model] and one bias, made on the host.
//!
//! Cost: 4 d_model core d_ff + 2 d_model^2 operations a row. Traded away: the curvature of the periphery, and inputs that are not as
//! assumed. core = 1 is the dense layer (with a periphery of zeros). What is saved is told; an error of the weights is not, as units that
//! become linear have no weights of their own to be far from.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use crossover_compression::product;
use crossover_compression::structured::{saving_of, select_columns, select_rows};
use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::{BinaryOp, WeightForm};
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use super::dense::Dense;
use super::kept::units;
use super::layers::{self, PLAIN, SOURCES, TwoLayers, activation, made, made_vector};
use super::structured::best_units;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Dim, Model};
use crate::linear::layer::failed;
use crate::resolve::{precision, size};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct CorePeriphery;

/// The core's layers, and the periphery's matrix.
pub struct Parts<B: TransformerBackend> {
    core: TwoLayers<B>,
    periphery: B::Weight,
}

const UNITS: Dim = Dim::Of("round(core * d_ff)", |axes| units(axes, "core"));

impl Variant for CorePeriphery {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/core-periphery",
        summary: "the best hidden units as they are, all others linear and merged into one matrix",
        citation: "defined here; linear parts by the gain of Bussgang 1952",
        parameters: &[AxisSpec {
            name: "core",
            doc: "share of the hidden units that stay non-linear; at least one does",
            kind: AxisKind::Float { min: 0.001, max: 1.0 },
            default: AxisDefault::Float(0.25),
        }],
        tensors: SOURCES,
        derived: &[
            made("w1", &[UNITS, Dim::Axis("d_model")]),
            made_vector("b1", &[UNITS]),
            made("w2", &[Dim::Axis("d_model"), UNITS]),
            made_vector("b2", &[Dim::Axis("d_model")]),
            made("periphery", &[Dim::Axis("d_model"), Dim::Axis("d_model")]),
        ],
        model: Model {
            flops: "batch*n*(2*d_model^2 + 2*d_model + max(1, floor(core*d_ff + 0.5))*(4*d_model + 1 + activation))",
            scratch: "batch*n*max(d_model, max(1, floor(core*d_ff + 0.5)))",
        },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Parts<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Parts<B>> {
        Ok(Parts { core: TwoLayers::bind(Self::DESCRIPTOR.name, operands, axes)?, periphery: operands.weight("periphery")? })
    }

    fn exact(axes: &Axes) -> Reference {
        layers::exact(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let core = best_units(drawn, units(axes, "core"))?;
        let (w1, b1, w2) = (source(drawn, "w1")?, source(drawn, "b1")?, source(drawn, "w2")?);
        let (matrix, b2) = periphery(axes, drawn, &core)?;
        let mut saving = saving_of(&[w1], w2, &core, precision(axes).weight).map_err(failed)?;
        saving.parameters_after += matrix.len();
        saving.bytes_after += WeightForm::of(precision(axes)).ideal_bytes(size(axes, "d_model"), size(axes, "d_model"));
        // A unit that became linear is no nearer to or farther from its weights, which are merged with others': there is no such distance.
        saving.relative_error = f64::NAN;
        Derived::default()
            .saved(saving)
            .tensor("b1", select_rows(b1, &core).map_err(failed)?)
            .tensor("b2", b2)
            .weight("w1", &select_rows(w1, &core).map_err(failed)?, axes)?
            .weight("w2", &select_columns(w2, &core).map_err(failed)?, axes)?
            .weight("periphery", &matrix, axes)
    }
}

/// The matrix of all units outside the core, and b2 with what their lines add to it.
fn periphery(axes: &Axes, drawn: &HostInputs, core: &[usize]) -> Result<(HostTensor, HostTensor)> {
    let d_model = size(axes, "d_model");
    let outside: Vec<usize> = (0..size(axes, "d_ff")).filter(|unit| core.binary_search(unit).is_err()).collect();
    let mut bias = source(drawn, "b2")?.values().to_vec();
    if outside.is_empty() {
        return Ok((HostTensor::new(&[d_model, d_model], vec![0.0; d_model * d_model])?, HostTensor::new(&[d_model], bias)?));
    }
    let w1 = select_rows(source(drawn, "w1")?, &outside).map_err(failed)?;
    let b1 = select_rows(source(drawn, "b1")?, &outside).map_err(failed)?;
    let w2 = select_columns(source(drawn, "w2")?, &outside).map_err(failed)?;
    let line = |(row, mean): (&[f64], &f64)| best_line(activation(axes), *mean, row.iter().map(|w| w * w).sum::<f64>().sqrt());
    let lines: Vec<(f64, f64)> = w1.values().chunks(d_model.max(1)).zip(b1.values()).map(line).collect();
    for (output, weights) in bias.iter_mut().zip(w2.values().chunks(outside.len())) {
        *output += weights.iter().zip(&lines).map(|(weight, (_, value))| weight * value).sum::<f64>();
    }
    let sloped = w1.values().chunks(d_model.max(1)).zip(&lines).flat_map(|(row, (gain, _))| row.iter().map(move |w| gain * w)).collect();
    let matrix = product(&w2, &HostTensor::new(w1.shape(), sloped)?).map_err(failed)?;
    Ok((matrix, HostTensor::new(&[d_model], bias)?))
}

/// Gain and value at the mean of the line that fits f(z) best for z normal around `mean`: E[f(z) (z - mean)] / deviation^2, which is
/// E[f'(z)], and E[f(z)].
///
/// In closed form where the normal distribution gives one: for the activations that are pieces of polynomials or hold the normal
/// distribution itself. The others ([`by_trapezoid`]) are smooth.
fn best_line(f: Activation, mean: f64, deviation: f64) -> (f64, f64) {
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * PI).sqrt();
    let below = |t: f64| 0.5 * libm::erfc(-t * FRAC_1_SQRT_2);
    if deviation <= 0.0 {
        // The unit's row is zero, so that any slope does.
        return (0.0, f.apply(mean));
    }
    let at = mean / deviation;
    let relu = mean * below(at) + deviation * density(at);
    match f {
        Activation::None => (1.0, mean),
        Activation::Relu => (below(at), relu),
        Activation::ReluSquared => (2.0 * relu, mean * relu + deviation * deviation * below(at)),
        Activation::Gelu => {
            let wide = (1.0 + deviation * deviation).sqrt();
            let at = mean / wide;
            let gain = below(at) + mean * density(at) / wide.powi(3);
            (gain, mean * below(at) + deviation * deviation * density(at) / wide)
        }
        Activation::GeluTanh | Activation::Silu | Activation::Sigmoid => by_trapezoid(f, mean, deviation),
    }
}

/// The same by the trapezoid rule over +-8 deviations, normalised by its own weights. Its error falls exponentially with the steps for a
/// function without kinks, as long as a step is small beside the distance of its nearest pole from the real line, and stays far below that
/// of the assumption up to deviations of about 100.
fn by_trapezoid(f: Activation, mean: f64, deviation: f64) -> (f64, f64) {
    const STEPS: i32 = 400;
    let (mut weights, mut values, mut slopes) = (0.0, 0.0, 0.0);
    for step in -STEPS..=STEPS {
        let t = 8.0 * f64::from(step) / f64::from(STEPS);
        let weight = (-0.5 * t * t).exp();
        let value = f.apply(mean + deviation * t);
        weights += weight;
        values += weight * value;
        slopes += weight * value * t;
    }
    (slopes / weights / deviation, values / weights)
}

impl<B: TransformerBackend> Bound<B> for Parts<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(CorePeriphery::DESCRIPTOR.name, inputs)) };
        self.core.apply(backend, x, out.reborrow(), scratch)?;
        let mut linear = scratch.take(backend, backend.storage(), x.shape())?;
        backend.linear(PLAIN, x, &self.periphery, None, linear.view_mut())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, linear.view(), out)?;
        scratch.give(linear);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, sizes};
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn};

    #[test]
    fn a_full_core_is_dense_and_a_smaller_one_errs_more() {
        let errors: Vec<f64> = [1.0, 0.75, 0.5, 0.25].map(|core| error_against_dense::<CorePeriphery>(&[("core", core.into())])).into();
        assert!(errors[0] < 1e-14 && errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    /// The linear part is worth having: without it the same units are `ffn/structured`.
    #[test]
    fn linear_units_are_better_than_none() {
        let without = error_against_dense::<super::super::structured::Structured>(&[("keep", 0.25.into())]);
        let with = error_against_dense::<CorePeriphery>(&[("core", 0.25.into())]);
        assert!(with < 0.8 * without, "{with} against {without}");
    }

    /// ReLU of a standard normal: E[relu] = 1 / sqrt(2 pi), gain 1/2; far from its kink it is a line already.
    #[test]
    fn lines_are_the_known_ones() {
        let (gain, value) = best_line(Activation::Relu, 0.0, 1.0);
        assert!((gain - 0.5).abs() < 1e-15 && (value - (0.5 / PI).sqrt()).abs() < 1e-15, "{gain} {value}");
        let (gain, value) = best_line(Activation::Relu, 30.0, 1.5);
        assert!((gain - 1.0).abs() < 1e-15 && (value - 30.0).abs() < 1e-13, "{gain} {value}");
        let (gain, value) = best_line(Activation::ReluSquared, 0.0, 2.0);
        assert!((gain - 4.0 / (2.0 * PI).sqrt()).abs() < 1e-14 && (value - 2.0).abs() < 1e-14, "{gain} {value}");
        assert_eq!(best_line(Activation::Silu, 0.0, 0.0), (0.0, 0.0));
        assert_eq!(best_line(Activation::Sigmoid, 0.0, 0.0), (0.0, 0.5));
    }

    /// To rounding for a smooth function; to the square of a step where there is a kink.
    #[test]
    fn closed_forms_are_the_integrals() {
        for (mean, deviation) in [(0.0, 1.0), (-0.7, 0.3), (1.3, 2.5)] {
            for (activation, tolerance) in
                [(Activation::None, 1e-12), (Activation::Gelu, 1e-12), (Activation::Relu, 1e-3), (Activation::ReluSquared, 1e-3)]
            {
                let (closed, summed) = (best_line(activation, mean, deviation), by_trapezoid(activation, mean, deviation));
                let gap = (closed.0 - summed.0).abs().max((closed.1 - summed.1).abs());
                assert!(gap < tolerance, "{activation} {mean} {deviation}: {closed:?}, {summed:?}");
            }
        }
    }

    /// The merged matrix is the sum over units, written down once more.
    #[test]
    fn the_periphery_is_the_sum_of_its_lines() {
        let axes = axes::<CorePeriphery>(&sizes(&[("core", 0.5.into()), ("activation", "relu".into())]));
        let inputs = drawn::<CorePeriphery>(&axes);
        let core = best_units(&inputs, units(&axes, "core")).unwrap();
        let (matrix, bias) = periphery(&axes, &inputs, &core).unwrap();
        let (d_model, d_ff) = (size(&axes, "d_model"), size(&axes, "d_ff"));
        let of = |name: &str| inputs[name].values();
        let (mut expected, mut expected_bias) = (vec![0.0; d_model * d_model], of("b2").to_vec());
        for unit in (0..d_ff).filter(|unit| !core.contains(unit)) {
            let row = &of("w1")[unit * d_model..(unit + 1) * d_model];
            let (gain, value) = best_line(Activation::Relu, of("b1")[unit], row.iter().map(|w| w * w).sum::<f64>().sqrt());
            for output in 0..d_model {
                let weight = of("w2")[output * d_ff + unit];
                (0..d_model).for_each(|input| expected[output * d_model + input] += weight * gain * row[input]);
                expected_bias[output] += weight * value;
            }
        }
        assert!(distance(&matrix, &HostTensor::new(&[d_model, d_model], expected).unwrap()) < 1e-13);
        assert!(distance(&bias, &HostTensor::new(&[d_model], expected_bias).unwrap()) < 1e-13);
    }

    #[test]
    fn what_is_saved_is_told_without_an_error_of_weights() {
        let axes = axes::<CorePeriphery>(&sizes(&[("core", 0.25.into())]));
        let derived = CorePeriphery::derive(&axes, &drawn::<CorePeriphery>(&axes)).unwrap();
        let (d_model, d_ff) = (size(&axes, "d_model"), size(&axes, "d_ff"));
        let [saving] = derived.savings[..] else { panic!("{:?}", derived.savings) };
        let after = d_model * (2 * units(&axes, "core") + d_model);
        assert_eq!((saving.parameters_before, saving.parameters_after), (2 * d_model * d_ff, after));
        assert_eq!((saving.bytes_before, saving.bytes_after, saving.relative_error.is_nan()), (16 * d_model * d_ff, 8 * after, true));
    }

    #[test]
    fn a_core_of_nothing_is_refused() {
        assert!(axis_error::<CorePeriphery>(&sizes(&[("core", 0.0.into())])).contains("must be a number in 0.001..=1"));
    }
}
