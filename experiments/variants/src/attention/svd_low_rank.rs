//! Attention with the nearest scores of low rank: a yardstick for schemes that make do with fewer dimensions of q and k.
//!
//! The scores q k^T have rank head_dim at most; cut after `rank` singular values they are nearest to themselves in the Frobenius norm
//! (Eckart and Young 1936). The cut is made on the host from each head's own q and k: with thin decompositions q = U S V^T and
//! k = U' S' V'^T, that of the small matrix S V^T V' S' gives that of q k^T, and its square roots go to both factors, [n, rank]
//! each. The engine gets the factors in place of q and k, and pays for scores of that width only.
//!
//! This is a yardstick of accuracy, not a method: finding the factors costs more than attention, and is not timed. What it bounds is the
//! error of the scores in the Frobenius norm: no other map to that rank, learned ([`super::low_rank_projection`]) or random, leaves a
//! smaller one. After softmax and the product with v that order need not hold: a map that errs more in scores which carry little
//! weight may come out nearer to exact attention.
//!
//! There is no causal form: the nearest scores of low rank are made from all keys at once, so that a query's own would hold later tokens
//! under any mask, and scores that are masked first have full rank.

use crossover_compression::svd::{Svd, thin_svd};
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::{ExactOperation, HostInputs};
use crossover_core::tensor::{View, ViewMut};

use super::operands::{EQUAL_HEADS, count};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, Condition, DerivedSpec, Descriptor, Dim, Model, Role};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct SvdLowRank;

/// The kernel over the factors.
pub struct Factored {
    spec: AttentionSpec,
}

const fn factor(name: &'static str, shape: &'static [Dim]) -> DerivedSpec {
    DerivedSpec { name, role: Role::Activation, shape, form: None }
}

impl Variant for SvdLowRank {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/svd-low-rank",
        summary: "attention with scores cut to a low rank in the best way: a ceiling of accuracy",
        citation: "Eckart and Young 1936",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[count("rank", "singular values of the scores that are kept", AxisDefault::Share { of: "head_dim", divisor: 2 })],
        tensors: TENSORS,
        derived: &[
            factor("q", &[Dim::Axis("batch"), Dim::Axis("heads"), Dim::Axis("n"), Dim::Axis("rank")]),
            factor("k", &[Dim::Axis("batch"), Dim::Axis("heads"), Dim::Axis("n_kv"), Dim::Axis("rank")]),
        ],
        output: QUERIES,
        conditions: &[
            HEADS_DIVIDE,
            EQUAL_HEADS,
            Condition {
                text: "rank must be at most head_dim, n and n_kv: the scores have no higher one",
                holds: |axes| ["head_dim", "n", "n_kv"].iter().all(|limit| size(axes, "rank") <= size(axes, limit)),
            },
        ],
        model: Model { flops: "batch*heads*n*n_kv*(2*rank + 2*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Factored;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Factored> {
        // The factors are scaled such that the usual scale for their own width gives that of head_dim.
        let scale = 1.0 / (size(axes, "rank") as f64).sqrt();
        Ok(Factored { spec: AttentionSpec { pattern: AttentionPattern::Full, scale, soft_cap: None, query_offset: 0 } })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let (rank, width) = (size(axes, "rank"), size(axes, "head_dim"));
        // Half of sqrt(rank / head_dim) to each.
        let scale = (rank as f64 / width as f64).powf(0.25);
        let (q, k) = (source(drawn, "q")?, source(drawn, "k")?);
        let (mut of_queries, mut of_keys) = (Vec::new(), Vec::new());
        let (n, n_kv) = (size(axes, "n"), size(axes, "n_kv"));
        for (queries, keys) in q.values().chunks(n * width).zip(k.values().chunks(n_kv * width)) {
            let queries = HostTensor::new(&[n, width], queries.to_vec())?;
            let keys = HostTensor::new(&[n_kv, width], keys.to_vec())?;
            let [left, right] = factors(&queries, &keys, rank)?;
            of_queries.extend(left.into_iter().map(|x| scale * x));
            of_keys.extend(right.into_iter().map(|x| scale * x));
        }
        let shape = |rows: usize| [size(axes, "batch"), size(axes, "heads"), rows, rank];
        let (q, k) = (HostTensor::new(&shape(n), of_queries)?, HostTensor::new(&shape(n_kv), of_keys)?);
        Ok(Derived::default().tensor("q", q).tensor("k", k))
    }
}

fn decomposed(matrix: &HostTensor) -> Result<Svd> {
    thin_svd(matrix).map_err(|error| shape_error("derive", error.to_string()))
}

/// Rows of this width.
fn rows(tensor: &HostTensor) -> impl Iterator<Item = &[f64]> {
    tensor.values().chunks(tensor.shape()[1].max(1))
}

/// [n, rank] and [n_kv, rank] whose product is q k^T, cut.
fn factors(q: &HostTensor, k: &HostTensor, rank: usize) -> Result<[Vec<f64>; 2]> {
    let (of_q, of_k) = (decomposed(q)?, decomposed(k)?);
    let mut core = Vec::with_capacity(of_q.s.len() * of_k.s.len());
    for (left, s) in rows(&of_q.vt).zip(&of_q.s) {
        for (right, t) in rows(&of_k.vt).zip(&of_k.s) {
            core.push(s * t * left.iter().zip(right).map(|(a, b)| a * b).sum::<f64>());
        }
    }
    let core = decomposed(&HostTensor::new(&[of_q.s.len(), of_k.s.len()], core)?)?;
    let size = core.s.len();
    let roots: Vec<f64> = core.s.iter().map(|s| s.sqrt()).collect();
    // Fewer rows than the wanted rank leave columns of zeros.
    let root = |column: usize| roots.get(column).copied().unwrap_or(0.0);
    let left = |inner: usize, column: usize| core.u.values()[inner * size + column];
    let right = |inner: usize, column: usize| core.vt.values()[column * core.vt.shape()[1] + inner];
    let turned = |u: &HostTensor, turn: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        let row = |row: &[f64], column: usize| row.iter().enumerate().map(|(inner, x)| x * turn(inner, column)).sum::<f64>();
        rows(u)
            .flat_map(|x| (0..rank).map(move |column| (x, column)))
            .map(|(x, column)| if column < size { root(column) * row(x, column) } else { 0.0 })
            .collect()
    };
    Ok([turned(&of_q.u, &left), turned(&of_k.u, &right)])
}

impl<B: TransformerBackend> Bound<B> for Factored {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        // What is replaced by the host comes after what is not.
        let &[v, q, k] = inputs else { return Err(wrong_inputs("attention/svd-low-rank", inputs)) };
        let operands = AttentionOperands { q, k, v, bias: ScoreBias::None, key_mask: None };
        backend.attention(&self.spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dense, dot, row, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, relative_error, run};
    use crossover_compression::svd::truncated;

    #[test]
    fn full_rank_is_dense_attention() {
        let axes = axes::<SvdLowRank>(&with(&sized(2, 11, 8), &[("rank", 8.into()), ("n_kv", 9.into())]));
        let drawn = drawn::<SvdLowRank>(&axes);
        assert!(distance(&run::<SvdLowRank>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-11);
    }

    #[test]
    fn the_factors_are_the_cut_scores() {
        let axes = axes::<SvdLowRank>(&with(&sized(1, 11, 8), &[("rank", 3.into()), ("n_kv", 9.into())]));
        let drawn = drawn::<SvdLowRank>(&axes);
        let made: HostInputs = SvdLowRank::derive(&axes, &drawn).unwrap().tensors.into_iter().map(|(name, x)| (name.into(), x)).collect();
        let product = |inputs: &HostInputs| {
            let scores = (0..99).map(|at| dot(row(&inputs["q"], 0, at / 9), row(&inputs["k"], 0, at % 9)));
            HostTensor::new(&[11, 9], scores.collect()).unwrap()
        };
        let cut = truncated(&product(&drawn), 3).unwrap();
        let scaled = HostTensor::new(&[11, 9], cut.values().iter().map(|x| x * (3f64 / 8.0).sqrt()).collect()).unwrap();
        assert!(distance(&product(&made), &scaled) < 1e-11);
    }

    #[test]
    fn the_error_falls_with_the_rank() {
        let error = |rank: i64| {
            let axes = axes::<SvdLowRank>(&with(&sized(2, 24, 8), &[("rank", rank.into())]));
            let drawn = drawn::<SvdLowRank>(&axes);
            relative_error(&run::<SvdLowRank>(&axes, &drawn), &dense(&axes, &drawn))
        };
        let errors = [1, 3, 5, 7, 8].map(error);
        assert!(errors.windows(2).all(|pair| pair[1] < pair[0]), "{errors:?}");
    }

    #[test]
    fn it_is_right_in_narrow_types_and_costs_what_it_says() {
        let given = with(&sized(2, 16, 8), &[("batch", 2.into()), ("n_kv", 24.into()), ("rank", 3.into())]);
        for precision in ["f32", "bf16"] {
            assert_eq!(judged::<SvdLowRank>(&with(&given, &[("precision", precision.into())])).complaint, None, "{precision}");
        }
        assert_closed_forms::<SvdLowRank>(&given);
    }

    #[test]
    fn impossible_ranks_and_shared_heads_are_refused() {
        let high = axis_error::<SvdLowRank>(&[("n", 4.into()), ("rank", 5.into())]);
        assert!(high.contains("rank must be at most head_dim, n and n_kv"), "{high}");
        let shared = axis_error::<SvdLowRank>(&[("heads", 4.into()), ("kv_heads", 2.into())]);
        assert!(shared.contains("a key head for each query head"), "{shared}");
    }
}
