//! Attention with a value added to each score: an arbitrary mask (minus infinity hides a pair) or a bias of any kind.
//!
//! Vaswani et al. (2017), section 3.2.3, for the mask; Raffel et al. (2020), section 2.1, for additive biases. The [n, n_kv] matrix is one
//! for all sequences and heads and is streamed along with the scores: one more trip of n n_kv numbers through memory, which is what a
//! pattern that an engine knows would save. Drawn are a bias and, on a share `masked` of the pairs, minus infinity; each query keeps at
//! least one key. `apply` may bring any other.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use super::blocks::mixed;
use super::flash::Streamed;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::inputs::draw_tensors;
use crate::resolve::{number, size};
use crate::variant::{Bound, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct ArbitraryMask;

/// Streaming with a bias for each pair.
pub struct Biased {
    streamed: Streamed,
}

impl Variant for ArbitraryMask {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/arbitrary-mask",
        summary: "streamed attention with an [n, n_kv] mask or bias added to the scores",
        citation: "Vaswani et al. 2017, section 3.2.3; Raffel et al. 2020, section 2.1",
        task: "attention/biased",
        problem: PROBLEM,
        parameters: &[AxisSpec {
            name: "masked",
            doc: "share of pairs that are hidden in what is drawn; every query keeps a key",
            kind: AxisKind::Float { min: 0.0, max: 1.0 },
            default: AxisDefault::Float(0.25),
        }],
        tensors: &[
            TENSORS[0],
            TENSORS[1],
            TENSORS[2],
            TensorSpec {
                name: "bias",
                role: Role::Activation,
                shape: &[Dim::Axis("n"), Dim::Axis("n_kv")],
                draw: DrawRule::Around(0.0, 1.0),
                only_with: None,
            },
        ],
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*n*n_kv*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend + 'static> = Biased;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Biased> {
        Ok(Biased { streamed: Streamed::over(AttentionPattern::Full, axes) })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn draw(axes: &Axes) -> Result<HostInputs> {
        let mut drawn = draw_tensors(&Self::drawn(axes), axes)?;
        let masked = masked(source(&drawn, "bias")?, axes)?;
        drawn.insert("bias".into(), masked);
        Ok(drawn)
    }
}

/// The bias with its share of minus infinities, chosen by the cell's seed.
fn masked(bias: &HostTensor, axes: &Axes) -> Result<HostTensor> {
    let (n_kv, share, seed) = (size(axes, "n_kv"), number(axes, "masked"), mixed(size(axes, "seed") as u64));
    let value = |(at, value): (usize, &f64)| {
        let (query, key) = (at / n_kv, at % n_kv);
        let row = mixed(seed ^ query as u64);
        // A uniform number from the 53 bits that a float holds.
        let hidden = ((mixed(row ^ key as u64) >> 11) as f64) < share * (1u64 << 53) as f64;
        if hidden && key as u64 != row % n_kv as u64 { f64::NEG_INFINITY } else { *value }
    };
    HostTensor::new(bias.shape(), bias.values().iter().enumerate().map(value).collect())
}

impl<B: TransformerBackend> Bound<B> for Biased {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v, bias] = inputs else { return Err(wrong_inputs("attention/arbitrary-mask", inputs)) };
        let operands = AttentionOperands { q, k, v, bias: ScoreBias::ByPair(bias), key_mask: None };
        backend.attention(&self.streamed.spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::small;
    use super::super::flash::Flash;
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::{axes, distance, drawn, run};

    fn with_bias(bias: impl Fn(usize, usize) -> f64) -> HostTensor {
        let axes = axes::<ArbitraryMask>(&small(&[]));
        let mut tensors = drawn::<ArbitraryMask>(&axes);
        tensors.insert("bias".into(), HostTensor::new(&[16, 16], (0..256).map(|at| bias(at / 16, at % 16)).collect()).unwrap());
        run::<ArbitraryMask>(&axes, &tensors)
    }

    fn plain<V: Variant>() -> HostTensor {
        let axes = axes::<V>(&small(&[]));
        run::<V>(&axes, &drawn::<V>(&axes))
    }

    #[test]
    fn no_bias_and_one_that_depends_on_the_query_only_change_nothing() {
        assert!(distance(&with_bias(|_, _| 0.0), &plain::<Flash>()) < 1e-14);
        assert!(distance(&with_bias(|query, _| query as f64 - 3.0), &plain::<Flash>()) < 1e-13);
    }

    #[test]
    fn minus_infinity_in_the_future_is_the_causal_mask() {
        let causal = with_bias(|query, key| if key > query { f64::NEG_INFINITY } else { 0.0 });
        assert!(distance(&causal, &plain::<FlashCausal>()) < 1e-13);
    }

    #[test]
    fn a_share_of_the_pairs_is_hidden_and_every_query_keeps_a_key() {
        let bias = |share: f64, seed: i64| {
            let given = [("n", 64.into()), ("n_kv", 50.into()), ("masked", share.into()), ("seed", seed.into())];
            drawn::<ArbitraryMask>(&axes::<ArbitraryMask>(&given))["bias"].clone()
        };
        let hidden = |bias: &HostTensor| bias.values().iter().filter(|value| **value == f64::NEG_INFINITY).count();
        assert_eq!(hidden(&bias(0.0, 1)), 0);
        assert!((700..900).contains(&hidden(&bias(0.25, 1))), "{}", hidden(&bias(0.25, 1)));
        assert_ne!(bias(0.25, 1), bias(0.25, 2));
        let all = bias(1.0, 1);
        assert!(all.values().chunks(50).all(|row| row.iter().filter(|value| value.is_finite()).count() == 1));
    }

    #[test]
    fn a_row_without_any_key_gives_zeros() {
        let out = with_bias(|query, _| if query == 4 { f64::NEG_INFINITY } else { 0.0 });
        assert!(super::super::checks::rows_of(&out, 4..5).iter().all(|value| *value == 0.0));
    }
}
