//! Talking-heads attention: heads are mixed before and after the softmax.
//!
//! Shazeer et al., "Talking-Heads Attention" (2020), section 4: logits of all heads are mapped by one [heads, heads] matrix, and the
//! weights after the softmax by another. All heads of a query row are needed at once, so it cannot stream by head; scores of `chunk` query
//! rows are in memory, twice, because a mixture cannot be made in place. 4 heads more operations a pair, small beside head_dim.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{MatmulSpec, SoftmaxAlgorithm};
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::scores::{CHUNK, Sizes};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct TalkingHeads;

/// The two mixtures.
pub struct Mixing<B: TransformerBackend> {
    logits: Tensor<B::Buffer>,
    weights: Tensor<B::Buffer>,
    chunk: usize,
    causal: bool,
}

impl<B: TransformerBackend> Mixing<B> {
    /// The full or the causal form.
    pub(super) fn bind(operands: &mut Operands<B>, axes: &Axes, causal: bool) -> Result<Self> {
        let (logits, weights) = (operands.tensor("mix_logits")?, operands.tensor("mix_weights")?);
        Ok(Self { logits, weights, chunk: size(axes, "chunk"), causal })
    }
}

const fn mixture(name: &'static str) -> TensorSpec {
    let shape = &[Dim::Axis("heads"), Dim::Axis("heads")];
    TensorSpec { name, role: Role::Vector, shape, draw: DrawRule::FanIn, only_with: None }
}

impl Variant for TalkingHeads {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/talking-heads",
        summary: "heads are mixed by learned maps before and after the softmax",
        citation: "Shazeer et al. 2020, section 4",
        task: "attention/talking-heads",
        problem: PROBLEM,
        parameters: &[CHUNK],
        tensors: &[TENSORS[0], TENSORS[1], TENSORS[2], mixture("mix_logits"), mixture("mix_weights")],
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*n*n_kv*(4*head_dim + 5 + 4*heads)", scratch: "2*batch*heads*min(chunk, n)*n_kv + heads^2" },
    };

    type Bound<B: TransformerBackend + 'static> = Mixing<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Mixing<B>> {
        Mixing::bind(operands, axes, false)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

/// mixed[h'] = sum over h of `map[h, h']` scores[h].
fn mix<B: TransformerBackend>(
    backend: &B,
    map: &Tensor<B::Buffer>,
    scores: &Tensor<B::Buffer>,
    mixed: &mut Tensor<B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let &[batch, key_heads, group, rows, columns] = scores.shape() else {
        return Err(wrong_inputs("attention/talking-heads", &[scores.view()]));
    };
    let heads = key_heads * group;
    // In the compute type, as the scores are.
    let mut wide = scratch.take(backend, backend.compute(), &[heads, heads])?;
    backend.copy(map.view().transposed()?, wide.view_mut())?;
    let map = wide.view().with(|layout| layout.broadcast(&[batch, heads, heads]))?;
    let flat = [batch, heads, rows * columns];
    let mixed = mixed.view_mut().with(|layout| layout.reshape(&flat))?;
    backend.matmul(MatmulSpec::PLAIN, map, scores.view().with(|layout| layout.reshape(&flat))?, mixed)?;
    scratch.give(wide);
    Ok(())
}

impl<B: TransformerBackend> Bound<B> for Mixing<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs("attention/talking-heads", inputs)) };
        let sizes = Sizes::of("attention/talking-heads", inputs)?;
        for (start, rows) in sizes.chunks(self.chunk) {
            let (sizes, [k, v]) = sizes.within_reach(self.causal, [k, v], (start, rows))?;
            let mut scores = sizes.scores(backend, (q, k), (start, rows), scratch)?;
            let mut mixed = scratch.take(backend, backend.compute(), scores.shape())?;
            mix(backend, &self.logits, &scores, &mut mixed, scratch)?;
            if self.causal {
                // Not before: a mixture of minus infinities is no number.
                backend.mask(&AttentionPattern::Causal, start, 0, mixed.view_mut())?;
            }
            backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, mixed.view_mut())?;
            mix(backend, &self.weights, &mixed, &mut scores, scratch)?;
            scratch.give(mixed);
            sizes.weigh(backend, &scores, v, (out.reborrow(), start, rows), scratch)?;
            scratch.give(scores);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{output, small};
    use super::super::flash::Flash;
    use super::*;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::axes::AxisValue;
    use crossover_core::host::HostTensor;

    fn given(chunk: i64) -> Vec<(&'static str, AxisValue)> {
        small(&[("heads", 4.into()), ("kv_heads", 2.into()), ("chunk", chunk.into())])
    }

    fn with_maps(logits: impl Fn(usize, usize) -> f64, weights: impl Fn(usize, usize) -> f64) -> HostTensor {
        let axes = axes::<TalkingHeads>(&given(5));
        let mut tensors = drawn::<TalkingHeads>(&axes);
        let map =
            |entry: &dyn Fn(usize, usize) -> f64| HostTensor::new(&[4, 4], (0..16).map(|at| entry(at / 4, at % 4)).collect()).unwrap();
        tensors.insert("mix_logits".into(), map(&logits));
        tensors.insert("mix_weights".into(), map(&weights));
        run::<TalkingHeads>(&axes, &tensors)
    }

    fn identity(from: usize, to: usize) -> f64 {
        f64::from(u8::from(from == to))
    }

    #[test]
    fn identity_maps_give_exact_attention() {
        let plain = small(&[("heads", 4.into()), ("kv_heads", 2.into())]);
        assert!(distance(&with_maps(identity, identity), &output::<Flash>(&plain)) < 1e-13);
    }

    /// Attention is linear in the weights after the softmax, so a map of them may as well be a sum of the heads' outputs; this pins the
    /// direction of the map (from row to column), where heads share their values.
    #[test]
    fn weights_are_mixed_from_row_to_column() {
        let plain = with_maps(identity, identity);
        // Head 1 listens to head 0 twice, and heads 0 and 1 share a value head.
        let mixed = with_maps(identity, |from, to| if (from, to) == (0, 1) { 2.0 } else { identity(from, to) });
        let area = 16 * 8;
        for (at, value) in mixed.values().iter().enumerate() {
            let own = plain.values()[at];
            let expected = if at / area % 4 == 1 { own + 2.0 * plain.values()[at - area] } else { own };
            assert!((value - expected).abs() < 1e-12, "{at}");
        }
    }

    #[test]
    fn a_head_that_is_fed_the_logits_of_another_attends_as_that_one() {
        // All heads get the logits of head 0; heads 0 and 1 share keys and values, so their outputs become equal.
        let mixed = with_maps(|from, _| f64::from(u8::from(from == 0)), identity);
        let (area, values) = (16 * 8, mixed.values());
        assert!((0..area).all(|at| (values[at] - values[area + at]).abs() < 1e-13));
    }

    #[test]
    fn the_chunk_changes_nothing() {
        assert!(distance(&output::<TalkingHeads>(&given(3)), &output::<TalkingHeads>(&given(64))) < 1e-12);
    }
}
