//! Streaming attention, composed: tiles of scores, a running maximum and sum, a rescaled accumulator.
//!
//! For each tile of queries: m and l are the running row maximum and sum of exponentials, O the unnormalised output. For each tile of
//! keys that the pattern does not skip:
//!
//! ```text
//! S = scale Q K^T (+ bias, soft cap, masks)      m' = max(m, rowmax S)      P = exp(S - m')
//! l = l exp(m - m') + rowsum P                   O = O exp(m - m') + P V
//! ```
//!
//! and finally O / l (Dao et al., 2022, algorithm 1, with the division deferred as in FlashAttention-2). Never more than one tile of
//! scores for each head exists. Scores, P, m, l and O are in the compute type; P is rounded to the storage type before it meets V, as
//! hardware that multiplies narrow types must.
//!
//! Masked keys never matter, whatever they hold. Masked *values* may hold anything under a key mask; under a pattern they must be
//! finite where a tile is partly visible, because a product of tiles computes 0 times them.
//!
//! The price of composing: the tile passes through memory once for each step. Engines override this with one kernel.

use crate::arena::Arena;
use crate::backend::{AttentionOperands, AttentionOutputs, Operand, ScoreBias, TransformerBackend};
use crate::check::{self, AttentionSizes};
use crate::error::Result;
use crate::layout::Layout;
use crate::operands::Types;
use crate::ops::{AttentionSpec, BinaryOp, MatmulSpec, ReduceOp, UnaryOp};
use crate::pattern::TileState;
use crate::tensor::{Tensor, View};

/// Rows of queries handled together.
pub const QUERY_TILE: usize = 64;
/// Keys handled together.
pub const KEY_TILE: usize = 64;

/// The running state of one tile of queries, in the compute type; all are [batch, key heads, group, rows, ..].
struct Running<S> {
    maximum: Tensor<S>,
    sum: Tensor<S>,
    output: Tensor<S>,
}

/// See the module.
pub fn streamed<B: TransformerBackend>(
    backend: &B,
    spec: &AttentionSpec,
    operands: AttentionOperands<'_, B::Buffer>,
    mut outputs: AttentionOutputs<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let sizes = check::attention(&operands, &outputs)?;
    Types::of(backend.config().precision).attention(spec, sizes, &operands, &outputs)?;
    scratch.scope(|scratch| {
        for start in (0..sizes.queries).step_by(QUERY_TILE) {
            let rows = QUERY_TILE.min(sizes.queries - start);
            let tile = QueryTile { sizes, start, rows };
            let mut running = tile.begin(backend, scratch)?;
            for key_start in (0..sizes.keys).step_by(KEY_TILE) {
                let columns = KEY_TILE.min(sizes.keys - key_start);
                let queries = spec.query_offset + start..spec.query_offset + start + rows;
                let state = spec.pattern.tile(queries, key_start..key_start + columns);
                if state != TileState::Skip {
                    tile.absorb(backend, spec, operands, (key_start, columns), state, &mut running, scratch)?;
                }
            }
            tile.finish(backend, running, &mut outputs, scratch)?;
        }
        Ok(())
    })
}

#[derive(Clone, Copy)]
struct QueryTile {
    sizes: AttentionSizes,
    start: usize,
    rows: usize,
}

impl QueryTile {
    fn group(&self) -> usize {
        self.sizes.heads / self.sizes.key_heads
    }

    /// [batch, key heads, group, rows, width].
    fn shape(&self, width: usize) -> [usize; 5] {
        [self.sizes.batch, self.sizes.key_heads, self.group(), self.rows, width]
    }

    /// A [batch, heads, n, ..] layout, narrowed to this tile's rows, its heads split by the key head they share.
    fn of_queries(&self, layout: &Layout) -> Result<Layout> {
        layout.narrow(2, self.start, self.rows)?.split(1, self.sizes.key_heads, self.group())
    }

    /// A [batch, key heads, keys, width] layout, narrowed to a tile of keys and repeated for the group.
    fn of_keys(&self, layout: &Layout, start: usize, columns: usize) -> Result<Layout> {
        let narrowed = layout.narrow(2, start, columns)?;
        let width = narrowed.dim_from_end(0);
        narrowed.unsqueeze(2)?.broadcast(&[self.sizes.batch, self.sizes.key_heads, self.group(), columns, width])
    }

    fn begin<B: TransformerBackend>(&self, backend: &B, scratch: &mut Arena<B::Buffer>) -> Result<Running<B::Buffer>> {
        let compute = backend.compute();
        let mut running = Running {
            maximum: scratch.take(backend, compute, &self.shape(1))?,
            sum: scratch.take(backend, compute, &self.shape(1))?,
            output: scratch.take(backend, compute, &self.shape(self.sizes.value_dim))?,
        };
        // The lowest finite number, not minus infinity: a row that has seen nothing must give exp(-inf - m) = 0, not NaN.
        backend.fill(running.maximum.view_mut(), -compute.largest())?;
        backend.fill(running.sum.view_mut(), 0.0)?;
        backend.fill(running.output.view_mut(), 0.0)?;
        Ok(running)
    }

    fn absorb<B: TransformerBackend>(
        &self,
        backend: &B,
        spec: &AttentionSpec,
        operands: AttentionOperands<'_, B::Buffer>,
        (key_start, columns): (usize, usize),
        state: TileState,
        running: &mut Running<B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let compute = backend.compute();
        let mut scores = scratch.take(backend, compute, &self.shape(columns))?;
        let q = operands.q.with(|layout| self.of_queries(layout))?;
        let k = operands.k.with(|layout| self.of_keys(layout, key_start, columns))?;
        backend.matmul(MatmulSpec::scaled(spec.scale), q, k.transposed()?, scores.view_mut())?;
        if let Some(cap) = spec.soft_cap {
            for op in [UnaryOp::Affine { scale: 1.0 / cap, shift: 0.0 }, UnaryOp::Tanh, UnaryOp::Affine { scale: cap, shift: 0.0 }] {
                backend.unary(op, Operand::InPlace, scores.view_mut())?;
            }
        }
        self.add_bias(backend, spec, operands.bias, key_start, &mut scores)?;
        if state == TileState::Partial {
            backend.mask(&spec.pattern, spec.query_offset + self.start, key_start, scores.view_mut())?;
        }
        if let Some(mask) = operands.key_mask {
            let mask = mask.narrow(1, key_start, columns)?.with(|layout| layout.unsqueeze(1)?.unsqueeze(1)?.unsqueeze(1))?;
            let mask = mask.with(|layout| layout.broadcast(&self.shape(columns)))?;
            backend.select(mask, f64::NEG_INFINITY, scores.view_mut())?;
        }
        self.rescale(backend, running, &mut scores, scratch)?;
        match operands.key_mask {
            None => self.accumulate(backend, operands.v.narrow(2, key_start, columns)?, &scores, running, scratch)?,
            Some(mask) => {
                // A masked key weighs 0, but 0 times a NaN is NaN: its value must not be read at all.
                let v = operands.v.narrow(2, key_start, columns)?;
                let mut clean = scratch.take(backend, v.dtype(), v.shape())?;
                backend.copy(v, clean.view_mut())?;
                let mask = mask.narrow(1, key_start, columns)?.with(|layout| layout.unsqueeze(1)?.unsqueeze(3)?.broadcast(v.shape()))?;
                backend.select(mask, 0.0, clean.view_mut())?;
                self.accumulate(backend, clean.view(), &scores, running, scratch)?;
                scratch.give(clean);
            }
        }
        scratch.give(scores);
        Ok(())
    }

    /// O += P V, with P rounded to the type of V; v is a tile of keys.
    fn accumulate<B: TransformerBackend>(
        &self,
        backend: &B,
        v: View<'_, B::Buffer>,
        scores: &Tensor<B::Buffer>,
        running: &mut Running<B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let columns = v.shape()[2];
        let v = v.with(|layout| self.of_keys(layout, 0, columns))?;
        if v.dtype() == backend.compute() {
            return backend.matmul(MatmulSpec::ACCUMULATE, scores.view(), v, running.output.view_mut());
        }
        let mut weights = scratch.take(backend, v.dtype(), &self.shape(columns))?;
        backend.copy(scores.view(), weights.view_mut())?;
        backend.matmul(MatmulSpec::ACCUMULATE, weights.view(), v, running.output.view_mut())?;
        scratch.give(weights);
        Ok(())
    }

    /// Turns scores into weights in place, and moves the running maximum, sum and output to the new maximum.
    fn rescale<B: TransformerBackend>(
        &self,
        backend: &B,
        running: &mut Running<B::Buffer>,
        scores: &mut Tensor<B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let compute = backend.compute();
        let rows = &self.shape(1)[..4];
        let mut row_value = scratch.take(backend, compute, rows)?;
        let mut new_maximum = scratch.take(backend, compute, &self.shape(1))?;
        let column = |tensor: &Tensor<B::Buffer>| tensor.layout.unsqueeze(4);
        backend.reduce(ReduceOp::Max, scores.view(), row_value.view_mut())?;
        let layout = column(&row_value)?;
        backend.binary(
            BinaryOp::Maximum,
            Operand::Of(running.maximum.view()),
            View { buffer: &row_value.buffer, layout },
            new_maximum.view_mut(),
        )?;
        let wide = |tensor: &Tensor<B::Buffer>, like: &Tensor<B::Buffer>| tensor.layout.broadcast(like.shape());
        let layout = wide(&new_maximum, scores)?;
        backend.binary(BinaryOp::Subtract, Operand::InPlace, View { buffer: &new_maximum.buffer, layout }, scores.view_mut())?;
        backend.unary(UnaryOp::Exp, Operand::InPlace, scores.view_mut())?;
        // The old maximum becomes the factor exp(m - m').
        backend.binary(BinaryOp::Subtract, Operand::InPlace, new_maximum.view(), running.maximum.view_mut())?;
        backend.unary(UnaryOp::Exp, Operand::InPlace, running.maximum.view_mut())?;
        backend.binary(BinaryOp::Multiply, Operand::InPlace, running.maximum.view(), running.sum.view_mut())?;
        let layout = wide(&running.maximum, &running.output)?;
        backend.binary(
            BinaryOp::Multiply,
            Operand::InPlace,
            View { buffer: &running.maximum.buffer, layout },
            running.output.view_mut(),
        )?;
        backend.reduce(ReduceOp::Sum, scores.view(), row_value.view_mut())?;
        let layout = column(&row_value)?;
        backend.binary(BinaryOp::Add, Operand::InPlace, View { buffer: &row_value.buffer, layout }, running.sum.view_mut())?;
        std::mem::swap(&mut running.maximum, &mut new_maximum);
        scratch.give(new_maximum);
        scratch.give(row_value);
        Ok(())
    }

    fn add_bias<B: TransformerBackend>(
        &self,
        backend: &B,
        spec: &AttentionSpec,
        bias: ScoreBias<'_, B::Buffer>,
        key_start: usize,
        scores: &mut Tensor<B::Buffer>,
    ) -> Result<()> {
        let columns = scores.layout.dim_from_end(0);
        match bias {
            ScoreBias::None => Ok(()),
            ScoreBias::ByPair(bias) => {
                let AttentionSizes { batch, heads, queries, keys, .. } = self.sizes;
                let tile =
                    bias.with(|layout| self.of_queries(&layout.broadcast(&[batch, heads, queries, keys])?)?.narrow(4, key_start, columns))?;
                backend.binary(BinaryOp::Add, Operand::InPlace, tile, scores.view_mut())
            }
            ScoreBias::ByDistance(table) => self.add_distance_bias(backend, spec, table, key_start, scores),
        }
    }

    /// One row of the tile at a time: along a row the distance grows by one with each key, so a row's bias is a slice of the table.
    fn add_distance_bias<B: TransformerBackend>(
        &self,
        backend: &B,
        spec: &AttentionSpec,
        table: View<'_, B::Buffer>,
        key_start: usize,
        scores: &mut Tensor<B::Buffer>,
    ) -> Result<()> {
        let columns = scores.layout.dim_from_end(0);
        let span = check::distance_bias(table.shape(), self.sizes.heads)?;
        let reach = span / 2;
        for row in 0..self.rows {
            let query = spec.query_offset + self.start + row;
            let mut column = 0;
            while column < columns {
                // Runs of equal treatment: clamped at the left end, inside the table, clamped at the right end.
                let shifted = key_start + column + reach;
                let (entry, run, stretched) = if shifted < query {
                    (0, (query - shifted).min(columns - column), true)
                } else if shifted - query >= span {
                    (span - 1, columns - column, true)
                } else {
                    (shifted - query, (span - (shifted - query)).min(columns - column), false)
                };
                let slice = table.narrow(1, entry, if stretched { 1 } else { run })?;
                let target = scores.view_mut().narrow(3, row, 1)?.narrow(4, column, run)?;
                let slice =
                    slice.with(|layout| layout.split(0, self.sizes.key_heads, self.group())?.unsqueeze(2)?.broadcast(target.shape()))?;
                backend.binary(BinaryOp::Add, Operand::InPlace, slice, target)?;
                column += run;
            }
        }
        Ok(())
    }

    fn finish<B: TransformerBackend>(
        &self,
        backend: &B,
        running: Running<B::Buffer>,
        outputs: &mut AttentionOutputs<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let Running { mut maximum, mut sum, mut output } = running;
        if let Some(log_sum_exp) = &mut outputs.log_sum_exp {
            let mut logs = scratch.take(backend, backend.compute(), &self.shape(1))?;
            backend.unary(UnaryOp::Log, Operand::Of(sum.view()), logs.view_mut())?;
            backend.binary(BinaryOp::Add, Operand::InPlace, maximum.view(), logs.view_mut())?;
            let target = log_sum_exp.reborrow().with(|layout| self.of_queries(&layout.unsqueeze(3)?))?;
            backend.copy(logs.view(), target)?;
            scratch.give(logs);
        }
        // A row that saw no key has sum 0: dividing its zero output by 1 gives the zeros that a fully masked row must give.
        backend.fill(maximum.view_mut(), 0.0)?;
        backend.binary(BinaryOp::Equal, Operand::InPlace, sum.view(), maximum.view_mut())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, maximum.view(), sum.view_mut())?;
        let layout = sum.layout.broadcast(output.shape())?;
        backend.binary(BinaryOp::Divide, Operand::InPlace, View { buffer: &sum.buffer, layout }, output.view_mut())?;
        let target = outputs.out.reborrow().with(|layout| self.of_queries(layout))?;
        backend.copy(output.view(), target)?;
        for tensor in [output, sum, maximum] {
            scratch.give(tensor);
        }
        Ok(())
    }
}
