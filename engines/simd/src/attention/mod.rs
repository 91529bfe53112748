//! Attention over a pattern in one kernel: scores, softmax and values of a tile never leave the first-level cache.
//!
//! The recurrence is FlashAttention's (Dao et al., 2022, algorithm 1; the division deferred as in Dao, 2023, section 3.1). A thread takes
//! some rows of queries of one head and goes over the keys in blocks. Within a block it goes by panels of as many rows as the
//! micro-kernel of [`crate::gemm`] keeps in registers:
//!
//! ```text
//! S = (scale Q) K^T      m' = max(m, rowmax S)      P = 2^((S - m') log2 e)
//! l = l 2^((m - m') log2 e) + rowsum P              O = O 2^((m - m') log2 e) + P V
//! ```
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | what is divided among threads, and their scratch |
//! | `packed.rs` | keys and values in the micro-kernel's order, once for all rows of queries |
//! | `tile.rs` | the kernel: one tile of queries over all keys |
//! | `scores.rs` | what happens to scores: cap, bias, masks |
//! | `few.rs` | few rows of queries: nothing is packed, keys are divided among threads |
//! | `visible.rs` | which parts of a block of keys a panel of rows sees |
//!
//! # Nothing that the pattern hides is computed, nearly
//! Blocks of keys that a tile does not see are skipped, then narrow panels of keys that a panel of rows does not see; the sum over values
//! runs from the first to the last visible key of the panel of rows. What is left over is a strip of at most a panel's width at the
//! pattern's edge.
//!
//! # What bounds it
//! For each score 2 head_dim + 2 value_dim operations on the multiply-add units, and some 16 instructions a vector for the softmax: for
//! heads of 64 that is 64 cycles of multiply-adds for about 8 to 12 of softmax on a machine with two such units, so 84 to 89 % of the
//! multiply-adds' peak at best. The bytes do not count: a block of keys and values (128 KiB in f32) is read from the second-level cache
//! once for each panel of rows.
//!
//! The price: keys and values are copied once, which takes scratch of their size, counted in the arena.

mod few;
mod packed;
mod scores;
mod tile;
mod visible;

pub(crate) use visible::for_each_hidden;

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs};
use crossover_core::check::AttentionSizes;
use crossover_core::error::{EngineError, Result};
use crossover_core::ops::AttentionSpec;
use crossover_core::tensor::Tensor;

use crate::SimdBackend;
use crate::aligned::Plain;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::gemm::{Engine, MOST_STEPS, TileColumns, TileRows};
use crate::pool::Shared;
use crate::vector::Lanes;
use packed::Packed;
use scores::Bias;
use tile::{Call, QueryTile, piece_elements};

/// Keys of a block.
const KEY_BLOCK: usize = MOST_STEPS;
/// Panels of rows that one task takes: the block of keys and values stays in the second-level cache meanwhile.
const PANELS: usize = 8;

/// Does the kernel take heads of this width? Wider ones do not fit the micro-kernel's packed rows.
pub(crate) fn takes(head_dim: usize) -> bool {
    head_dim <= MOST_STEPS
}

/// Operands already checked to fit together and to stay inside their buffers.
pub(crate) fn attention<E: Lanes + Plain>(
    backend: &SimdBackend,
    engine: &Engine,
    spec: &AttentionSpec,
    sizes: AttentionSizes,
    operands: AttentionOperands<'_, SimdBuffer>,
    outputs: AttentionOutputs<'_, SimdBuffer>,
    scratch: &mut Arena<SimdBuffer>,
) -> Result<()> {
    if sizes.batch * sizes.heads * sizes.queries == 0 {
        return Ok(());
    }
    if few::suits::<E>(&sizes, &operands) {
        return few::attention::<E>(backend, engine, spec, sizes, &operands, outputs, scratch);
    }
    let bias = Bias::checked(operands.bias, sizes)?;
    let (tile_rows, tile_columns) = (engine.isa.run::<E, _>(TileRows), engine.isa.run::<E, _>(TileColumns));
    let heads = sizes.batch * sizes.key_heads;
    let [key_elements, value_elements] = Packed::<E>::elements(&sizes, tile_columns);
    let mut keys = take::<E>(backend, scratch, &[heads, key_elements])?;
    let mut values = take::<E>(backend, scratch, &[heads, value_elements])?;
    let piece = piece_elements(&sizes, tile_rows, tile_columns);
    let mut pieces = take::<E>(backend, scratch, &[engine.pool.threads(), piece])?;

    let packing = Packed { sizes, tile_columns, keys: shared::<E>(&mut keys)?, values: shared::<E>(&mut values)? };
    let pieces_at = shared::<E>(&mut pieces)?;
    engine.pool.for_each(heads * packing.parts(), |_, task| packing.pack(task, &operands));

    let log_sum_exp = match outputs.log_sum_exp {
        Some(view) => Some((SharedBuffer::new(view.buffer), view.layout)),
        None => None,
    };
    let call = Call {
        spec,
        sizes,
        q: operands.q,
        key_mask: operands.key_mask,
        bias,
        packed: &packing,
        out: SharedBuffer::new(outputs.out.buffer),
        out_layout: outputs.out.layout,
        log_sum_exp,
    };
    let rows = PANELS * tile_rows;
    let tiles = sizes.queries.div_ceil(rows);
    engine.pool.for_each(sizes.batch * sizes.heads * tiles, |participant, task| {
        // Later rows see more under a causal pattern: the largest tasks first, so that no thread is left alone with one at the end.
        let (head, tile) = (task % (sizes.batch * sizes.heads), tiles - 1 - task / (sizes.batch * sizes.heads));
        let first = tile * rows;
        // SAFETY: each participant has a piece of its own.
        let piece = unsafe { std::slice::from_raw_parts_mut(pieces_at.pointer().add(participant * piece), piece) };
        let tile = QueryTile {
            call: &call,
            batch: head / sizes.heads,
            head: head % sizes.heads,
            rows: first..sizes.queries.min(first + rows),
            piece,
        };
        engine.isa.run(tile);
    });
    for tensor in [pieces, values, keys] {
        scratch.give(tensor);
    }
    Ok(())
}

fn take<E: Lanes>(backend: &SimdBackend, scratch: &mut Arena<SimdBuffer>, shape: &[usize]) -> Result<Tensor<SimdBuffer>> {
    scratch.take(backend, E::DTYPE, shape)
}

fn shared<E: Lanes>(tensor: &mut Tensor<SimdBuffer>) -> Result<Shared<E>> {
    let found = tensor.dtype();
    match E::slice_mut(&mut tensor.buffer) {
        Some(values) => Ok(Shared::new(values)),
        None => Err(EngineError::ElementType { operation: "attention", expected: E::DTYPE, found }),
    }
}

#[cfg(test)]
mod tests;
