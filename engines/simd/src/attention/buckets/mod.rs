//! Attention inside the chunks of a sorted sequence in one parallel region: rows are read through the order and written to their token.
//!
//! A thread takes neighbouring places of one head's order, most often all of them. It keeps the keys and values of two chunks in the
//! micro-kernel's order, and packs each chunk in the place of the one before the last: what was a chunk's own is the next one's look
//! back. A head that is divided among threads has chunks that two of them pack, and a chunk that is divided is packed by each. Queries
//! meet both by panels of rows, as in attention over a pattern: at most 2 chunks of keys, in segments, with a running maximum. Nothing of
//! the size of an operand is copied, and nothing of the size of the scores exists.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | what is divided among threads, and their scratch |
//! | `order.rs` | the tokens at the places, looked at before anybody follows them |
//! | `held.rs` | the two chunks of keys and values that a thread holds |
//! | `run.rs` | the kernel: neighbouring places over the chunks that they see |
//!
//! # What hides a key
//! Its position: that of its token in the causal form, where every score is compared with the position of its row on its way to the
//! maximum, without a branch. Nothing is skipped by it, because tokens of one chunk come from everywhere. Places that fill up a chunk to
//! whole panels lie behind every position, so that the same comparison hides them; where chunks are whole panels, the full form
//! compares nothing.
//!
//! # What bounds it
//! The multiply-adds and the softmax of attention (see the module above). Packing a chunk takes some 2 cycles an element of keys and
//! values, against chunk / 8 of multiply-adds with vectors of 8: as much at chunks of 16, a sixteenth at 256.

mod held;
mod order;
mod run;

use std::ops::Range;

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOutputs, BucketOperands, TransformerBackend};
use crossover_core::check::{AttentionSizes, BucketSizes};
use crossover_core::compose;
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::ops::BucketSpec;
use crossover_core::pattern::AttentionPattern;

use super::arithmetic::{Family, Numbers};
#[cfg(target_arch = "x86_64")]
use super::{pairs, tiles};
use super::{shared, take, takes};
use crate::backend::SimdBackend;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::gemm::TileColumns;
use order::Order;
use run::{Call, Room, Run};

/// Tasks for each thread, where all threads have some: fewer than attention over a pattern has, as each packs a chunk more.
const TASKS: usize = 3;

/// Operands are checked to fit together, to be of the right types and to stay inside their buffers; what stands in the orders is not.
pub(crate) fn attention(
    backend: &SimdBackend,
    spec: BucketSpec,
    sizes: BucketSizes,
    operands: BucketOperands<'_, SimdBuffer>,
    outputs: AttentionOutputs<'_, SimdBuffer>,
    scratch: &mut Arena<SimdBuffer>,
) -> Result<()> {
    if !takes(sizes.width) {
        return compose::bucket_attention::composed(backend, spec, operands, outputs, scratch);
    }
    #[cfg(target_arch = "x86_64")]
    {
        let engine = &backend.engine;
        let narrow = [&operands.q, &operands.k, &operands.v].into_iter().all(|view| view.dtype() == DType::Bf16);
        if narrow && pairs::Bf16Operands::are_native(engine.isa, engine.extras) {
            return match engine.extras.amx {
                true => with::<tiles::Bf16OnTiles>(backend, spec, sizes, operands, outputs, scratch),
                false => with::<pairs::Bf16Operands>(backend, spec, sizes, operands, outputs, scratch),
            };
        }
    }
    match backend.compute() {
        DType::F64 => with::<Numbers<f64>>(backend, spec, sizes, operands, outputs, scratch),
        _ => with::<Numbers<f32>>(backend, spec, sizes, operands, outputs, scratch),
    }
}

fn with<F: Family>(
    backend: &SimdBackend,
    spec: BucketSpec,
    sizes: BucketSizes,
    operands: BucketOperands<'_, SimdBuffer>,
    outputs: AttentionOutputs<'_, SimdBuffer>,
    scratch: &mut Arena<SimdBuffer>,
) -> Result<()> {
    let query_order = Order::of(&operands.query_order)?;
    let key_order = operands.key_order.as_ref().map(Order::of).transpose()?;
    scratch.scope(|scratch| {
        let mut marks = scratch.take(backend, DType::I32, &[sizes.n])?;
        [Some(query_order), key_order].into_iter().flatten().try_for_each(|order| order.check(sizes, &mut marks.buffer))?;
        scratch.give(marks);
        if sizes.batch * sizes.heads * sizes.n == 0 {
            return Ok(());
        }
        let engine = &backend.engine;
        let (tile_rows, tile_columns) = (F::rows(engine.isa), engine.isa.run::<F::E, _>(TileColumns));
        let block = super::block(&AttentionPattern::Full, &dense(&sizes), size_of::<F::E>() / F::STEPS, tile_rows);
        let room = Room::new(&sizes, [tile_rows, tile_columns, F::STEPS], block);
        let places = places_of_task(engine.pool.threads(), &sizes, tile_rows);
        let mut pieces = take::<F::E>(backend, scratch, &[engine.pool.threads(), room.elements()])?;
        let pieces_at = shared::<F::E>(&mut pieces)?;
        let call = Call {
            spec,
            sizes,
            room,
            operands,
            query_order,
            key_order: key_order.unwrap_or(query_order),
            out: SharedBuffer::new(outputs.out.buffer),
            out_layout: outputs.out.layout,
            log_sum_exp: outputs.log_sum_exp.map(|view| (SharedBuffer::new(view.buffer), view.layout)),
        };
        let tasks = sizes.n.div_ceil(places);
        engine.pool.for_each(sizes.batch * sizes.heads * tasks, |participant, task| {
            // SAFETY: each participant has a piece of its own.
            let piece = unsafe { std::slice::from_raw_parts_mut(pieces_at.pointer().add(participant * room.elements()), room.elements()) };
            F::run(engine.isa, Run { call: &call, head: task / tasks, places: places_at(task % tasks, places, sizes.n), piece });
        });
        scratch.give(pieces);
        Ok(())
    })
}

/// What a chunk of queries and the keys that it sees are to attention over a pattern.
fn dense(sizes: &BucketSizes) -> AttentionSizes {
    let BucketSizes { batch, heads, width, chunk, .. } = *sizes;
    AttentionSizes { batch, heads, key_heads: heads, queries: chunk, keys: 2 * chunk, head_dim: width, value_dim: width }
}

/// Places that one task takes: whole chunks, or parts of one where there are fewer of them than work for all threads. Each task packs the
/// chunks that it sees by itself, its first one's look back included.
fn places_of_task(threads: usize, sizes: &BucketSizes, tile_rows: usize) -> usize {
    let of_head = if threads == 1 { 1 } else { (TASKS * threads).div_ceil(sizes.batch * sizes.heads) };
    let places = sizes.n.div_ceil(of_head);
    let whole = if places >= sizes.chunk { sizes.chunk } else { tile_rows };
    places.next_multiple_of(whole).min(sizes.n)
}

fn places_at(task: usize, places: usize, n: usize) -> Range<usize> {
    task * places..n.min((task + 1) * places)
}

#[cfg(test)]
mod tests;
