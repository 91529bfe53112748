//! A narrower hidden layer: the hidden units of highest score stay, the others go whole.
//!
//! The score of a unit is the norm of its row of w1 times the norm of its column of w2, after Li et al. 2017, section 3.1 (who rank
//! filters by the norm of their own weights alone); no data, no retraining. What is left is dense. Traded away: what the low-scored units
//! computed, more accuracy than unstructured pruning of as many weights costs. keep = 1 is the dense layer.

use crossover_compression::structured::{keep_best, neuron_scores};
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::reference::HostInputs;

use super::dense::Dense;
use super::kept::{DERIVED, KEEP, MODEL, narrowed, units};
use super::layers::{self, SOURCES, TwoLayers};
use crate::descriptor::Descriptor;
use crate::linear::layer::failed;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct Structured;

/// The best units of given weights, ascending.
pub(crate) fn best_units(drawn: &HostInputs, count: usize) -> Result<Vec<usize>> {
    let scores = neuron_scores(&[source(drawn, "w1")?], source(drawn, "w2")?).map_err(failed)?;
    keep_best(&scores, count).map_err(failed)
}

impl Variant for Structured {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/structured",
        summary: "the dense layer with only the hidden units of highest score",
        citation: "Li et al. 2017, section 3.1",
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
        narrowed(axes, drawn, &best_units(drawn, units(axes, "keep"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dense_output, error_against_dense, sizes};
    use super::*;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn all_units_are_dense_and_fewer_err_more() {
        let errors: Vec<f64> = [1.0, 0.75, 0.5, 0.25].map(|keep| error_against_dense::<Structured>(&[("keep", keep.into())])).into();
        assert!(errors[0] < 1e-14 && errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    /// Every other unit writes nothing: the score finds them, where a choice by order would not.
    #[test]
    fn silent_units_go_first() {
        let own = axes::<Structured>(&sizes(&[]));
        let mut tensors = drawn::<Structured>(&own);
        let silent = tensors["w2"].values().iter().enumerate().map(|(at, &value)| if at % 2 == 0 { value } else { 0.0 });
        let silent = HostTensor::new(&[16, 32], silent.collect()).unwrap();
        tensors.insert("w2".into(), silent);
        assert_eq!(best_units(&tensors, 16).unwrap(), (0..32).step_by(2).collect::<Vec<usize>>());
        assert!(distance(&run::<Structured>(&own, &tensors), &dense_output(&own, &tensors)) < 1e-14);
    }
}
