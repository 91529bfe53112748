//! Decoding with a cache of keys and values: what the decode variants share.
//!
//! One new token for each sequence: its query sees the tokens before it, whose keys and values an earlier call has left in a cache, and
//! itself. The given k and v hold all tokens, the new one last; before the timer they are taken apart into the cache (whose slot for the
//! new token is empty) and the new row. A call writes the row into its slot and attends, so that the traffic is that of a real step;
//! calling again writes the same row again.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::grouped::given;
use super::{activation, count};
use crate::descriptor::{AxisDefault, AxisSpec, DerivedSpec, Dim, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Bound, Operands, wrong_inputs};

/// The sizes of a decode step.
pub(super) const DECODE: &[AxisSpec] = &[
    count("batch", "sequences handled together", AxisDefault::Int(1)),
    count("heads", "query heads", AxisDefault::Int(8)),
    count("kv_heads", "key and value heads; divides heads", AxisDefault::SameAs("heads")),
    count("n_kv", "tokens so far, with the new one", AxisDefault::Int(128)),
    count("head_dim", "channels of one head", AxisDefault::Int(64)),
];

/// One.
pub(super) const ONE: Dim = Dim::Of("1", |_| 1);

/// Shape of q and of the output.
pub(super) const NEW_QUERY: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("heads"), ONE, Dim::Axis("head_dim")];

/// The new query, and the keys and values of all tokens.
pub(super) const STEP: &[TensorSpec] = &[activation("q", NEW_QUERY), given("k"), given("v")];

/// What a cache holds of each token.
pub(super) const fn cached(name: &'static str, shape: &'static [Dim]) -> DerivedSpec {
    DerivedSpec { name, role: Role::State, shape, form: None }
}

/// What the new token brings.
pub(super) const fn brought(name: &'static str, shape: &'static [Dim]) -> DerivedSpec {
    DerivedSpec { name, role: Role::Activation, shape, form: None }
}

/// All tokens [.., tokens, width] as a cache whose last slot is empty, and the last row.
pub(super) fn without_last(all: &HostTensor) -> Result<(HostTensor, HostTensor)> {
    let &[ref lead @ .., tokens, width] = all.shape() else {
        return Err(shape_error("cache", format!("{:?} has no rows", all.shape())));
    };
    let (mut kept, mut last) = (Vec::with_capacity(all.len()), Vec::new());
    for block in all.values().chunks((tokens * width).max(1)) {
        let (earlier, newest) = block.split_at(block.len() - width);
        kept.extend_from_slice(earlier);
        kept.resize(kept.len() + width, 0.0);
        last.extend_from_slice(newest);
    }
    Ok((HostTensor::new(all.shape(), kept)?, HostTensor::new(&[lead, &[1, width]].concat(), last)?))
}

/// A cache of keys and values with a slot for the new token.
pub struct Step<B: TransformerBackend> {
    k: Tensor<B::Buffer>,
    v: Tensor<B::Buffer>,
    slot: usize,
    spec: AttentionSpec,
}

impl<B: TransformerBackend> Step<B> {
    /// Takes the cache; the order of its rows does not matter, so the slot may be anywhere.
    pub(super) fn bind(operands: &mut Operands<B>, axes: &Axes, slot: usize) -> Result<Self> {
        let scale = 1.0 / (size(axes, "head_dim") as f64).sqrt();
        let spec = AttentionSpec { pattern: AttentionPattern::Full, scale, soft_cap: None, query_offset: 0 };
        Ok(Self { k: operands.tensor("k_cache")?, v: operands.tensor("v_cache")?, slot, spec })
    }
}

impl<B: TransformerBackend> Bound<B> for Step<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k_new, v_new] = inputs else { return Err(wrong_inputs("attention/decode", inputs)) };
        backend.copy(k_new, self.k.view_mut().narrow(2, self.slot, 1)?)?;
        backend.copy(v_new, self.v.view_mut().narrow(2, self.slot, 1)?)?;
        let operands = AttentionOperands { q, k: self.k.view(), v: self.v.view(), bias: ScoreBias::None, key_mask: None };
        backend.attention(&self.spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_of_each_head_is_taken_out() {
        let all = HostTensor::new(&[1, 2, 2, 2], (1..=8).map(f64::from).collect()).unwrap();
        let (cache, last) = without_last(&all).unwrap();
        assert_eq!(cache, HostTensor::new(&[1, 2, 2, 2], vec![1.0, 2.0, 0.0, 0.0, 5.0, 6.0, 0.0, 0.0]).unwrap());
        assert_eq!(last, HostTensor::new(&[1, 2, 1, 2], vec![3.0, 4.0, 7.0, 8.0]).unwrap());
        assert!(without_last(&HostTensor::new(&[2], vec![0.0; 2]).unwrap()).is_err());
    }
}
