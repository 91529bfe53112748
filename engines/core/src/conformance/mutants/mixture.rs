//! Faults of a mixture of experts, each token's row made on the host out of the engine's own layers.

use crate::activation::Activation;
use crate::arena::Arena;
use crate::backend::{Experts, Routes, TransformerBackend};
use crate::check;
use crate::error::{EngineError, Result};
use crate::layout::Layout;
use crate::ops::LinearSpec;
use crate::tensor::{View, ViewMut};

use super::{Fault, Mutant};

pub(super) fn mixture<B: TransformerBackend>(
    m: &Mutant<B>,
    spec: LinearSpec,
    x: View<'_, B::Buffer>,
    routes: Routes<'_, B::Buffer>,
    experts: Experts<'_, B::Weight, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let Some(fault) = m.fault.filter(|fault| fault.operation() == "mixture") else {
        return m.inner.mixture(spec, x, routes, experts, out, scratch);
    };
    let sizes = check::mixture(&x.layout, &routes, &experts, &out.layout)?;
    let (width, choices) = (sizes.width, sizes.choices);
    let (chosen, gates) = (m.get(routes.chosen)?, m.get(routes.gates)?);
    let is_expert = |at: &usize| (0.0..sizes.experts as f64).contains(&chosen[*at]);
    if let Some(position) = (0..chosen.len()).find(|at| !is_expert(at)).filter(|_| fault != Fault::MixtureIgnoresWrongChoices) {
        return Err(EngineError::Index { operation: "mixture", index: chosen[position] as i64, position, bound: sizes.experts });
    }
    let in_turn = (0..choices).flat_map(|choice| (0..sizes.tokens).map(move |token| token * choices + choice));
    let order: Vec<usize> = if fault == Fault::MixtureServesTokensInTurn { (0..chosen.len()).collect() } else { in_turn.collect() };
    let (mut counts, mut sums) = (vec![0; sizes.experts], vec![0.0; sizes.tokens * width]);
    for at in order.into_iter().filter(is_expert) {
        let (token, expert) = (at / choices, chosen[at] as usize);
        counts[expert] += 1;
        let dropped = counts[expert] > sizes.places && fault != Fault::MixtureDropsNothing;
        let forgotten = fault == Fault::MixtureForgetsLastChoice && choices > 1 && at % choices == choices - 1;
        if dropped || forgotten {
            continue;
        }
        let row = row_of(m, spec, x.narrow(0, token, 1)?, experts, [expert, if fault == Fault::MixtureSharesBiases { 0 } else { expert }])?;
        let gate = if fault == Fault::MixtureForgetsGates { 1.0 } else { gates[at] };
        sums[token * width..][..width].iter_mut().zip(row).for_each(|(sum, value)| *sum += gate * value);
    }
    m.put(sums, out)
}

/// A row through the layers of one expert, with the biases of one.
fn row_of<B: TransformerBackend>(
    m: &Mutant<B>,
    spec: LinearSpec,
    x: View<'_, B::Buffer>,
    experts: Experts<'_, B::Weight, B::Buffer>,
    [expert, biases]: [usize; 2],
) -> Result<Vec<f64>> {
    let own = |layout: &Layout| layout.narrow(0, biases, 1)?.merge(0);
    let (hidden, width) = (experts.up_bias.shape()[1], experts.down_bias.shape()[1]);
    let storage = m.inner.storage();
    let (mut middle, mut output) = (m.inner.tensor(storage, &[1, hidden])?, m.inner.tensor(storage, &[1, width])?);
    m.inner.linear(spec, x, &experts.up[expert], Some(experts.up_bias.with(own)?), middle.view_mut())?;
    let plain = LinearSpec { activation: Activation::None };
    m.inner.linear(plain, middle.view(), &experts.down[expert], Some(experts.down_bias.with(own)?), output.view_mut())?;
    m.get(output.view())
}
