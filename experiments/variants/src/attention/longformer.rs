//! Longformer: a sliding window, dilated or not, plus `global` leading tokens that see everything and are seen by everybody.
//!
//! Beltagy et al. (2020), section 3.1 (sliding window, dilated sliding window, global attention). Linear work, and any two tokens are two
//! steps apart through a global one. With `dilation` d the window's keys are d apart, so that the same work reaches d times as far, and
//! what lies between goes unseen; the paper dilates some heads and not others, here all heads are alike. Here
//! the global tokens are the first ones (a class token, a question) and share the projections of the others; the paper gives them
//! projections of their own, which is a matter of the layer around.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::flash::Streamed;
use super::patterns::{ALIGNED, attention_over};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS, count};
use crate::descriptor::{AxisDefault, AxisSpec, Condition, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Longformer;

/// Leading tokens.
pub(super) const GLOBAL: AxisSpec =
    count("global", "leading tokens that see and are seen by all", AxisDefault::Share { of: "n", divisor: 32 });

/// The gaps of the window.
pub(super) const DILATION: AxisSpec = count("dilation", "distance between neighbouring keys of the window", AxisDefault::Int(1));

/// No more of them than there are.
pub(super) const GLOBAL_FITS: Condition = Condition {
    text: "there are no more global tokens than tokens: global <= n",
    holds: |axes: &Axes| size(axes, "global") <= size(axes, "n"),
};

/// Both sides alike.
fn pattern(axes: &Axes) -> AttentionPattern {
    let reach = size(axes, "window");
    AttentionPattern::GlobalWindow { global: size(axes, "global"), left: reach, right: reach, dilation: size(axes, "dilation") }
}

impl Variant for Longformer {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/longformer",
        summary: "a window on both sides, dilated or not, plus leading global tokens",
        citation: "Beltagy et al. 2020, section 3.1",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[count("window", "keys seen on each side of the query", AxisDefault::Share { of: "n", divisor: 8 }), GLOBAL, DILATION],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, ALIGNED, GLOBAL_FITS],
        model: Model {
            flops: "batch*heads*(global*n + (n - global)*global \
                    + (n - global)*(2*min(window, floor((n - global - 1)/dilation)) + 1) \
                    - dilation*min(window, floor((n - global - 1)/dilation))*(min(window, floor((n - global - 1)/dilation)) + 1))\
                    *(4*head_dim + 5)",
            scratch: "0",
        },
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(pattern(axes), axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    fn reference(axes: &Axes) -> Reference {
        attention_over(pattern(axes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, seen, small};
    use super::super::flash::Flash;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn a_long_window_or_only_global_tokens_equal_full_attention() {
        assert_agree::<Longformer, Flash>(&small(&[("window", 16.into())]), &small(&[]));
        assert_agree::<Longformer, Flash>(&small(&[("window", 1.into()), ("global", 16.into())]), &small(&[]));
    }

    #[test]
    fn global_tokens_see_all_and_are_seen_by_all() {
        let given = small(&[("window", 1.into()), ("global", 2.into())]);
        assert_eq!(seen::<Longformer>(&given, 10), [0, 1, 9, 10, 11]);
        assert_eq!(seen::<Longformer>(&given, 1).len(), 16);
    }

    #[test]
    fn a_dilated_window_reaches_further_and_leaves_gaps() {
        let given = small(&[("window", 2.into()), ("global", 1.into()), ("dilation", 3.into())]);
        assert_eq!(seen::<Longformer>(&given, 9), [0, 3, 6, 9, 12, 15]);
        assert!(axis_error::<Longformer>(&[("dilation", 0.into())]).contains("dilation = 0 must be a whole number in 1.."));
    }

    #[test]
    fn more_global_tokens_than_tokens_are_refused() {
        assert!(axis_error::<Longformer>(&[("n", 8.into()), ("global", 9.into())]).contains("global <= n"));
    }
}
