//! Functions of one vector as values, so that a kernel can be written once for all of them.
//!
//! Closures would be shorter, but nothing makes the compiler inline a closure, and one that is not inlined is compiled for the baseline.

use super::{Lanes, Vector};
use crate::element::Real;

/// A function of every lane.
pub(crate) trait Function<E>: Copy + Sync {
    /// Its value. Must be `#[inline(always)]`.
    fn of<V: Vector<Element = E>>(self, x: V) -> V;
}

/// Defines a function without parameters: `function!(Name, x => expression of vectors)`.
macro_rules! function {
    ($name:ident, $x:ident => $value:expr) => {
        #[derive(Clone, Copy)]
        struct $name;

        impl<E: $crate::vector::Lanes> $crate::vector::Function<E> for $name {
            #[inline(always)]
            fn of<V: $crate::vector::Vector<Element = E>>(self, $x: V) -> V {
                $value
            }
        }
    };
}
pub(crate) use function;

/// x times a number.
#[derive(Clone, Copy)]
pub(crate) struct Times<E>(pub(crate) E);

impl<E: Lanes> Function<E> for Times<E> {
    #[inline(always)]
    fn of<V: Vector<Element = E>>(self, x: V) -> V {
        x.mul(V::splat(self.0))
    }
}

/// x over a number: for divisors so small that one over them is infinite.
#[derive(Clone, Copy)]
pub(crate) struct Over<E>(pub(crate) E);

impl<E: Lanes> Function<E> for Over<E> {
    #[inline(always)]
    fn of<V: Vector<Element = E>>(self, x: V) -> V {
        x.div(V::splat(self.0))
    }
}

/// The most lanes of any vector.
pub(crate) const MOST_LANES: usize = 16;

/// A function that has no vector form: lane by lane.
#[inline(always)]
pub(crate) fn by_lane<V: Vector>(x: V, function: impl Fn(V::Element) -> V::Element) -> V {
    let mut lanes = [V::Element::ZERO; MOST_LANES];
    // SAFETY: the array has room for the lanes of every vector.
    unsafe { x.store(lanes.as_mut_ptr()) };
    for lane in &mut lanes[..V::LANES] {
        *lane = function(*lane);
    }
    // SAFETY: likewise.
    unsafe { V::load(lanes.as_ptr()) }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::isa::{Isa, Kernel};
    use crossover_core::isa::IsaChoice;

    struct Apply<'a, E, F> {
        function: F,
        values: &'a mut [E],
    }

    impl<E: Lanes, F: Function<E>> Kernel<E> for Apply<'_, E, F> {
        type Output = ();

        #[inline(always)]
        fn run<V: Vector<Element = E>>(self) {
            for part in self.values.chunks_mut(V::LANES) {
                // SAFETY: the length of the part is what is accessed.
                unsafe { self.function.of(V::load_first(part.as_ptr(), part.len())).store_first(part.as_mut_ptr(), part.len()) };
            }
        }
    }

    /// The paths of this machine.
    pub(crate) fn paths() -> impl Iterator<Item = Isa> {
        IsaChoice::ALL.into_iter().filter_map(|choice| Isa::chosen(choice).ok())
    }

    /// The function of every value, in place.
    pub(crate) fn run<E: Lanes, F: Function<E>>(isa: Isa, function: F, values: &mut [E]) {
        isa.run(Apply { function, values });
    }

    /// The largest error over this range, in units in the last place of the right value (which must be a normal number).
    pub(crate) fn worst_in_units<E: Lanes, F: Function<E>>(isa: Isa, function: F, range: [f64; 2], right: impl Fn(f64) -> f64) -> f64 {
        worst_by(isa, function, range, |x, value| {
            let right = right(x);
            let digits = if size_of::<E>() == 4 { 23 } else { 52 };
            let unit = libm::ldexp(1.0, right.abs().log2().floor() as i32 - digits);
            (value - right).abs() / unit
        })
    }

    /// The largest of errors that are measured by `error(x, value)`.
    pub(crate) fn worst_by<E: Lanes, F: Function<E>>(isa: Isa, function: F, range: [f64; 2], error: impl Fn(f64, f64) -> f64) -> f64 {
        let count = 200_003;
        let arguments: Vec<E> =
            (0..count).map(|index| E::from_f64(range[0] + (range[1] - range[0]) * f64::from(index) / f64::from(count))).collect();
        let mut values = arguments.clone();
        run(isa, function, &mut values);
        let errors = arguments.iter().zip(&values).map(|(x, value)| error(x.to_f64(), value.to_f64()));
        errors.fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst })
    }
}
