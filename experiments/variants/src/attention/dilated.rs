//! Dilated windows as plain ones.
//!
//! A query sees only keys of its own residue class modulo the dilation, so a sequence falls into as many shorter ones as the dilation says,
//! and within each the window has no gaps. An engine is asked for one window after the other, over views of every so many rows: no pattern
//! with holes is left, whose tiles would be mostly empty.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{View, ViewMut};

use super::flash::Streamed;
use crate::resolve::size;
use crate::variant::{Bound, wrong_inputs};

/// The window of each residue class.
pub struct ByClass {
    name: &'static str,
    window: AttentionSpec,
    dilation: usize,
}

impl ByClass {
    /// The window in steps of the dilation, of as many keys as queries.
    pub(super) fn over(name: &'static str, left: usize, right: usize, axes: &Axes) -> Self {
        let Streamed { spec: window } = Streamed::over(AttentionPattern::Window { left, right }, axes);
        Self { name, window, dilation: size(axes, "dilation") }
    }
}

impl<B: TransformerBackend> Bound<B> for ByClass {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs(self.name, inputs)) };
        let &[.., n, _] = q.shape() else { return Err(wrong_inputs(self.name, inputs)) };
        let rows = q.layout.rank() - 2;
        for class in 0..self.dilation.min(n) {
            let own = |layout: &Layout| layout.every(rows, class, self.dilation);
            let operands = AttentionOperands { q: q.with(own)?, k: k.with(own)?, v: v.with(own)?, bias: ScoreBias::None, key_mask: None };
            let outputs = AttentionOutputs { out: out.reborrow().with(own)?, log_sum_exp: None };
            backend.attention(&self.window, operands, outputs, scratch)?;
        }
        Ok(())
    }
}
