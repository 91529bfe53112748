//! Mixtures of experts: tokens are grouped by expert, and one parallel region runs through all groups.
//!
//! A counting sort puts the choices that find a place in the order of their experts. Each expert's rows are cut into blocks, a block is a
//! task: its tokens are fetched, go through both layers of the expert, and leave times their gate. The middle of a block stays with the
//! thread, in the second-level cache where it is small enough. Where a token has one choice its row goes straight to the output, else to a
//! table in the order of the groups, whose rows each token adds up in the order of its choices: the same sums whoever makes them.
//! Places that nobody takes cost nothing here.
//!
//! Fewer blocks than threads (a decoder's step) would leave threads idle: there the blocks come one after the other, and threads share
//! the columns of their layers.
//!
//! # What bounds it
//! The multiply-adds of the layers while there are some dozens of rows an expert, reading the weights where there are fewer: each of the
//! experts that anybody chose is read once for a block.

mod groups;

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{Experts, Routes, TransformerBackend};
use crossover_core::check::MixtureSizes;
use crossover_core::compose;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result};
use crossover_core::layout::Layout;
use crossover_core::ops::{LinearSpec, WeightForm};
use crossover_core::tensor::{Buffer, View, ViewMut};

use crate::aligned::Plain;
use crate::backend::SimdBackend;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::elementwise::fill;
use crate::gemm::{Alone, Engine, Epilogue, LEAST_TILES, Product, Right, Source, Target, TileRows, multiply};
use crate::isa::Kernel;
use crate::operands::indices;
use crate::pool::{LEAST_FOR_THREADS, Shared};
use crate::rowwise::{Part, RowKernel, for_each_row};
use crate::vector::{Lanes, Vector};
use crate::weight::{Packed, SimdWeight};
use groups::{DROPPED, Groups, Plan, Task};

/// Rows of a block, at most: what of it is packed at a time is to stay in the second level.
const MOST_ROWS: usize = 168;
/// Tasks for each thread, where rows are many.
const TASKS: usize = 4;
/// Elements between the rows of a block, beyond their width: rows of a power of two would share their places in the cache.
const APART: usize = 16;

/// Are these weights panels of the type that everything is computed in?
pub(crate) fn takes(precision: Precision, form: WeightForm) -> bool {
    let dense = precision.compute() == DType::F64 || form == WeightForm::Dense(DType::F32);
    dense && precision.storage() == precision.compute()
}

/// See [`TransformerBackend::mixture`]. Types are checked, and that the engine has the layers.
pub(crate) fn mixture<E: Lanes + Plain>(
    backend: &SimdBackend,
    (spec, sizes): (LinearSpec, MixtureSizes),
    x: View<'_, SimdBuffer>,
    routes: Routes<'_, SimdBuffer>,
    experts: Experts<'_, SimdWeight, SimdBuffer>,
    mut out: ViewMut<'_, SimdBuffer>,
    scratch: &mut Arena<SimdBuffer>,
) -> Result<()> {
    let Some(layers) = Layers::<E>::of(&experts, sizes, spec.activation) else {
        return compose::mixture::composed(backend, spec, x, routes, experts, out, scratch);
    };
    let chosen = (indices("mixture", &routes.chosen)?, &routes.chosen.layout);
    if sizes.tokens == 0 {
        return Ok(());
    }
    let engine = &backend.engine;
    let plan = Plan { sizes, block: block_rows::<E>(engine, sizes), tile: engine.isa.run::<E, _>(TileRows) };
    let mut numbers = scratch.take(backend, DType::I32, &[plan.numbers()])?;
    // One choice: rows go to the output as they are made. Else they wait for the others of their token.
    let waiting = if sizes.choices == 1 { [0, 0] } else { [sizes.kept(), sizes.width] };
    let mut table = scratch.take(backend, backend.compute(), &waiting)?;
    let done = plan.group(chosen, &mut numbers.buffer).and_then(|groups| {
        let rows = typed::<E>(&mut table.buffer)?;
        let from = Fetched { x: SharedBuffer::reading(x.buffer), layout: x.layout, gates: routes.gates };
        if sizes.choices == 1 {
            for token in (0..sizes.tokens).filter(|&token| groups.places[token] == DROPPED) {
                fill(engine, out.reborrow().narrow(0, token, 1)?, 0.0);
            }
        }
        let to = if sizes.choices == 1 { Given::Output(SharedBuffer::new(out.buffer), out.layout) } else { Given::Table(rows) };
        let call = Call { plan: &plan, groups: &groups, layers: &layers, from, to };
        call.run(backend, scratch)?;
        if sizes.choices == 1 {
            return Ok(());
        }
        let sum = Sum { table: rows, places: groups.places, tokens: sizes.tokens, choices: sizes.choices };
        for_each_row::<E, _, 1>(engine, &sum, [Part::Write(out)])
    });
    scratch.give(table);
    scratch.give(numbers);
    done
}

fn typed<E: Lanes + Plain>(buffer: &mut SimdBuffer) -> Result<Shared<E>> {
    let found = buffer.dtype();
    E::slice_mut(buffer).map(Shared::new).ok_or(EngineError::ElementType { operation: "mixture", expected: E::DTYPE, found })
}

/// Rows of a block: enough blocks for the threads, and enough rows for each.
fn block_rows<E: Lanes>(engine: &Engine, sizes: MixtureSizes) -> usize {
    let (tile, threads) = (engine.isa.run::<E, _>(TileRows), engine.pool.threads());
    let group = sizes.places.min(sizes.tokens * sizes.choices);
    let parts = if threads == 1 { 1 } else { (TASKS * threads).div_ceil(sizes.experts) };
    group.div_ceil(parts).max(LEAST_TILES * tile).min(MOST_ROWS).next_multiple_of(tile)
}

/// The layers of all experts, whose weights are panels of the compute type.
struct Layers<'a, E> {
    weights: [&'a [SimdWeight]; 2],
    /// Of the first expert, with the distance of the next one's.
    biases: [(Source<E>, usize); 2],
    activation: Activation,
    width: usize,
    hidden: usize,
}

// SAFETY: addresses of what is only read.
unsafe impl<E: Sync> Sync for Layers<'_, E> {}

fn panels<E: Lanes>(weight: &SimdWeight) -> Option<*const E> {
    match &weight.packed {
        Packed::F64(panels) if E::DTYPE == DType::F64 => Some(panels.as_ptr().cast()),
        Packed::F32(panels) if E::DTYPE == DType::F32 => Some(panels.as_ptr().cast()),
        _ => None,
    }
}

impl<'a, E: Lanes> Layers<'a, E> {
    /// `None` where something is of another type.
    fn of(experts: &Experts<'a, SimdWeight, SimdBuffer>, sizes: MixtureSizes, activation: Activation) -> Option<Self> {
        let weights = [experts.up, experts.down];
        let biases = [&experts.up_bias, &experts.down_bias].map(|bias| {
            let (from, layout) = (E::slice(bias.buffer)?, &bias.layout);
            let pointer = from.as_ptr().wrapping_add(layout.offset());
            Some((Source { pointer, row: 0, column: layout.strides()[1] }, layout.strides()[0]))
        });
        let held = weights.iter().flat_map(|weights| weights.iter()).all(|weight| panels::<E>(weight).is_some());
        let [Some(up), Some(down)] = biases else { return None };
        held.then_some(Self { weights, biases: [up, down], activation, width: sizes.width, hidden: sizes.hidden })
    }

    /// One of the two layers of an expert, for so many rows.
    fn product(&self, layer: usize, expert: usize, rows: usize, a: (*const E, usize), c: (*mut E, usize)) -> Option<Product<E>> {
        let (bias, distance) = self.biases[layer];
        let bias = Source { pointer: bias.pointer.wrapping_add(expert * distance), ..bias };
        let activation = if layer == 0 { self.activation } else { Activation::None };
        let [k, n] = if layer == 0 { [self.width, self.hidden] } else { [self.hidden, self.width] };
        Some(Product {
            m: rows,
            n,
            k,
            a: Source { pointer: a.0, row: a.1, column: 1 },
            b: Right::Panels(panels(&self.weights[layer][expert])?),
            c: Target { pointer: c.0, row: c.1, column: 1 },
            epilogue: Epilogue { alpha: E::ONE, beta: E::ZERO, bias: Some(bias), activation },
        })
    }
}

/// Where rows come from.
struct Fetched<'a> {
    x: SharedBuffer,
    layout: Layout,
    gates: View<'a, SimdBuffer>,
}

/// Where they go.
enum Given<E> {
    /// Each to its token.
    Output(SharedBuffer, Layout),
    /// In the order of the groups.
    Table(Shared<E>),
}

struct Call<'a, E> {
    plan: &'a Plan,
    groups: &'a Groups<'a>,
    layers: &'a Layers<'a, E>,
    from: Fetched<'a>,
    to: Given<E>,
}

impl<E: Lanes + Plain> Call<'_, E> {
    /// Distances of the rows of a block: of tokens and outputs, and of the middle.
    fn distances(&self) -> [usize; 2] {
        [self.layers.width, self.layers.hidden].map(|width| width + APART)
    }

    /// All tasks: on all threads, or each on all threads.
    fn run(&self, backend: &SimdBackend, scratch: &mut Arena<SimdBuffer>) -> Result<()> {
        let (engine, tasks, MixtureSizes { width, hidden, .. }) = (&backend.engine, self.groups.tasks(), self.plan.sizes);
        let rows: usize = (0..tasks).map(|at| self.groups.task(at).rows.len()).sum();
        let threads = if 2 * rows * width * hidden < LEAST_FOR_THREADS { 1 } else { engine.pool.threads() };
        let block = self.plan.block.min(self.plan.sizes.kept());
        let [wide, middle] = self.distances();
        let room = block * (2 * wide + middle);
        if tasks < threads {
            let mut held = scratch.take(backend, backend.compute(), &[room])?;
            let done = self.one_by_one(engine, &mut held.buffer);
            scratch.give(held);
            return done;
        }
        let packed = [width, hidden].map(|k| Alone::<E>::elements_beside_panels(engine, block, k)).into_iter().max().unwrap_or(0);
        engine.workspace.reserve::<E>([packed, room])?;
        let work = |participant: usize, task: usize| {
            let mut piece = engine.workspace.piece(participant);
            let (packed, room) = piece.split::<E>([packed, room]);
            self.task(engine, &self.groups.task(task), room, |product| Alone { product, buffers: (&mut *packed, &mut []) }.run(engine));
        };
        engine.pool.for_each_on(threads, tasks, work);
        Ok(())
    }

    /// One after the other; threads share the columns of a layer.
    fn one_by_one(&self, engine: &Engine, room: &mut SimdBuffer) -> Result<()> {
        let found = room.dtype();
        let room = E::slice_mut(room).ok_or(EngineError::ElementType { operation: "mixture", expected: E::DTYPE, found })?;
        let mut done = Ok(());
        for task in 0..self.groups.tasks() {
            self.task(engine, &self.groups.task(task), room, |product| {
                if done.is_ok() {
                    done = multiply(engine, 1, |_| *product);
                }
            });
        }
        done
    }

    /// Fetches the rows of a task, takes them through both layers, and leaves them times their gates.
    fn task(&self, engine: &Engine, task: &Task, room: &mut [E], mut make: impl FnMut(&Product<E>)) {
        let ([wide, middle], count, Self { layers, from, .. }) = (self.distances(), task.rows.len(), self);
        let tokens = self.plan.sizes.tokens;
        let (xs, rest) = room.split_at_mut(self.plan.block.min(self.plan.sizes.kept()) * wide);
        let (ys, hidden) = rest.split_at_mut(xs.len());
        let order = &self.groups.order[task.rows.clone()];
        for (row, &at) in xs.chunks_exact_mut(wide).zip(order) {
            let start = from.layout.offset() + at as usize % tokens * from.layout.strides()[0];
            // SAFETY: a row of x, which is inside of its buffer and written by nobody.
            unsafe { from.x.load(start, from.layout.strides()[1], &mut row[..layers.width]) };
        }
        let (xs, ys, hidden) = (xs.as_ptr(), ys.as_mut_ptr(), hidden.as_mut_ptr());
        let first = layers.product(0, task.expert, count, (xs, wide), (hidden, middle));
        let second = layers.product(1, task.expert, count, (hidden, middle), (ys, wide));
        // Both are there: the weights were looked at before the first task.
        first.iter().chain(&second).for_each(&mut make);
        for (row, (&at, place)) in order.iter().zip(task.rows.clone()).enumerate() {
            let (token, choice) = (at as usize % tokens, at as usize / tokens);
            let layout = &from.gates.layout;
            let gate = from.gates.buffer.get(layout.offset() + token * layout.strides()[0] + choice * layout.strides()[1]);
            let (row, width) = (ys.wrapping_add(row * wide), layers.width);
            let to = match &self.to {
                Given::Output(..) => row,
                Given::Table(table) => table.pointer().wrapping_add(place * width),
            };
            engine.isa.run(Scaled { from: row, to, width, factor: E::from_f64(gate) });
            if let Given::Output(out, layout) = &self.to {
                let start = layout.offset() + token * layout.strides()[0];
                // SAFETY: a row of the output, which no other task writes: its token has one choice. The row of the block was just made.
                unsafe { out.store(start, layout.strides()[1], std::slice::from_raw_parts(row, width)) };
            }
        }
    }
}

/// to = factor from, which may be the same row.
struct Scaled<E> {
    from: *const E,
    to: *mut E,
    width: usize,
    factor: E,
}

impl<E: Lanes> Kernel<E> for Scaled<E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        let (factor, mut column) = (V::splat(self.factor), 0);
        // SAFETY: rows of a block and of the table, of this width; no other task has them.
        unsafe {
            while column + V::LANES <= self.width {
                V::load(self.from.add(column)).mul(factor).store(self.to.add(column));
                column += V::LANES;
            }
            if column < self.width {
                let count = self.width - column;
                V::load_first(self.from.add(column), count).mul(factor).store_first(self.to.add(column), count);
            }
        }
    }
}

/// A token's rows of the table, added up in the order of its choices.
struct Sum<'a, E> {
    table: Shared<E>,
    places: &'a [i32],
    tokens: usize,
    choices: usize,
}

impl<E: Lanes> RowKernel<E, 1> for Sum<'_, E> {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, token: usize, [out]: [*mut E; 1], width: usize) {
        let mut column = 0;
        while column < width {
            let (count, mut sum) = (V::LANES.min(width - column), V::zero());
            for choice in 0..self.choices {
                let place = self.places[choice * self.tokens + token];
                if place != DROPPED {
                    // SAFETY: a row of the table, which is written by nobody any more.
                    sum = sum.add(unsafe { V::load_first(self.table.pointer().add(place as usize * width + column), count) });
                }
            }
            // SAFETY: a row that the caller promises.
            unsafe { sum.store_first(out.add(column), count) };
            column += V::LANES;
        }
    }
}

#[cfg(test)]
mod tests;
