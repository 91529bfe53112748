//! Linformer: keys and values are projected along the sequence to a few rows, and attended to densely.
//!
//! Wang et al. 2020, section 4 (equation 7): softmax(q (E k)^T / sqrt(d)) (F v) with E and F of shape [rank, n_kv], O(n rank). It rests on
//! attention matrices being close to low rank (theorem 1). `projection` is learned (drawn like any weight), random (normal with deviation
//! 1 / sqrt(rank), the matrix of their proof) or the mean over equal segments, which needs no matrix. `sharing` follows their section
//! 4, "parameter sharing": headwise (E and F, the same for all heads), kv (E = F), layerwise (E = F for all layers: a call is that of
//! kv, and the difference is what a model of several layers stores). Projections for each head of its own are left out.
//!
//! It trades the length: E is tied to n_kv, padding and causal masks are impossible (each projected row mixes all tokens), and what
//! a row of E blurs no query can tell apart.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::ops::{AttentionSpec, MatmulSpec, ReduceOp};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::flash::Streamed;
use super::operands::{Attended, count, divides};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, DrawRule, Model, OnlyWith, Placed, Role, TensorSpec};
use crate::resolve::{name, size};
use crate::variant::{Bound, Operands, Reference, Variant};

/// The variant.
pub struct Linformer;

/// What projects keys and values.
pub struct Projected<B: TransformerBackend> {
    /// Absent where segments are averaged.
    e: Option<Tensor<B::Buffer>>,
    /// Where it is not e.
    f: Option<Tensor<B::Buffer>>,
    rank: usize,
    spec: AttentionSpec,
}

const fn matrix(name: &'static str, only_with: Option<OnlyWith>) -> TensorSpec {
    TensorSpec { name, role: Role::Vector, shape: &[Dim::Axis("rank"), Dim::Axis("n_kv")], draw: DrawRule::FanIn, only_with }
}

impl Variant for Linformer {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/linformer",
        summary: "attention to keys and values that are projected to a few rows",
        citation: "Wang et al. 2020, section 4",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[
            count("rank", "rows that keys and values are projected to", AxisDefault::Share { of: "n_kv", divisor: 8 }),
            AxisSpec {
                name: "projection",
                doc: "learned, random (normal), or the mean of equal segments",
                kind: AxisKind::Choice { of: &["learned", "random", "mean-pool"] },
                default: AxisDefault::Text("learned"),
            },
            AxisSpec {
                name: "sharing",
                doc: "headwise: e for keys and f for values; kv: e for both; layerwise: as kv, and one e for all layers of a model",
                kind: AxisKind::Choice { of: &["headwise", "kv", "layerwise"] },
                default: AxisDefault::Text("headwise"),
            },
        ],
        tensors: &[
            TENSORS[0],
            TENSORS[1],
            TENSORS[2],
            matrix("e", Some(&[("projection", &["learned", "random"])])),
            matrix("f", Some(&[("sharing", &["headwise"])])),
        ],
        derived: &[],
        output: QUERIES,
        conditions: &[
            HEADS_DIVIDE,
            Condition { text: "rank must be at most n_kv", holds: |axes| size(axes, "rank") <= size(axes, "n_kv") },
            Condition {
                text: "rank must divide n_kv where segments are averaged",
                holds: |axes| name(axes, "projection") != "mean-pool" || divides(axes, "rank", "n_kv"),
            },
        ],
        model: Model {
            flops: "batch*kv_heads*2*n_kv*head_dim*(2*rank - (2*rank - 1)*is(projection, mean-pool)) \
                    + batch*heads*n*rank*(4*head_dim + 5)",
            scratch: "2*batch*kv_heads*rank*head_dim",
        },
    };

    type Bound<B: TransformerBackend> = Projected<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Projected<B>> {
        let e = if name(axes, "projection") == "mean-pool" { None } else { Some(operands.tensor("e")?) };
        let f = operands.optional_tensor("f");
        Ok(Projected { e, f, rank: size(axes, "rank"), spec: Streamed::over(AttentionPattern::Full, axes).spec })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn drawn(axes: &Axes) -> Vec<Placed> {
        let taking_part = Self::DESCRIPTOR.tensors.iter().filter(|tensor| tensor.takes_part(axes));
        // Segments need no matrix for values either.
        let used = taking_part.filter(|tensor| tensor.name != "f" || name(axes, "projection") != "mean-pool");
        let deviation = 1.0 / (size(axes, "rank").max(1) as f64).sqrt();
        let random = |tensor: &TensorSpec| tensor.role == Role::Vector && name(axes, "projection") == "random";
        used.map(|tensor| {
            let placed = tensor.placed(axes);
            if random(tensor) { Placed { draw: DrawRule::Around(0.0, deviation), ..placed } } else { placed }
        })
        .collect()
    }
}

impl<B: TransformerBackend> Projected<B> {
    /// Keys or values [batch, heads, n_kv, width] to [batch, heads, rank, width].
    fn project(
        &self,
        backend: &B,
        x: View<'_, B::Buffer>,
        matrix: Option<&Tensor<B::Buffer>>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let (batch, heads, rows, width) = (x.shape()[0], x.shape()[1], x.shape()[2], x.shape()[3]);
        let mut short = scratch.take(backend, backend.storage(), &[batch, heads, self.rank, width])?;
        match matrix {
            None => segment_means(backend, x, short.view_mut())?,
            Some(matrix) => {
                let matrix = matrix.view().with(|layout| layout.broadcast(&[batch, heads, self.rank, rows]))?;
                backend.matmul(MatmulSpec::PLAIN, matrix, x, short.view_mut())?;
            }
        }
        Ok(short)
    }
}

/// Means of as many equal segments of rows as the output has rows: x [batch, heads, n, width].
pub(super) fn segment_means<B: TransformerBackend>(backend: &B, x: View<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>) -> Result<()> {
    let (rows, segments) = (x.shape()[2], out.shape()[2]);
    let length = rows.checked_div(segments).unwrap_or(0);
    let columns = |layout: &Layout| layout.split(2, segments, length)?.transposed();
    backend.reduce(ReduceOp::Mean, x.with(columns)?, out)
}

impl<B: TransformerBackend> Bound<B> for Projected<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let Attended { q, k, v, .. } = Attended::of("attention/linformer", inputs)?;
        let keys = self.project(backend, k, self.e.as_ref(), scratch)?;
        let values = self.project(backend, v, self.f.as_ref().or(self.e.as_ref()), scratch)?;
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
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::axes::AxisValue;
    use crossover_core::host::HostTensor;

    #[test]
    fn the_identity_of_full_rank_is_dense_attention() {
        for sharing in ["headwise", "kv", "layerwise"] {
            let parameters: [(&str, AxisValue); 4] =
                [("kv_heads", 2.into()), ("n_kv", 12.into()), ("rank", 12.into()), ("sharing", sharing.into())];
            let axes = axes::<Linformer>(&with(&sized(4, 9, 8), &parameters));
            let mut drawn = drawn::<Linformer>(&axes);
            assert_eq!(drawn.contains_key("f"), sharing == "headwise");
            for name in ["e", "f"] {
                drawn.insert(name.into(), identity(12));
            }
            assert!(distance(&run::<Linformer>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-12, "{sharing}");
        }
    }

    #[test]
    fn the_mean_of_segments_is_a_projection_like_others() {
        let given = |kind: &'static str| {
            let parameters: [(&str, AxisValue); 3] = [("rank", 3.into()), ("projection", kind.into()), ("sharing", "kv".into())];
            axes::<Linformer>(&with(&sized(2, 12, 8), &parameters))
        };
        let mut drawn = drawn::<Linformer>(&given("learned"));
        let pooling = (0..36).map(|at| if at / 12 == at % 12 / 4 { 0.25 } else { 0.0 }).collect();
        drawn.insert("e".into(), HostTensor::new(&[3, 12], pooling).unwrap());
        assert!(distance(&run::<Linformer>(&given("mean-pool"), &drawn), &run::<Linformer>(&given("learned"), &drawn)) < 1e-12);
    }

    #[test]
    fn segments_of_one_key_are_dense_attention() {
        let axes = axes::<Linformer>(&with(&sized(2, 10, 8), &[("rank", 10.into()), ("projection", "mean-pool".into())]));
        let drawn = drawn::<Linformer>(&axes);
        assert!(!drawn.contains_key("e") && !drawn.contains_key("f"));
        assert!(distance(&run::<Linformer>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-12);
    }

    #[test]
    fn every_projection_and_sharing_is_right_and_costs_what_it_says() {
        for projection in ["learned", "random", "mean-pool"] {
            for sharing in ["headwise", "kv", "layerwise"] {
                let parameters: [(&str, AxisValue); 5] = [
                    ("kv_heads", 2.into()),
                    ("n_kv", 24.into()),
                    ("rank", 6.into()),
                    ("projection", projection.into()),
                    ("sharing", sharing.into()),
                ];
                let given = with(&sized(4, 16, 8), &parameters);
                assert_eq!(judged::<Linformer>(&given).complaint, None, "{projection} {sharing}");
                assert_closed_forms::<Linformer>(&given);
            }
        }
    }

    #[test]
    fn impossible_ranks_are_refused() {
        let error = |rank: i64, projection: &'static str| {
            axis_error::<Linformer>(&[("n", 12.into()), ("rank", rank.into()), ("projection", projection.into())])
        };
        assert!(error(0, "learned").contains("rank = 0 must be a whole number in 1..="));
        assert!(error(13, "learned").contains("rank must be at most n_kv"));
        assert!(error(5, "mean-pool").contains("rank must divide n_kv where segments are averaged"));
    }
}
