//! Products in which something is narrower than the singles that results are computed in: bf16 or f16 operands, int8 codes on both sides,
//! weights held as 16-bit floats, int8 or int4 codes or codes of a palette.
//!
//! The scheme is that of [`crate::gemm`] with two changes. Whatever comes is packed into words of 32 bits (singles, pairs of bf16, four
//! int8 codes), so that one micro-kernel serves all units that multiply ([`unit`]). And k is not cut into blocks: results are rounded to
//! the output's type once, so partial sums would need a matrix of their own.
//!
//! | file | what |
//! |---|---|
//! | `matrix.rs` | operands of three types |
//! | `unit.rs`, `unit_x86.rs` | what multiplies words |
//! | `codes.rs`, `decode.rs` | weights as panels of words, and back to numbers |
//! | `pack.rs` | operands as words; int8 codes of activations |
//! | `tile.rs`, `part.rs` | micro-kernel of vectors, and the loops of one thread |
//! | `tiles.rs`, `tiles_x86.rs` | micro-kernel of a unit of tiles (AMX) |
//! | `micro.rs` | what the loops ask of either |
//! | `stream.rs` | few rows |
//! | `sparse.rs` | weights of which only some entries are stored |
//!
//! # What it computes
//! Floating activations: products of widened numbers are exact or rounded once with the sum (see [`unit`] for bf16 pairs), sums are f32.
//! A weight is its level times its scale, rounded to f32 where rows are many; where they are few, scales are applied to the sums of a
//! group. int8 activations: each row has the scale max |x| / 127 and codes x / scale rounded half to even, sums are exact in i32, and
//! sum (scale_x scale_w) + bias is computed in f32.

mod codes;
mod decode;
mod matrix;
mod micro;
mod pack;
mod part;
pub(crate) mod sparse;
mod stream;
mod tile;
#[cfg(any(test, target_arch = "x86_64"))]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod tiles_x86;
mod unit;
#[cfg(target_arch = "x86_64")]
mod unit_x86;

use crossover_core::activation::Activation;
use crossover_core::error::Result;

pub(crate) use codes::{Code, Coded, Panels};
pub(crate) use matrix::{Kind, Matrix};
pub(crate) use unit::{Choice, Unit, UnitKernel};
#[cfg(target_arch = "x86_64")]
pub(crate) use {
    tiles::{Strip, TILE, Tiles},
    tiles_x86::{TileKernel, on_bf16_tiles},
    unit::Format,
    unit_x86::on_bf16_pairs,
};

#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) use tiles::tests::{Model, Pairs as PairsOfModel};

use crate::gemm::{Cut, Engine, LEAST_TILES};
use crate::isa::{Extras, Isa};
use crate::pool::{LEAST_FOR_THREADS, LEAST_READ_FOR_THREADS, PARTS};
use micro::Maker;
use part::{Part, ShapeOf};
use stream::Stream;

/// B as it comes, or a weight.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Right<'a> {
    Plain(Matrix),
    Panels(Panels<'a>),
}

/// C = activation(alpha A B + beta C + bias).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product<R> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Matrix,
    pub(crate) right: R,
    pub(crate) c: Matrix,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) bias: Option<Matrix>,
    pub(crate) activation: Activation,
}

// SAFETY: addresses and sizes only, of what is read and nobody writes meanwhile.
unsafe impl Send for Right<'_> {}
// SAFETY: likewise.
unsafe impl Sync for Right<'_> {}

impl<R> Product<R> {
    /// The same with A and C so many elements further on.
    pub(crate) fn moved(self, [a, c]: [usize; 2]) -> Self {
        Self { a: self.a.moved(a), c: self.c.moved(c), ..self }
    }

    /// The same with another B.
    pub(crate) fn with<S>(self, right: S) -> Product<S> {
        let Self { m, n, k, a, c, alpha, beta, bias, activation, .. } = self;
        Product { m, n, k, a, right, c, alpha, beta, bias, activation }
    }
}

impl Choice {
    /// For int8 codes on both sides.
    pub(crate) fn int8(isa: Isa, extras: Extras) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if extras.vnni => Self::Vnni512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if extras.vnni => Self::Vnni256,
            _ => Self::Int8,
        }
    }

    /// For bf16 numbers on both sides.
    pub(crate) fn bf16(isa: Isa, extras: Extras) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if extras.bf16 => Self::Bf16Pairs,
            _ => Self::Wide,
        }
    }
}

/// `batch` products of the same extents, strides and types on one unit; `product_of` says where each of them lies.
pub(crate) fn multiply<'a>(
    engine: &Engine,
    choice: Choice,
    batch: usize,
    product_of: impl Fn(usize) -> Product<Right<'a>> + Sync,
) -> Result<()> {
    if batch == 0 {
        return Ok(());
    }
    let first = product_of(0);
    let Product { m, n, k, .. } = first;
    if m == 0 || n == 0 {
        return Ok(());
    }
    let maker = Maker::of(choice, engine.extras, m);
    let shape = maker.run(engine.isa, ShapeOf);
    let few = m <= LEAST_TILES * shape.rows;
    let small = batch * m * n * k < LEAST_FOR_THREADS && !(few && batch * n * k >= LEAST_READ_FOR_THREADS);
    let threads = if small { 1 } else { engine.pool.threads() };
    let (rows, columns) = match &first.right {
        _ if threads == 1 => (Cut::whole(m), Cut::whole(n)),
        Right::Panels(_) if m >= LEAST_TILES * shape.rows * threads => {
            let parts = (m / (LEAST_TILES * shape.rows) / threads * threads).min(PARTS * threads);
            (Cut::new(m, shape.rows, parts), Cut::whole(n))
        }
        Right::Plain(_) if batch >= PARTS * threads => (Cut::whole(m), Cut::whole(n)),
        _ => (Cut::whole(m), Cut::new(n, shape.columns, if few { PARTS * threads } else { threads })),
    };
    let streams = choice == Choice::Wide && stream::suits(&first);
    let scratch = if streams { [stream::scratch(&first), 0] } else { shape.scratch(&first, rows.largest(), columns.largest()) };
    engine.workspace.reserve::<f32>(scratch)?;
    let parts = rows.parts * columns.parts;
    let work = |participant: usize, task: usize| {
        let product = product_of(task / parts);
        let (rows, columns) = (rows.range(task % parts / columns.parts), columns.range(task % columns.parts));
        let mut piece = engine.workspace.piece(participant);
        if streams {
            let (scratch, _) = piece.split::<f32>(scratch);
            engine.isa.run(Stream { product: &product, columns, scratch });
        } else {
            maker.run(engine.isa, Part { product: &product, rows, columns, scratch: piece.split::<u32>(scratch) });
        }
    };
    engine.pool.for_each_on(threads, batch * parts, work);
    Ok(())
}
