//! Adaptive softmax: frequent words at full width, rare ones in two clusters of smaller width behind one entry each.
//!
//! Grave et al. 2017, "Efficient softmax approximation for GPUs", section 4: words are numbered by falling frequency. The head holds the
//! first `cutoff1` words and one entry for each tail; the tails (up to `cutoff2`, and the rest) see x projected to d_model / f and
//! d_model / f^2 channels, f the `projection` factor. log p(word in tail) = log p(tail) + log p(word | tail). Trades the capacity of rare
//! words for arithmetic and weights. All log-probabilities are given: the saving that the paper gets from skipping the tails of frequent
//! targets depends on the data, and is not counted here.
//!
//! It is its own truth: no dense layer has these weights. Even at projection 1, where every word has a full-width row, words of different
//! parts meet only through the entries of the tails, which a flat softmax does not have.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, PreparedWeight, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::layout::MAX_RANK;
use crossover_core::ops::{BinaryOp, LinearSpec};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::columns::{column, log_sum_exp, wide};
use super::output::{LOG_PROBABILITIES, X, description};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Adaptive;

/// The head, and the projection and words of each tail.
pub struct Clustered<B: TransformerBackend> {
    head: B::Weight,
    tails: [(B::Weight, B::Weight); 2],
}

const PLAIN: LinearSpec = LinearSpec { activation: Activation::None };

const fn cutoff(name: &'static str, doc: &'static str, divisor: i64) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Int { min: 1, max: 1 << 24 }, default: AxisDefault::Share { of: "vocabulary", divisor } }
}

const fn weight(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Weight, shape, draw: DrawRule::FanIn, only_with: None }
}

const HEAD: Dim = Dim::Of("cutoff1 + 2", |axes| size(axes, "cutoff1") + 2);
const WIDTH_1: Dim = Dim::Of("d_model / projection", |axes| size(axes, "d_model") / size(axes, "projection").max(1));
const WIDTH_2: Dim = Dim::Of("d_model / projection^2", |axes| size(axes, "d_model") / size(axes, "projection").pow(2).max(1));
const WORDS_1: Dim = Dim::Of("cutoff2 - cutoff1", |axes| size(axes, "cutoff2").saturating_sub(size(axes, "cutoff1")));
const WORDS_2: Dim = Dim::Of("vocabulary - cutoff2", |axes| size(axes, "vocabulary").saturating_sub(size(axes, "cutoff2")));

impl Variant for Adaptive {
    const DESCRIPTOR: Descriptor = description(
        ["softmax/adaptive", "log-probabilities from a head of frequent words and two narrower tails", "Grave et al. 2017, section 4"],
        &[
            cutoff("cutoff1", "words of the head: the most frequent ones", 16),
            cutoff("cutoff2", "words of head and first tail", 4),
            AxisSpec {
                name: "projection",
                doc: "factor by which each tail is narrower than what is before it; its square divides d_model",
                kind: AxisKind::Int { min: 1, max: 1 << 10 },
                default: AxisDefault::Int(4),
            },
        ],
        &[
            X,
            weight("w_head", &[HEAD, Dim::Axis("d_model")]),
            weight("w_down1", &[WIDTH_1, Dim::Axis("d_model")]),
            weight("w_tail1", &[WORDS_1, WIDTH_1]),
            weight("w_down2", &[WIDTH_2, Dim::Axis("d_model")]),
            weight("w_tail2", &[WORDS_2, WIDTH_2]),
        ],
        &[],
        (
            LOG_PROBABILITIES,
            &[
                Condition {
                    text: "the cut-offs must rise and leave words for each part: cutoff1 < cutoff2 < vocabulary",
                    holds: |axes| size(axes, "cutoff1") < size(axes, "cutoff2") && size(axes, "cutoff2") < size(axes, "vocabulary"),
                },
                Condition {
                    text: "the square of projection must divide d_model",
                    holds: |axes| size(axes, "d_model").is_multiple_of(size(axes, "projection").pow(2).max(1)),
                },
            ],
        ),
        Model {
            flops: "batch*n*((cutoff1 + 2)*(2*d_model + 5) + 14 \
                    + 2*d_model/projection*(d_model + cutoff2 - cutoff1) + 5*(cutoff2 - cutoff1) \
                    + 2*d_model/projection^2*(d_model + vocabulary - cutoff2) + 5*(vocabulary - cutoff2))",
            scratch: "batch*n*(cutoff1 + 2 + max(cutoff1 + 4, max( \
                      cutoff2 - cutoff1 + max(cutoff2 - cutoff1 + 2, d_model/projection), \
                      vocabulary - cutoff2 + max(vocabulary - cutoff2 + 2, d_model/projection^2)))) + 1",
        },
    );

    type Bound<B: TransformerBackend> = Clustered<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Clustered<B>> {
        let head = operands.weight("w_head")?;
        let tails =
            [(operands.weight("w_down1")?, operands.weight("w_tail1")?), (operands.weight("w_down2")?, operands.weight("w_tail2")?)];
        Ok(Clustered { head, tails })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

/// x projected to fewer channels, as scratch in the storage type.
fn narrowed<B: TransformerBackend>(
    backend: &B,
    x: View<'_, B::Buffer>,
    down: &B::Weight,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let Some(last) = x.layout.rank().checked_sub(1) else { return Err(shape_error("adaptive softmax", "a scalar has no rows")) };
    let mut shape = [0; MAX_RANK];
    shape[..last].copy_from_slice(&x.shape()[..last]);
    shape[last] = down.outputs();
    let mut hidden = scratch.take(backend, backend.storage(), &shape[..=last])?;
    backend.linear(PLAIN, x, down, None, hidden.view_mut())?;
    Ok(hidden)
}

impl<B: TransformerBackend> Bound<B> for Clustered<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs("softmax/adaptive", inputs)) };
        let last = x.layout.rank().saturating_sub(1);
        let frequent = self.head.outputs().saturating_sub(self.tails.len());
        let mut head = wide(backend, x.shape(), self.head.outputs(), scratch)?;
        backend.linear(PLAIN, x, &self.head, None, head.view_mut())?;
        let normaliser = log_sum_exp(backend, head.view(), scratch)?;
        backend.binary(BinaryOp::Subtract, Operand::InPlace, normaliser.view(), head.view_mut())?;
        scratch.give(normaliser);
        backend.copy(head.view().narrow(last, 0, frequent)?, out.reborrow().narrow(last, 0, frequent)?)?;
        let mut start = frequent;
        for (at, (down, words)) in self.tails.iter().enumerate() {
            let hidden = narrowed(backend, x, down, scratch)?;
            let mut logits = wide(backend, x.shape(), words.outputs(), scratch)?;
            backend.linear(PLAIN, hidden.view(), words, None, logits.view_mut())?;
            scratch.give(hidden);
            // log p(tail) - log sum exp of the tail's logits.
            let normaliser = log_sum_exp(backend, logits.view(), scratch)?;
            let mut offset = column(backend, x.shape(), scratch)?;
            let of_tail = head.view().narrow(last, frequent + at, 1)?;
            backend.binary(BinaryOp::Subtract, Operand::Of(of_tail), normaliser.view(), offset.view_mut())?;
            scratch.give(normaliser);
            backend.binary(
                BinaryOp::Add,
                Operand::Of(logits.view()),
                offset.view(),
                out.reborrow().narrow(last, start, words.outputs())?,
            )?;
            scratch.give(offset);
            scratch.give(logits);
            start += words.outputs();
        }
        scratch.give(head);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, axis_error, drawn, run};

    fn small() -> Vec<(&'static str, crossover_core::axes::AxisValue)> {
        vec![
            ("n", 5.into()),
            ("d_model", 8.into()),
            ("vocabulary", 30.into()),
            ("cutoff1", 6.into()),
            ("cutoff2", 13.into()),
            ("projection", 2.into()),
        ]
    }

    #[test]
    fn probabilities_add_up_to_one_and_a_tail_as_a_whole_has_those_of_its_entry() {
        let axes = axes::<Adaptive>(&small());
        let inputs = drawn::<Adaptive>(&axes);
        let out = run::<Adaptive>(&axes, &inputs);
        for (row, x) in out.values().chunks(30).zip(inputs["x"].values().chunks(8)) {
            let mass = |words: std::ops::Range<usize>| row[words].iter().map(|log| log.exp()).sum::<f64>();
            let entries: Vec<f64> =
                inputs["w_head"].values().chunks(8).map(|w| x.iter().zip(w).map(|(a, b)| a * b).sum::<f64>().exp()).collect();
            let total: f64 = entries.iter().sum();
            assert!((mass(0..30) - 1.0).abs() < 1e-13);
            assert!((mass(6..13) - entries[6] / total).abs() < 1e-14 && (mass(13..30) - entries[7] / total).abs() < 1e-14);
            assert!((row[2].exp() - entries[2] / total).abs() < 1e-14);
        }
    }

    #[test]
    fn cut_offs_out_of_order_and_uneven_projections_are_refused() {
        let mut given = small();
        given[4].1 = 6.into();
        let error = axis_error::<Adaptive>(&given);
        assert!(error.contains("cutoff1 < cutoff2 < vocabulary (here"), "{error}");
        given[4].1 = 13.into();
        given[5].1 = 3.into();
        let error = axis_error::<Adaptive>(&given);
        assert!(error.contains("the square of projection must divide d_model (here"), "{error}");
    }
}
