//! Row by row, on vectors and threads: the one way in which kernels that are no products see their operands.
//!
//! A [`RowKernel`] is handed rows that are dense and in the compute type. Where an operand is not (another element type, a stride), its row
//! is copied into the thread's scratch first, or out of it afterwards. So there is one kernel for every layout, and the plain layout, which
//! is what speed is asked of, costs nothing. Elementwise kernels need no rows: dimensions that lie densely behind each other in all
//! operands are merged, and what remains is cut into pieces.
//!
//! # What bounds it
//! Memory: a kernel here does little for each element, so that its limit is the bandwidth of reading its inputs once and writing its
//! output once. A piece is small enough to stay in the first-level cache however often the kernel passes over it.

use std::ops::Range;

use crossover_core::backend::Operand;
use crossover_core::error::Result;
use crossover_core::layout::{Layout, MAX_RANK};
use crossover_core::tensor::{View, ViewMut};

use crate::aligned::{LINE, Plain};
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::gemm::Engine;
use crate::isa::Kernel;
use crate::pool::Shared;
use crate::vector::{Lanes, Vector};

/// Elements below which waking a sleeping thread (some microseconds) costs more than it saves.
pub(crate) const WORTH_WAKING: usize = 1 << 15;
/// Elements of a task: enough to hide that threads ask for it, few enough that a thread that is held up leaves the rest to others.
const TASK: usize = 1 << 14;
/// Elements of a piece of a row, where rows may be cut.
const PIECE: usize = 1 << 11;

/// What is done to a row.
pub(crate) trait RowKernel<E, const N: usize>: Sync {
    /// Does it; `row` counts rows, or pieces of them. Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// Each operand's row must be readable (and if it is an output, writable) over its width. Absent operands point nowhere. An output
    /// overlaps no other operand, unless that is [`Part::First`].
    unsafe fn row<V: Vector<Element = E>>(&self, row: usize, operands: [*mut E; N], width: usize);
}

/// An operand. Outputs come first.
pub(crate) enum Part<'a> {
    /// Not there.
    Absent,
    /// Read.
    Read(View<'a, SimdBuffer>),
    /// Written.
    Write(ViewMut<'a, SimdBuffer>),
    /// The first operand once more, as it was before it is written.
    First,
    /// A row of scratch, as long as the longest of the others; its values are unspecified.
    Scratch,
}

impl<'a> From<Operand<'a, SimdBuffer>> for Part<'a> {
    fn from(operand: Operand<'a, SimdBuffer>) -> Self {
        match operand {
            Operand::Of(view) => Self::Read(view),
            Operand::InPlace => Self::First,
        }
    }
}

/// Where the rows of an operand are.
#[derive(Clone, Copy)]
struct Place<E> {
    kind: Kind<E>,
    written: bool,
    offset: usize,
    /// Distance of neighbours in a row.
    stride: usize,
    width: usize,
    /// Where its copy begins in the scratch.
    copy: usize,
}

#[derive(Clone, Copy)]
enum Kind<E> {
    Nowhere,
    First,
    /// Rows are used where they stand.
    Dense(Shared<E>),
    /// Rows are copied.
    Copied(SharedBuffer),
    Scratch,
}

/// One call.
struct Call<'k, K, E, const N: usize> {
    kernel: &'k K,
    places: [Place<E>; N],
    grid: Grid<N>,
    width: usize,
    /// Pieces of a row, and their width.
    pieces: usize,
    piece: usize,
    /// Is the first operand also read?
    reads_first: bool,
    /// Are there outputs that are copied to their place?
    copies_out: bool,
}

/// The dimensions before the rows, merged where they are dense, innermost first.
#[derive(Clone, Copy)]
struct Grid<const N: usize> {
    dims: [usize; MAX_RANK],
    strides: [[usize; N]; MAX_RANK],
    rank: usize,
}

/// The kernel on each row, the last dimension of its operands (whose leading dimensions are the same).
pub(crate) fn for_each_row<E: Lanes + Plain, K: RowKernel<E, N>, const N: usize>(
    engine: &Engine,
    kernel: &K,
    parts: [Part<'_>; N],
) -> Result<()> {
    run(engine, kernel, parts, false)
}

/// The kernel on pieces of operands of one shape.
pub(crate) fn for_each_piece<E: Lanes + Plain, K: RowKernel<E, N>, const N: usize>(
    engine: &Engine,
    kernel: &K,
    parts: [Part<'_>; N],
) -> Result<()> {
    run(engine, kernel, parts, true)
}

/// Calls `work(firsts, strides, count)` for runs of elements of views of one shape: where they start in each buffer, and how far apart
/// neighbours are. For what no vectors are needed for.
pub(crate) fn for_each_run<const N: usize>(engine: &Engine, layouts: [Layout; N], work: impl Fn([usize; N], [usize; N], usize) + Sync) {
    if layouts.iter().any(Layout::is_empty) {
        return;
    }
    let mut grid = Grid::new(&layouts.map(Some), MAX_RANK);
    let (width, strides) = grid.take_innermost();
    let rows: usize = grid.dims[..grid.rank].iter().product();
    let pieces = width.div_ceil(TASK);
    let (units, worth) = (rows * pieces, rows.saturating_mul(width) >= WORTH_WAKING);
    let task = if worth { (TASK / width.min(TASK)).max(1) } else { units };
    engine.pool.for_each(units.div_ceil(task), |_, at| {
        for unit in at * task..units.min((at + 1) * task) {
            let (row, first) = (unit / pieces, unit % pieces * TASK);
            let start = |operand: usize| layouts[operand].offset() + grid.position(operand, row) + first * strides[operand];
            work(std::array::from_fn(start), strides, TASK.min(width - first));
        }
    });
}

fn run<E: Lanes + Plain, K: RowKernel<E, N>, const N: usize>(
    engine: &Engine,
    kernel: &K,
    parts: [Part<'_>; N],
    elementwise: bool,
) -> Result<()> {
    let layouts = layouts(&parts);
    let lead = layouts.iter().flatten().next().map_or(0, |layout| layout.rank().saturating_sub(1));
    let mut grid = Grid::new(&layouts, if elementwise { lead + 1 } else { lead });
    let mut places: [Place<E>; N] = parts.map(Place::new);
    let mut width = places.iter().map(|place| place.width).max().unwrap_or(0);
    if elementwise {
        let (merged, strides) = grid.take_innermost();
        width = merged;
        for (place, stride) in places.iter_mut().zip(strides) {
            (place.stride, place.width) = (stride, merged);
        }
    }
    let rows: usize = grid.dims[..grid.rank].iter().product();
    if rows == 0 || layouts.iter().flatten().next().is_none_or(Layout::is_empty) {
        return Ok(());
    }
    let piece = if elementwise { width.min(PIECE) } else { width };
    let scratch = places.iter_mut().fold(0, |used, place| place.settle(used, piece));
    if scratch > 0 {
        engine.workspace.reserve::<E>([scratch, 0])?;
    }
    let reads_first = places.iter().any(|place| matches!(place.kind, Kind::First));
    let copies_out = places.iter().any(|place| place.written && matches!(place.kind, Kind::Copied(_)));
    let pieces = width.div_ceil(piece.max(1)).max(1);
    let call = Call { kernel, places, grid, width, pieces, piece, reads_first, copies_out };
    let units = rows * call.pieces;
    let task = if rows.saturating_mul(width) < WORTH_WAKING { units } else { (TASK / piece.max(1)).max(1) };
    engine.pool.for_each(units.div_ceil(task), |participant, at| {
        let units = at * task..units.min((at + 1) * task);
        if scratch == 0 {
            engine.isa.run(Task { call: &call, units, scratch: &mut [] });
        } else {
            let mut held = engine.workspace.piece(participant);
            let (scratch, _) = held.split::<E>([scratch, 0]);
            engine.isa.run(Task { call: &call, units, scratch });
        }
    });
    Ok(())
}

fn layouts<const N: usize>(parts: &[Part<'_>; N]) -> [Option<Layout>; N] {
    let own = |part: &Part<'_>| match part {
        Part::Read(view) => Some(view.layout),
        Part::Write(view) => Some(view.layout),
        Part::Absent | Part::First | Part::Scratch => None,
    };
    std::array::from_fn(|at| own(&parts[at]))
}

impl<const N: usize> Grid<N> {
    fn new(layouts: &[Option<Layout>; N], rank: usize) -> Self {
        let mut grid = Self { dims: [1; MAX_RANK], strides: [[0; N]; MAX_RANK], rank: 0 };
        let Some(shape) = layouts.iter().flatten().next() else { return grid };
        for axis in (0..rank.min(shape.rank())).rev() {
            let dim = shape.shape()[axis];
            if dim == 1 {
                continue;
            }
            let strides = std::array::from_fn(|at| layouts[at].map_or(0, |layout| layout.strides()[axis]));
            let inner = grid.rank.checked_sub(1);
            match inner.filter(|&inner| strides == grid.strides[inner].map(|stride| stride * grid.dims[inner])) {
                Some(inner) => grid.dims[inner] *= dim,
                None => {
                    (grid.dims[grid.rank], grid.strides[grid.rank]) = (dim, strides);
                    grid.rank += 1;
                }
            }
        }
        grid
    }

    /// Takes the innermost dimension away; a scalar has one of one element.
    fn take_innermost(&mut self) -> (usize, [usize; N]) {
        let taken = if self.rank == 0 { (1, [1; N]) } else { (self.dims[0], self.strides[0]) };
        self.dims.copy_within(1.., 0);
        self.strides.copy_within(1.., 0);
        self.rank = self.rank.saturating_sub(1);
        taken
    }

    /// Where a row of this operand is, from the operand's first element.
    fn position(&self, operand: usize, mut row: usize) -> usize {
        let mut position = 0;
        for axis in 0..self.rank {
            let dim = self.dims[axis];
            let at = if axis + 1 == self.rank { row } else { row % dim };
            position += at * self.strides[axis][operand];
            row /= dim;
        }
        position
    }
}

impl<E: Lanes + Plain> Place<E> {
    fn new(part: Part<'_>) -> Self {
        let of = |kind, written, layout: Layout| Self {
            kind,
            written,
            offset: layout.offset(),
            stride: layout.strides().last().copied().unwrap_or(1),
            width: layout.dim_from_end(0),
            copy: 0,
        };
        let none = |kind| Self { kind, written: false, offset: 0, stride: 1, width: 0, copy: 0 };
        match part {
            Part::Absent => none(Kind::Nowhere),
            Part::First => none(Kind::First),
            Part::Scratch => none(Kind::Scratch),
            Part::Read(view) => of(Kind::Copied(SharedBuffer::reading(view.buffer)), false, view.layout),
            Part::Write(view) => of(Kind::Copied(SharedBuffer::new(view.buffer)), true, view.layout),
        }
    }

    /// Finds out whether rows can be used where they stand; else takes scratch for one, behind what is used already.
    fn settle(&mut self, used: usize, piece: usize) -> usize {
        self.copy = used;
        match self.kind {
            Kind::Nowhere | Kind::First | Kind::Dense(_) => used,
            Kind::Scratch => used + piece.next_multiple_of(LINE),
            Kind::Copied(buffer) => match buffer.typed::<E>().filter(|_| self.stride == 1 || self.width <= 1) {
                None => used + self.width.min(piece).next_multiple_of(LINE),
                Some(values) => {
                    self.kind = Kind::Dense(values);
                    used
                }
            },
        }
    }
}

impl<K, E: Lanes + Plain, const N: usize> Call<'_, K, E, N> {
    /// The row of a unit, and the first of its elements.
    fn cut(&self, unit: usize) -> [usize; 2] {
        // Divisions cost as much as a short row.
        if self.pieces == 1 { [unit, 0] } else { [unit / self.pieces, unit % self.pieces * self.piece] }
    }

    /// The first element of an operand in this row from there on, and the number of elements.
    fn extent(&self, operand: usize, [row, first]: [usize; 2]) -> (usize, usize) {
        let place = &self.places[operand];
        (place.offset + self.grid.position(operand, row) + first * place.stride, place.width.saturating_sub(first).min(self.piece))
    }

    /// Where the kernel finds its operands. `loaded` says what the scratch holds already, by its first element and how many there are: a row that
    /// is the same for all is copied once. The number tells pieces apart where one element stands for all of them.
    fn enter(&self, cut: [usize; 2], loaded: &mut [(usize, usize); N], scratch: *mut E) -> [*mut E; N] {
        let mut operands = [std::ptr::dangling_mut(); N];
        for (at, place) in self.places.iter().enumerate() {
            operands[at] = match place.kind {
                Kind::Nowhere => continue,
                Kind::First => operands[0],
                Kind::Dense(values) => values.pointer().wrapping_add(self.extent(at, cut).0),
                Kind::Scratch => scratch.wrapping_add(place.copy),
                Kind::Copied(buffer) => {
                    let (start, count) = self.extent(at, cut);
                    let copy = scratch.wrapping_add(place.copy);
                    if if place.written { at == 0 && self.reads_first } else { loaded[at] != (start, count) } {
                        // SAFETY: the row is inside of its view, which nobody writes but this task; the scratch has room for it.
                        unsafe { buffer.load(start, place.stride, std::slice::from_raw_parts_mut(copy, count)) };
                        loaded[at] = (start, count);
                    }
                    copy
                }
            };
        }
        operands
    }

    /// Copies outputs to where they belong.
    fn leave(&self, cut: [usize; 2], scratch: *mut E) {
        for (at, place) in self.places.iter().enumerate() {
            if let (Kind::Copied(buffer), true) = (place.kind, place.written) {
                let (start, count) = self.extent(at, cut);
                // SAFETY: the row is inside of its view and belongs to this task; the scratch holds it.
                unsafe { buffer.store(start, place.stride, std::slice::from_raw_parts(scratch.wrapping_add(place.copy), count)) };
            }
        }
    }
}

/// Some rows, for one thread.
struct Task<'a, 'k, K, E, const N: usize> {
    call: &'a Call<'k, K, E, N>,
    units: Range<usize>,
    scratch: &'a mut [E],
}

impl<E: Lanes + Plain, K: RowKernel<E, N>, const N: usize> Kernel<E> for Task<'_, '_, K, E, N> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        let Self { call, units, scratch } = self;
        let (scratch, mut loaded) = (scratch.as_mut_ptr(), [(usize::MAX, 0); N]);
        for unit in units {
            let cut = call.cut(unit);
            let operands = call.enter(cut, &mut loaded, scratch);
            let width = (call.width - cut[1]).min(call.piece);
            // SAFETY: `enter` has placed every operand: inside of its view, or in scratch.
            unsafe { call.kernel.row::<V>(unit, operands, width) };
            if call.copies_out {
                call.leave(cut, scratch);
            }
        }
    }
}
