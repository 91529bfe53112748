//! The dense feed-forward layer of which only the largest `k_hidden` hidden values of each row go on.
//!
//! Li et al. 2023 ("The lazy neuron phenomenon"), their Top-k Transformer: a top-k after the activation. Which units stay changes from
//! row to row, so the second product stays dense here, over zeros: the variant shows what the selection costs and what accuracy it
//! leaves, and an engine that skips zeros may gain. Values that tie with the k-th all stay. The hidden values, their limits and the mask
//! are in the compute type, for the choice not to hang on storage rounding: twice the hidden tensor of the dense layer, in a wider type.
//! k_hidden = d_ff is the dense layer, without any selection.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::LinearSpec;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::dense::Dense;
use super::layers::{self, PLAIN, activation};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Model};
use crate::resolve::size;
use crate::selection::among_largest;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct ActivationSparsity;

/// The dense layers, and how many hidden values go on.
pub struct Selected<B: TransformerBackend> {
    w1: B::Weight,
    b1: Tensor<B::Buffer>,
    w2: B::Weight,
    b2: Tensor<B::Buffer>,
    spec: LinearSpec,
    k: usize,
}

impl Variant for ActivationSparsity {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/activation-sparsity",
        summary: "the dense layer with all but the k_hidden largest hidden values of each row set to zero",
        citation: "Li et al. 2023 (Top-k Transformer)",
        parameters: &[AxisSpec {
            name: "k_hidden",
            doc: "hidden values of a row that go on",
            kind: AxisKind::Int { min: 1, max: 1 << 40 },
            default: AxisDefault::Share { of: "d_ff", divisor: 8 },
        }],
        conditions: &[Condition {
            text: "k_hidden must be at most d_ff",
            holds: |axes: &Axes| size(axes, "k_hidden") <= size(axes, "d_ff"),
        }],
        model: Model {
            flops: "batch*n*(4*d_model*d_ff + d_ff*(1 + activation) + d_model \
                    + min(1, d_ff - k_hidden)*(d_ff*(3 + floor(log2(d_ff))) + 2))",
            scratch: "batch*n*(d_ff + min(1, d_ff - k_hidden)*(1 + max(2*k_hidden + 2, d_ff)))",
        },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Selected<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Selected<B>> {
        Ok(Selected {
            w1: operands.weight("w1")?,
            b1: operands.tensor("b1")?,
            w2: operands.weight("w2")?,
            b2: operands.tensor("b2")?,
            spec: LinearSpec { activation: activation(axes) },
            k: size(axes, "k_hidden"),
        })
    }

    fn exact(axes: &Axes) -> Reference {
        layers::exact(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Selected<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(ActivationSparsity::DESCRIPTOR.name, inputs)) };
        let &[batch, n, _] = x.shape() else { return Err(wrong_inputs(ActivationSparsity::DESCRIPTOR.name, inputs)) };
        let d_ff = self.w1.outputs();
        let mut hidden = scratch.take(backend, backend.compute(), &[batch, n, d_ff])?;
        backend.linear(self.spec, x, &self.w1, Some(self.b1.view()), hidden.view_mut())?;
        if self.k < d_ff {
            let stays = among_largest(backend, self.k, hidden.view(), scratch)?;
            backend.select(stays.view(), 0.0, hidden.view_mut())?;
            scratch.give(stays);
        }
        backend.linear(PLAIN, hidden.view(), &self.w2, Some(self.b2.view()), out)?;
        scratch.give(hidden);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, sizes};
    use super::*;
    use crate::testing::{axes, axis_error, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn all_hidden_values_are_dense_and_fewer_err_more() {
        let errors: Vec<f64> = [32, 16, 8, 2].map(|k: i64| error_against_dense::<ActivationSparsity>(&[("k_hidden", k.into())])).into();
        assert!(errors[0] < 1e-15 && errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    /// With w1 the identity and w2 of ones each output is the sum of the k largest.
    #[test]
    fn exactly_the_largest_go_on() {
        let own = axes::<ActivationSparsity>(&sizes(&[("activation", "relu".into()), ("k_hidden", 3.into()), ("d_ff", 16.into())]));
        let mut tensors = drawn::<ActivationSparsity>(&own);
        let identity = (0..256).map(|at| if at / 16 == at % 16 { 1.0 } else { 0.0 }).collect();
        tensors.insert("w1".into(), HostTensor::new(&[16, 16], identity).unwrap());
        tensors.insert("w2".into(), HostTensor::new(&[16, 16], vec![1.0; 256]).unwrap());
        for name in ["b1", "b2"] {
            tensors.insert(name.into(), HostTensor::new(&[16], vec![0.0; 16]).unwrap());
        }
        let output = run::<ActivationSparsity>(&own, &tensors);
        for (x, out) in tensors["x"].values().chunks(16).zip(output.values().chunks(16)) {
            let mut hidden: Vec<f64> = x.iter().map(|x| x.max(0.0)).collect();
            hidden.sort_by(|a, b| b.total_cmp(a));
            let sum: f64 = hidden[..3].iter().sum();
            assert!(out.iter().all(|out| (out - sum).abs() < 1e-14), "{out:?} instead of {sum}");
        }
    }

    #[test]
    fn more_than_there_are_is_refused() {
        assert!(axis_error::<ActivationSparsity>(&sizes(&[("k_hidden", 33.into())])).contains("k_hidden must be at most d_ff"));
    }
}
