//! Causal dilated attention: the query's own key and those before it, `dilation` places apart, `window` in all.
//!
//! Beltagy et al., "Longformer" (2020), sections 3.1 and 4.1, where autoregressive heads use dilations that grow with the layer. Reach
//! dilation (window - 1) at the work of a window; keys in the gaps are never seen.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::dilated::ByClass;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS, count};
use crate::descriptor::{AxisDefault, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct DilatedWindowCausal;

/// The query's own key is one of the window.
fn sides(axes: &Axes) -> [usize; 2] {
    [size(axes, "window").saturating_sub(1), 0]
}

fn pattern(axes: &Axes) -> AttentionPattern {
    let [left, right] = sides(axes);
    AttentionPattern::Dilated { left, right, dilation: size(axes, "dilation") }
}

impl Variant for DilatedWindowCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/dilated-window-causal",
        summary: "the last window keys of a grid with steps of dilation",
        citation: "Beltagy et al. 2020, sections 3.1 and 4.1",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[
            count("window", "keys seen, with the query's own", AxisDefault::Share { of: "n", divisor: 8 }),
            count("dilation", "distance between the keys seen", AxisDefault::Int(2)),
        ],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model {
            flops: "batch*heads*(n*(min(window - 1, floor((n - 1)/dilation)) + 1) - dilation*min(window - 1, floor((n \
                    - 1)/dilation))*(min(window - 1, floor((n - 1)/dilation)) + 1)/2)*(4*head_dim + 5)",
            scratch: "0",
        },
    };

    type Bound<B: TransformerBackend + 'static> = ByClass;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<ByClass> {
        let [left, right] = sides(axes);
        Ok(ByClass::over(DilatedWindowCausal::DESCRIPTOR.name, left, right, axes))
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
    use super::super::window_causal::WindowCausal;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn dilation_one_is_a_plain_window() {
        let given = small(&[("window", 3.into())]);
        assert_agree::<DilatedWindowCausal, WindowCausal>(&small(&[("window", 3.into()), ("dilation", 1.into())]), &given);
    }

    #[test]
    fn a_query_sees_every_dilationth_earlier_key() {
        let given = small(&[("window", 3.into()), ("dilation", 3.into())]);
        assert_eq!(seen::<DilatedWindowCausal>(&given, 8), [2, 5, 8]);
        assert_causal::<DilatedWindowCausal>(&given);
    }

    #[test]
    fn no_dilation_is_refused() {
        assert!(axis_error::<DilatedWindowCausal>(&[("dilation", 0.into())]).contains("dilation = 0 must be a whole number in 1.."));
    }
}
