//! The fixed pattern of sparse transformers: the query's own block, and the last `summary` keys of each earlier block.
//!
//! Child et al., "Generating Long Sequences with Sparse Transformers" (2019), section 4.2 (fixed), merged into one head (section 5.1).
//! The summary keys are the same for all later queries, so they learn to speak for their block. O(n (block + summary n / block)) work.
//!
//! An engine is asked for the own blocks, and for each block's view of the summaries before it, which are copied together; both are
//! joined (`joined.rs`).

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{View, ViewMut};

use super::flash::Streamed;
use super::joined::{Part, Places, by_parts, join, widened};
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS, count};
use crate::descriptor::{AxisDefault, Condition, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct SparseFixed;

/// The own block, and the summaries of those before it.
pub struct Fixed {
    block: usize,
    summary: usize,
    own: AttentionSpec,
    earlier: AttentionSpec,
}

/// As the paper draws it.
fn pattern(axes: &Axes) -> AttentionPattern {
    AttentionPattern::Fixed { block: size(axes, "block"), summary: size(axes, "summary") }
}

impl Variant for SparseFixed {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/sparse-fixed",
        summary: "the own block and the last summary keys of earlier blocks",
        citation: "Child et al. 2019, sections 4.2 and 5.1",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[
            count("block", "length of a block", AxisDefault::Share { of: "n", divisor: 8 }),
            count("summary", "keys at the end of each block that all later queries see; at most block", AxisDefault::Int(1)),
        ],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[
            HEADS_DIVIDE,
            SQUARE,
            Condition {
                text: "a block has no more summary keys than keys: summary <= block",
                holds: |axes: &Axes| size(axes, "summary") <= size(axes, "block"),
            },
        ],
        model: Model {
            flops: "batch*heads*(floor(n/block)*block*(block + 1)/2 + (n - floor(n/block)*block)*((n - floor(n/block)\
                    *block) + 1)/2 + summary*(block*floor(n/block)*(floor(n/block) - 1)/2 + floor(n/block)*(n \
                    - floor(n/block)*block)))*(4*head_dim + 5) + batch*heads*(n - min(block, n))*(3*head_dim + 4)",
            scratch: "batch*heads*(n*min(1, n - min(block, n)) + (n - min(block, n))*(head_dim + 1)) + 2*batch*kv_heads*summary\
                      *floor((n - 1)/block)*head_dim",
        },
    };

    type Bound<B: TransformerBackend + 'static> = Fixed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Fixed> {
        let [own, earlier] = [AttentionPattern::Causal, AttentionPattern::Full].map(|pattern| Streamed::over(pattern, axes).spec);
        Ok(Fixed { block: size(axes, "block"), summary: size(axes, "summary"), own, earlier })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(axes: &Axes) -> Reference {
        attention_over(pattern(axes))
    }
}

impl<B: TransformerBackend> Bound<B> for Fixed {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let (&[q, k, v], &[batch, heads, n, width]) = (inputs, out.shape()) else {
            return Err(wrong_inputs("attention/sparse-fixed", inputs));
        };
        let far = n.saturating_sub(self.block);
        if far == 0 {
            let operands = AttentionOperands { q, k, v, bias: ScoreBias::None, key_mask: None };
            return backend.attention(&self.own, operands, AttentionOutputs { out, log_sum_exp: None }, scratch);
        }
        let mut logs = scratch.take(backend, backend.compute(), &[batch, heads, n])?;
        widened(backend, out, scratch, |mut out, scratch| {
            self.own_blocks(backend, [q, k, v], [out.reborrow(), logs.view_mut()], scratch)?;
            let earlier = self.earlier_blocks(backend, [q, k, v], [batch, heads, far, width], scratch)?;
            join(backend, [out.narrow(2, self.block, far)?, logs.view_mut().narrow(2, self.block, far)?], earlier, scratch)
        })?;
        scratch.give(logs);
        Ok(())
    }
}

impl Fixed {
    /// Causal attention within each block; the last may be shorter.
    fn own_blocks<B: TransformerBackend>(
        &self,
        backend: &B,
        inputs: [View<'_, B::Buffer>; 3],
        [mut out, mut logs]: [ViewMut<'_, B::Buffer>; 2],
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let (block, n) = (self.block, out.shape()[2]);
        let (whole, rest) = (n / block, n % block);
        let rows = |first: usize, count: usize| move |layout: &Layout| layout.narrow(2, first, count);
        let blocks = |layout: &Layout| layout.split(2, whole, block)?.merge(0);
        let [q, k, v] = inputs;
        let first = rows(0, whole * block);
        let places = Places {
            inputs: [q.with(first)?, k.with(first)?, v.with(first)?],
            outputs: [out.reborrow().with(first)?, logs.reborrow().with(first)?],
        };
        by_parts(backend, &self.own, places, blocks, scratch)?;
        if rest > 0 {
            let last = rows(whole * block, rest);
            let operands =
                AttentionOperands { q: q.with(last)?, k: k.with(last)?, v: v.with(last)?, bias: ScoreBias::None, key_mask: None };
            let outputs = AttentionOutputs { out: out.with(last)?, log_sum_exp: Some(logs.with(last)?) };
            backend.attention(&self.own, operands, outputs, scratch)?;
        }
        Ok(())
    }

    /// Attention of each block but the first to the summary keys of all blocks before it, which are copied together.
    fn earlier_blocks<B: TransformerBackend>(
        &self,
        backend: &B,
        [q, k, v]: [View<'_, B::Buffer>; 3],
        shape @ [batch, _, far, width]: [usize; 4],
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Part<B>> {
        let (block, summary, count) = (self.block, self.summary, far.div_ceil(self.block));
        let mut part = Part::take(backend, shape, scratch)?;
        let mut together = |from: View<'_, B::Buffer>| -> Result<_> {
            let mut to = scratch.take(backend, backend.storage(), &[batch, from.shape()[1], count * summary, width])?;
            let summaries =
                from.with(|layout| layout.narrow(2, 0, count * block)?.split(2, count, block)?.narrow(3, block - summary, summary))?;
            backend.copy(summaries, to.view_mut().with(|layout| layout.split(2, count, summary))?)?;
            Ok(to)
        };
        let (keys, values) = (together(k)?, together(v)?);
        for before in 1..=count {
            let (first, rows) = ((before - 1) * block, block.min(far - (before - 1) * block));
            let seen = before * summary;
            let operands = AttentionOperands {
                q: q.narrow(2, first + block, rows)?,
                k: keys.view().narrow(2, 0, seen)?,
                v: values.view().narrow(2, 0, seen)?,
                bias: ScoreBias::None,
                key_mask: None,
            };
            let outputs = AttentionOutputs {
                out: part.out.view_mut().narrow(2, first, rows)?,
                log_sum_exp: Some(part.logs.view_mut().narrow(2, first, rows)?),
            };
            backend.attention(&self.earlier, operands, outputs, scratch)?;
        }
        scratch.give(values);
        scratch.give(keys);
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, assert_causal, seen, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn one_block_or_a_summary_of_everything_equals_causal_attention() {
        assert_agree::<SparseFixed, FlashCausal>(&small(&[("block", 16.into())]), &small(&[]));
        assert_agree::<SparseFixed, FlashCausal>(&small(&[("block", 4.into()), ("summary", 4.into())]), &small(&[]));
    }

    #[test]
    fn a_query_sees_its_block_and_the_summaries() {
        let given = small(&[("block", 4.into()), ("summary", 1.into())]);
        assert_eq!(seen::<SparseFixed>(&given, 9), [3, 7, 8, 9]);
        assert_causal::<SparseFixed>(&given);
    }

    #[test]
    fn more_summary_than_block_is_refused() {
        assert!(axis_error::<SparseFixed>(&[("block", 4.into()), ("summary", 5.into())]).contains("summary <= block"));
    }
}
