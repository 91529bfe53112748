//! One decode step over a cache of keys and values: one query row for each head, all keys so far.
//!
//! Shazeer, "Fast Transformer Decoding" (2019), section 2.4; Pope et al. (2022), section 2. Without a cache each token would cost a whole
//! prefill. A step has two operations for each number that it reads, so memory bandwidth is all that counts, and everything that makes
//! the cache smaller pays: see the other decode variants.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;

use super::cache::{DECODE, NEW_QUERY, ONE, STEP, Step, brought, cached, without_last};
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, KEYS};
use crate::descriptor::{Descriptor, Dim, Model};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct Decode;

const NEW_KEY: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("kv_heads"), ONE, Dim::Axis("head_dim")];

impl Variant for Decode {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/decode",
        summary: "one new token against a cache of keys and values",
        citation: "Shazeer 2019, section 2.4; Pope et al. 2022, section 2",
        task: "attention/decode",
        problem: DECODE,
        parameters: &[],
        tensors: STEP,
        derived: &[brought("k_new", NEW_KEY), brought("v_new", NEW_KEY), cached("k_cache", KEYS), cached("v_cache", KEYS)],
        output: NEW_QUERY,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*n_kv*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend + 'static> = Step<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Step<B>> {
        Step::bind(operands, axes, size(axes, "n_kv").saturating_sub(1))
    }

    /// The new token comes last, so it sees everything.
    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    fn derive(_axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let ((k_cache, k_new), (v_cache, v_new)) = (without_last(source(drawn, "k")?)?, without_last(source(drawn, "v")?)?);
        Ok(Derived::default().tensor("k_new", k_new).tensor("v_new", v_new).tensor("k_cache", k_cache).tensor("v_cache", v_cache))
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{rows_of, small};
    use super::super::prefill::Prefill;
    use super::*;
    use crate::testing::{axes, axis_error, drawn, run};
    use crossover_core::axes::AxisValue;
    use crossover_core::host::HostTensor;

    /// Rows `from..to` of every head.
    fn part(tensor: &HostTensor, from: usize, to: usize) -> HostTensor {
        let &[batch, heads, _, width] = tensor.shape() else { panic!("four dimensions expected") };
        HostTensor::new(&[batch, heads, to - from, width], rows_of(tensor, from..to)).unwrap()
    }

    fn parts(tensors: &HostInputs, q: std::ops::Range<usize>, keys: usize) -> HostInputs {
        let all = [("q", part(&tensors["q"], q.start, q.end)), ("k", part(&tensors["k"], 0, keys)), ("v", part(&tensors["v"], 0, keys))];
        all.map(|(name, tensor)| (name.to_owned(), tensor)).into()
    }

    #[test]
    fn a_prefill_equals_a_shorter_prefill_and_decode_steps() {
        let heads: [(&str, AxisValue); 2] = [("heads", 4.into()), ("kv_heads", 2.into())];
        let whole = axes::<Prefill>(&small(&heads));
        let tensors = drawn::<Prefill>(&whole);
        let expected = run::<Prefill>(&whole, &tensors);
        let start = 11;
        let shorter = axes::<Prefill>(&small(&[&heads[..], &[("n", 11.into()), ("capacity", 16.into())]].concat()));
        assert_eq!(rows_of(&run::<Prefill>(&shorter, &parts(&tensors, 0..start, start)), 0..start), rows_of(&expected, 0..start));
        for token in start..16 {
            let step = small(&[&heads[..], &[("n_kv", AxisValue::Int(token as i64 + 1))]].concat());
            let step: Vec<_> = step.into_iter().filter(|(name, _)| *name != "n").collect();
            let out = run::<Decode>(&axes::<Decode>(&step), &parts(&tensors, token..token + 1, token + 1));
            let wanted = rows_of(&expected, token..token + 1);
            assert!(out.values().iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-13), "token {token}");
        }
    }

    #[test]
    fn a_first_token_gets_its_own_value() {
        let axes = axes::<Decode>(&[("n_kv", 1.into())]);
        let tensors = drawn::<Decode>(&axes);
        assert_eq!(run::<Decode>(&axes, &tensors).values(), tensors["v"].values());
    }

    #[test]
    fn there_is_always_a_token() {
        assert!(axis_error::<Decode>(&[("n_kv", 0.into())]).contains("n_kv = 0 must be a whole number in 1.."));
    }
}
