//! Dilated sliding-window attention: `window` keys on each side, `dilation` places apart.
//!
//! Beltagy et al., "Longformer" (2020), section 3.1 (dilated sliding window). The same work as a window, a reach that is `dilation`
//! times as long, and gaps between: a query sees only keys of its own residue class, which makes it as many plain windows over
//! shorter sequences (`dilated.rs`).

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::dilated::ByClass;
use super::patterns::{ALIGNED, attention_over};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS, count};
use crate::descriptor::{AxisDefault, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct DilatedWindow;

/// Both sides alike.
fn sides(axes: &Axes) -> [usize; 2] {
    [size(axes, "window"); 2]
}

fn pattern(axes: &Axes) -> AttentionPattern {
    let [left, right] = sides(axes);
    AttentionPattern::Dilated { left, right, dilation: size(axes, "dilation") }
}

impl Variant for DilatedWindow {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/dilated-window",
        summary: "each query sees window keys on each side, dilation places apart",
        citation: "Beltagy et al. 2020, section 3.1",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[
            count("window", "keys seen on each side of the query", AxisDefault::Share { of: "n", divisor: 8 }),
            count("dilation", "distance between the keys seen", AxisDefault::Int(2)),
        ],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, ALIGNED],
        model: Model {
            flops: "batch*heads*(n*(2*min(window, floor((n - 1)/dilation)) + 1) - dilation*min(window, floor((n \
                    - 1)/dilation))*(min(window, floor((n - 1)/dilation)) + 1))*(4*head_dim + 5)",
            scratch: "0",
        },
    };

    type Bound<B: TransformerBackend + 'static> = ByClass;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<ByClass> {
        let [left, right] = sides(axes);
        Ok(ByClass::over(DilatedWindow::DESCRIPTOR.name, left, right, axes))
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
    use super::super::window::Window;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn dilation_one_is_a_plain_window() {
        let given = small(&[("window", 3.into())]);
        assert_agree::<DilatedWindow, Window>(&small(&[("window", 3.into()), ("dilation", 1.into())]), &given);
    }

    #[test]
    fn a_query_sees_every_dilationth_key() {
        assert_eq!(seen::<DilatedWindow>(&small(&[("window", 2.into()), ("dilation", 3.into())]), 7), [1, 4, 7, 10, 13]);
    }

    #[test]
    fn no_dilation_is_refused() {
        assert!(axis_error::<DilatedWindow>(&[("dilation", 0.into())]).contains("dilation = 0 must be a whole number in 1.."));
    }
}
