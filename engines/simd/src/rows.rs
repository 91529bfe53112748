//! Rows by index. Every index is checked before the first row moves: a wrong one leaves the output as it was.
//!
//! Rows that are dense and of one type are moved by whole rows and dealt out to threads. Where they are added up, threads take columns
//! instead: every row's additions stay in the order of the indices, whoever makes them.
//!
//! # What bounds it
//! Memory: each row is read once and written once (read and written, where it is added to).

use crossover_core::backend::Operand;
use crossover_core::check;
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::tensor::{View, ViewMut};

use crate::aligned::{LINE, Plain};
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::elementwise::copy;
use crate::gemm::{Cut, Engine};
use crate::isa::Kernel;
use crate::pool::Shared;
use crate::rowwise::WORTH_WAKING;
use crate::vector::{Lanes, MOST_LANES, Vector};
use crate::walk::{for_each_row, rows_of};

/// Elements that a task moves.
const TASK: usize = 1 << 14;
/// Lines of the next row that are asked for while this one moves.
const MOST_ASKED: usize = 64;

/// Which rows: indices [count] into 0..bound.
struct Chosen<'a> {
    values: &'a [i32],
    layout: Layout,
}

impl<'a> Chosen<'a> {
    fn checked(operation: &'static str, values: &'a [i32], indices: &View<'_, SimdBuffer>, bound: usize) -> Result<Self> {
        let layout = indices.layout;
        layout.leading_offsets(0).enumerate().try_for_each(|(at, place)| check::index(operation, at, values[place], bound).map(drop))?;
        Ok(Self { values, layout })
    }

    fn count(&self) -> usize {
        self.layout.len()
    }

    /// Checked above: it is not negative.
    fn row(&self, at: usize) -> usize {
        self.values[self.layout.offset() + at * self.layout.strides()[0]] as usize
    }
}

/// A matrix whose rows are dense.
struct Rows<T> {
    values: Shared<T>,
    offset: usize,
    distance: usize,
}

impl<T> Rows<T> {
    fn of(values: Shared<T>, layout: &Layout) -> Option<Self> {
        let dense = layout.strides()[1] == 1 || layout.shape()[1] <= 1;
        dense.then(|| Self { values, offset: layout.offset(), distance: layout.strides()[0] })
    }

    fn row(&self, row: usize) -> *mut T {
        self.values.pointer().wrapping_add(self.offset + row * self.distance)
    }
}

/// out[i] = table[indices[i]].
pub(crate) fn gather_rows(
    engine: &Engine,
    table: View<'_, SimdBuffer>,
    values: &[i32],
    indices: View<'_, SimdBuffer>,
    mut out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let chosen = Chosen::checked("gather", values, &indices, table.layout.shape()[0])?;
    let layouts = [table.layout, out.layout];
    let moved = match (SharedBuffer::reading(table.buffer), SharedBuffer::new(out.buffer)) {
        (SharedBuffer::F64(from), SharedBuffer::F64(to)) => gather(engine, &chosen, from, to, layouts),
        (SharedBuffer::F32(from), SharedBuffer::F32(to)) => gather(engine, &chosen, from, to, layouts),
        (SharedBuffer::Bf16(from), SharedBuffer::Bf16(to)) => gather(engine, &chosen, from, to, layouts),
        (SharedBuffer::F16(from), SharedBuffer::F16(to)) => gather(engine, &chosen, from, to, layouts),
        (SharedBuffer::I32(from), SharedBuffer::I32(to)) => gather(engine, &chosen, from, to, layouts),
        _ => false,
    };
    if !moved {
        for at in 0..chosen.count() {
            copy(engine, table.narrow(0, chosen.row(at), 1)?, out.reborrow().narrow(0, at, 1)?);
        }
    }
    Ok(())
}

/// Of one type: false where rows are not dense.
fn gather<T: Plain>(engine: &Engine, chosen: &Chosen<'_>, from: Shared<T>, to: Shared<T>, [table, out]: [Layout; 2]) -> bool {
    let (Some(from), Some(to), width) = (Rows::of(from, &table), Rows::of(to, &out), out.shape()[1]) else { return false };
    let alone = chosen.count() * width < WORTH_WAKING;
    let rows = if alone { chosen.count() } else { (TASK / width).max(1) };
    engine.pool.for_each(chosen.count().div_ceil(rows.max(1)), |_, task| {
        for at in task * rows..chosen.count().min((task + 1) * rows) {
            if at + 1 < chosen.count() {
                let next = from.row(chosen.row(at + 1)).cast();
                engine.isa.run(Ask { next, lines: (width * size_of::<T>()).div_ceil(LINE).min(MOST_ASKED) });
            }
            // SAFETY: rows of both views, which are inside of their buffers; these differ, and no other task writes this row.
            unsafe { std::ptr::copy_nonoverlapping(from.row(chosen.row(at)), to.row(at), width) };
        }
    });
    true
}

/// Asks for the first lines of the next row, which is anywhere: the processor reads ahead only what it has seen begin.
struct Ask {
    next: *const f32,
    lines: usize,
}

impl Kernel<f32> for Ask {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) {
        (0..self.lines).for_each(|line| V::prefetch(self.next.wrapping_add(line * LINE / size_of::<f32>())));
    }
}

/// out[indices[i]] += x[i], in order of i; rounded after each addition, as the sums stand in the output.
pub(crate) fn scatter_add_rows<E: Lanes + Plain>(
    engine: &Engine,
    x: View<'_, SimdBuffer>,
    values: &[i32],
    indices: View<'_, SimdBuffer>,
    mut out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let chosen = Chosen::checked("scatter", values, &indices, out.layout.shape()[0])?;
    let [from, to] = [SharedBuffer::reading(x.buffer), SharedBuffer::new(out.buffer)].map(SharedBuffer::typed::<E>);
    let dense = |values: Option<Shared<E>>, layout: &Layout| values.and_then(|values| Rows::of(values, layout));
    if let (Some(from), Some(to)) = (dense(from, &x.layout), dense(to, &out.layout)) {
        let width = out.layout.shape()[1];
        let parts = if chosen.count() * width < WORTH_WAKING { 1 } else { engine.pool.threads() };
        let columns = Cut::new(width, 2 * MOST_LANES, parts);
        engine.pool.for_each(columns.parts, |_, part| {
            let columns = columns.range(part);
            engine.isa.run(AddRows { chosen: &chosen, from: &from, to: &to, first: columns.start, width: columns.len() });
        });
        return Ok(());
    }
    for (at, addend) in rows_of(&x).enumerate() {
        let target = out.reborrow().narrow(0, chosen.row(at), 1)?;
        for_each_row(&Operand::InPlace, target, |mut sums| sums.map([addend], |sum: E, [x]| sum + x));
    }
    Ok(())
}

/// Some columns of all rows that are added.
struct AddRows<'a, E> {
    chosen: &'a Chosen<'a>,
    from: &'a Rows<E>,
    to: &'a Rows<E>,
    first: usize,
    width: usize,
}

impl<E: Lanes> Kernel<E> for AddRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        for at in 0..self.chosen.count() {
            let (from, to) = (self.from.row(at), self.to.row(self.chosen.row(at)));
            let (from, to) = (from.wrapping_add(self.first), to.wrapping_add(self.first));
            let mut column = 0;
            // SAFETY: these columns of rows of both views, which are inside of their buffers; no other task touches them.
            unsafe {
                while column + V::LANES <= self.width {
                    V::load(to.add(column)).add(V::load(from.add(column))).store(to.add(column));
                    column += V::LANES;
                }
                if column < self.width {
                    let count = self.width - column;
                    V::load_first(to.add(column), count).add(V::load_first(from.add(column), count)).store_first(to.add(column), count);
                }
            }
        }
    }
}
