//! The feed-forward layer with both weights as two thin factors.
//!
//! Each weight is replaced by the nearest one of its rank, from its singular value decomposition (Denton et al. 2014, section 3; Eckart
//! and Young 1936). Four thin products in place of two large ones; the hidden tensor keeps its width, so the activation costs what it
//! did. Traded away: the singular values beyond the ranks (trained weights have many). `rank2` sets the second weight's rank apart; full
//! ranks are the dense layer.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::LinearSpec;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::dense::Dense;
use super::layers::{self, PLAIN, SOURCES, activation, made};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, Model};
use crate::linear::low_rank::{SPLIT, factors};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct LowRank;

/// Two factors of each weight.
pub struct Factors<B: TransformerBackend> {
    down: [B::Weight; 2],
    up: [B::Weight; 2],
    biases: [Tensor<B::Buffer>; 2],
    spec: LinearSpec,
}

const fn rank(name: &'static str, doc: &'static str, default: AxisDefault) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Int { min: 1, max: 1 << 20 }, default }
}

impl Variant for LowRank {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/low-rank",
        summary: "the dense layer with the best factors of w1 and w2 of these ranks",
        citation: "Denton et al. 2014, section 3; Eckart and Young 1936",
        parameters: &[
            rank("rank", "rank of the first weight's factors", AxisDefault::Share { of: "d_model", divisor: 4 }),
            rank("rank2", "rank of the second weight's factors", AxisDefault::SameAs("rank")),
            SPLIT,
        ],
        tensors: SOURCES,
        derived: &[
            made("w1_down", &[Dim::Axis("rank"), Dim::Axis("d_model")]),
            made("w1_up", &[Dim::Axis("d_ff"), Dim::Axis("rank")]),
            made("w2_down", &[Dim::Axis("rank2"), Dim::Axis("d_ff")]),
            made("w2_up", &[Dim::Axis("d_model"), Dim::Axis("rank2")]),
        ],
        conditions: &[Condition {
            text: "rank and rank2 must be at most d_model and d_ff",
            holds: |axes: &Axes| size(axes, "rank").max(size(axes, "rank2")) <= size(axes, "d_model").min(size(axes, "d_ff")),
        }],
        model: Model {
            flops: "batch*n*(2*(rank + rank2)*(d_model + d_ff) + d_ff*(1 + activation) + d_model)",
            scratch: "batch*n*(d_ff + max(rank, rank2))",
        },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Factors<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Factors<B>> {
        Ok(Factors {
            down: [operands.weight("w1_down")?, operands.weight("w2_down")?],
            up: [operands.weight("w1_up")?, operands.weight("w2_up")?],
            biases: [operands.tensor("b1")?, operands.tensor("b2")?],
            spec: LinearSpec { activation: activation(axes) },
        })
    }

    fn exact(axes: &Axes) -> Reference {
        layers::exact(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let one = factors(source(drawn, "w1")?, size(axes, "rank"), axes)?;
        let two = factors(source(drawn, "w2")?, size(axes, "rank2"), axes)?;
        let first = Derived::default().saved(one.saving).weight("w1_down", &one.b, axes)?.weight("w1_up", &one.a, axes)?;
        first.saved(two.saving).weight("w2_down", &two.b, axes)?.weight("w2_up", &two.a, axes)
    }
}

impl<B: TransformerBackend> Bound<B> for Factors<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(LowRank::DESCRIPTOR.name, inputs)) };
        let &[batch, n, _] = x.shape() else { return Err(wrong_inputs(LowRank::DESCRIPTOR.name, inputs)) };
        let storage = backend.storage();
        let mut thin = scratch.take(backend, storage, &[batch, n, self.down[0].outputs()])?;
        backend.linear(PLAIN, x, &self.down[0], None, thin.view_mut())?;
        let mut hidden = scratch.take(backend, storage, &[batch, n, self.up[0].outputs()])?;
        backend.linear(self.spec, thin.view(), &self.up[0], Some(self.biases[0].view()), hidden.view_mut())?;
        scratch.give(thin);
        let mut thin = scratch.take(backend, storage, &[batch, n, self.down[1].outputs()])?;
        backend.linear(PLAIN, hidden.view(), &self.down[1], None, thin.view_mut())?;
        scratch.give(hidden);
        backend.linear(PLAIN, thin.view(), &self.up[1], Some(self.biases[1].view()), out)?;
        scratch.give(thin);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn full_ranks_are_dense_and_each_rank_costs_its_own_accuracy() {
        for split in ["balanced", "left"] {
            let error = |first: i64, second: i64| {
                error_against_dense::<LowRank>(&[("rank", first.into()), ("rank2", second.into()), ("split", split.into())])
            };
            assert!(error(16, 16) < 1e-13);
            assert!(error(12, 16) > 1e-3 && error(16, 12) > 1e-3 && error(8, 8) > error(12, 12), "{split}");
        }
    }

    #[test]
    fn a_rank_beyond_the_weights_is_refused() {
        assert!(axis_error::<LowRank>(&sizes(&[("rank2", 17.into())])).contains("rank and rank2 must be at most d_model and d_ff"));
    }
}
