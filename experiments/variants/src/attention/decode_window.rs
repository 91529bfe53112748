//! A decode step over a rolling cache of the last `window` tokens.
//!
//! Jiang et al., "Mistral 7B" (2023), section 2 (rolling buffer cache): token i lives in slot i mod window, where it overwrites the token
//! that has just left the window. Time and memory of a step stop growing with the sequence. The rows of the cache are not in order, which
//! attention does not mind.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;

use super::cache::{DECODE, NEW_QUERY, ONE, STEP, Step, brought, cached};
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, count};
use crate::descriptor::{AxisDefault, Descriptor, Dim, Model};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct DecodeWindow;

const SLOTS: Dim = Dim::Of("min(window, n_kv)", slots);
const CACHE: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("kv_heads"), SLOTS, Dim::Axis("head_dim")];
const NEW_KEY: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("kv_heads"), ONE, Dim::Axis("head_dim")];

fn slots(axes: &Axes) -> usize {
    size(axes, "window").min(size(axes, "n_kv"))
}

/// Where the new token goes.
fn new_slot(axes: &Axes) -> usize {
    size(axes, "n_kv").saturating_sub(1) % slots(axes).max(1)
}

impl Variant for DecodeWindow {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/decode-window",
        summary: "one new token against a rolling cache of the last window tokens",
        citation: "Jiang et al. 2023, section 2",
        task: "attention/decode",
        problem: DECODE,
        parameters: &[count("window", "tokens seen, with the new one", AxisDefault::Share { of: "n_kv", divisor: 8 })],
        tensors: STEP,
        derived: &[brought("k_new", NEW_KEY), brought("v_new", NEW_KEY), cached("k_cache", CACHE), cached("v_cache", CACHE)],
        output: NEW_QUERY,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*min(window, n_kv)*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend + 'static> = Step<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Step<B>> {
        Step::bind(operands, axes, new_slot(axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    /// An operation numbers a single query 0, where a window holds nothing yet.
    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let ((k_cache, k_new), (v_cache, v_new)) = (rolled(axes, source(drawn, "k")?)?, rolled(axes, source(drawn, "v")?)?);
        Ok(Derived::default().tensor("k_new", k_new).tensor("v_new", v_new).tensor("k_cache", k_cache).tensor("v_cache", v_cache))
    }
}

/// The rolling cache before the last token, whose slot still holds what leaves the window (or nothing), and the last token.
fn rolled(axes: &Axes, all: &HostTensor) -> Result<(HostTensor, HostTensor)> {
    let &[batch, heads, tokens, width] = all.shape() else {
        return Err(shape_error("rolling cache", format!("{:?} is not [batch, heads, rows, width]", all.shape())));
    };
    let slots = slots(axes);
    let mut cache = vec![0.0; batch * heads * slots * width];
    let mut last = Vec::with_capacity(batch * heads * width);
    for (head, rows) in all.values().chunks((tokens * width).max(1)).enumerate() {
        for (token, row) in rows.chunks(width).enumerate() {
            if token + 1 == tokens {
                last.extend_from_slice(row);
            } else {
                cache[(head * slots + token % slots) * width..][..width].copy_from_slice(row);
            }
        }
    }
    Ok((HostTensor::new(&[batch, heads, slots, width], cache)?, HostTensor::new(&[batch, heads, 1, width], last)?))
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, rows_of, small};
    use super::super::decode::Decode;
    use super::super::window_causal::WindowCausal;
    use super::*;
    use crate::testing::{axes, axis_error, drawn, run};

    #[test]
    fn a_window_as_long_as_the_sequence_equals_a_plain_step() {
        for window in [9, 20] {
            let given = [("batch", 2.into()), ("heads", 2.into()), ("n_kv", 9.into())];
            assert_agree::<DecodeWindow, Decode>(&[&given[..], &[("window", window.into())]].concat(), &given);
        }
    }

    #[test]
    fn a_step_is_the_last_row_of_windowed_attention() {
        let whole = axes::<WindowCausal>(&small(&[("window", 5.into())]));
        let mut tensors = drawn::<WindowCausal>(&whole);
        let expected = rows_of(&run::<WindowCausal>(&whole, &tensors), 15..16);
        let given = [("batch", 2.into()), ("heads", 2.into()), ("n_kv", 16.into()), ("head_dim", 8.into()), ("window", 5.into())];
        tensors.insert("q".into(), HostTensor::new(&[2, 2, 1, 8], rows_of(&tensors["q"], 15..16)).unwrap());
        let out = run::<DecodeWindow>(&axes::<DecodeWindow>(&given), &tensors);
        assert!(out.values().iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-13));
    }

    #[test]
    fn an_empty_window_is_refused() {
        assert!(axis_error::<DecodeWindow>(&[("window", 0.into())]).contains("window = 0 must be a whole number in 1.."));
    }
}
