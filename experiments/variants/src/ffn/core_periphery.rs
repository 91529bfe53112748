//! A non-linear core of hidden units, and all other units as one linear map.
//!
//! No paper's method, described here as what it is. The `core` share of hidden units of highest score (norm of the row of w1 times norm
//! of the column of w2, as in `ffn/structured`) stays as it is. Every other unit gets the straight line that fits its activation best:
//! its pre-activation is taken as normal with the unit's bias as mean and the norm of its row of w1 as deviation (inputs of unit
//! variance), and the line is the least-squares one (the gain of Bussgang 1952). Units that are linear need no hidden value, so all of
//! them together are one matrix [d_model, d_model] and one bias, made on the host.
//!
//! Cost: 4 d_model core d_ff + 2 d_model^2 operations a row. Traded away: the curvature of the periphery, and inputs that are not as
//! assumed. core = 1 is the dense layer (with a periphery of zeros).

use crossover_compression::structured::{select_columns, select_rows};
use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::BinaryOp;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use super::dense::Dense;
use super::kept::units;
use super::layers::{self, PLAIN, SOURCES, TwoLayers, activation, made, made_vector};
use super::structured::best_units;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Dim, Model};
use crate::linear::layer::failed;
use crate::resolve::size;
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
        Derived::default()
            .tensor("b1", select_rows(b1, &core).map_err(failed)?)
            .tensor("b2", b2)
            .weight("w1", &select_rows(w1, &core).map_err(failed)?, axes)?
            .weight("w2", &select_columns(w2, &core).map_err(failed)?, axes)?
            .weight("periphery", &matrix, axes)
    }
}

/// The matrix of all units outside the core, and b2 with what their lines add to it.
fn periphery(axes: &Axes, drawn: &HostInputs, core: &[usize]) -> Result<(HostTensor, HostTensor)> {
    let (w1, b1, w2) = (source(drawn, "w1")?, source(drawn, "b1")?, source(drawn, "w2")?);
    let (d_model, d_ff) = (size(axes, "d_model"), size(axes, "d_ff"));
    let mut matrix = vec![0.0; d_model * d_model];
    let mut bias = source(drawn, "b2")?.values().to_vec();
    for unit in (0..d_ff).filter(|unit| core.binary_search(unit).is_err()) {
        let row = &w1.values()[unit * d_model..(unit + 1) * d_model];
        let deviation = row.iter().map(|w| w * w).sum::<f64>().sqrt();
        let (gain, value) = best_line(activation(axes), b1.values()[unit], deviation);
        for (output, sums) in matrix.chunks_mut(d_model).enumerate() {
            let weight = w2.values()[output * d_ff + unit];
            sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += weight * gain * w);
            bias[output] += weight * value;
        }
    }
    Ok((HostTensor::new(&[d_model, d_model], matrix)?, HostTensor::new(&[d_model], bias)?))
}

/// Gain and value at the mean of the line that fits f(z) best for z normal around `mean`: E[f(z) (z - mean)] / deviation^2 and E[f(z)].
fn best_line(f: Activation, mean: f64, deviation: f64) -> (f64, f64) {
    // The trapezoid rule over +-8 deviations, normalised by its own weights: far more exact than the assumption.
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
    let gain = if deviation > 0.0 { slopes / weights / deviation } else { 0.0 };
    (gain, values / weights)
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
    use crate::testing::axis_error;

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
        assert!((gain - 0.5).abs() < 1e-12 && (value - (0.5 / std::f64::consts::PI).sqrt()).abs() < 1e-4, "{gain} {value}");
        let (gain, value) = best_line(Activation::Relu, 30.0, 1.5);
        assert!((gain - 1.0).abs() < 1e-12 && (value - 30.0).abs() < 1e-12, "{gain} {value}");
        assert_eq!(best_line(Activation::Silu, 0.0, 0.0), (0.0, 0.0));
    }

    #[test]
    fn a_core_of_nothing_is_refused() {
        assert!(axis_error::<CorePeriphery>(&sizes(&[("core", 0.0.into())])).contains("must be a number in 0.001..=1"));
    }
}
