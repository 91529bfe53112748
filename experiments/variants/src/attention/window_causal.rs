//! Causal sliding-window attention: each query sees the last `window` keys, its own included.
//!
//! Jiang et al., "Mistral 7B" (2023), section 2; Child et al. (2019) call it local attention. Work is O(n window), and a decoder needs
//! to cache `window` keys only ([`super::decode_window`]). k layers see k window tokens back, not further.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::flash::Streamed;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS, count};
use crate::descriptor::{AxisDefault, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct WindowCausal;

/// The query's own key is one of the window.
fn pattern(axes: &Axes) -> AttentionPattern {
    AttentionPattern::Window { left: size(axes, "window").saturating_sub(1), right: 0 }
}

impl Variant for WindowCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/window-causal",
        summary: "each query sees the last window keys, its own included",
        citation: "Jiang et al. 2023, section 2",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[count("window", "keys seen, with the query's own", AxisDefault::Share { of: "n", divisor: 8 })],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model { flops: "batch*heads*(n*min(window, n) - min(window, n)*(min(window, n) - 1)/2)*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(pattern(axes), axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(axes: &Axes) -> Reference {
        attention_over(pattern(axes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, assert_causal, seen, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn a_window_as_long_as_the_sequence_equals_causal_attention() {
        assert_agree::<WindowCausal, FlashCausal>(&small(&[("window", 16.into())]), &small(&[]));
    }

    #[test]
    fn a_query_sees_itself_and_what_came_just_before() {
        assert_eq!(seen::<WindowCausal>(&small(&[("window", 3.into())]), 8), [6, 7, 8]);
        assert_eq!(seen::<WindowCausal>(&small(&[("window", 1.into())]), 5), [5]);
        assert_causal::<WindowCausal>(&small(&[("window", 4.into())]));
    }

    #[test]
    fn an_empty_window_is_refused() {
        assert!(axis_error::<WindowCausal>(&[("window", 0.into())]).contains("window = 0 must be a whole number in 1.."));
    }
}
