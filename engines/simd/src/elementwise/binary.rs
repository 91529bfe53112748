//! Functions of two arguments, and selections.

use crossover_core::backend::Operand;
use crossover_core::error::Result;
use crossover_core::ops::BinaryOp;
use crossover_core::tensor::{View, ViewMut};

use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::gemm::Engine;
use crate::rowwise::{Part, RowKernel, for_each_piece};
use crate::vector::{Lanes, Vector};

/// A function of two vectors.
trait Pairwise<E>: Copy + Sync {
    /// Its value. Must be `#[inline(always)]`.
    fn of<V: Vector<Element = E>>(self, a: V, b: V) -> V;
}

macro_rules! pairwise {
    ($name:ident, ($a:ident, $b:ident) => $value:expr) => {
        #[derive(Clone, Copy)]
        struct $name;

        impl<E: Lanes> Pairwise<E> for $name {
            #[inline(always)]
            fn of<V: Vector<Element = E>>(self, $a: V, $b: V) -> V {
                $value
            }
        }
    };
}

pairwise!(Add, (a, b) => a.add(b));
pairwise!(Subtract, (a, b) => a.sub(b));
pairwise!(Multiply, (a, b) => a.mul(b));
pairwise!(Divide, (a, b) => a.div(b));
// The instruction gives b where one is NaN, so that a NaN in a is put back.
pairwise!(Maximum, (a, b) => a.where_equal(a, a.max(b), a));
pairwise!(Minimum, (a, b) => a.where_equal(a, a.min(b), a));
pairwise!(Equal, (a, b) => a.where_equal(b, V::splat(E::ONE), V::zero()));
pairwise!(Less, (a, b) => a.where_less(b, V::splat(E::ONE), V::zero()));

/// The first argument where the second is not 0 (a NaN is not), this value elsewhere.
#[derive(Clone, Copy)]
struct Where<E>(E);

impl<E: Lanes> Pairwise<E> for Where<E> {
    #[inline(always)]
    fn of<V: Vector<Element = E>>(self, value: V, condition: V) -> V {
        condition.where_equal(V::zero(), V::splat(self.0), value)
    }
}

struct Zip<F>(F);

impl<E: Lanes, F: Pairwise<E>> RowKernel<E, 3> for Zip<F> {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, _: usize, [out, a, b]: [*mut E; 3], width: usize) {
        let mut at = 0;
        // SAFETY: all accesses are below `width`, by the caller's promise.
        unsafe {
            while at + V::LANES <= width {
                self.0.of(V::load(a.add(at)), V::load(b.add(at))).store(out.add(at));
                at += V::LANES;
            }
            if at < width {
                let rest = width - at;
                self.0.of(V::load_first(a.add(at), rest), V::load_first(b.add(at), rest)).store_first(out.add(at), rest);
            }
        }
    }
}

/// `a` and `b` already have the shape of the output.
pub(crate) fn binary<E: Lanes + Plain>(
    engine: &Engine,
    op: BinaryOp,
    a: Operand<'_, SimdBuffer>,
    b: View<'_, SimdBuffer>,
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    match op {
        BinaryOp::Add => apply::<E>(engine, Add, a, b, out),
        BinaryOp::Subtract => apply::<E>(engine, Subtract, a, b, out),
        BinaryOp::Multiply => apply::<E>(engine, Multiply, a, b, out),
        BinaryOp::Divide => apply::<E>(engine, Divide, a, b, out),
        BinaryOp::Maximum => apply::<E>(engine, Maximum, a, b, out),
        BinaryOp::Minimum => apply::<E>(engine, Minimum, a, b, out),
        BinaryOp::Equal => apply::<E>(engine, Equal, a, b, out),
        BinaryOp::Less => apply::<E>(engine, Less, a, b, out),
    }
}

/// `otherwise` where the condition is 0; a NaN is not 0. The condition has the shape of the output.
pub(crate) fn select<E: Lanes + Plain>(
    engine: &Engine,
    condition: View<'_, SimdBuffer>,
    otherwise: f64,
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    apply::<E>(engine, Where(E::from_f64(otherwise)), Operand::InPlace, condition, out)
}

fn apply<E: Lanes + Plain>(
    engine: &Engine,
    function: impl Pairwise<E>,
    a: Operand<'_, SimdBuffer>,
    b: View<'_, SimdBuffer>,
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    for_each_piece::<E, _, 3>(engine, &Zip(function), [Part::Write(out), a.into(), Part::Read(b)])
}
