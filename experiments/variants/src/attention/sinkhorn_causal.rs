//! Causal Sinkhorn attention: each block of queries sees the past of its own block, and one that a soft permutation makes of earlier blocks.
//!
//! Tay et al. 2020, section 3.3 (causal sparse Sinkhorn attention), with what section 3 of [`super::sinkhorn`] says of the full form. Three
//! things keep the future out. The sort net's row of a block is made from the sum of the mean keys of the blocks *before* it (the paper
//! sums tokens up to the block's first). Scores of the own and of later blocks are masked, the own one because the sorted block
//! would show its later tokens; the first block has nothing but itself. And a column is divided by its sum over the rows *so far*, not
//! over all (the paper's causal Sinkhorn balancing), ending with rows. Everything is exact in the past: a later token changes nothing
//! before it.
//!
//! Queries see the whole sorted block and their own block up to themselves: at two blocks of keys a query, a quarter of the pairs is spared.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, Operand, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::ops::{AttentionSpec, BinaryOp, LinearSpec, ReduceOp, SoftmaxAlgorithm, UnaryOp};
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::linformer::segment_means;
use super::operands::Attended;
use super::patterns::attention_over;
use super::sinkhorn::{Sinkhorn, SortNet, TINY};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};
use crossover_core::compose::per_head::blocks;

/// The variant.
pub struct SinkhornCausal;

const NAME: &str = "attention/sinkhorn-causal";

/// The sort net, over the past.
pub struct PastSortNet<B: TransformerBackend> {
    net: SortNet<B>,
}

impl Variant for SinkhornCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: NAME,
        summary: "causal attention to the own block and to one that a soft permutation makes of earlier blocks",
        citation: "Tay et al. 2020, sections 3 and 3.3",
        task: "attention/causal",
        model: Model {
            flops: "batch*heads*(min(n/block - 1, 1)*n*head_dim + (n/block - 1)*(head_dim + iterations) \
                    + (n/block - 1)*n/block*(2*head_dim + 6 + 5*iterations) + 4*n/block*n*head_dim \
                    + ((n/block - 1)*block^2 + n*(block + 1)/2)*(4*head_dim + 5)) + 2*(n/block - 1)*n/block",
            scratch: "max(batch*heads*((n/block)^2 + 4*n*head_dim), \
                      batch*heads*(n/block - 1)*(2*n/block + 1) + (n/block - 1)*n/block)",
        },
        ..Sinkhorn::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = PastSortNet<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<PastSortNet<B>> {
        Ok(PastSortNet { net: SortNet::bind(operands, axes)? })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

/// Rows of a view [.., rows, columns] summed up to each of them.
fn sums_so_far<B: TransformerBackend>(backend: &B, x: View<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>) -> Result<()> {
    backend.cumulative_sum(x.transposed()?, out.with(Layout::transposed)?)
}

impl<B: TransformerBackend> PastSortNet<B> {
    /// Scores of each block but the first, made from the blocks before it; those of its own and of later blocks are minus infinity.
    fn scores(&self, backend: &B, k: View<'_, B::Buffer>, past: &mut Tensor<B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        let &[batch, heads, later, count] = past.shape() else { return Err(wrong_inputs(NAME, &[past.view()])) };
        let width = k.shape()[3];
        let mut means = scratch.take(backend, backend.compute(), &[batch, heads, count, width])?;
        let mut sums = scratch.take(backend, backend.compute(), &[batch, heads, later, width])?;
        segment_means(backend, k, means.view_mut())?;
        sums_so_far(backend, means.view().narrow(2, 0, later)?, sums.view_mut())?;
        backend.linear(LinearSpec { activation: Activation::None }, sums.view(), &self.net.w_sort, None, past.view_mut())?;
        scratch.give(sums);
        scratch.give(means);
        backend.unary(UnaryOp::Affine { scale: 1.0 / self.net.temperature, shift: 0.0 }, Operand::InPlace, past.view_mut())?;
        // The first of these rows is block 1, which sees block 0.
        backend.mask(&AttentionPattern::Causal, 0, 0, past.view_mut())
    }

    /// What is added to the sums of columns, [blocks - 1, blocks]: next to nothing where something is summed, and 1 where nothing is, so that
    /// a zero stays one.
    fn floor(&self, backend: &B, [later, count]: [usize; 2], scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let mut floor = scratch.take(backend, backend.compute(), &[later, count])?;
        let mut visible = scratch.take(backend, backend.compute(), &[later, count])?;
        backend.fill(floor.view_mut(), TINY)?;
        // A 0/1 triangle: zeros, masked to minus infinity, through exp.
        backend.fill(visible.view_mut(), 0.0)?;
        backend.mask(&AttentionPattern::Causal, 0, 0, visible.view_mut())?;
        backend.unary(UnaryOp::Exp, Operand::InPlace, visible.view_mut())?;
        backend.select(visible.view(), 1.0, floor.view_mut())?;
        scratch.give(visible);
        Ok(floor)
    }

    /// Turns scores into weights, normalised by rows and by columns so far in turn.
    fn balance(&self, backend: &B, past: &mut Tensor<B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        let &[batch, heads, later, count] = past.shape() else { return Err(wrong_inputs(NAME, &[past.view()])) };
        backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, past.view_mut())?;
        let floor = self.floor(backend, [later, count], scratch)?;
        let mut columns = scratch.take(backend, backend.compute(), past.shape())?;
        let mut rows = scratch.take(backend, backend.compute(), &[batch, heads, later])?;
        for _ in 0..self.net.iterations {
            sums_so_far(backend, past.view(), columns.view_mut())?;
            backend.binary(BinaryOp::Add, Operand::InPlace, floor.view(), columns.view_mut())?;
            backend.binary(BinaryOp::Divide, Operand::InPlace, columns.view(), past.view_mut())?;
            backend.reduce(ReduceOp::Sum, past.view(), rows.view_mut())?;
            backend.unary(UnaryOp::Affine { scale: 1.0, shift: TINY }, Operand::InPlace, rows.view_mut())?;
            backend.binary(BinaryOp::Divide, Operand::InPlace, rows.view().with(|layout| layout.unsqueeze(3))?, past.view_mut())?;
        }
        for tensor in [rows, columns, floor] {
            scratch.give(tensor);
        }
        Ok(())
    }

    /// The soft permutation, [batch, heads, blocks, blocks]; zero on and above the diagonal.
    fn permutation(&self, backend: &B, k: View<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let count = k.shape()[2].checked_div(self.net.block).unwrap_or(0);
        let (batch, heads) = (k.shape()[0], k.shape()[1]);
        let later = count.saturating_sub(1);
        let mut past = None;
        if later > 0 {
            let mut made = scratch.take(backend, backend.compute(), &[batch, heads, later, count])?;
            self.scores(backend, k, &mut made, scratch)?;
            self.balance(backend, &mut made, scratch)?;
            past = Some(made);
        }
        let mut weights = scratch.take(backend, backend.compute(), &[batch, heads, count, count])?;
        backend.fill(weights.view_mut(), 0.0)?;
        if let Some(past) = past {
            backend.copy(past.view(), weights.view_mut().narrow(2, 1, later)?)?;
            scratch.give(past);
        }
        Ok(weights)
    }
}

impl<B: TransformerBackend> Bound<B> for PastSortNet<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let Attended { q, k, v, .. } = Attended::of(NAME, inputs)?;
        let weights = self.permutation(backend, k, scratch)?;
        let (count, block) = (weights.shape()[2], self.net.block);
        let keys = self.net.pairs(backend, k, weights.view(), scratch)?;
        let values = self.net.pairs(backend, v, weights.view(), scratch)?;
        // A query of block i, at place r of it, sees all of the sorted block in front and r + 1 places of its own: it stands at block + r.
        // The first block has nothing in front.
        for (first, length, query_offset) in [(0, 1, 0), (1, count.saturating_sub(1), block)] {
            if length == 0 {
                continue;
            }
            let picked = |layout: &Layout| layout.merge(0)?.narrow(1, first, length)?.narrow(2, block - query_offset, block + query_offset);
            let own = |layout: &Layout| blocks(count)(layout)?.narrow(1, first, length);
            let operands = AttentionOperands {
                q: q.with(own)?,
                k: keys.view().with(picked)?,
                v: values.view().with(picked)?,
                bias: ScoreBias::None,
                key_mask: None,
            };
            let spec = AttentionSpec { pattern: AttentionPattern::Causal, query_offset, ..self.net.spec.clone() };
            let outputs = AttentionOutputs { out: out.reborrow().with(own)?, log_sum_exp: None };
            backend.attention(&spec, operands, outputs, scratch)?;
        }
        for tensor in [values, keys, weights] {
            scratch.give(tensor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_causal, assert_closed_forms, dense_causal, dot, row, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::axes::AxisValue;
    use crossover_core::reference::HostInputs;

    #[test]
    fn one_block_is_causal_attention() {
        let axes = axes::<SinkhornCausal>(&with(&sized(2, 10, 8), &[("block", 10.into())]));
        let drawn = drawn::<SinkhornCausal>(&axes);
        assert!(distance(&run::<SinkhornCausal>(&axes, &drawn), &dense_causal(&axes, &drawn)) < 1e-12);
    }

    #[test]
    fn later_tokens_do_not_reach_back() {
        for token in [4, 9, 11] {
            assert_causal::<SinkhornCausal>(&with(&sized(2, 16, 8), &[("block", 4.into())]), token);
        }
    }

    /// The soft permutation of one head, from the formulas.
    fn permutation(drawn: &HostInputs, head: usize, count: usize, block: usize) -> Vec<Vec<f64>> {
        let score = |i: usize, j: usize| {
            let before = (0..8).map(|c| (0..i * block).map(|t| row(&drawn["k"], head, t)[c]).sum::<f64>() / block as f64);
            dot(&before.collect::<Vec<f64>>(), &drawn["w_sort"].values()[j * 8..][..8]) / 0.75
        };
        let mut s: Vec<Vec<f64>> = (0..count).map(|i| (0..count).map(|j| if j < i { score(i, j).exp() } else { 0.0 }).collect()).collect();
        for step in 0..11 {
            let old = s.clone();
            for (i, j) in (0..count).flat_map(|i| (0..i).map(move |j| (i, j))) {
                let sum: f64 = if step % 2 == 0 { old[i].iter().sum() } else { (0..=i).map(|row| old[row][j]).sum() };
                s[i][j] = old[i][j] / sum;
            }
        }
        s
    }

    #[test]
    fn it_is_the_formula_over_the_past() {
        let axes = axes::<SinkhornCausal>(&with(&sized(2, 12, 8), &[("block", 3.into())]));
        let drawn = drawn::<SinkhornCausal>(&axes);
        let output = run::<SinkhornCausal>(&axes, &drawn);
        for (head, i) in (0..2).flat_map(|head| (0..12).map(move |i| (head, i))) {
            let s = permutation(&drawn, head, 4, 3);
            let sorted = |name: &str, t: usize, c: usize| (0..4).map(|b| s[i / 3][b] * row(&drawn[name], head, b * 3 + t)[c]).sum::<f64>();
            let own = |name: &str, t: usize, c: usize| row(&drawn[name], head, i / 3 * 3 + t)[c];
            let entry = |name: &str, t: usize, c: usize| if t < 3 { sorted(name, t, c) } else { own(name, t - 3, c) };
            let seen: Vec<usize> = (0..6).filter(|&t| if t < 3 { i >= 3 } else { t - 3 <= i % 3 }).collect();
            let score = |t: usize| (0..8).map(|c| row(&drawn["q"], head, i)[c] * entry("k", t, c)).sum::<f64>() / 8f64.sqrt();
            let total: f64 = seen.iter().map(|&t| score(t).exp()).sum();
            for c in 0..8 {
                let mean = seen.iter().map(|&t| score(t).exp() * entry("v", t, c)).sum::<f64>() / total;
                assert!((row(&output, head, i)[c] - mean).abs() < 1e-10, "{head} {i}");
            }
        }
    }

    #[test]
    fn it_is_right_for_several_sequences_and_costs_what_it_says() {
        for block in [4, 16] {
            let parameters: [(&str, AxisValue); 3] = [("batch", 2.into()), ("block", block.into()), ("iterations", 3.into())];
            let given = with(&sized(2, 16, 8), &parameters);
            assert_eq!(judged::<SinkhornCausal>(&given).complaint, None);
            assert_closed_forms::<SinkhornCausal>(&given);
        }
    }

    #[test]
    fn blocks_that_do_not_fit_are_refused() {
        assert!(axis_error::<SinkhornCausal>(&[("n", 10.into()), ("block", 4.into())]).contains("block must divide n"));
    }
}
