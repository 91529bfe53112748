//! Causal Longformer: the last `window` keys, `dilation` apart, and the first `global` ones for good.
//!
//! Beltagy et al. (2020), sections 3.1 and 4.1, under a causal mask; as a way of decoding without end it is StreamingLLM (Xiao et al. 2024,
//! section 3.2), whose first tokens are the *attention sinks* without which a sliding window falls apart. Under the mask the global tokens
//! are seen by all, and see what came before them, like everybody.
//!
//! The pattern of engines (window and global tokens) lets the global tokens see everything; what lies in their future is hidden by a bias
//! by distance: 0 up to the query's own position, minus infinity behind it, three numbers for each head. So the few leading rows are
//! computed in full and masked, which is counted.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::flash::Streamed;
use super::longformer::{DILATION, GLOBAL, GLOBAL_FITS};
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS, count};
use crate::descriptor::{AxisDefault, DerivedSpec, Descriptor, Dim, Model, Role};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct LongformerCausal;

/// Streaming over the pattern, with the future hidden by distance.
pub struct Hidden<B: TransformerBackend> {
    future: Tensor<B::Buffer>,
    streamed: Streamed,
}

impl Variant for LongformerCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/longformer-causal",
        summary: "the last window keys and the first global ones",
        citation: "Beltagy et al. 2020, sections 3.1 and 4.1; Xiao et al. 2024, section 3.2",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[count("window", "keys seen, with the query's own", AxisDefault::Share { of: "n", divisor: 8 }), GLOBAL, DILATION],
        tensors: TENSORS,
        derived: &[DerivedSpec { name: "future", role: Role::Vector, shape: &[Dim::Axis("heads"), Dim::Of("3", |_| 3)], form: None }],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE, GLOBAL_FITS],
        model: Model {
            flops: "batch*heads*(global*n + (n - global)*(global + 1 + min(window - 1, floor((n - global - 1)/dilation))) \
                    - dilation*min(window - 1, floor((n - global - 1)/dilation))\
                    *(min(window - 1, floor((n - global - 1)/dilation)) + 1)/2)*(4*head_dim + 5)",
            scratch: "0",
        },
    };

    type Bound<B: TransformerBackend + 'static> = Hidden<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Hidden<B>> {
        let left = size(axes, "window").saturating_sub(1);
        let pattern = AttentionPattern::GlobalWindow { global: size(axes, "global"), left, right: 0, dilation: size(axes, "dilation") };
        Ok(Hidden { future: operands.tensor("future")?, streamed: Streamed::over(pattern, axes) })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    /// No single pattern says what this one sees.
    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    /// By distance -1 and less, 0, 1 and more.
    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        let heads = size(axes, "heads");
        let future = HostTensor::new(&[heads, 3], [0.0, 0.0, f64::NEG_INFINITY].repeat(heads))?;
        Ok(Derived::default().tensor("future", future))
    }
}

impl<B: TransformerBackend> Bound<B> for Hidden<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs("attention/longformer-causal", inputs)) };
        let operands = AttentionOperands { q, k, v, bias: ScoreBias::ByDistance(self.future.view()), key_mask: None };
        backend.attention(&self.streamed.spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, assert_causal, seen, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn a_long_window_or_only_global_tokens_equal_causal_attention() {
        assert_agree::<LongformerCausal, FlashCausal>(&small(&[("window", 16.into())]), &small(&[]));
        assert_agree::<LongformerCausal, FlashCausal>(&small(&[("window", 1.into()), ("global", 16.into())]), &small(&[]));
    }

    #[test]
    fn a_query_sees_the_window_and_the_first_tokens_but_no_future() {
        let given = small(&[("window", 3.into()), ("global", 2.into())]);
        assert_eq!(seen::<LongformerCausal>(&given, 10), [0, 1, 8, 9, 10]);
        assert_eq!(seen::<LongformerCausal>(&given, 1), [0, 1]);
        assert_eq!(seen::<LongformerCausal>(&given, 0), [0]);
        assert_causal::<LongformerCausal>(&given);
    }

    #[test]
    fn a_dilated_window_reaches_further_back() {
        let given = small(&[("window", 3.into()), ("global", 1.into()), ("dilation", 4.into())]);
        assert_eq!(seen::<LongformerCausal>(&given, 13), [0, 5, 9, 13]);
        assert_causal::<LongformerCausal>(&given);
    }

    #[test]
    fn more_global_tokens_than_tokens_are_refused() {
        assert!(axis_error::<LongformerCausal>(&[("n", 8.into()), ("global", 9.into())]).contains("global <= n"));
    }
}
