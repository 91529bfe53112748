//! Causal sigmoid attention: each weight of a past key is sigmoid(score - log n), and future ones are 0.
//!
//! Ramapuram et al. (2024), sections 2 and 4; as in their language models, the shift is that of the whole length n, so that early rows sum
//! to less than 1. A chunk of query rows is held against the keys up to its own last: half the work of [`super::sigmoid`] and, but for
//! the last chunk, less memory. Another function than causal softmax attention; it needs training as such.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::scores::{chunk_scores, chunked_pairs};
use super::sigmoid::{Chunked, Sigmoid};
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SigmoidCausal;

impl Variant for SigmoidCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/sigmoid-causal",
        summary: "sigmoid(q k^T / sqrt(head_dim) - log n) v over past keys",
        task: "attention/sigmoid-causal",
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model {
            flops: concat!("batch*heads*", chunked_pairs!(), "*(4*head_dim + 2)"),
            scratch: concat!("batch*heads*", chunk_scores!()),
        },
        ..Sigmoid::DESCRIPTOR
    };

    type Bound<B: TransformerBackend + 'static> = Chunked;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Chunked> {
        Ok(Chunked { chunk: size(axes, "chunk"), causal: true })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::approximation::{assert_closed_forms, dot, row};
    use super::super::checks::{assert_causal, output, small};
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, run};

    #[test]
    fn it_is_the_formula_of_the_paper_over_the_past() {
        let axes = axes::<SigmoidCausal>(&small(&[("batch", 1.into()), ("chunk", 5.into())]));
        let tensors = drawn::<SigmoidCausal>(&axes);
        let out = run::<SigmoidCausal>(&axes, &tensors);
        for (head, query) in (0..2).flat_map(|head| (0..16).map(move |query| (head, query))) {
            let weight = |key: usize| {
                let score = dot(row(&tensors["q"], head, query), row(&tensors["k"], head, key)) / 8f64.sqrt();
                1.0 / (1.0 + 16.0 * (-score).exp())
            };
            for channel in 0..8 {
                let expected: f64 = (0..=query).map(|key| weight(key) * row(&tensors["v"], head, key)[channel]).sum();
                assert!((row(&out, head, query)[channel] - expected).abs() < 1e-13, "{head} {query}");
            }
        }
    }

    #[test]
    fn later_tokens_do_not_reach_back_and_the_chunk_changes_nothing() {
        let with = |chunk: i64| small(&[("chunk", chunk.into())]);
        for chunk in [1, 5, 16] {
            assert_causal::<SigmoidCausal>(&with(chunk));
            assert_closed_forms::<SigmoidCausal>(&with(chunk));
            assert!(distance(&output::<SigmoidCausal>(&with(chunk)), &output::<SigmoidCausal>(&with(100))) < 1e-14, "{chunk}");
        }
    }

    #[test]
    fn as_many_keys_as_queries_are_demanded() {
        assert!(axis_error::<SigmoidCausal>(&[("n_kv", 7.into())]).contains("as many keys as queries: n_kv = n"));
    }
}
