//! Attention in a low-dimensional encoding: queries, keys and values are mapped to `rank` channels, attended to there, and the result
//! is mapped back.
//!
//! Modelled on the linear encoder-decoder units of Winata et al. 2020 (section 2.1, low-rank transformer), which replace each projection
//! of an attention layer by a map to r dimensions and one back. What is mapped how here, where the inputs are the q, k and v of one
//! head: q w_q^T and k w_k^T stay in r dimensions (their decoders would cancel into one [r, r] matrix that w_q can hold), v w_v^T is
//! mixed there, and w_o maps the mixture back to head_dim. The maps are the same for all heads; the scale stays 1 / sqrt(head_dim).
//! With `sharing = qk`, w_k = w_q, whose random draw keeps products of q and k on average.
//!
//! Scores and mixing shrink by rank / head_dim and stay quadratic in the length. It costs expressiveness: a head narrower than
//! the sequence cannot realise every attention matrix (Bhojanapalli et al. 2020, theorem 1). The maps are drawn, not trained, so
//! the error against dense attention is that of untrained maps.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, PreparedWeight, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{AttentionSpec, LinearSpec};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::flash::Streamed;
use super::operands::{Attended, count};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, DrawRule, Model, OnlyWith, Placed, Role, TensorSpec};
use crate::resolve::{name, size};
use crate::variant::{Bound, Operands, Reference, Variant};

/// The variant.
pub struct LowRankProjection;

/// The maps.
pub struct Encoded<B: TransformerBackend> {
    w_q: B::Weight,
    /// Where it is not w_q.
    w_k: Option<B::Weight>,
    w_v: B::Weight,
    w_o: B::Weight,
    spec: AttentionSpec,
}

impl<B: TransformerBackend> Encoded<B> {
    /// Over the pairs of a pattern.
    pub(super) fn bind(operands: &mut Operands<B>, axes: &Axes, pattern: AttentionPattern) -> Result<Self> {
        let w_k = if name(axes, "sharing") == "none" { Some(operands.weight("w_k")?) } else { None };
        let spec = Streamed::over(pattern, axes).spec;
        Ok(Self { w_q: operands.weight("w_q")?, w_k, w_v: operands.weight("w_v")?, w_o: operands.weight("w_o")?, spec })
    }
}

/// An encoding is no wider than what it encodes.
pub(super) const RANK_FITS: Condition =
    Condition { text: "rank must be at most head_dim", holds: |axes| size(axes, "rank") <= size(axes, "head_dim") };

const PLAIN: LinearSpec = LinearSpec { activation: Activation::None };

const fn encoder(name: &'static str, only_with: Option<OnlyWith>) -> TensorSpec {
    TensorSpec { name, role: Role::Weight, shape: &[Dim::Axis("rank"), Dim::Axis("head_dim")], draw: DrawRule::FanIn, only_with }
}

impl Variant for LowRankProjection {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/low-rank-projection",
        summary: "attention among queries, keys and values that are mapped to fewer channels and back",
        citation: "Winata et al. 2020, section 2.1; Bhojanapalli et al. 2020, theorem 1",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[
            count("rank", "channels of the encoding", AxisDefault::Share { of: "head_dim", divisor: 4 }),
            AxisSpec {
                name: "sharing",
                doc: "qk: keys are mapped by w_q; none: by a w_k of their own",
                kind: AxisKind::Choice { of: &["qk", "none"] },
                default: AxisDefault::Text("qk"),
            },
        ],
        tensors: &[
            TENSORS[0],
            TENSORS[1],
            TENSORS[2],
            encoder("w_q", None),
            encoder("w_k", Some(&[("sharing", &["none"])])),
            encoder("w_v", None),
            TensorSpec { name: "w_o", shape: &[Dim::Axis("head_dim"), Dim::Axis("rank")], ..encoder("w_o", None) },
        ],
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, RANK_FITS],
        model: Model {
            flops: "batch*(4*rank*head_dim*(heads*n + kv_heads*n_kv) + heads*n*n_kv*(4*rank + 5))",
            scratch: "2*batch*rank*(heads*n + kv_heads*n_kv)",
        },
    };

    type Bound<B: TransformerBackend> = Encoded<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Encoded<B>> {
        Encoded::bind(operands, axes, AttentionPattern::Full)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn drawn(axes: &Axes) -> Vec<Placed> {
        // With deviation 1 / sqrt(rank) a random map keeps inner products on average.
        let deviation = 1.0 / (size(axes, "rank").max(1) as f64).sqrt();
        let taking_part = Self::DESCRIPTOR.tensors.iter().filter(|tensor| tensor.takes_part(axes));
        taking_part
            .map(|tensor| match tensor.name {
                "w_q" | "w_k" => Placed { draw: DrawRule::Around(0.0, deviation), ..tensor.placed(axes) },
                _ => tensor.placed(axes),
            })
            .collect()
    }
}

fn encoded<B: TransformerBackend>(
    backend: &B,
    x: View<'_, B::Buffer>,
    map: &B::Weight,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let mut code = scratch.take(backend, backend.storage(), &[x.shape()[0], x.shape()[1], x.shape()[2], map.outputs()])?;
    backend.linear(PLAIN, x, map, None, code.view_mut())?;
    Ok(code)
}

impl<B: TransformerBackend> Bound<B> for Encoded<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let Attended { q, k, v, batch, heads, n, .. } = Attended::of("attention/low-rank-projection", inputs)?;
        let queries = encoded(backend, q, &self.w_q, scratch)?;
        let keys = encoded(backend, k, self.w_k.as_ref().unwrap_or(&self.w_q), scratch)?;
        let values = encoded(backend, v, &self.w_v, scratch)?;
        let mut mixed = scratch.take(backend, backend.storage(), &[batch, heads, n, self.w_v.outputs()])?;
        let operands = AttentionOperands { q: queries.view(), k: keys.view(), v: values.view(), bias: ScoreBias::None, key_mask: None };
        backend.attention(&self.spec, operands, AttentionOutputs { out: mixed.view_mut(), log_sum_exp: None }, scratch)?;
        backend.linear(PLAIN, mixed.view(), &self.w_o, None, out)?;
        for tensor in [mixed, values, keys, queries] {
            scratch.give(tensor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dense, identity, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::axes::AxisValue;

    #[test]
    fn identities_of_full_rank_are_dense_attention() {
        for sharing in ["qk", "none"] {
            let parameters: [(&str, AxisValue); 3] = [("kv_heads", 2.into()), ("rank", 8.into()), ("sharing", sharing.into())];
            let axes = axes::<LowRankProjection>(&with(&sized(4, 9, 8), &parameters));
            let mut drawn = drawn::<LowRankProjection>(&axes);
            for name in ["w_q", "w_k", "w_v", "w_o"] {
                drawn.insert(name.into(), identity(8));
            }
            assert!(distance(&run::<LowRankProjection>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-12, "{sharing}");
        }
    }

    #[test]
    fn one_map_for_both_is_two_equal_maps() {
        let given = |sharing: &'static str| axes::<LowRankProjection>(&with(&sized(2, 9, 8), &[("sharing", sharing.into())]));
        let mut drawn = drawn::<LowRankProjection>(&given("none"));
        let shared = drawn["w_q"].clone();
        drawn.insert("w_k".into(), shared);
        let (one, two) = (run::<LowRankProjection>(&given("qk"), &drawn), run::<LowRankProjection>(&given("none"), &drawn));
        assert_eq!(one, two);
    }

    #[test]
    fn both_kinds_of_sharing_are_right_and_cost_what_they_say() {
        for sharing in ["qk", "none"] {
            let parameters: [(&str, AxisValue); 3] = [("kv_heads", 2.into()), ("n_kv", 24.into()), ("sharing", sharing.into())];
            let given = with(&sized(4, 16, 8), &parameters);
            assert_eq!(judged::<LowRankProjection>(&given).complaint, None, "{sharing}");
            assert_closed_forms::<LowRankProjection>(&given);
        }
    }

    #[test]
    fn a_rank_above_the_dimension_is_refused() {
        let error = axis_error::<LowRankProjection>(&[("head_dim", 8.into()), ("rank", 9.into())]);
        assert!(error.contains("rank must be at most head_dim"), "{error}");
    }
}
