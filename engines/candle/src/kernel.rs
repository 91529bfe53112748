//! Kernels of our own inside candle: a function of whole rows as a `CustomOp1` on the CPU.
//!
//! For what candle's CPU lacks (running maximum softmax, norms in one pass, stable sorting, top-k, exact limits and NaNs of activations).
//! Rows are shared out over the rayon pool that the caller is in, if it is in one; each row is computed by one thread in one order, so the number of threads does
//! not change a bit. No gradients: training composes candle's operations instead.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Shape, Tensor};
use rayon::prelude::*;

/// A type that kernels read or write.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    /// The elements of a storage of this type.
    fn slice(storage: &CpuStorage) -> Option<&[Self]>;
    /// A storage of these elements.
    fn wrap(values: Vec<Self>) -> CpuStorage;
}

macro_rules! element {
    ($name:ident, $arm:ident) => {
        impl Element for $name {
            fn slice(storage: &CpuStorage) -> Option<&[Self]> {
                match storage {
                    CpuStorage::$arm(values) => Some(values),
                    _ => None,
                }
            }
            fn wrap(values: Vec<Self>) -> CpuStorage {
                CpuStorage::$arm(values)
            }
        }
    };
}
element!(f32, F32);
element!(f64, F64);
element!(i32, I32);

/// A compute type: f32 or f64.
pub(crate) trait Real: Element + PartialOrd + num::Arithmetic {
    const ZERO: Self;
    const ONE: Self;
    /// The lowest finite number.
    const LOWEST: Self;

    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    fn exp(self) -> Self;
    fn exp2(self) -> Self;
    fn sqrt(self) -> Self;
    fn erfc(self) -> Self;
    fn is_nan(self) -> bool;

    /// The larger; NaN if either is.
    fn larger(self, other: Self) -> Self {
        if other > self || other.is_nan() { other } else { self }
    }

    /// The smaller; NaN if either is.
    fn smaller(self, other: Self) -> Self {
        if other < self || other.is_nan() { other } else { self }
    }
}

/// The operators, under one name.
pub(crate) mod num {
    use std::ops::{Add, Div, Mul, Neg, Sub};

    /// What floats can do.
    pub(crate) trait Arithmetic:
        Sized + Neg<Output = Self> + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
    {
    }
    impl Arithmetic for f32 {}
    impl Arithmetic for f64 {}
}

macro_rules! real {
    ($float:ident, $erfc:path) => {
        impl Real for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = $float::MIN;

            fn from_f64(value: f64) -> Self {
                value as Self
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn exp(self) -> Self {
                $float::exp(self)
            }
            fn exp2(self) -> Self {
                $float::exp2(self)
            }
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }
            fn erfc(self) -> Self {
                $erfc(self)
            }
            fn is_nan(self) -> bool {
                $float::is_nan(self)
            }
        }
    };
}
real!(f32, libm::erfcf);
real!(f64, libm::erfc);

/// Elements below which sharing out costs more than it gains.
const SHARE_FROM: usize = 1 << 14;

/// A function from each row of a dense tensor to a row of the result.
struct RowKernel<T, U, F> {
    name: &'static str,
    /// Elements of a row that is read, and of one that is written; at least 1.
    widths: (usize, usize),
    work: F,
    types: std::marker::PhantomData<fn(T) -> U>,
}

impl<T: Element, U: Element, F: Fn(&[T], &mut [U]) + Sync> CustomOp1 for RowKernel<T, U, F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (from, to) = layout.contiguous_offsets().ok_or(Error::RequiresContiguous { op: self.name })?;
        let values = T::slice(storage).ok_or(Error::UnsupportedDTypeForOp(storage_type(storage), self.name))?;
        let (values, (read, written)) = (&values[from..to], self.widths);
        // The last row may be shorter where a row is just a convenient piece.
        let mut out = vec![U::default(); values.len() / read * written + values.len() % read];
        let rows_at_once = SHARE_FROM.div_ceil(read);
        let piece = |values: &[T], out: &mut [U]| {
            values.chunks(read).zip(out.chunks_mut(written)).for_each(|(row, out)| (self.work)(row, out));
        };
        if values.len() < 2 * SHARE_FROM || rayon::current_thread_index().is_none() {
            piece(values, &mut out);
        } else {
            let pieces = values.par_chunks(rows_at_once * read).zip(out.par_chunks_mut(rows_at_once * written));
            pieces.for_each(|(values, out)| piece(values, out));
        }
        let count = out.len();
        Ok((U::wrap(out), Shape::from(count)))
    }
}

fn storage_type(storage: &CpuStorage) -> candle_core::DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

/// Applies a function to the rows of a dense tensor on the CPU; the result is flat. Rows have at least one element on both sides.
pub(crate) fn rows<T: Element, U: Element>(
    name: &'static str,
    x: &Tensor,
    widths: (usize, usize),
    work: impl Fn(&[T], &mut [U]) + Sync + Send,
) -> candle_core::Result<Tensor> {
    x.apply_op1_no_bwd(&RowKernel { name, widths, work, types: std::marker::PhantomData })
}

/// Applies a function to every element; the result has the shape of x.
pub(crate) fn elements<T: Element>(name: &'static str, x: &Tensor, function: impl Fn(T) -> T + Sync + Send) -> candle_core::Result<Tensor> {
    let work = |x: &[T], out: &mut [T]| x.iter().zip(out).for_each(|(&x, out)| *out = function(x));
    rows(name, x, (1 << 12, 1 << 12), work)?.reshape(x.shape())
}

/// Evaluates an expression with a type name bound to the type of a float tensor.
macro_rules! in_type_of {
    ($tensor:expr, $real:ident => $call:expr) => {
        match $tensor.dtype() {
            candle_core::DType::F64 => {
                type $real = f64;
                $call
            }
            _ => {
                type $real = f32;
                $call
            }
        }
    };
}
pub(crate) use in_type_of;
