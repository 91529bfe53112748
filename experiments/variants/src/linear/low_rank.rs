//! A weight as two thin factors: w ~ up down, from its singular value decomposition.
//!
//! Denton et al. 2014, section 3 (the matrix case): the truncated decomposition is the nearest weight of its rank (Eckart and Young
//! 1936). rank (d_in + d_out) products instead of d_in d_out, in two calls with a thin tensor between. Traded away: the singular values
//! beyond the rank, and short inner products that keep a machine less busy. `split` says which factor takes the singular values;
//! the full rank is the dense layer.

use crossover_compression::low_rank::{self, Rank, Split};
use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::LinearSpec;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::dense::Dense;
use super::layer::{self, FACTORED, activation, factor, failed};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, Model};
use crate::resolve::{name, precision, size};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct LowRank;

/// Both factors.
pub struct Factors<B: TransformerBackend> {
    down: B::Weight,
    up: B::Weight,
    b: Tensor<B::Buffer>,
    spec: LinearSpec,
}

/// Which factor takes the singular values.
pub(crate) const SPLIT: AxisSpec = AxisSpec {
    name: "split",
    doc: "where the singular values go: their roots to both factors, or all to the second",
    kind: AxisKind::Choice { of: &["balanced", "left"] },
    default: AxisDefault::Text("balanced"),
};

/// The factors of a weight, second and first: [outputs, rank] and [rank, inputs].
pub(crate) fn factors(weight: &HostTensor, rank: usize, axes: &Axes) -> Result<low_rank::LowRank> {
    let split = if name(axes, "split") == "left" { Split::Left } else { Split::Balanced };
    low_rank::low_rank(weight, Rank::Number(rank), split, precision(axes).weight).map_err(failed)
}

impl Variant for LowRank {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/low-rank",
        summary: "activation((x down^T) up^T + b), the best factors of w of this rank",
        citation: "Denton et al. 2014, section 3; Eckart and Young 1936",
        parameters: &[
            AxisSpec {
                name: "rank",
                doc: "rank of the factors",
                kind: AxisKind::Int { min: 1, max: 1 << 20 },
                default: AxisDefault::Share { of: "d_in", divisor: 4 },
            },
            SPLIT,
        ],
        tensors: FACTORED,
        derived: &[factor("down", &[Dim::Axis("rank"), Dim::Axis("d_in")]), factor("up", &[Dim::Axis("d_out"), Dim::Axis("rank")])],
        conditions: &[Condition {
            text: "rank must be at most d_in and d_out",
            holds: |axes: &Axes| size(axes, "rank") <= size(axes, "d_in").min(size(axes, "d_out")),
        }],
        model: Model { flops: "batch*n*(2*rank*(d_in + d_out) + d_out*(1 + activation))", scratch: "batch*n*rank" },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Factors<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Factors<B>> {
        let spec = LinearSpec { activation: activation(axes) };
        Ok(Factors { down: operands.weight("down")?, up: operands.weight("up")?, b: operands.tensor("b")?, spec })
    }

    fn exact(axes: &Axes) -> Reference {
        layer::exact(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let made = factors(source(drawn, "w")?, size(axes, "rank"), axes)?;
        Derived::default().saved(made.saving).weight("down", &made.b, axes)?.weight("up", &made.a, axes)
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
        let mut thin = scratch.take(backend, backend.storage(), &[batch, n, self.down.outputs()])?;
        backend.linear(LinearSpec { activation: Activation::None }, x, &self.down, None, thin.view_mut())?;
        backend.linear(self.spec, thin.view(), &self.up, Some(self.b.view()), out)?;
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
    fn full_rank_is_dense_and_less_errs_more() {
        for split in ["balanced", "left"] {
            let error = |rank: i64| error_against_dense::<LowRank>(&[("rank", rank.into()), ("split", split.into())]);
            assert!(error(16) < 1e-13 && error(12) > 1e-3 && error(4) > error(12), "{split}");
        }
    }

    #[test]
    fn a_rank_beyond_the_weight_is_refused() {
        assert!(axis_error::<LowRank>(&sizes(&[("rank", 17.into())])).contains("rank must be at most d_in and d_out"));
        assert!(axis_error::<LowRank>(&sizes(&[("rank", 0.into())])).contains("rank = 0"));
    }
}
