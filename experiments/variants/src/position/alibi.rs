//! ALiBi: attention with linear biases, -slope |query - key| added to each score.
//!
//! Press et al. 2022, "Train Short, Test Long", section 3: no position embedding at all; head h of H has the slope 2^(-8 h / H), so that some
//! heads look near and others far. The bias is a table of one value a distance, O(n) and not O(n^2). Under a full mask both directions are
//! penalised alike (the paper is about causal models). In narrow storage types the table is rounded like any other tensor.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;

use super::attended::{Attended, K, Q, V, description};
use crate::descriptor::{DerivedSpec, Descriptor, Dim, Role};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct Alibi;

impl Variant for Alibi {
    const DESCRIPTOR: Descriptor = description(
        ["position/alibi", "streaming attention with -slope |distance| added to the scores", "Press et al. 2022, section 3"],
        &[],
        &[Q, K, V],
        &[DerivedSpec {
            name: "by_distance",
            role: Role::Vector,
            shape: &[Dim::Axis("heads"), Dim::Of("2 n - 1", |axes| 2 * size(axes, "n") - 1)],
            form: None,
        }],
        &[],
    );

    type Bound<B: TransformerBackend> = Attended<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Attended<B>> {
        Ok(Attended::new(Some(operands.tensor("by_distance")?), axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        Ok(Derived::default().tensor("by_distance", by_distance(size(axes, "heads"), size(axes, "n"))?))
    }
}

/// -slope |distance| for each head: [heads, 2 n - 1].
pub(crate) fn by_distance(heads: usize, n: usize) -> Result<HostTensor> {
    let row = |head: usize| (0..2 * n - 1).map(move |entry| -slope(head, heads) * entry.abs_diff(n - 1) as f64);
    HostTensor::new(&[heads, 2 * n - 1], (0..heads).flat_map(row).collect())
}

/// Of the head with this index.
fn slope(head: usize, heads: usize) -> f64 {
    (-8.0 * (head + 1) as f64 / heads as f64).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::attended::plain;
    use crate::testing::{axes, distance, drawn, run};

    #[test]
    fn eight_heads_have_the_slopes_of_the_paper() {
        let slopes: Vec<f64> = (0..8).map(|head| slope(head, 8)).collect();
        assert_eq!(slopes, [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]);
    }

    #[test]
    fn it_is_attention_with_the_bias() {
        for (mask, causal) in [("full", false), ("causal", true)] {
            let given = [("batch", 2.into()), ("heads", 4.into()), ("n", 13.into()), ("head_dim", 8.into()), ("mask", mask.into())];
            let axes = axes::<Alibi>(&given);
            let inputs = drawn::<Alibi>(&axes);
            let expected = plain(&inputs, causal, |head, query, key| -(0.25f64.powi(head as i32 + 1)) * query.abs_diff(key) as f64);
            assert!(distance(&run::<Alibi>(&axes, &inputs), &expected) < 1e-13, "{mask}");
        }
    }

    #[test]
    fn later_tokens_do_not_reach_back() {
        let given = [("heads", 1.into()), ("n", 9.into()), ("head_dim", 4.into()), ("mask", "causal".into())];
        let axes = axes::<Alibi>(&given);
        let mut inputs = drawn::<Alibi>(&axes);
        let before = run::<Alibi>(&axes, &inputs);
        for name in ["q", "k", "v"] {
            let changed = inputs[name].values().iter().enumerate().map(|(at, x)| if at >= 5 * 4 { x + 3.0 } else { *x });
            let changed = HostTensor::new(&[1, 1, 9, 4], changed.collect()).unwrap();
            inputs.insert(name.to_owned(), changed);
        }
        let after = run::<Alibi>(&axes, &inputs);
        assert_eq!(after.values()[..20], before.values()[..20]);
        assert_ne!(after.values()[20..], before.values()[20..]);
    }
}
