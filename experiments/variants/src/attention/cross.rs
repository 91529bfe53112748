//! Cross-attention: queries of one sequence over keys and values of another, with all scores in memory.
//!
//! Vaswani et al. (2017), section 3.2.3 (encoder-decoder attention). The same operation as [`super::dense`], but n_kv has a life of its
//! own: the default of 77 is the text length of Rombach et al. (2022), whose image queries look at a prompt. Short keys make the score
//! matrix small, so that streaming has less to win.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::dense::Materialised;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, QUERIES, TENSORS, count};
use crate::descriptor::{AxisDefault, AxisSpec, Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Cross;

/// The problem: as that of the family, but with the keys of another sequence.
pub(super) const CROSS: &[AxisSpec] = &[
    count("batch", "sequences handled together", AxisDefault::Int(1)),
    count("heads", "query heads", AxisDefault::Int(8)),
    count("kv_heads", "key and value heads; divides heads", AxisDefault::SameAs("heads")),
    count("n", "query rows", AxisDefault::Int(128)),
    count("n_kv", "rows of the sequence attended to", AxisDefault::Int(77)),
    count("head_dim", "channels of one head", AxisDefault::Int(64)),
];

impl Variant for Cross {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/cross",
        summary: "queries over the keys of another sequence, all scores in memory",
        citation: "Vaswani et al. 2017, section 3.2.3",
        task: "attention/cross",
        problem: CROSS,
        parameters: &[],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*n*n_kv*(4*head_dim + 5)", scratch: "batch*heads*n*n_kv" },
    };

    type Bound<B: TransformerBackend + 'static> = Materialised;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Materialised> {
        Ok(Materialised { pattern: AttentionPattern::Full })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{output, seen, small};
    use super::*;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn every_query_sees_every_key_of_the_other_sequence() {
        assert_eq!(seen::<Cross>(&small(&[("n_kv", 5.into())]), 15), [0, 1, 2, 3, 4]);
        assert_eq!(output::<Cross>(&small(&[("n", 3.into()), ("n_kv", 5.into())])).shape(), [2, 2, 3, 8]);
    }

    #[test]
    fn a_joint_permutation_of_keys_and_values_changes_nothing() {
        let axes = axes::<Cross>(&small(&[("n_kv", 6.into())]));
        let mut tensors = drawn::<Cross>(&axes);
        let before = run::<Cross>(&axes, &tensors);
        for name in ["k", "v"] {
            let reversed = |head: &[f64]| head.chunks(8).rev().flatten().copied().collect::<Vec<_>>();
            let values = tensors[name].values().chunks(6 * 8).flat_map(reversed).collect();
            tensors.insert(name.into(), HostTensor::new(tensors[name].shape(), values).unwrap());
        }
        assert!(distance(&run::<Cross>(&axes, &tensors), &before) < 1e-13);
    }

    #[test]
    fn constant_values_come_out_as_they_are() {
        let axes = axes::<Cross>(&small(&[("n_kv", 7.into())]));
        let mut tensors = drawn::<Cross>(&axes);
        tensors.insert("v".into(), HostTensor::new(&[2, 2, 7, 8], vec![2.5; 2 * 2 * 7 * 8]).unwrap());
        assert!(run::<Cross>(&axes, &tensors).values().iter().all(|value| (value - 2.5).abs() < 1e-14));
    }
}
