//! Top-k attention: each query keeps its `k` largest scores exactly, and forgets the others.
//!
//! Gupta et al., "Memory-efficient Transformers via Top-k Attention" (2021), section 2: scores of `chunk` query rows at a time, of which
//! each keeps k. The selection needs all scores, so the work of the first product stays, and finding the k-th largest adds to it: a
//! statement about accuracy (few keys matter) more than about time. The second product stays dense over the masked weights, because
//! gathering k value rows for each query moves more memory than it saves arithmetic, until k is a small part of n_kv.
//!
//! Keys whose scores tie with the k-th are all kept.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::SoftmaxAlgorithm;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{View, ViewMut};

use super::patterns::attention_over;
use super::scores::{CHUNK, Sizes};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS, count};
use crate::descriptor::{AxisDefault, AxisSpec, Condition, Descriptor, Model};
use crate::resolve::size;
use crate::selection::among_largest;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct TopK;

/// How many scores a row keeps, and of which.
pub struct Selected {
    k: usize,
    chunk: usize,
    pattern: AttentionPattern,
}

/// Scores that a row keeps.
pub(super) const K: AxisSpec = count("k", "keys that each query keeps; at most n_kv", AxisDefault::Share { of: "n_kv", divisor: 8 });

/// No more than there are.
pub(super) const K_FITS: Condition = Condition {
    text: "a query cannot keep more keys than there are: k <= n_kv",
    holds: |axes: &Axes| size(axes, "k") <= size(axes, "n_kv"),
};

impl Variant for TopK {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/top-k",
        summary: "each query keeps its k largest scores",
        citation: "Gupta et al. 2021, section 2",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[K, CHUNK],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, K_FITS],
        model: Model {
            flops: "batch*heads*n*n_kv*(4*head_dim + 8 + floor(log2(n_kv))) + 2*batch*heads*n",
            scratch: "batch*heads*min(chunk, n)*(n_kv + min(1, n_kv - k)*(1 + max(2*k + 2, n_kv)))",
        },
    };

    type Bound<B: TransformerBackend + 'static> = Selected;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Selected> {
        Ok(Selected::over(AttentionPattern::Full, axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl Selected {
    /// Of the keys that the pattern shows.
    pub(super) fn over(pattern: AttentionPattern, axes: &Axes) -> Self {
        Self { k: size(axes, "k"), chunk: size(axes, "chunk"), pattern }
    }
}

impl<B: TransformerBackend> Bound<B> for Selected {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs("attention/top-k", inputs)) };
        let sizes = Sizes::of("attention/top-k", inputs)?;
        for (start, rows) in sizes.chunks(self.chunk) {
            let mut scores = sizes.scores(backend, (q, k), (start, rows), scratch)?;
            if self.pattern != AttentionPattern::Full {
                backend.mask(&self.pattern, start, 0, scores.view_mut())?;
            }
            if self.k < sizes.n_kv {
                let kept = among_largest(backend, self.k, scores.view(), scratch)?;
                backend.select(kept.view(), f64::NEG_INFINITY, scores.view_mut())?;
                scratch.give(kept);
            }
            backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, scores.view_mut())?;
            sizes.weigh(backend, &scores, v, (out.reborrow(), start, rows), scratch)?;
            scratch.give(scores);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, output, small};
    use super::super::flash::Flash;
    use super::*;
    use crate::testing::{axes, axis_error, drawn, relative_error, run};
    use crossover_core::axes::AxisValue;
    use crossover_core::host::HostTensor;

    #[test]
    fn all_keys_kept_is_exact_attention_and_fewer_are_worse() {
        assert_agree::<TopK, Flash>(&small(&[("k", 16.into())]), &small(&[]));
        let exact = output::<Flash>(&small(&[]));
        let errors = [15, 12, 8, 4, 1].map(|k: i64| relative_error(&output::<TopK>(&small(&[("k", k.into())])), &exact));
        assert!(errors.is_sorted() && errors[0] > 1e-4, "{errors:?}");
    }

    #[test]
    fn it_is_softmax_over_the_k_largest_scores() {
        let given: [(&str, AxisValue); 6] =
            [("heads", 2.into()), ("kv_heads", 1.into()), ("n", 5.into()), ("n_kv", 9.into()), ("head_dim", 4.into()), ("k", 3.into())];
        let axes = axes::<TopK>(&[&given[..], &[("chunk", 2.into())]].concat());
        let tensors = drawn::<TopK>(&axes);
        let (out, q, k, v) = (run::<TopK>(&axes, &tensors), tensors["q"].values(), tensors["k"].values(), tensors["v"].values());
        for (row, found) in out.values().chunks(4).enumerate() {
            let score = |key: usize| (0..4).map(|c| q[row * 4 + c] * k[key * 4 + c]).sum::<f64>() / 2.0;
            let mut keys: Vec<usize> = (0..9).collect();
            keys.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
            let sum: f64 = keys[..3].iter().map(|&key| score(key).exp()).sum();
            for (channel, value) in found.iter().enumerate() {
                let expected: f64 = keys[..3].iter().map(|&key| score(key).exp() / sum * v[key * 4 + channel]).sum();
                assert!((value - expected).abs() < 1e-13, "row {row}, channel {channel}");
            }
        }
    }

    #[test]
    fn equal_scores_are_all_kept() {
        let axes = axes::<TopK>(&small(&[("k", 2.into())]));
        let mut tensors = drawn::<TopK>(&axes);
        tensors.insert("k".into(), HostTensor::new(&[2, 2, 16, 8], vec![0.5; 512]).unwrap());
        let out = run::<TopK>(&axes, &tensors);
        let mean = (0..16).map(|key| tensors["v"].values()[key * 8]).sum::<f64>() / 16.0;
        assert!((out.values()[0] - mean).abs() < 1e-13);
    }

    #[test]
    fn more_keys_than_there_are_cannot_be_kept() {
        assert!(axis_error::<TopK>(&[("n", 8.into()), ("k", 9.into())]).contains("k <= n_kv"));
    }
}
