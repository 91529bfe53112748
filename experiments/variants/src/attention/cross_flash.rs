//! Streaming cross-attention: the same as [`super::cross`] without a score matrix.
//!
//! Dao et al., "FlashAttention" (2022), algorithm 1. With few keys the whole row fits a tile, and what is saved is one trip of the scores
//! through memory.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::cross::CROSS;
use super::flash::Streamed;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, QUERIES, TENSORS};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct CrossFlash;

impl Variant for CrossFlash {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/cross-flash",
        summary: "queries over the keys of another sequence, streamed",
        citation: "Dao et al. 2022, algorithm 1",
        task: "attention/cross",
        problem: CROSS,
        parameters: &[],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*n*n_kv*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(AttentionPattern::Full, axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, small};
    use super::super::cross::Cross;
    use super::*;

    #[test]
    fn streaming_changes_nothing_whatever_the_lengths() {
        for n_kv in [1, 5, 77, 130] {
            let given = small(&[("n_kv", n_kv.into())]);
            assert_agree::<CrossFlash, Cross>(&given, &given);
        }
    }
}
