//! Sparse Sinkhorn attention: each block of queries sees its own block of keys and one that a soft permutation brings to it.
//!
//! Tay et al. 2020, section 3. The sort net (section 3.1.1) makes a row of `n / block` scores from each block's mean by a trained matrix
//! w_sort; Sinkhorn normalisation (section 3.1.2) makes the scores nearly doubly stochastic: a softmax over rows, then columns and rows in
//! turn, divided instead of in logarithms, ending with rows so that the weights of a mixture sum to one. By them blocks of keys and values
//! are mixed into
//! "sorted" ones (section 3.2). Scores are taken with the sorted and the own block, under one softmax (equation 5 and the text below
//! it). Mapped here: blocks are represented by their mean key of the head (the paper sums tokens before projection), all heads share
//! w_sort, and no Gumbel noise is added, as at inference.
//!
//! O(n block + (n / block)^2) instead of O(n^2). The sorted block is a blur of blocks unless training has made the permutation sharp, and
//! w_sort is tied to one length.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, Operand, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{AttentionSpec, BinaryOp, LinearSpec, MatmulSpec, ReduceOp, SoftmaxAlgorithm, UnaryOp};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::flash::Streamed;
use super::linformer::segment_means;
use super::operands::{Attended, EQUAL_HEADS, EQUAL_LENGTHS, count, divides};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::resolve::{number, size};
use crate::variant::{Bound, Operands, Reference, Variant};
use crossover_core::compose::per_head::blocks;

/// The variant.
pub struct Sinkhorn;

/// The sort net.
pub struct SortNet<B: TransformerBackend> {
    pub(super) w_sort: B::Weight,
    pub(super) block: usize,
    pub(super) iterations: usize,
    pub(super) temperature: f64,
    pub(super) spec: AttentionSpec,
}

/// Keeps a column that nobody chooses from dividing by zero.
pub(super) const TINY: f64 = 1e-30;

const BLOCKS: Dim = Dim::Of("n / block", |axes| size(axes, "n") / size(axes, "block").max(1));

impl Variant for Sinkhorn {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/sinkhorn",
        summary: "attention to the own block and to one brought by a soft permutation of blocks",
        citation: "Tay et al. 2020, section 3",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[
            count("block", "tokens of a block", AxisDefault::Share { of: "n", divisor: 8 }),
            AxisSpec {
                name: "iterations",
                doc: "normalisations of columns and rows after the first of rows",
                kind: AxisKind::Int { min: 0, max: 256 },
                default: AxisDefault::Int(5),
            },
            AxisSpec {
                name: "temperature",
                doc: "divides the scores of the sort net: small is a sharp permutation",
                kind: AxisKind::Float { min: 0.001, max: 1000.0 },
                default: AxisDefault::Float(0.75),
            },
        ],
        tensors: &[
            TENSORS[0],
            TENSORS[1],
            TENSORS[2],
            TensorSpec {
                name: "w_sort",
                role: Role::Weight,
                shape: &[BLOCKS, Dim::Axis("head_dim")],
                draw: DrawRule::Around(0.0, 1.0),
                only_with: None,
            },
        ],
        derived: &[],
        output: QUERIES,
        conditions: &[
            HEADS_DIVIDE,
            EQUAL_HEADS,
            EQUAL_LENGTHS,
            Condition { text: "block must divide n", holds: |axes| divides(axes, "block", "n") },
        ],
        model: Model {
            flops: "batch*heads*(n*head_dim + (n/block)^2*(2*head_dim + 6 + 4*iterations) + iterations*n/block \
                    + 4*n/block*n*head_dim + 2*n*block*(4*head_dim + 5))",
            scratch: "batch*heads*((n/block)^2 + 4*n*head_dim)",
        },
    };

    type Bound<B: TransformerBackend> = SortNet<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<SortNet<B>> {
        SortNet::bind(operands, axes)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> SortNet<B> {
    /// By the axes.
    pub(super) fn bind(operands: &mut Operands<B>, axes: &Axes) -> Result<Self> {
        Ok(Self {
            w_sort: operands.weight("w_sort")?,
            block: size(axes, "block"),
            iterations: size(axes, "iterations"),
            temperature: number(axes, "temperature"),
            spec: Streamed::over(AttentionPattern::Full, axes).spec,
        })
    }

    /// The soft permutation, [batch, heads, blocks, blocks].
    fn permutation(&self, backend: &B, k: View<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let (batch, heads, width) = (k.shape()[0], k.shape()[1], k.shape()[3]);
        let count = k.shape()[2].checked_div(self.block).unwrap_or(0);
        let mut weights = scratch.take(backend, backend.compute(), &[batch, heads, count, count])?;
        // In the compute type: each normalisation passes an error on, and the next one makes it larger.
        let mut means = scratch.take(backend, backend.compute(), &[batch, heads, count, width])?;
        segment_means(backend, k, means.view_mut())?;
        backend.linear(LinearSpec { activation: Activation::None }, means.view(), &self.w_sort, None, weights.view_mut())?;
        scratch.give(means);
        backend.unary(UnaryOp::Affine { scale: 1.0 / self.temperature, shift: 0.0 }, Operand::InPlace, weights.view_mut())?;
        backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, weights.view_mut())?;
        let mut sums = scratch.take(backend, backend.compute(), &[batch, heads, count])?;
        for _ in 0..self.iterations {
            backend.reduce(ReduceOp::Sum, weights.view().transposed()?, sums.view_mut())?;
            backend.unary(UnaryOp::Affine { scale: 1.0, shift: TINY }, Operand::InPlace, sums.view_mut())?;
            backend.binary(BinaryOp::Divide, Operand::InPlace, sums.view().with(|layout| layout.unsqueeze(2))?, weights.view_mut())?;
            backend.reduce(ReduceOp::Sum, weights.view(), sums.view_mut())?;
            backend.binary(BinaryOp::Divide, Operand::InPlace, sums.view().with(|layout| layout.unsqueeze(3))?, weights.view_mut())?;
        }
        scratch.give(sums);
        Ok(weights)
    }

    /// Each block behind its sorted one: [batch, heads, blocks, 2 block, width].
    pub(super) fn pairs(
        &self,
        backend: &B,
        x: View<'_, B::Buffer>,
        weights: View<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let (batch, heads, count, width) = (x.shape()[0], x.shape()[1], weights.shape()[2], x.shape()[3]);
        let own = x.with(|layout| layout.split(2, count, self.block))?;
        let mut pairs = scratch.take(backend, backend.storage(), &[batch, heads, count, 2 * self.block, width])?;
        let sorted = pairs.view_mut().narrow(3, 0, self.block)?.with(|layout| layout.merge(3))?;
        backend.matmul(MatmulSpec::PLAIN, weights, own.with(|layout| layout.merge(3))?, sorted)?;
        backend.copy(own, pairs.view_mut().narrow(3, self.block, self.block)?)?;
        Ok(pairs)
    }
}

impl<B: TransformerBackend> Bound<B> for SortNet<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let Attended { q, k, v, .. } = Attended::of("attention/sinkhorn", inputs)?;
        let weights = self.permutation(backend, k, scratch)?;
        let count = weights.shape()[2];
        let keys = self.pairs(backend, k, weights.view(), scratch)?;
        let values = self.pairs(backend, v, weights.view(), scratch)?;
        let operands = AttentionOperands {
            q: q.with(blocks(count))?,
            k: keys.view().with(|layout| layout.merge(0))?,
            v: values.view().with(|layout| layout.merge(0))?,
            bias: ScoreBias::None,
            key_mask: None,
        };
        backend.attention(&self.spec, operands, AttentionOutputs { out: out.with(blocks(count))?, log_sum_exp: None }, scratch)?;
        for tensor in [values, keys, weights] {
            scratch.give(tensor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dense, dot, row, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::axes::AxisValue;
    use crossover_core::reference::HostInputs;

    #[test]
    fn one_block_is_dense_attention() {
        let axes = axes::<Sinkhorn>(&with(&sized(2, 10, 8), &[("block", 10.into())]));
        let drawn = drawn::<Sinkhorn>(&axes);
        assert!(distance(&run::<Sinkhorn>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-12);
    }

    /// The soft permutation of one head, from the formulas of the paper.
    fn permutation(drawn: &HostInputs, head: usize, count: usize, block: usize) -> Vec<Vec<f64>> {
        let score = |i: usize, j: usize| {
            let mean = (0..8).map(|c| (0..block).map(|t| row(&drawn["k"], head, i * block + t)[c]).sum::<f64>() / block as f64);
            dot(&mean.collect::<Vec<f64>>(), &drawn["w_sort"].values()[j * 8..][..8]) / 0.75
        };
        let mut s: Vec<Vec<f64>> = (0..count).map(|i| (0..count).map(|j| score(i, j).exp()).collect()).collect();
        for step in 0..11 {
            let sums: Vec<f64> = (0..count).map(|a| (0..count).map(|b| if step % 2 == 0 { s[a][b] } else { s[b][a] }).sum()).collect();
            for (i, line) in s.iter_mut().enumerate() {
                line.iter_mut().enumerate().for_each(|(j, x)| *x /= if step % 2 == 0 { sums[i] } else { sums[j] });
            }
        }
        s
    }

    #[test]
    fn it_is_the_formula_of_the_paper() {
        let axes = axes::<Sinkhorn>(&with(&sized(2, 12, 8), &[("block", 3.into())]));
        let drawn = drawn::<Sinkhorn>(&axes);
        let output = run::<Sinkhorn>(&axes, &drawn);
        for head in 0..2 {
            let s = permutation(&drawn, head, 4, 3);
            for column in 0..4 {
                assert!((s.iter().map(|line| line[column]).sum::<f64>() - 1.0).abs() < 0.1, "not nearly doubly stochastic");
            }
            for i in 0..12 {
                let sorted =
                    |name: &str, t: usize, c: usize| (0..4).map(|b| s[i / 3][b] * row(&drawn[name], head, b * 3 + t)[c]).sum::<f64>();
                let own = |name: &str, t: usize, c: usize| row(&drawn[name], head, i / 3 * 3 + t)[c];
                let entry = |name: &str, t: usize, c: usize| if t < 3 { sorted(name, t, c) } else { own(name, t - 3, c) };
                let score = |t: usize| (0..8).map(|c| row(&drawn["q"], head, i)[c] * entry("k", t, c)).sum::<f64>() / 8f64.sqrt();
                let weights: Vec<f64> = (0..6).map(|t| score(t).exp()).collect();
                for c in 0..8 {
                    let mean = (0..6).map(|t| weights[t] * entry("v", t, c)).sum::<f64>() / weights.iter().sum::<f64>();
                    assert!((row(&output, head, i)[c] - mean).abs() < 1e-10);
                }
            }
        }
    }

    #[test]
    fn it_is_right_for_several_sequences_and_costs_what_it_says() {
        let parameters: [(&str, AxisValue); 3] = [("batch", 2.into()), ("block", 4.into()), ("iterations", 3.into())];
        let given = with(&sized(2, 16, 8), &parameters);
        assert_eq!(judged::<Sinkhorn>(&given).complaint, None);
        assert_closed_forms::<Sinkhorn>(&given);
    }

    #[test]
    fn blocks_that_do_not_fit_are_refused() {
        assert!(axis_error::<Sinkhorn>(&[("n", 10.into()), ("block", 4.into())]).contains("block must divide n"));
        assert!(axis_error::<Sinkhorn>(&[("n_kv", 7.into())]).contains("n_kv = n"));
    }
}
