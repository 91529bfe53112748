//! Output layers: from the last hidden state to log-probabilities of the next token, or to the loss of a given one.
//!
//! Two tasks. `output/log-probabilities`: log softmax(w x) over the vocabulary, [.., vocabulary], by the plain layer and by `adaptive`, with
//! fewer weights for rare words. `output/loss`: the loss -log p(target) of each row as [.., 1], which is all that training needs, by the
//! others; these stand in for each other in a training step, and are not compared with a layer that gives more.
//! Words are numbered by falling frequency, as tokenisers' vocabularies roughly are. The methods with weights of another shape (adaptive,
//! hierarchical, Huffman) are models of their own, trained as they are: their accuracy against the dense layer has no meaning here. The
//! sampled loss, which uses the dense layer's own weights, is held against the loss over all words.

use crossover_core::arena::Arena;
use crossover_core::backend::{Operand, PreparedWeight, TransformerBackend};
use crossover_core::compose::picker::{Picker, numbers};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::BinaryOp;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::columns::{log_sum_exp_through, wide};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::linear::{BATCH, ROWS, width};
use crate::resolve::size;

/// The sizes of the problem. Word numbers up to 2^24 are exact in f32.
pub(super) const PROBLEM: &[AxisSpec] = &[
    BATCH,
    ROWS,
    width("d_model", "width of the last hidden state", 768),
    AxisSpec { name: "vocabulary", doc: "words", kind: AxisKind::Int { min: 2, max: 1 << 24 }, default: AxisDefault::Int(16_384) },
];

/// The last hidden state.
pub(super) const X: TensorSpec = TensorSpec {
    name: "x",
    role: Role::Activation,
    shape: &[Dim::Rows, Dim::Axis("d_model")],
    draw: DrawRule::Distribution,
    only_with: None,
};

/// The word whose loss is asked for.
pub(super) const TARGETS: TensorSpec = TensorSpec {
    name: "targets",
    role: Role::Activation,
    shape: &[Dim::Rows],
    draw: DrawRule::Below(|axes| size(axes, "vocabulary")),
    only_with: None,
};

/// One row of weights a word.
pub(super) const W: TensorSpec = TensorSpec {
    name: "w",
    role: Role::Weight,
    shape: &[Dim::Axis("vocabulary"), Dim::Axis("d_model")],
    draw: DrawRule::FanIn,
    only_with: None,
};

/// The loss of each row.
pub(super) const LOSSES: &[Dim] = &[Dim::Rows, Dim::Of("1", |_| 1)];

/// All log-probabilities of each row.
pub(super) const LOG_PROBABILITIES: &[Dim] = &[Dim::Rows, Dim::Axis("vocabulary")];

/// Words that are compared with the target at once, at most.
pub(super) const TILE: usize = 1024;

/// What the layers share.
pub(super) const fn description(
    [name, summary, citation]: [&'static str; 3],
    parameters: &'static [AxisSpec],
    tensors: &'static [TensorSpec],
    derived: &'static [DerivedSpec],
    (output, conditions): (&'static [Dim], &'static [Condition]),
    model: Model,
) -> Descriptor {
    // Losses of one target and log-probabilities of all words are not compared with each other.
    let task = match output {
        [_, Dim::Of(..)] => "output/loss",
        _ => "output/log-probabilities",
    };
    Descriptor { name, summary, citation, task, problem: PROBLEM, parameters, tensors, derived, output, conditions, model }
}

/// The numbers 0, 1, .. of places within a tile.
pub(super) const fn places(shape: &'static [Dim]) -> DerivedSpec {
    DerivedSpec { name: "places", role: Role::Index, shape, form: None }
}

/// Their values.
pub(super) fn counted(count: usize) -> Result<HostTensor> {
    HostTensor::new(&[count], (0..count).map(|place| place as f64).collect())
}

/// Places of a tile that covers these many classes, or part of them.
pub(super) fn tile_of(classes: usize) -> usize {
    classes.min(TILE)
}

/// -log softmax(w x)[target] of each row as [.., 1], over tiles of the vocabulary, with room for the logits of the widest one.
pub(super) fn losses<B: TransformerBackend>(
    backend: &B,
    tiles: &[B::Weight],
    [x, targets]: [View<'_, B::Buffer>; 2],
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let widest = tiles.iter().map(PreparedWeight::outputs).max().unwrap_or(0);
    let mut logits = wide(backend, x.shape(), widest, scratch)?;
    let out = out.with(|layout| layout.reshape(targets.shape()))?;
    backend.cross_entropy(x, tiles, targets, logits.view_mut(), out, scratch)?;
    scratch.give(logits);
    Ok(())
}

/// -log softmax(logits)[target] of each row as [.., 1]; the logits, in the compute type, are used up. Where `taken` is 0 there is no class.
pub(super) fn loss<B: TransformerBackend>(
    backend: &B,
    places: &Tensor<B::Buffer>,
    mut logits: Tensor<B::Buffer>,
    targets: View<'_, B::Buffer>,
    taken: Option<View<'_, B::Buffer>>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let (last, classes) = (logits.layout.rank().saturating_sub(1), logits.layout.dim_from_end(0));
    let targets = numbers(backend, targets, logits.shape(), scratch)?;
    let mut picker = Picker::new(backend, places, logits.shape(), scratch)?;
    for start in (0..classes).step_by(picker.tile().max(1)) {
        let columns = picker.tile().min(classes - start);
        picker.look(start, logits.view().narrow(last, start, columns)?, targets.view(), scratch)?;
    }
    scratch.give(targets);
    let picked = picker.finish(scratch);
    if let Some(taken) = taken {
        backend.select(taken, f64::NEG_INFINITY, logits.view_mut())?;
    }
    let mut loss = log_sum_exp_through(backend, None, &mut logits, scratch)?;
    scratch.give(logits);
    backend.binary(BinaryOp::Subtract, Operand::InPlace, picked.view(), loss.view_mut())?;
    scratch.give(picked);
    Ok(loss)
}

/// Rows of any leading dimensions as [rows, width].
pub(super) fn flat<'a, S>(x: View<'a, S>) -> Result<View<'a, S>> {
    let width = x.layout.dim_from_end(0);
    let rows = x.layout.len().checked_div(width).unwrap_or(0);
    x.with(|layout| layout.reshape(&[rows, width]))
}

/// Losses in plain f64, for tests: -log softmax(w x)[target] over the words that count.
#[cfg(test)]
pub(super) fn plain_losses(inputs: &crossover_core::reference::HostInputs, counts: impl Fn(usize, usize) -> bool) -> Vec<f64> {
    let (x, w, targets) = (&inputs["x"], inputs["w"].values(), inputs["targets"].values());
    let width = x.shape()[2];
    let row = |(x, target): (&[f64], &f64)| {
        let logit = |word: usize| x.iter().zip(&w[word * width..]).map(|(a, b)| a * b).sum::<f64>();
        let target = *target as usize;
        let sum: f64 = (0..w.len() / width).filter(|&word| counts(target, word)).map(|word| logit(word).exp()).sum();
        sum.ln() - logit(target)
    };
    x.values().chunks(width).zip(targets).map(row).collect()
}

#[cfg(test)]
mod tests {
    use crate::formula::evaluate;
    use crate::registry::entries;
    use crate::resolve::resolve;
    use crossover_core::axes::Axes;

    /// The sizes of the registry's tests fit one tile.
    #[test]
    fn closed_forms_hold_for_several_tiles_too() {
        for entry in entries().iter().filter(|entry| entry.descriptor.task.starts_with("output/")) {
            let given: Axes =
                [("n", 40), ("d_model", 64), ("vocabulary", 6144)].map(|(name, value)| (name.to_owned(), value.into())).into();
            let axes = resolve(entry.descriptor, &given).unwrap();
            let metered = [entry.cost(&axes).unwrap().flops as f64, entry.dry_run(&axes).unwrap().scratch_bytes as f64 / 4.0];
            let model = entry.descriptor.model;
            for (formula, metered) in [model.flops, model.scratch].into_iter().zip(metered) {
                let closed = evaluate(formula, &axes).unwrap();
                assert!((closed - metered).abs() <= 1e-3 * metered, "{}: {closed}, metered {metered}", entry.descriptor.name);
            }
        }
    }
}
