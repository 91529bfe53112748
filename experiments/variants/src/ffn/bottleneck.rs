//! A narrower hidden layer: the first `keep` share of the hidden units, whatever they do.
//!
//! The plainest way to pay less for the layer of Vaswani et al. 2017, section 3.3: their d_ff is a free choice. Cutting given weights by
//! order is the control for every cleverer choice of units (see `ffn/structured`). Traded away: all that the other units computed; keep
//! = 1 is the dense layer.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::reference::HostInputs;

use super::dense::Dense;
use super::kept::{DERIVED, KEEP, MODEL, narrowed, units};
use super::layers::{self, SOURCES, TwoLayers};
use crate::descriptor::Descriptor;
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct Bottleneck;

impl Variant for Bottleneck {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/bottleneck",
        summary: "the dense layer with only the first hidden units",
        citation: "Vaswani et al. 2017, section 3.3, with a smaller d_ff",
        parameters: &[KEEP],
        tensors: SOURCES,
        derived: DERIVED,
        model: MODEL,
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = TwoLayers<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<TwoLayers<B>> {
        TwoLayers::bind(Self::DESCRIPTOR.name, operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        layers::exact(axes)
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        narrowed(axes, drawn, &(0..units(axes, "keep")).collect::<Vec<usize>>())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dense_output, error_against_dense, sizes};
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn all_units_are_dense_and_fewer_err_more() {
        let errors: Vec<f64> = [1.0, 0.75, 0.5, 0.25].map(|keep| error_against_dense::<Bottleneck>(&[("keep", keep.into())])).into();
        assert!(errors[0] < 1e-14 && errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    /// Units that write nothing can go without a trace.
    #[test]
    fn silent_units_are_not_missed() {
        let own = axes::<Bottleneck>(&sizes(&[]));
        let mut tensors = drawn::<Bottleneck>(&own);
        let silent = tensors["w2"].values().iter().enumerate().map(|(at, &value)| if at % 32 < 16 { value } else { 0.0 });
        let silent = HostTensor::new(&[16, 32], silent.collect()).unwrap();
        tensors.insert("w2".into(), silent);
        assert!(distance(&run::<Bottleneck>(&own, &tensors), &dense_output(&own, &tensors)) < 1e-14);
    }

    #[test]
    fn a_share_beyond_one_is_refused() {
        assert!(axis_error::<Bottleneck>(&sizes(&[("keep", 1.5.into())])).contains("must be a number in 0.001..=1"));
    }
}
