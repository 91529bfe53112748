//! ScaleNorm: rows brought to one trained length, g x / |x|, instead of a scale and a shift for each channel.
//!
//! Nguyen and Salazar 2019, "Transformers without Tears", section 3.2, equation 4. With g written as g' sqrt(d_model) (their own
//! initialisation is g = sqrt(d_model)) it is RMS norm with one scale for all channels. Here g' is made from a trained layer norm: the
//! mean of its gamma, while its beta is dropped; the error against layer norm tells what that throws away.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::{NormKind, NormSpec};
use crossover_core::reference::HostInputs;

use super::joined::{
    BETA, BETA_OUT, EPS, GAMMA, GAMMA_OUT, Joined, OTHER, PROBLEM, RESIDUAL, Statistics, TASK, joined_flops, layer_norm, position, source,
};
use super::{STREAM, X};
use crate::descriptor::{DerivedSpec, Descriptor, Dim, Model, Placed, Role};
use crate::resolve::number;
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct ScaleNorm;

impl Variant for ScaleNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/scale-norm",
        summary: "rows brought to one trained length",
        citation: "Nguyen and Salazar 2019, section 3.2",
        task: TASK,
        problem: PROBLEM,
        parameters: &[EPS],
        tensors: &[X, RESIDUAL, OTHER, source(GAMMA), source(BETA), source(GAMMA_OUT), source(BETA_OUT)],
        derived: &[length("g"), length("g_out")],
        output: STREAM,
        conditions: &[],
        model: Model { flops: joined_flops!("4"), scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Joined<Statistics<B>>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>> {
        let spec = NormSpec { kind: NormKind::Rms, epsilon: number(axes, "eps") };
        Joined::bind(Self::DESCRIPTOR.name, position(axes)?, operands, |operands, suffix| {
            Ok(Statistics::scaled(spec, operands.tensor(&format!("g{suffix}"))?))
        })
    }

    fn exact(axes: &Axes) -> Reference {
        layer_norm(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derived(axes: &Axes) -> Vec<Placed> {
        norms(axes).iter().map(|(derived, _)| length(derived).placed(axes)).collect()
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        norms(axes).iter().try_fold(Derived::default(), |all, (derived, gamma)| {
            let gamma = crate::variant::source(drawn, gamma)?;
            let mean = gamma.values().iter().sum::<f64>() / gamma.len().max(1) as f64;
            Ok(all.tensor(derived, HostTensor::new(&[1], vec![mean])?))
        })
    }
}

/// The length of a norm's rows, over sqrt(d_model).
const fn length(name: &'static str) -> DerivedSpec {
    DerivedSpec { name, role: Role::Vector, shape: &[Dim::Of("1", |_| 1)], form: None }
}

/// The norms of a position: their lengths, and the scales of which these are made.
fn norms(axes: &Axes) -> &'static [(&'static str, &'static str)] {
    const BOTH: &[(&str, &str)] = &[("g", "gamma"), ("g_out", "gamma_out")];
    if GAMMA_OUT.takes_part(axes) { BOTH } else { &BOTH[..1] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, drawn, run};

    #[test]
    fn every_row_gets_the_same_length_in_its_own_direction() {
        let axes = axes::<ScaleNorm>(&[("n", 7.into()), ("d_model", 16.into()), ("eps", 0.0.into())]);
        let inputs = drawn::<ScaleNorm>(&axes);
        let g = inputs["gamma"].values().iter().sum::<f64>() / 16.0;
        let out = run::<ScaleNorm>(&axes, &inputs);
        for (row, x) in out.values().chunks(16).zip(inputs["x"].values().chunks(16)) {
            let length = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!((length(row) - 4.0 * g).abs() < 1e-13);
            let dot: f64 = row.iter().zip(x).map(|(a, b)| a * b).sum();
            assert!((dot / length(row) / length(x) - 1.0).abs() < 1e-13);
        }
    }
}
