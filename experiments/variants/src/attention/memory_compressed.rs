//! Memory-compressed attention: keys and values are shortened by a strided convolution, and attended to densely.
//!
//! Liu et al. 2018, section 4.2.3: a convolution over the sequence with kernel and stride `compression` (3 in the paper), from all
//! channels of a head to all, one for keys and one for values. As kernel and stride are equal, it is one matrix product over
//! neighbouring rows laid side by side. Here heads share the two kernels, there is no bias, and the length must be a multiple (they
//! pad). Their causal masking of whole segments is left out: it shows a query part of its own future or none of its own segment.
//!
//! Scores shrink by the factor; unlike Linformer's projection the kernel is tied to no length. Fine position inside a segment is lost.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{AttentionSpec, LinearSpec};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::flash::Streamed;
use super::operands::{Attended, count, divides};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, Condition, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant};

/// The variant.
pub struct MemoryCompressed;

/// The two kernels.
pub struct Compressed<B: TransformerBackend> {
    w_k: B::Weight,
    w_v: B::Weight,
    compression: usize,
    spec: AttentionSpec,
}

const TAPS: Dim = Dim::Of("compression * head_dim", |axes| size(axes, "compression") * size(axes, "head_dim"));

const fn kernel(name: &'static str) -> TensorSpec {
    TensorSpec { name, role: Role::Weight, shape: &[Dim::Axis("head_dim"), TAPS], draw: DrawRule::FanIn, only_with: None }
}

impl Variant for MemoryCompressed {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/memory-compressed",
        summary: "attention to keys and values that a strided convolution has shortened",
        citation: "Liu et al. 2018, section 4.2.3",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[count("compression", "kernel and stride of the convolution", AxisDefault::Int(4))],
        tensors: &[TENSORS[0], TENSORS[1], TENSORS[2], kernel("w_k"), kernel("w_v")],
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, Condition { text: "compression must divide n_kv", holds: |axes| divides(axes, "compression", "n_kv") }],
        model: Model {
            flops: "batch*kv_heads*n_kv*4*head_dim^2 + batch*heads*n*n_kv/compression*(4*head_dim + 5)",
            scratch: "2*batch*kv_heads*n_kv/compression*head_dim",
        },
    };

    type Bound<B: TransformerBackend> = Compressed<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Compressed<B>> {
        let spec = Streamed::over(AttentionPattern::Full, axes).spec;
        Ok(Compressed { w_k: operands.weight("w_k")?, w_v: operands.weight("w_v")?, compression: size(axes, "compression"), spec })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Compressed<B> {
    fn shortened(
        &self,
        backend: &B,
        x: View<'_, B::Buffer>,
        kernel: &B::Weight,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let rows = x.shape()[2].checked_div(self.compression).unwrap_or(0);
        let side_by_side = x.with(|layout| layout.split(2, rows, self.compression)?.merge(3))?;
        let mut short = scratch.take(backend, backend.storage(), &[x.shape()[0], x.shape()[1], rows, x.shape()[3]])?;
        backend.linear(LinearSpec { activation: Activation::None }, side_by_side, kernel, None, short.view_mut())?;
        Ok(short)
    }
}

impl<B: TransformerBackend> Bound<B> for Compressed<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let Attended { q, k, v, .. } = Attended::of("attention/memory-compressed", inputs)?;
        let keys = self.shortened(backend, k, &self.w_k, scratch)?;
        let values = self.shortened(backend, v, &self.w_v, scratch)?;
        let operands = AttentionOperands { q, k: keys.view(), v: values.view(), bias: ScoreBias::None, key_mask: None };
        backend.attention(&self.spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)?;
        scratch.give(values);
        scratch.give(keys);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dense, identity, sized, with};
    use crate::attention::linformer::Linformer;
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn a_kernel_of_one_that_is_the_identity_is_dense_attention() {
        let axes = axes::<MemoryCompressed>(&with(&sized(4, 10, 8), &[("compression", 1.into()), ("kv_heads", 2.into())]));
        let mut drawn = drawn::<MemoryCompressed>(&axes);
        for name in ["w_k", "w_v"] {
            drawn.insert(name.into(), identity(8));
        }
        assert!(distance(&run::<MemoryCompressed>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-12);
    }

    #[test]
    fn an_averaging_kernel_is_linformer_over_segments() {
        let given = axes::<MemoryCompressed>(&with(&sized(2, 12, 8), &[("compression", 3.into())]));
        let mut drawn = drawn::<MemoryCompressed>(&given);
        let mean = (0..8 * 24).map(|at| if at / 24 == at % 24 % 8 { 1.0 / 3.0 } else { 0.0 }).collect();
        let mean = HostTensor::new(&[8, 24], mean).unwrap();
        for name in ["w_k", "w_v"] {
            drawn.insert(name.into(), mean.clone());
        }
        let segments = axes::<Linformer>(&with(&sized(2, 12, 8), &[("rank", 4.into()), ("projection", "mean-pool".into())]));
        assert!(distance(&run::<MemoryCompressed>(&given, &drawn), &run::<Linformer>(&segments, &drawn)) < 1e-12);
    }

    #[test]
    fn query_heads_that_share_keys_are_right() {
        let given = with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("n_kv", 24.into()), ("compression", 3.into())]);
        assert_eq!(judged::<MemoryCompressed>(&given).complaint, None);
        assert_closed_forms::<MemoryCompressed>(&given);
    }

    #[test]
    fn a_kernel_that_does_not_fit_is_refused() {
        let error = axis_error::<MemoryCompressed>(&[("n", 10.into()), ("compression", 4.into())]);
        assert!(error.contains("compression must divide n_kv"), "{error}");
    }
}
