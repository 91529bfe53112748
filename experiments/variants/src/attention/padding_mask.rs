//! Attention over padded sequences: the keys behind the valid ones are masked.
//!
//! Vaswani et al. (2017), section 3.2.3, as every batch of sequences of different lengths needs it. The mask is data, one entry for a key,
//! so an engine cannot know beforehand what it may skip: the work is that of the full form. `valid` is the share of tokens that are
//! real, rounded up; the padding comes last.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use super::flash::Streamed;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, DerivedSpec, Descriptor, Dim, Model, Role};
use crate::resolve::{number, size};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct PaddingMask;

/// Streaming with a mask of keys.
pub struct Padded {
    streamed: Streamed,
}

fn valid(axes: &Axes) -> usize {
    // A resolved share is in 0..=1; a sequence has at least one token.
    ((number(axes, "valid") * size(axes, "n_kv") as f64).ceil() as usize).max(1)
}

impl Variant for PaddingMask {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/padding-mask",
        summary: "streamed attention, padding keys masked",
        citation: "Vaswani et al. 2017, section 3.2.3",
        task: "attention/padded",
        problem: PROBLEM,
        parameters: &[AxisSpec {
            name: "valid",
            doc: "share of keys that are no padding, rounded up; at least one key",
            kind: AxisKind::Float { min: 0.0, max: 1.0 },
            default: AxisDefault::Float(0.75),
        }],
        tensors: TENSORS,
        derived: &[DerivedSpec { name: "mask", role: Role::Activation, shape: &[Dim::Axis("batch"), Dim::Axis("n_kv")], form: None }],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*n*n_kv*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend + 'static> = Padded;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Padded> {
        Ok(Padded { streamed: Streamed::over(AttentionPattern::Full, axes) })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        let (batch, n_kv, valid) = (size(axes, "batch"), size(axes, "n_kv"), valid(axes));
        let mask = (0..batch * n_kv).map(|at| f64::from(u8::from(at % n_kv < valid))).collect();
        Ok(Derived::default().tensor("mask", HostTensor::new(&[batch, n_kv], mask)?))
    }
}

impl<B: TransformerBackend> Bound<B> for Padded {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v, mask] = inputs else { return Err(wrong_inputs("attention/padding-mask", inputs)) };
        let operands = AttentionOperands { q, k, v, bias: ScoreBias::None, key_mask: Some(mask) };
        backend.attention(&self.streamed.spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, changed, rows_of, seen, small};
    use super::super::flash::Flash;
    use super::*;
    use crate::testing::{axes, axis_error, drawn, run};

    #[test]
    fn without_padding_it_is_full_attention() {
        assert_agree::<PaddingMask, Flash>(&small(&[("valid", 1.0.into())]), &small(&[]));
    }

    #[test]
    fn it_is_attention_over_the_valid_keys() {
        let given = small(&[("valid", 0.3.into())]);
        assert_eq!(seen::<PaddingMask>(&given, 9), [0, 1, 2, 3, 4]);
        let (own, short) = (axes::<PaddingMask>(&given), axes::<Flash>(&small(&[("n_kv", 5.into())])));
        let mut tensors = drawn::<PaddingMask>(&own);
        let padded = run::<PaddingMask>(&own, &tensors);
        for name in ["k", "v"] {
            tensors.insert(name.into(), HostTensor::new(&[2, 2, 5, 8], rows_of(&tensors[name], 0..5)).unwrap());
        }
        assert!(crate::testing::distance(&padded, &run::<Flash>(&short, &tensors)) < 1e-13);
    }

    #[test]
    fn whatever_the_padding_holds_leaves_the_output_bit_identical() {
        let axes = axes::<PaddingMask>(&small(&[("valid", 0.5.into())]));
        let mut tensors = drawn::<PaddingMask>(&axes);
        let before = run::<PaddingMask>(&axes, &tensors);
        for junk in [1e3, f64::NAN] {
            for name in ["k", "v"] {
                tensors.insert(name.into(), changed(&tensors[name], 8..16, |_| junk));
            }
            assert_eq!(run::<PaddingMask>(&axes, &tensors), before, "{junk}");
        }
    }

    #[test]
    fn a_share_above_one_is_refused() {
        assert!(axis_error::<PaddingMask>(&[("valid", 1.25.into())]).contains("valid = 1.25 must be a number in 0..=1"));
    }
}
