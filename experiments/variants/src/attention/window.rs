//! Sliding-window attention: each query sees the keys at most `window` places away, on both sides.
//!
//! Beltagy et al., "Longformer" (2020), section 3.1 (their w is twice this window); Parmar et al. (2018) before them. Work and memory
//! are O(n window) instead of O(n^2); what is farther away is lost, unless further layers carry it.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::flash::Streamed;
use super::patterns::{ALIGNED, attention_over};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS, count};
use crate::descriptor::{AxisDefault, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Window;

/// Both sides alike.
fn pattern(axes: &Axes) -> AttentionPattern {
    let reach = size(axes, "window");
    AttentionPattern::Window { left: reach, right: reach }
}

impl Variant for Window {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/window",
        summary: "each query sees only keys at most window places away",
        citation: "Beltagy et al. 2020, section 3.1",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[count("window", "keys seen on each side of the query", AxisDefault::Share { of: "n", divisor: 8 })],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, ALIGNED],
        model: Model {
            flops: "batch*heads*(n*(2*min(window, n - 1) + 1) - min(window, n - 1)*(min(window, n - 1) + 1))*(4*head_dim + 5)",
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
    fn a_window_as_long_as_the_sequence_equals_full_attention() {
        assert_agree::<Window, Flash>(&small(&[("window", 16.into())]), &small(&[]));
    }

    #[test]
    fn a_query_sees_its_neighbours_on_both_sides() {
        assert_eq!(seen::<Window>(&small(&[("window", 3.into())]), 8), [5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(seen::<Window>(&small(&[("window", 2.into())]), 15), [13, 14, 15]);
    }

    #[test]
    fn impossible_windows_are_refused() {
        assert!(axis_error::<Window>(&[("window", 0.into())]).contains("window = 0 must be a whole number in 1.."));
        assert!(axis_error::<Window>(&[("n", 8.into()), ("n_kv", 9.into())]).contains("n_kv = n"));
    }
}
