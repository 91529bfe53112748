//! Attention over a pattern in one kernel: scores, softmax and values of a tile never leave the first-level cache.
//!
//! The recurrence is FlashAttention's (Dao et al., 2022, algorithm 1; the division deferred as in Dao, 2023, section 3.1). A thread takes
//! some rows of queries of one head and goes over the keys in blocks. Within a block it goes by panels of as many rows as the micro-kernel
//! keeps in registers, and by segments of the keys that such a panel sees:
//!
//! ```text
//! S = scale Q K^T                    m' = max(m, rowmax S)      P = 2^((S - m') log2 e)
//! l = l 2^((m - m') log2 e) + rowsum P              O = O 2^((m - m') log2 e) + P V
//! ```
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | what is divided among threads, and their scratch |
//! | `arithmetic.rs` | what multiplies: numbers |
//! | `pairs.rs` | or pairs of bf16 numbers, and what they take along |
//! | `tiles.rs` | the same pairs by tiles |
//! | `packed.rs` | keys and values in the micro-kernel's order, once for all rows of queries of a head |
//! | `tile.rs` | the kernel: one tile of queries over all keys |
//! | `product.rs` | the micro-kernel of both products |
//! | `recurrence.rs` | a step of the streaming softmax for a panel of rows |
//! | `scores.rs` | what happens to scores: cap, bias, masks, softmax |
//! | `few.rs` | few rows of queries: nothing is packed, keys are divided among threads |
//! | `visible.rs` | which parts of a block of keys a panel of rows sees |
//! | `rows.rs` | rows of operands between memory and vectors |
//! | `buckets/` | attention inside the chunks of a sorted sequence |
//!
//! # Nothing that the pattern hides is computed, nearly
//! Blocks of keys that a tile does not see are skipped, then keys that a panel of rows does not see. Causal patterns and windows are
//! intervals: their scores are made by whole vectors of keys, and the sum over values runs over the keys that some row of the panel sees.
//! Others are cut at narrow panels of keys.
//!
//! # What bounds it
//! For each score 2 head_dim + 2 value_dim operations on the multiply-add units, and some 16 instructions a vector for the softmax: for
//! heads of 64 that is 64 cycles of multiply-adds for about 8 of softmax on a machine with two such units, so 89 % of the multiply-adds'
//! peak at best; where pairs of bf16 are multiplied, 34 cycles for 11. The bytes do not count: keys and values are read from the
//! second-level cache once for each panel of rows, at 9 bytes a cycle.
//!
//! The price: keys are copied once, and values unless they can be read where they lie (see `packed.rs`). A few heads at a time, so that the
//! scratch for it (counted in the arena) grows with the keys and hardly with the heads.

mod arithmetic;
pub(crate) mod buckets;
mod few;
mod packed;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod product;
mod recurrence;
mod rows;
mod scores;
mod tile;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod visible;

pub(crate) use visible::for_each_hidden;

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, TransformerBackend};
use crossover_core::check::AttentionSizes;
use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::Tensor;

use crate::SimdBackend;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::gemm::{Engine, MOST_STEPS, TileColumns};
use crate::pool::Shared;
use crate::vector::Lanes;
use arithmetic::{Family, Numbers};
use packed::{Packed, Packing};
use scores::Bias;
use tile::{Call, QueryTile, piece_elements};

/// Keys whose scores a panel of rows holds at once: a quarter of a block, or a window of 256 keys with the reach of a panel's rows.
const SEGMENT: usize = 320;
/// The most keys that all panels of a tile go over before the next ones come.
const MOST_BLOCK: usize = 1024;
/// The fewest.
const LEAST_BLOCK: usize = 256;
/// Bytes of keys and values that stay in the second-level cache meanwhile.
const BLOCK_BYTES: usize = 1 << 19;
/// The most panels of rows that one task takes.
const MOST_PANELS: usize = 8;
/// Bytes of packed keys and values that are made before queries meet them: heads go by turns, so that these bytes come from the caches.
const TURN_BYTES: usize = 4 << 20;
/// Tasks for each thread, so that threads finish together.
const TASKS: usize = 6;

/// Does the kernel take heads of this width? Wider ones do not fit the micro-kernel's packed rows.
pub(crate) fn takes(head_dim: usize) -> bool {
    head_dim <= MOST_STEPS
}

/// Operands already checked to fit together and to stay inside their buffers.
pub(crate) fn attention(
    backend: &SimdBackend,
    engine: &Engine,
    spec: &AttentionSpec,
    sizes: AttentionSizes,
    operands: AttentionOperands<'_, SimdBuffer>,
    outputs: AttentionOutputs<'_, SimdBuffer>,
    scratch: &mut Arena<SimdBuffer>,
) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    if pairs::Bf16Operands::are_native(engine.isa, engine.extras)
        && [&operands.q, &operands.k, &operands.v].into_iter().all(|view| view.dtype() == DType::Bf16)
    {
        return match engine.extras.amx {
            true => with::<tiles::Bf16OnTiles>(backend, engine, spec, sizes, operands, outputs, scratch),
            false => with::<pairs::Bf16Operands>(backend, engine, spec, sizes, operands, outputs, scratch),
        };
    }
    match backend.compute() {
        DType::F64 => with::<Numbers<f64>>(backend, engine, spec, sizes, operands, outputs, scratch),
        _ => with::<Numbers<f32>>(backend, engine, spec, sizes, operands, outputs, scratch),
    }
}

fn with<F: Family>(
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
    if few::suits::<F::E>(&sizes, &operands) {
        return few::attention::<F::E>(backend, engine, spec, sizes, &operands, outputs, scratch);
    }
    let bias = Bias::checked(operands.bias, sizes)?;
    let (tile_rows, tile_columns) = (F::rows(engine.isa), engine.isa.run::<F::E, _>(TileColumns));
    let heads = sizes.batch * sizes.key_heads;
    let in_place = packed::in_place::<F::E>(&operands, tile_columns, F::STEPS);
    let [key_elements, value_elements] = Packed::<F::E>::elements(&sizes, tile_columns, F::STEPS, in_place.is_some());
    let (group, row_panels) = (sizes.heads / sizes.key_heads, sizes.queries.div_ceil(tile_rows));
    let turn = heads_of_turn(engine, heads, size_of::<F::E>() * (key_elements + value_elements), group * row_panels);
    let mut keys = take::<F::E>(backend, scratch, &[turn, key_elements])?;
    let mut values = take::<F::E>(backend, scratch, &[turn, value_elements])?;
    let masked = operands.key_mask.is_some();
    let mut mask = take::<F::E>(backend, scratch, &[sizes.batch, if masked { sizes.keys } else { 0 }])?;
    let panels = panels_of_task(engine, turn * group, row_panels);
    let piece = piece_elements(&sizes, panels, tile_rows, tile_columns);
    let mut pieces = take::<F::E>(backend, scratch, &[engine.pool.threads(), piece])?;

    let [keys_at, values_at, mask_at] = [shared::<F::E>(&mut keys)?, shared::<F::E>(&mut values)?, shared::<F::E>(&mut mask)?];
    let pieces_at = shared::<F::E>(&mut pieces)?;
    let mut call = Call {
        spec,
        sizes,
        block: block(&spec.pattern, &sizes, size_of::<F::E>() / F::STEPS, panels * tile_rows),
        q: operands.q,
        masked,
        bias,
        packed: Packed { sizes, tile_columns, steps: F::STEPS, first: 0, keys: keys_at, values: values_at, in_place, mask: mask_at },
        out: SharedBuffer::new(outputs.out.buffer),
        out_layout: outputs.out.layout,
        log_sum_exp: outputs.log_sum_exp.map(|view| (SharedBuffer::new(view.buffer), view.layout)),
    };
    in_turns::<F>(engine, &mut call, &operands, [turn, panels * tile_rows], (pieces_at, piece));
    for tensor in [pieces, mask, values, keys] {
        scratch.give(tensor);
    }
    Ok(())
}

/// Packs so many key heads at a time and lets their queries, so many rows a task, meet them.
fn in_turns<F: Family>(
    engine: &Engine,
    call: &mut Call<'_, F::E>,
    operands: &AttentionOperands<'_, SimdBuffer>,
    [turn, rows]: [usize; 2],
    (pieces, piece): (Shared<F::E>, usize),
) {
    let sizes = call.sizes;
    let (heads, group, tiles) = (sizes.batch * sizes.key_heads, sizes.heads / sizes.key_heads, sizes.queries.div_ceil(rows));
    for first_head in (0..heads).step_by(turn) {
        call.packed.first = first_head;
        let (call, in_turn) = (&*call, turn.min(heads - first_head));
        engine.pool.for_each(in_turn * call.packed.parts(), |_, task| {
            F::run(engine.isa, Packing { packed: &call.packed, operands, task });
        });
        engine.pool.for_each(in_turn * group * tiles, |participant, task| {
            // Head by head, whose keys and values stay in the caches. Later rows see more under a causal pattern: the largest tasks first,
            // so that no thread is left alone with one at the end.
            let (head, tile) = (first_head * group + task / tiles, tiles - 1 - task % tiles);
            let first = tile * rows;
            // SAFETY: each participant has a piece of its own.
            let piece = unsafe { std::slice::from_raw_parts_mut(pieces.pointer().add(participant * piece), piece) };
            let tile = QueryTile {
                call,
                batch: head / sizes.heads,
                head: head % sizes.heads,
                rows: first..sizes.queries.min(first + rows),
                piece,
            };
            F::run(engine.isa, tile);
        });
    }
}

/// Key heads whose keys are packed together: as many as fit the caches, but enough of their tasks for all threads.
fn heads_of_turn(engine: &Engine, heads: usize, bytes: usize, tasks: usize) -> usize {
    let least = match engine.pool.threads() {
        1 => 1,
        threads => (TASKS * threads).div_ceil(tasks.max(1)),
    };
    (TURN_BYTES / bytes.max(1)).max(least).min(heads.max(1))
}

/// Panels of rows that one task takes, of so many heads with so many panels: fewer where there would be too few tasks for all threads to
/// finish together.
fn panels_of_task(engine: &Engine, heads: usize, panels: usize) -> usize {
    match engine.pool.threads() {
        1 => panels.min(MOST_PANELS),
        threads => (heads * panels / (TASKS * threads)).clamp(1, MOST_PANELS).min(panels),
    }
}

/// Keys of a block, a multiple of every narrow panel. Rows that see a few neighbours only go over all of them at once.
fn block(pattern: &AttentionPattern, sizes: &AttentionSizes, bytes: usize, rows: usize) -> usize {
    let of_key = bytes * (sizes.head_dim + sizes.value_dim).max(1);
    let block = (BLOCK_BYTES / of_key / LEAST_BLOCK * LEAST_BLOCK).clamp(LEAST_BLOCK, MOST_BLOCK);
    match pattern {
        AttentionPattern::Window { left, right } if left.saturating_add(*right).saturating_add(rows) <= 2 * block => sizes.keys.max(1),
        _ => block,
    }
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

/// Scratch in parts of these lengths; what is left behind them is nobody's.
fn cut<E, const PARTS: usize>(mut scratch: &mut [E], lengths: [usize; PARTS]) -> [&mut [E]; PARTS] {
    lengths.map(|length| scratch.split_off_mut(..length).expect("scratch has room for all parts"))
}

#[cfg(test)]
mod tests;
