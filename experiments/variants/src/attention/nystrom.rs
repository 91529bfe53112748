//! Nystrom attention: softmax through landmarks, softmax(q K~^T) softmax(Q~ K~^T)^+ softmax(Q~ k^T) v.
//!
//! Xiong et al. 2021, section 3 (equation 13; algorithm 1): Q~ and K~ are means of `landmarks` equal segments of q and k, and the
//! pseudo-inverse is approached by `iterations` steps of Razavi et al. 2014 (equation 11: Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4),
//! products only. The outer two factors are streamed, so nothing of size n x landmarks is stored. Their skip convolution over v is a
//! matter of the layer and left out.
//!
//! O(n landmarks) instead of O(n^2); it is exact with a landmark for each token, and good as long as few segment means span the
//! queries and keys. The steps amplify rounding, so everything between the factors is in the compute type; too few of them leave a
//! pseudo-inverse that is too small. Z starts at A^T over the largest column sum: the row sums of a softmax are one.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, Operand, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{AttentionSpec, BinaryOp, MatmulSpec, ReduceOp, SoftmaxAlgorithm};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::flash::Streamed;
use super::linformer::segment_means;
use super::operands::{Attended, EQUAL_HEADS, count, divides};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Nystrom;

/// Numbers of landmarks and of steps.
pub struct Landmarks {
    landmarks: usize,
    iterations: usize,
    spec: AttentionSpec,
}

impl Variant for Nystrom {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/nystrom",
        summary: "softmax attention through the means of segments as landmarks",
        citation: "Xiong et al. 2021, section 3",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[
            count("landmarks", "segment means that stand for all queries and keys", AxisDefault::Share { of: "n", divisor: 8 }),
            AxisSpec {
                name: "iterations",
                doc: "steps towards the pseudo-inverse",
                kind: AxisKind::Int { min: 1, max: 256 },
                default: AxisDefault::Int(6),
            },
        ],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[
            HEADS_DIVIDE,
            EQUAL_HEADS,
            Condition {
                text: "landmarks must divide n and n_kv",
                holds: |axes| divides(axes, "landmarks", "n") && divides(axes, "landmarks", "n_kv"),
            },
        ],
        model: Model {
            flops: "batch*heads*(head_dim*(n + n_kv) + landmarks^2*(4*head_dim + 7) + landmarks + 8*iterations*landmarks^3 \
                    + landmarks*(n + n_kv)*(4*head_dim + 5))",
            scratch: "batch*heads*(2*landmarks*head_dim + max(5*landmarks^2, landmarks^2 + 2*landmarks*head_dim))",
        },
    };

    type Bound<B: TransformerBackend> = Landmarks;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Landmarks> {
        let spec = Streamed::over(AttentionPattern::Full, axes).spec;
        Ok(Landmarks { landmarks: size(axes, "landmarks"), iterations: size(axes, "iterations"), spec })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl Landmarks {
    fn means<B: TransformerBackend>(
        &self,
        backend: &B,
        x: View<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let mut means = scratch.take(backend, backend.compute(), &[x.shape()[0], x.shape()[1], self.landmarks, x.shape()[3]])?;
        segment_means(backend, x, means.view_mut())?;
        Ok(means)
    }

    /// The pseudo-inverse of softmax(Q~ K~^T), [batch, heads, landmarks, landmarks].
    fn inverse<B: TransformerBackend>(
        &self,
        backend: &B,
        queries: View<'_, B::Buffer>,
        keys: View<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let &[batch, heads, landmarks, _] = queries.shape() else { return Err(wrong_inputs("attention/nystrom", &[queries])) };
        let square = [batch, heads, landmarks, landmarks];
        let mut core = scratch.take(backend, backend.compute(), &square)?;
        backend.matmul(MatmulSpec::scaled(self.spec.scale), queries, keys.transposed()?, core.view_mut())?;
        backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, core.view_mut())?;
        let mut inverse = scratch.take(backend, backend.compute(), &square)?;
        let mut sums = scratch.take(backend, backend.compute(), &square[..3])?;
        let mut largest = scratch.take(backend, backend.compute(), &[batch, heads, 1, 1])?;
        backend.reduce(ReduceOp::Sum, core.view().transposed()?, sums.view_mut())?;
        backend.reduce(ReduceOp::Max, sums.view(), largest.view_mut().with(|layout| layout.merge(2)?.merge(1))?)?;
        backend.binary(BinaryOp::Divide, Operand::Of(core.view().transposed()?), largest.view(), inverse.view_mut())?;
        scratch.give(largest);
        scratch.give(sums);
        self.refine(backend, core.view(), &mut inverse, scratch)?;
        scratch.give(core);
        Ok(inverse)
    }

    /// The steps, written as 7 Z - Z X, 15 Z - (..) X, (13 Z - (..) X) / 4 with X = A Z: no identity is needed.
    fn refine<B: TransformerBackend>(
        &self,
        backend: &B,
        core: View<'_, B::Buffer>,
        inverse: &mut Tensor<B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let mut product = scratch.take(backend, backend.compute(), core.shape())?;
        let mut first = scratch.take(backend, backend.compute(), core.shape())?;
        let mut second = scratch.take(backend, backend.compute(), core.shape())?;
        for _ in 0..self.iterations {
            backend.matmul(MatmulSpec::PLAIN, core, inverse.view(), product.view_mut())?;
            backend.copy(inverse.view(), first.view_mut())?;
            backend.matmul(MatmulSpec { alpha: -1.0, beta: 7.0 }, inverse.view(), product.view(), first.view_mut())?;
            backend.copy(inverse.view(), second.view_mut())?;
            backend.matmul(MatmulSpec { alpha: -1.0, beta: 15.0 }, first.view(), product.view(), second.view_mut())?;
            backend.matmul(MatmulSpec { alpha: -0.25, beta: 3.25 }, second.view(), product.view(), inverse.view_mut())?;
        }
        for tensor in [second, first, product] {
            scratch.give(tensor);
        }
        Ok(())
    }
}

impl<B: TransformerBackend> Bound<B> for Landmarks {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let Attended { q, k, v, batch, heads, width, .. } = Attended::of("attention/nystrom", inputs)?;
        let queries = self.means(backend, q, scratch)?;
        let keys = self.means(backend, k, scratch)?;
        let inverse = self.inverse(backend, queries.view(), keys.view(), scratch)?;
        let few = [batch, heads, self.landmarks, width];
        let mut mixed = scratch.take(backend, backend.compute(), &few)?;
        let mut values = scratch.take(backend, backend.compute(), &few)?;
        let plain = |q, k, v| AttentionOperands { q, k, v, bias: ScoreBias::None, key_mask: None };
        let into = AttentionOutputs { out: mixed.view_mut(), log_sum_exp: None };
        backend.attention(&self.spec, plain(queries.view(), k, v), into, scratch)?;
        backend.matmul(MatmulSpec::PLAIN, inverse.view(), mixed.view(), values.view_mut())?;
        backend.attention(&self.spec, plain(q, keys.view(), values.view()), AttentionOutputs { out, log_sum_exp: None }, scratch)?;
        for tensor in [values, mixed, inverse, keys, queries] {
            scratch.give(tensor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dense, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, relative_error, run};
    use crossover_core::axes::AxisValue;

    fn error(n: i64, landmarks: i64, iterations: i64) -> f64 {
        let axes = axes::<Nystrom>(&with(&sized(2, n, 8), &[("landmarks", landmarks.into()), ("iterations", iterations.into())]));
        let drawn = drawn::<Nystrom>(&axes);
        relative_error(&run::<Nystrom>(&axes, &drawn), &dense(&axes, &drawn))
    }

    #[test]
    fn a_landmark_for_each_token_is_dense_attention() {
        assert!(error(12, 12, 40) < 1e-9, "{}", error(12, 12, 40));
    }

    #[test]
    fn more_steps_come_closer() {
        let errors = [2, 6, 12, 24].map(|iterations| error(16, 16, iterations));
        assert!(errors.windows(2).all(|pair| pair[1] < pair[0]), "{errors:?}");
    }

    #[test]
    fn one_landmark_is_the_mean_of_dense_attention_over_the_mean_query() {
        // With one landmark the outer and the inner factor are one, so that each row is attention by the mean query.
        let given = axes::<Nystrom>(&with(&sized(2, 6, 8), &[("landmarks", 1.into())]));
        let drawn = drawn::<Nystrom>(&given);
        let mut mean = drawn.clone();
        let values = (0..96).map(|at| (0..6).map(|row| drawn["q"].values()[at / 48 * 48 + row * 8 + at % 8]).sum::<f64>() / 6.0);
        mean.insert("q".into(), crossover_core::host::HostTensor::new(&[1, 2, 6, 8], values.collect()).unwrap());
        assert!(distance(&run::<Nystrom>(&given, &drawn), &dense(&given, &mean)) < 1e-12);
    }

    #[test]
    fn it_is_right_for_other_lengths_and_costs_what_it_says() {
        let parameters: [(&str, AxisValue); 3] = [("batch", 2.into()), ("n_kv", 24.into()), ("landmarks", 8.into())];
        let given = with(&sized(2, 16, 8), &parameters);
        assert_eq!(judged::<Nystrom>(&given).complaint, None);
        assert_closed_forms::<Nystrom>(&given);
    }

    #[test]
    fn landmarks_that_do_not_divide_are_refused() {
        let error = axis_error::<Nystrom>(&[("n", 12.into()), ("landmarks", 5.into())]);
        assert!(error.contains("landmarks must divide n and n_kv"), "{error}");
    }
}
