//! A weight as a Kronecker product of two small ones: w ~ a (x) b.
//!
//! The nearest factors in the Frobenius norm (Van Loan and Pitsianis 1993, section 2). With x laid out as [factor_in, d_in / factor_in],
//! the product is b on the inner dimension and then a on the outer one: two small batched products and no dense weight anywhere. Traded
//! away: nearly all parameters. A weight without that structure is lost (the error says so); the variant shows what the structure would
//! give. factor_in = factor_out = 1 leaves one scalar and the dense weight.

use crossover_compression::kronecker::nearest_kronecker;
use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, PreparedWeight, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, LinearSpec, UnaryOp};
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::dense::Dense;
use super::layer::{self, FACTORED, activation, factor, failed};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, Model};
use crate::resolve::{precision, size};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct Kronecker;

/// a [factor_out, factor_in], b [d_out / factor_out, d_in / factor_in], and the bias.
pub struct Factors<B: TransformerBackend> {
    a: B::Weight,
    b: B::Weight,
    bias: Tensor<B::Buffer>,
    activation: Activation,
}

const fn factor_axis(name: &'static str, doc: &'static str) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Int { min: 1, max: 1 << 20 }, default: AxisDefault::Int(8) }
}

const INNER: &[Dim] = &[
    Dim::Of("d_out / factor_out", |axes| size(axes, "d_out") / size(axes, "factor_out").max(1)),
    Dim::Of("d_in / factor_in", |axes| size(axes, "d_in") / size(axes, "factor_in").max(1)),
];

impl Variant for Kronecker {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/kronecker",
        summary: "activation(x (outer (x) inner)^T + b), the Kronecker product nearest to w",
        citation: "Van Loan and Pitsianis 1993, section 2",
        parameters: &[
            factor_axis("factor_out", "outputs of the outer factor; divides d_out"),
            factor_axis("factor_in", "inputs of the outer factor; divides d_in"),
        ],
        tensors: FACTORED,
        derived: &[factor("outer", &[Dim::Axis("factor_out"), Dim::Axis("factor_in")]), factor("inner", INNER)],
        conditions: &[Condition {
            text: "factor_out must divide d_out, and factor_in must divide d_in",
            holds: |axes: &Axes| {
                let divides = |whole: &str, part: &str| size(axes, whole).is_multiple_of(size(axes, part));
                divides("d_out", "factor_out") && divides("d_in", "factor_in")
            },
        }],
        model: Model {
            flops: "batch*n*(2*d_out/factor_out*(d_in + factor_in*factor_out) + d_out*(1 + min(1, activation)))",
            scratch: "batch*n*factor_in*d_out/factor_out",
        },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Factors<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Factors<B>> {
        let (a, b, bias) = (operands.weight("outer")?, operands.weight("inner")?, operands.tensor("b")?);
        Ok(Factors { a, b, bias, activation: activation(axes) })
    }

    fn exact(axes: &Axes) -> Reference {
        layer::exact(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let outer = [size(axes, "factor_out"), size(axes, "factor_in")];
        let nearest = nearest_kronecker(source(drawn, "w")?, outer, precision(axes).weight).map_err(failed)?;
        Derived::default().saved(nearest.saving).weight("outer", &nearest.a, axes)?.weight("inner", &nearest.b, axes)
    }
}

impl<B: TransformerBackend> Bound<B> for Factors<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(Kronecker::DESCRIPTOR.name, inputs)) };
        let &[batch, n, _] = x.shape() else { return Err(wrong_inputs(Kronecker::DESCRIPTOR.name, inputs)) };
        let (outer, inner) = ((self.a.outputs(), self.a.inputs()), (self.b.outputs(), self.b.inputs()));
        let plain = LinearSpec { activation: Activation::None };
        let mut half = scratch.take(backend, backend.storage(), &[batch, n, outer.1, inner.0])?;
        backend.linear(plain, x.with(|layout| layout.split(2, outer.1, inner.1))?, &self.b, None, half.view_mut())?;
        let target = out.reborrow().with(|layout| layout.split(2, outer.0, inner.0)?.transposed())?;
        backend.linear(plain, half.view().transposed()?, &self.a, None, target)?;
        scratch.give(half);
        // The bias belongs to pairs of outputs of both factors, so it cannot go with either product.
        backend.binary(BinaryOp::Add, Operand::InPlace, self.bias.view(), out.reborrow())?;
        if self.activation == Activation::None {
            return Ok(());
        }
        backend.unary(UnaryOp::Activation(self.activation), Operand::InPlace, out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, error_with_weight, mapped, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn a_kronecker_product_is_reproduced() {
        // a [4, 2], b [6, 8]: w[6 i1 + i2, 8 j1 + j2] = a[i1, j1] b[i2, j2].
        let a = |row: usize, column: usize| (1 + row * 2 + column) as f64 * 0.25 - 1.1;
        let b = |row: usize, column: usize| ((row * 8 + column) * 7 % 13) as f64 * 0.1 - 0.6;
        let product = |w| mapped(&w, |at, _| a(at / 16 / 6, at % 16 / 8) * b(at / 16 % 6, at % 8));
        let shape = [("factor_out", 4.into()), ("factor_in", 2.into())];
        assert!(error_with_weight::<Kronecker>(&shape, product) < 1e-13);
    }

    #[test]
    fn a_scalar_outer_factor_is_dense() {
        assert!(error_against_dense::<Kronecker>(&[("factor_out", 1.into()), ("factor_in", 1.into())]) < 1e-13);
        assert!(error_against_dense::<Kronecker>(&[]) > 0.1);
    }

    #[test]
    fn factors_that_do_not_divide_are_refused() {
        assert!(axis_error::<Kronecker>(&sizes(&[("factor_out", 5.into())])).contains("factor_out must divide d_out"));
    }
}
