//! A call of the attention kernels: sizes, strides, grid and memory. The tensor cores do bf16 and f16; f32 has a kernel of its own, since
//! they would round its operands.

use crossover_core::check::AttentionSizes;

use super::plan::TILE;
use super::{Element, Launch, Parameters, Program, int};

/// The widest rows of q, k and v.
pub(crate) const WIDEST: usize = 256;
/// Most blocks of the second and third dimension of a grid.
const MOST_BLOCKS: usize = 65_535;

const HALVES: &[&str] = &[include_str!("kernels/scores.cu"), include_str!("kernels/attention_halves.cu")];
const SINGLE: &[&str] = &[include_str!("kernels/scores.cu"), include_str!("kernels/attention_f32.cu")];

/// What the kernel is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) element: Element,
    pub(crate) batch: usize,
    pub(crate) heads: usize,
    pub(crate) key_heads: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) head_dim: usize,
    pub(crate) value_dim: usize,
    pub(crate) query_offset: usize,
    pub(crate) scale: f64,
    pub(crate) soft_cap: Option<f64>,
    /// Strides of q, k and v: batch, head, row; within a row it is 1.
    pub(crate) strides: [[usize; 3]; 3],
    /// Strides of the bias by pair: batch, head, query, key.
    pub(crate) bias_strides: [usize; 4],
    /// The table of distances has 2 reach + 1 entries a head.
    pub(crate) reach: usize,
}

/// The buffers of a call, as numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffers {
    pub(crate) out: usize,
    pub(crate) log_sum_exp: Option<usize>,
    pub(crate) operands: [usize; 3],
    /// Offsets, tiles and masks of the plan.
    pub(crate) plan: [usize; 3],
    pub(crate) bias: Option<usize>,
    pub(crate) distance: Option<usize>,
    pub(crate) key_mask: Option<usize>,
}

/// Widths as the kernels are compiled for.
fn padded(width: usize) -> usize {
    width.next_multiple_of(16).max(16)
}

/// Bytes of shared memory that a block needs.
pub(crate) fn shared(element: Element, head_dim: usize, value_dim: usize) -> usize {
    let (head, value) = (padded(head_dim), padded(value_dim));
    match element {
        Element::F32 => 4 * TILE * (head + 4 + head.max(value) + 4 + TILE + 4),
        Element::Bf16 | Element::F16 => 2 * TILE * (2 * (head + 8) + value + 8),
    }
}

/// The program for these widths, which need not be multiples of anything.
pub(crate) fn program(element: Element, head_dim: usize, value_dim: usize) -> Program {
    let sources = if element == Element::F32 { SINGLE } else { HALVES };
    let defines = vec![("HEAD_DIM", padded(head_dim)), ("VALUE_DIM", padded(value_dim))];
    Program { entry: "attention", sources, element, defines }
}

/// Do the kernels serve these sizes, where a block can have `most` bytes of shared memory? The answer is for operands of any types: of
/// different ones they are widened to f32, so the memory of f32 is asked for, and a GPU with little of it composes wide heads of halves
/// that alone would fit.
pub(crate) fn fits(sizes: &AttentionSizes, most: usize) -> bool {
    let AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim } = *sizes;
    let counted = [queries, keys].into_iter().all(|size| int(size).is_some()) && heads.max(batch) <= MOST_BLOCKS && key_heads > 0;
    counted && head_dim.max(value_dim) <= WIDEST && shared(Element::F32, head_dim, value_dim) <= most
}

/// The call; `None` where positions, distances or strides are beyond what the kernels count, or [`fits`] says no.
pub(crate) fn launch(call: &Call, buffers: Buffers) -> Option<Launch> {
    let Call { batch, heads, key_heads, queries, keys, head_dim, value_dim, .. } = *call;
    if !fits(&AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim }, usize::MAX) {
        return None;
    }
    // The kernels add the two.
    int(call.query_offset.checked_add(queries)?)?;
    let [q, k, v] = buffers.operands;
    let mut parameters = Parameters::default().buffer(Some(buffers.out)).buffer(buffers.log_sum_exp);
    for buffer in [q, k, v].into_iter().chain(buffers.plan).map(Some).chain([buffers.bias, buffers.distance, buffers.key_mask]) {
        parameters = parameters.buffer(buffer);
    }
    for stride in call.strides.into_iter().flatten().chain(call.bias_strides) {
        parameters = parameters.long(i64::try_from(stride).ok()?);
    }
    let sizes = [heads, heads / key_heads, queries, keys, head_dim, value_dim];
    for size in sizes.into_iter().chain([call.query_offset, call.reach]) {
        parameters = parameters.int(int(size)?);
    }
    let grid = [queries.div_ceil(TILE), heads, batch];
    Some(Launch {
        program: program(call.element, head_dim, value_dim),
        grid,
        threads: if call.element == Element::F32 { 256 } else { 128 },
        shared: shared(call.element, head_dim, value_dim),
        parameters: parameters.float(call.scale).float(call.soft_cap.unwrap_or(0.0)),
    })
}
