//! Functions of one argument.

use std::sync::LazyLock;

use crossover_core::activation::Activation;
use crossover_core::backend::Operand;
use crossover_core::elementary::{MAX_DEGREE, MAX_TABLE_BITS};
use crossover_core::error::Result;
use crossover_core::ops::UnaryOp;
use crossover_core::tensor::ViewMut;

use crate::activation::{gelu_tanh, relu_squared, silu};
use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::gemm::Engine;
use crate::rowwise::{Part, RowKernel, for_each_piece};
use crate::sweep::map;
use crate::vector::{Exponential, Function, Lanes, Vector, by_lane, cos, exp, exp2, function, gelu, log, sigmoid, sin, tanh};

/// A function of every element.
struct Map<F>(F);

impl<E: Lanes, F: Function<E>> RowKernel<E, 2> for Map<F> {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, _: usize, [out, x]: [*mut E; 2], width: usize) {
        // SAFETY: the caller's promise.
        unsafe { map::<V, F>(self.0, x, out, width) }
    }
}

pub(crate) fn unary<E: Tables>(engine: &Engine, op: UnaryOp, x: Operand<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
    // One arm a function, so that the choice is made once and not for each element.
    match op {
        UnaryOp::Activation(activation) => match activation {
            Activation::None => apply::<E>(engine, Identity, x, out),
            Activation::Relu => apply::<E>(engine, Relu, x, out),
            Activation::Gelu => apply::<E>(engine, Gelu, x, out),
            Activation::GeluTanh => apply::<E>(engine, GeluTanh, x, out),
            Activation::Silu => apply::<E>(engine, Silu, x, out),
            Activation::ReluSquared => apply::<E>(engine, ReluSquared, x, out),
            Activation::Sigmoid => apply::<E>(engine, Sigmoid, x, out),
        },
        UnaryOp::Exp => apply::<E>(engine, Exp, x, out),
        UnaryOp::Exp2 => apply::<E>(engine, Exp2, x, out),
        UnaryOp::ExpPolynomial { degree } => apply::<E>(engine, ExpPolynomial(Taylor::new(std::f64::consts::LN_2, degree)), x, out),
        UnaryOp::ExpTable { bits } => apply::<E>(engine, ExpTable::new(bits), x, out),
        UnaryOp::ExpTaylor { degree } => apply::<E>(engine, Taylor::new(1.0, degree), x, out),
        UnaryOp::Log => apply::<E>(engine, Log, x, out),
        UnaryOp::Sqrt => apply::<E>(engine, Sqrt, x, out),
        UnaryOp::Reciprocal => apply::<E>(engine, Reciprocal, x, out),
        UnaryOp::Square => apply::<E>(engine, Square, x, out),
        UnaryOp::Abs => apply::<E>(engine, Abs, x, out),
        UnaryOp::Negate => apply::<E>(engine, Negate, x, out),
        UnaryOp::Cos => apply::<E>(engine, Cos, x, out),
        UnaryOp::Sin => apply::<E>(engine, Sin, x, out),
        UnaryOp::Tanh => apply::<E>(engine, Tanh, x, out),
        UnaryOp::Sigmoid => apply::<E>(engine, Sigmoid, x, out),
        UnaryOp::EluPlusOne => apply::<E>(engine, EluPlusOne, x, out),
        UnaryOp::Affine { scale, shift } => apply::<E>(engine, Affine { scale: E::from_f64(scale), shift: E::from_f64(shift) }, x, out),
    }
}

fn apply<E: Lanes + Plain>(
    engine: &Engine,
    function: impl Function<E>,
    x: Operand<'_, SimdBuffer>,
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    for_each_piece::<E, _, 2>(engine, &Map(function), [Part::Write(out), x.into()])
}

function!(Identity, x => x);
function!(Relu, x => x.relu());
function!(ReluSquared, x => relu_squared(x));
function!(Gelu, x => gelu(x));
function!(GeluTanh, x => gelu_tanh(x));
function!(Silu, x => silu(x));
function!(Sigmoid, x => sigmoid(x));
function!(Tanh, x => tanh(x));
function!(Exp, x => exp(x));
function!(Exp2, x => exp2(x));
function!(Log, x => log(x));
function!(Sqrt, x => x.sqrt());
function!(Reciprocal, x => V::splat(E::ONE).div(x));
function!(Square, x => x.mul(x));
function!(Abs, x => x.abs());
function!(Negate, x => V::splat(-E::ONE).mul(x));
function!(Cos, x => cos(x));
function!(Sin, x => sin(x));
function!(EluPlusOne, x => V::zero().where_less(x, x.add(V::splat(E::ONE)), exp(x)));

#[derive(Clone, Copy)]
struct Affine<E> {
    scale: E,
    shift: E,
}

impl<E: Lanes> Function<E> for Affine<E> {
    #[inline(always)]
    fn of<V: Vector<Element = E>>(self, x: V) -> V {
        x.mul_add(V::splat(self.scale), V::splat(self.shift))
    }
}

/// The Taylor polynomial of e^(rate x) at 0: [`crossover_core::elementary::exp_taylor`] for the rate 1.
#[derive(Clone, Copy)]
struct Taylor<E> {
    coefficients: [E; MAX_DEGREE as usize + 1],
    degree: usize,
}

impl<E: Lanes> Taylor<E> {
    /// The degree is one that the operation defines.
    fn new(rate: f64, degree: u32) -> Self {
        let mut term = 1.0;
        let coefficients = std::array::from_fn(|power| {
            term *= if power > 0 { rate / power as f64 } else { 1.0 };
            E::from_f64(term)
        });
        Self { coefficients, degree: degree.min(MAX_DEGREE) as usize }
    }
}

impl<E: Lanes> Function<E> for Taylor<E> {
    #[inline(always)]
    fn of<V: Vector<Element = E>>(self, x: V) -> V {
        let mut sum = V::splat(self.coefficients[self.degree]);
        for at in (0..self.degree).rev() {
            sum = sum.mul_add(x, V::splat(self.coefficients[at]));
        }
        sum
    }
}

/// x log2 e, where 2^ of it is neither 0 nor infinite for certain; NaN stays.
#[inline(always)]
fn octaves<V: Vector>(x: V) -> V {
    let y = x.mul(V::splat(V::Element::LOG2_E));
    V::splat(V::Element::LEAST_EXPONENT).max(V::splat(V::Element::MOST_EXPONENT).min(y))
}

/// [`crossover_core::elementary::exp_polynomial`]: a power of two times the Taylor polynomial of 2^f.
#[derive(Clone, Copy)]
struct ExpPolynomial<E>(Taylor<E>);

impl<E: Lanes> Function<E> for ExpPolynomial<E> {
    #[inline(always)]
    fn of<V: Vector<Element = E>>(self, x: V) -> V {
        let y = octaves(x);
        let whole = y.round();
        self.0.of(y.sub(whole)).scale_by_power(whole)
    }
}

/// [`crossover_core::elementary::exp_table`]: a power of two times an entry of a table. Vectors find the entries, lanes fetch them.
#[derive(Clone, Copy)]
struct ExpTable<E: 'static> {
    /// 2^(k / entries) for the finest table; a coarser one is every so many-th of its entries.
    finest: &'static [E],
    entries: E,
    spacing: E,
}

/// Types with a table of powers of two.
pub(crate) trait Tables: Lanes + Plain {
    /// 2^(k / 2^[`MAX_TABLE_BITS`]).
    fn powers() -> &'static [Self];
}

macro_rules! tables {
    ($float:ident) => {
        impl Tables for $float {
            fn powers() -> &'static [Self] {
                static POWERS: LazyLock<Vec<$float>> = LazyLock::new(|| {
                    let entries = 1u32 << MAX_TABLE_BITS;
                    (0..entries).map(|entry| libm::exp2(f64::from(entry) / f64::from(entries)) as $float).collect()
                });
                &POWERS
            }
        }
    };
}
tables!(f32);
tables!(f64);

impl<E: Tables> ExpTable<E> {
    /// The number of bits is one that the operation defines.
    fn new(bits: u32) -> Self {
        let bits = bits.min(MAX_TABLE_BITS);
        let power = |bits: u32| E::from_f64(f64::from(1u32 << bits));
        Self { finest: E::powers(), entries: power(bits), spacing: power(MAX_TABLE_BITS - bits) }
    }
}

impl<E: Tables> Function<E> for ExpTable<E> {
    #[inline(always)]
    fn of<V: Vector<Element = E>>(self, x: V) -> V {
        let (entries, y) = (V::splat(self.entries), octaves(x));
        let nearest = y.mul(entries).round();
        let octave = nearest.div(entries);
        // Rounded down: half of an entry's width keeps whole octaves off the tie.
        let half_less = E::from_f64(0.5) - E::from_f64(0.25) / self.entries;
        let whole = octave.sub(V::splat(half_less)).round();
        let entry = octave.sub(whole).mul(entries).mul(V::splat(self.spacing));
        let last = self.finest.len() - 1;
        // A NaN finds the first entry, and is put back by the product.
        let significand = by_lane(entry, |entry| self.finest[(entry.to_f64() as usize).min(last)]);
        y.where_equal(y, significand.scale_by_power(whole), y)
    }
}
