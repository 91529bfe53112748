//! The strided pattern of sparse transformers: the last `stride` keys, and every `stride`-th key before them.
//!
//! Child et al., "Generating Long Sequences with Sparse Transformers" (2019), section 4.2, with both halves of the factorisation in one
//! head (section 5.1, the merged head). With a stride near sqrt(n) any two positions are two steps apart, at O(n sqrt n) work. It fits
//! data with a period (images, sound); for text the authors prefer [`super::sparse_fixed`].
//!
//! An engine is asked for the window and for the columns, each without holes, and both are joined (`joined.rs`): that costs a second
//! output in scratch, and saves going over keys that nobody sees.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{View, ViewMut};

use super::flash::Streamed;
use super::joined::{Part, Places, by_parts, join, widened};
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS, count};
use crate::descriptor::{AxisDefault, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct SparseStrided;

/// The window, and the columns that are joined to it.
pub struct Strided {
    stride: usize,
    local: AttentionSpec,
    column: AttentionSpec,
}

/// As the paper draws it.
fn pattern(axes: &Axes) -> AttentionPattern {
    AttentionPattern::Strided { stride: size(axes, "stride") }
}

impl Variant for SparseStrided {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/sparse-strided",
        summary: "the last stride keys and every stride-th before them",
        citation: "Child et al. 2019, sections 4.2 and 5.1",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[count(
            "stride",
            "length of the local part and distance between the others",
            AxisDefault::Share { of: "n", divisor: 8 },
        )],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model {
            flops: "batch*heads*(n*min(stride, n) - min(stride, n)*(min(stride, n) - 1)/2 + stride*floor(n/stride)\
                    *(floor(n/stride) - 1)/2 + floor(n/stride)*(n - floor(n/stride)*stride))*(4*head_dim + 5) \
                    + batch*heads*(n - min(stride, n))*(3*head_dim + 4)",
            scratch: "batch*heads*(n*min(1, n - min(stride, n)) + (n - min(stride, n))*(head_dim + 1))",
        },
    };

    type Bound<B: TransformerBackend + 'static> = Strided;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Strided> {
        let stride = size(axes, "stride");
        let [local, column] = [AttentionPattern::Window { left: stride - 1, right: 0 }, AttentionPattern::Causal];
        Ok(Strided { stride, local: Streamed::over(local, axes).spec, column: Streamed::over(column, axes).spec })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(axes: &Axes) -> Reference {
        attention_over(pattern(axes))
    }
}

impl<B: TransformerBackend> Bound<B> for Strided {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let (&[q, k, v], &[batch, heads, n, width]) = (inputs, out.shape()) else {
            return Err(wrong_inputs("attention/sparse-strided", inputs));
        };
        let far = n.saturating_sub(self.stride);
        let operands = AttentionOperands { q, k, v, bias: ScoreBias::None, key_mask: None };
        if far == 0 {
            return backend.attention(&self.local, operands, AttentionOutputs { out, log_sum_exp: None }, scratch);
        }
        let mut logs = scratch.take(backend, backend.compute(), &[batch, heads, n])?;
        widened(backend, out, scratch, |mut out, scratch| {
            let outputs = AttentionOutputs { out: out.reborrow(), log_sum_exp: Some(logs.view_mut()) };
            backend.attention(&self.local, operands, outputs, scratch)?;
            let column = self.columns(backend, [q, k, v], [batch, heads, far, width], scratch)?;
            join(backend, [out.narrow(2, self.stride, far)?, logs.view_mut().narrow(2, self.stride, far)?], column, scratch)
        })?;
        scratch.give(logs);
        Ok(())
    }
}

impl Strided {
    /// Attention of each query beyond the first `stride` to the earlier ones of its column, which are the positions of its residue class
    /// modulo `stride`: of its own column the query number i sees the keys before number i + 1, where i counts from the second on.
    fn columns<B: TransformerBackend>(
        &self,
        backend: &B,
        [q, k, v]: [View<'_, B::Buffer>; 3],
        shape @ [.., far, _]: [usize; 4],
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Part<B>> {
        let mut part = Part::take(backend, shape, scratch)?;
        // The first columns are longer by one where the stride does not divide.
        let (stride, whole, longer) = (self.stride, far / self.stride, far % self.stride);
        for column in 0..longer {
            let later = |layout: &Layout| layout.every(2, column, stride);
            let own = |first: usize| move |layout: &Layout| layout.narrow(2, first, far)?.every(2, column, stride);
            let operands = AttentionOperands {
                q: q.with(own(stride))?,
                k: k.with(own(0))?,
                v: v.with(own(0))?,
                bias: ScoreBias::None,
                key_mask: None,
            };
            let outputs = AttentionOutputs { out: part.out.view_mut().with(later)?, log_sum_exp: Some(part.logs.view_mut().with(later)?) };
            backend.attention(&self.column, operands, outputs, scratch)?;
        }
        if whole > 0 {
            let rows = whole * stride;
            let places = Places {
                inputs: [q.narrow(2, stride, rows)?, k.narrow(2, 0, rows)?, v.narrow(2, 0, rows)?],
                outputs: [part.out.view_mut().narrow(2, 0, rows)?, part.logs.view_mut().narrow(2, 0, rows)?],
            };
            let columns = |layout: &Layout| layout.split(2, whole, stride)?.narrow(3, longer, stride - longer)?.merge(0)?.swap(1, 2);
            by_parts(backend, &self.column, places, columns, scratch)?;
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, assert_causal, seen, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn stride_one_or_the_whole_sequence_equals_causal_attention() {
        for stride in [1, 16, 40] {
            assert_agree::<SparseStrided, FlashCausal>(&small(&[("stride", stride.into())]), &small(&[]));
        }
    }

    #[test]
    fn a_query_sees_its_row_and_its_column() {
        let given = small(&[("stride", 4.into())]);
        assert_eq!(seen::<SparseStrided>(&given, 10), [2, 6, 7, 8, 9, 10]);
        assert_causal::<SparseStrided>(&given);
    }

    #[test]
    fn no_stride_is_refused() {
        assert!(axis_error::<SparseStrided>(&[("stride", 0.into())]).contains("stride = 0 must be a whole number in 1.."));
    }
}
