//! A decode step with grouped key and value heads: the cache shrinks by kv_heads / groups.
//!
//! Ainslie et al., "GQA" (2023), section 2.2; groups = 1 is the multi-query attention of Shazeer (2019), section 3. The given heads are
//! mean-pooled before the timer, as in [`super::gqa`]. The arithmetic stays, the traffic falls: this is where shared heads pay.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;

use super::cache::{DECODE, NEW_QUERY, ONE, STEP, Step, brought, cached, without_last};
use super::grouped::{GROUPS_DIVIDE, pooled};
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, count};
use crate::descriptor::{AxisDefault, Descriptor, Dim, Model};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct DecodeGqa;

const CACHE: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("groups"), Dim::Axis("n_kv"), Dim::Axis("head_dim")];
const NEW_KEY: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("groups"), ONE, Dim::Axis("head_dim")];

impl Variant for DecodeGqa {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/decode-gqa",
        summary: "one new token against a cache of pooled key and value heads",
        citation: "Ainslie et al. 2023, section 2.2",
        task: "attention/decode",
        problem: DECODE,
        parameters: &[count(
            "groups",
            "key and value heads that are left; divides kv_heads",
            AxisDefault::Share { of: "kv_heads", divisor: 4 },
        )],
        tensors: STEP,
        derived: &[brought("k_new", NEW_KEY), brought("v_new", NEW_KEY), cached("k_cache", CACHE), cached("v_cache", CACHE)],
        output: NEW_QUERY,
        conditions: &[HEADS_DIVIDE, GROUPS_DIVIDE],
        model: Model { flops: "batch*heads*n_kv*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend + 'static> = Step<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Step<B>> {
        Step::bind(operands, axes, size(axes, "n_kv").saturating_sub(1))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    /// The pooled heads stand in no single tensor that an operation could be computed on.
    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let groups = size(axes, "groups");
        let ((k_cache, k_new), (v_cache, v_new)) =
            (without_last(&pooled(drawn, "k", groups)?)?, without_last(&pooled(drawn, "v", groups)?)?);
        Ok(Derived::default().tensor("k_new", k_new).tensor("v_new", v_new).tensor("k_cache", k_cache).tensor("v_cache", v_cache))
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::assert_agree;
    use super::super::decode::Decode;
    use super::super::gqa::Gqa;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn all_groups_equal_a_plain_step() {
        let given = [("batch", 2.into()), ("heads", 4.into()), ("kv_heads", 2.into()), ("n_kv", 9.into())];
        assert_agree::<DecodeGqa, Decode>(&[&given[..], &[("groups", 2.into())]].concat(), &given);
    }

    #[test]
    fn a_step_is_a_row_of_grouped_attention() {
        let given = [("batch", 2.into()), ("heads", 4.into()), ("n_kv", 9.into()), ("groups", 2.into())];
        assert_agree::<DecodeGqa, Gqa>(&given, &[&given[..], &[("n", 1.into())]].concat());
    }

    #[test]
    fn groups_that_do_not_divide_are_refused() {
        assert!(axis_error::<DecodeGqa>(&[("heads", 8.into()), ("groups", 3.into())]).contains("groups must divide kv_heads"));
    }
}
