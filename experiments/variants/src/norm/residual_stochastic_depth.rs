//! Stochastic depth at inference: h <- h + p_l norm_l(h), each layer weighed by the probability with which training kept it.
//!
//! Huang et al. 2016, section 3, equations 4 and 5: p_l = 1 - (l / L) (1 - p_L) falls linearly to `survival` at the last layer. The factors
//! are folded into scale and shift of each norm on the host, so that inference costs exactly what the plain stack costs.

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;

use super::stack::{LAYERS, Layer, Stack, description};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, DerivedSpec, Descriptor, Model, Role};
use crate::resolve::{number, size};
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct StochasticDepth;

const fn folded(name: &'static str) -> DerivedSpec {
    DerivedSpec { name, role: Role::Vector, shape: LAYERS, form: None }
}

impl Variant for StochasticDepth {
    const DESCRIPTOR: Descriptor = Descriptor {
        derived: &[folded("gamma"), folded("beta")],
        ..description(
            "norm/residual-stochastic-depth",
            "a stack of joins, each weighed by its probability of survival in training",
            "Huang et al. 2016, section 3",
            &[AxisSpec {
                name: "survival",
                doc: "probability with which the last layer was kept",
                kind: AxisKind::Float { min: 0.0, max: 1.0 },
                default: AxisDefault::Float(0.5),
            }],
            Model { flops: "8*batch*n*d_model*layers", scratch: "batch*n*d_model" },
        )
    };

    type Bound<B: TransformerBackend> = Stack<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Stack<B>> {
        Stack::bind(Self::DESCRIPTOR.name, vec![Layer::Joined; size(axes, "layers")], operands, axes)
    }

    /// The stack as it would be if no layer had ever been left out.
    fn exact(axes: &Axes) -> Reference {
        Reference::itself_with(axes, "survival", AxisValue::Float(1.0))
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let (layers, survival) = (size(axes, "layers"), number(axes, "survival"));
        ["gamma", "beta"].into_iter().try_fold(Derived::default(), |derived, name| {
            let values = source(drawn, name)?;
            let width = (values.len() / layers.max(1)).max(1);
            let scaled = values.values().iter().enumerate().map(|(at, value)| value * probability(at / width, layers, survival));
            Ok(derived.tensor(name, HostTensor::new(values.shape(), scaled.collect())?))
        })
    }
}

/// Of keeping the layer with this index in training.
fn probability(layer: usize, layers: usize, survival: f64) -> f64 {
    1.0 - (layer + 1) as f64 / layers as f64 * (1.0 - survival)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::stack::plain;
    use crate::testing::{axes, distance, drawn, run};

    #[test]
    fn layers_fade_linearly_and_full_survival_is_the_plain_stack() {
        for (survival, strengths) in [(1.0, [1.0; 4]), (0.2, [0.8, 0.6, 0.4, 0.2])] {
            let given = [("n", 3.into()), ("d_model", 16.into()), ("layers", 4.into()), ("survival", survival.into())];
            let axes = axes::<StochasticDepth>(&given);
            let inputs = drawn::<StochasticDepth>(&axes);
            let expected = plain(&inputs, &strengths.map(|strength| (Layer::Joined, strength)));
            assert!(distance(&run::<StochasticDepth>(&axes, &inputs), &expected) < 1e-12, "survival {survival}");
        }
    }
}
