//! Attention over padded sequences: the keys behind the valid ones are masked.
//!
//! Vaswani et al. (2017), section 3.2.3, as every batch of sequences of different lengths needs it. The mask is data, one entry for a key,
//! so an engine cannot know beforehand what it may skip: the work is that of the full form. Of the first sequence, the longest, the share
//! `valid`, rounded up, is no padding; each other has a length of its own, drawn from the cell's seed between half of that and all of it.
//! The padding comes last.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use super::blocks::mixed;
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

/// How many keys of a sequence are no padding.
fn length(axes: &Axes, sequence: usize) -> usize {
    // A resolved share is in 0..=1; a sequence has at least one token.
    let longest = ((number(axes, "valid") * size(axes, "n_kv") as f64).ceil() as usize).max(1);
    let drawn = mixed(mixed(size(axes, "seed") as u64) ^ sequence as u64);
    let shorter = longest / 2 + 1;
    if sequence == 0 { longest } else { longest - (drawn % shorter as u64) as usize }
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
            doc: "share of the first sequence's keys that are no padding, rounded up; the others are as long or up to half as short",
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
        let (batch, n_kv) = (size(axes, "batch"), size(axes, "n_kv"));
        let lengths: Vec<usize> = (0..batch).map(|sequence| length(axes, sequence)).collect();
        let mask = (0..batch * n_kv).map(|at| f64::from(u8::from(at % n_kv < lengths[at / n_kv]))).collect();
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
    use super::super::checks::{assert_agree, changed, rows_of, small};
    use super::super::flash::Flash;
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, run};
    use crossover_core::axes::AxisValue;

    #[test]
    fn without_padding_it_is_full_attention() {
        let one = |more: &[(&'static str, AxisValue)]| small(&[&[("batch", 1.into())], more].concat());
        assert_agree::<PaddingMask, Flash>(&one(&[("valid", 1.0.into())]), &one(&[]));
    }

    /// Eight sequences of sixteen keys.
    fn given(seed: i64) -> Vec<(&'static str, AxisValue)> {
        small(&[("batch", 8.into()), ("valid", 0.6.into()), ("seed", seed.into())])
    }

    fn lengths(seed: i64) -> Vec<usize> {
        let axes = axes::<PaddingMask>(&given(seed));
        (0..8).map(|sequence| length(&axes, sequence)).collect()
    }

    #[test]
    fn each_sequence_has_a_length_of_its_own() {
        let (first, second) = (lengths(1), lengths(2));
        assert!(first[0] == 10 && first.iter().chain(&second).all(|length| (5..=10).contains(length)), "{first:?} {second:?}");
        assert!(first.iter().any(|length| *length != first[0]) && first != second, "{first:?} {second:?}");
        assert_eq!(first, lengths(1));
    }

    #[test]
    fn it_is_attention_over_the_valid_keys_of_each_sequence() {
        let own = axes::<PaddingMask>(&given(1));
        let tensors = drawn::<PaddingMask>(&own);
        let padded = run::<PaddingMask>(&own, &tensors);
        let area = 2 * 16 * 8;
        for (sequence, length) in lengths(1).into_iter().enumerate() {
            let short = axes::<Flash>(&small(&[("batch", 1.into()), ("n_kv", (length as i64).into())]));
            let mut part = tensors.clone();
            for (name, rows) in [("q", 16), ("k", length), ("v", length)] {
                let one = &tensors[name].values()[sequence * area..][..area];
                let one = HostTensor::new(&[1, 2, 16, 8], one.to_vec()).unwrap();
                part.insert(name.into(), HostTensor::new(&[1, 2, rows, 8], rows_of(&one, 0..rows)).unwrap());
            }
            let alone = HostTensor::new(&[1, 2, 16, 8], padded.values()[sequence * area..][..area].to_vec()).unwrap();
            assert!(distance(&alone, &run::<Flash>(&short, &part)) < 1e-13, "{sequence}");
        }
    }

    #[test]
    fn whatever_the_padding_holds_leaves_the_output_bit_identical() {
        let axes = axes::<PaddingMask>(&given(1));
        let mut tensors = drawn::<PaddingMask>(&axes);
        let before = run::<PaddingMask>(&axes, &tensors);
        let longest = lengths(1)[0];
        for junk in [1e3, f64::NAN] {
            for name in ["k", "v"] {
                tensors.insert(name.into(), changed(&tensors[name], longest..16, |_| junk));
            }
            assert_eq!(run::<PaddingMask>(&axes, &tensors), before, "{junk}");
        }
    }

    #[test]
    fn a_share_above_one_is_refused() {
        assert!(axis_error::<PaddingMask>(&[("valid", 1.25.into())]).contains("valid = 1.25 must be a number in 0..=1"));
    }
}
