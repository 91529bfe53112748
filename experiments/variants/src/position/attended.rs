//! Streaming attention with or without a bias by distance: what the attention-side methods share.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::{BATCH, HEAD_DIM, HEADS, LENGTH, PER_HEAD, per_head};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Model, TensorSpec};
use crate::resolve::{name, size};
use crate::variant::{Bound, wrong_inputs};

const PROBLEM: &[AxisSpec] = &[
    BATCH,
    HEADS,
    LENGTH,
    HEAD_DIM,
    AxisSpec {
        name: "mask",
        doc: "which keys a query sees",
        kind: AxisKind::Choice { of: &["full", "causal"] },
        default: AxisDefault::Text("full"),
    },
];

pub(super) const Q: TensorSpec = per_head("q");
pub(super) const K: TensorSpec = per_head("k");
pub(super) const V: TensorSpec = per_head("v");

/// What the variants share. An engine adds the bias in its kernel, and the cost model does not count that.
pub(super) const fn description(
    [name, summary, citation]: [&'static str; 3],
    parameters: &'static [AxisSpec],
    tensors: &'static [TensorSpec],
    derived: &'static [DerivedSpec],
    conditions: &'static [Condition],
) -> Descriptor {
    Descriptor {
        name,
        summary,
        citation,
        task: "position/attention",
        problem: PROBLEM,
        parameters,
        tensors,
        derived,
        output: PER_HEAD,
        conditions,
        model: Model { flops: "batch*heads*(4*head_dim + 5)*(is(mask, full)*n^2 + is(mask, causal)*n*(n + 1)/2)", scratch: "0" },
    }
}

/// Do queries see earlier keys only?
pub(super) fn is_causal(axes: &Axes) -> bool {
    name(axes, "mask") == "causal"
}

/// The pattern of the mask.
pub(super) fn pattern(axes: &Axes) -> AttentionPattern {
    if is_causal(axes) { AttentionPattern::Causal } else { AttentionPattern::Full }
}

/// Attention, and what is added to its scores.
pub struct Attended<B: TransformerBackend> {
    spec: AttentionSpec,
    /// [heads, 2 reach + 1].
    by_distance: Option<Tensor<B::Buffer>>,
}

impl<B: TransformerBackend> Attended<B> {
    /// The usual scale over the mask of these axes.
    pub(super) fn new(by_distance: Option<Tensor<B::Buffer>>, axes: &Axes) -> Self {
        let scale = 1.0 / (size(axes, "head_dim") as f64).sqrt();
        Self { spec: AttentionSpec { pattern: pattern(axes), scale, soft_cap: None, query_offset: 0 }, by_distance }
    }
}

impl<B: TransformerBackend> Bound<B> for Attended<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs("position/attention", inputs)) };
        let bias = self.by_distance.as_ref().map_or(ScoreBias::None, |table| ScoreBias::ByDistance(table.view()));
        let operands = AttentionOperands { q, k, v, bias, key_mask: None };
        backend.attention(&self.spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    }
}

/// Attention in plain f64 with a bias for (head, query, key), for tests.
#[cfg(test)]
pub(super) fn plain(
    inputs: &crossover_core::reference::HostInputs,
    causal: bool,
    bias: impl Fn(usize, usize, usize) -> f64,
) -> crossover_core::host::HostTensor {
    let &[batch, heads, n, width] = inputs["q"].shape() else { panic!("q has four dimensions") };
    let row = |name: &str, at: usize| &inputs[name].values()[at * width..(at + 1) * width];
    let mut out = Vec::new();
    for (lane, query) in (0..batch * heads).flat_map(|lane| (0..n).map(move |query| (lane, query))) {
        let keys = if causal { 0..query + 1 } else { 0..n };
        let weight = |key: usize| {
            let dot: f64 = row("q", lane * n + query).iter().zip(row("k", lane * n + key)).map(|(a, b)| a * b).sum();
            (dot / (width as f64).sqrt() + bias(lane % heads, query, key)).exp()
        };
        let weights: Vec<f64> = keys.map(weight).collect();
        let total: f64 = weights.iter().sum();
        let mixed = |channel: usize| weights.iter().enumerate().map(|(key, w)| w * row("v", lane * n + key)[channel]).sum::<f64>();
        out.extend((0..width).map(|channel| mixed(channel) / total));
    }
    crossover_core::host::HostTensor::new(&[batch, heads, n, width], out).unwrap()
}
