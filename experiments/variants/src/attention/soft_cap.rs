//! Attention with capped scores: softmax(cap tanh(s / cap)) v.
//!
//! Gemma Team, "Gemma 2" (2024), section 2 (logit soft-capping, after Bello et al. 2016), with cap = 50. No score leaves (-cap, cap), which
//! bounds how sharp a row may become and keeps training stable; the price is a tanh for each pair. It is another function than attention,
//! and tends to it as the cap grows.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;

use super::flash::Streamed;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Model};
use crate::resolve::number;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SoftCap;

/// What no score reaches.
pub(super) const CAP: AxisSpec = AxisSpec {
    name: "cap",
    doc: "scores stay between -cap and cap",
    kind: AxisKind::Float { min: 1e-3, max: 1e9 },
    default: AxisDefault::Float(50.0),
};

impl Variant for SoftCap {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/soft-cap",
        summary: "scores pass through cap * tanh(s / cap), streamed",
        citation: "Gemma Team 2024 (Gemma 2), section 2",
        task: "attention/soft-cap",
        problem: PROBLEM,
        parameters: &[CAP],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*n*n_kv*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        let Streamed { spec } = Streamed::over(AttentionPattern::Full, axes);
        Ok(Streamed { spec: AttentionSpec { soft_cap: Some(number(axes, "cap")), ..spec } })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{output, small};
    use super::super::flash::Flash;
    use super::*;
    use crate::testing::{axis_error, distance};

    #[test]
    fn the_higher_the_cap_the_nearer_to_plain_attention() {
        let plain = output::<Flash>(&small(&[]));
        let errors = [1e8, 50.0, 5.0, 0.5].map(|cap| distance(&output::<SoftCap>(&small(&[("cap", cap.into())])), &plain));
        assert!(errors[0] < 1e-12 && errors[1] > 1e-9 && errors.is_sorted(), "{errors:?}");
    }

    #[test]
    fn a_tiny_cap_makes_all_keys_equal() {
        let axes = crate::testing::axes::<SoftCap>(&small(&[("cap", 0.001.into())]));
        let tensors = crate::testing::drawn::<SoftCap>(&axes);
        let out = crate::testing::run::<SoftCap>(&axes, &tensors);
        let mean = |channel: usize| (0..16).map(|key| tensors["v"].values()[key * 8 + channel]).sum::<f64>() / 16.0;
        assert!((0..8).all(|channel| (out.values()[3 * 8 + channel] - mean(channel)).abs() < 1e-2));
    }

    #[test]
    fn no_cap_is_refused() {
        assert!(axis_error::<SoftCap>(&[("cap", 0.0.into())]).contains("cap = 0.0 must be a number in 0.001.."));
    }
}
