//! Views as faer's matrices, and the calls.

use crossover_core::check;
use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::layout::Layout;
use crossover_core::tensor::{Buffer, View, ViewMut};
use crossover_simd::buffer::SimdBuffer;
use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::ThreadPool;

/// A type that faer multiplies.
pub(crate) trait Number: ComplexField + Copy {
    const DTYPE: DType;
    fn from_f64(value: f64) -> Self;
    fn slice(buffer: &SimdBuffer) -> Option<&[Self]>;
    fn slice_mut(buffer: &mut SimdBuffer) -> Option<&mut [Self]>;
}

macro_rules! number {
    ($number:ty, $arm:ident) => {
        impl Number for $number {
            const DTYPE: DType = DType::$arm;
            fn from_f64(value: f64) -> Self {
                value as Self
            }
            fn slice(buffer: &SimdBuffer) -> Option<&[Self]> {
                if let SimdBuffer::$arm(values) = buffer { Some(values) } else { None }
            }
            fn slice_mut(buffer: &mut SimdBuffer) -> Option<&mut [Self]> {
                if let SimdBuffer::$arm(values) = buffer { Some(values) } else { None }
            }
        }
    };
}
number!(f64, F64);
number!(f32, F32);

/// Threads for products: a pool of their own, or none.
#[derive(Debug)]
pub(crate) struct Threads(Option<ThreadPool>);

impl Threads {
    pub(crate) fn new(threads: usize) -> std::result::Result<Self, String> {
        if threads == 1 {
            return Ok(Self(None));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|at| format!("faer-{at}")).build();
        pool.map(|pool| Self(Some(pool))).map_err(|error| error.to_string())
    }

    fn run(&self, work: impl FnOnce(Par) + Send) {
        match &self.0 {
            None => work(Par::Seq),
            Some(pool) => pool.install(|| work(Par::rayon(pool.current_num_threads()))),
        }
    }
}

/// The last two dimensions of a view, as matrices one after the other.
pub(crate) struct Matrices {
    extents: [usize; 2],
    strides: [isize; 2],
    layout: Layout,
}

impl Matrices {
    /// Of a layout that stays inside the buffer.
    pub(crate) fn of(operation: &'static str, buffer: &SimdBuffer, layout: &Layout) -> Result<Self> {
        check::inside(operation, buffer, layout)?;
        let (shape, strides) = (layout.shape(), layout.strides());
        let last = layout.rank() - 2;
        // An extent that overflows isize does not fit into memory.
        let stride = |at: usize| strides[last + at] as isize;
        Ok(Self { extents: [shape[last], shape[last + 1]], strides: [stride(0), stride(1)], layout: *layout })
    }

    fn count(&self) -> usize {
        self.layout.shape()[..self.layout.rank() - 2].iter().product()
    }

    fn get<'a, E: Number>(&self, values: &'a [E], at: usize) -> MatRef<'a, E> {
        let [rows, columns] = self.extents;
        // SAFETY: every element of the view lies inside the buffer, as `of` has checked.
        unsafe {
            MatRef::from_raw_parts(
                values.as_ptr().wrapping_add(self.layout.leading_offset(2, at)),
                rows,
                columns,
                self.strides[0],
                self.strides[1],
            )
        }
    }

    fn get_mut<'a, E: Number>(&self, values: &'a mut [E], at: usize) -> MatMut<'a, E> {
        let [rows, columns] = self.extents;
        // SAFETY: as above; `multiply` has checked that the output does not repeat its elements.
        unsafe {
            MatMut::from_raw_parts_mut(
                values.as_mut_ptr().wrapping_add(self.layout.leading_offset(2, at)),
                rows,
                columns,
                self.strides[0],
                self.strides[1],
            )
        }
    }
}

fn typed<'a, E: Number>(operation: &'static str, view: &View<'a, SimdBuffer>) -> Result<&'a [E]> {
    E::slice(view.buffer).ok_or_else(|| EngineError::ElementType { operation, expected: E::DTYPE, found: view.dtype() })
}

/// C = alpha A B, or C + alpha A B, for as many matrices as C has; B may be one for all.
pub(crate) fn multiply<E: Number>(
    operation: &'static str,
    threads: &Threads,
    (alpha, adds): (f64, bool),
    (a, b): (View<'_, SimdBuffer>, View<'_, SimdBuffer>),
    c: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let (left, right) = (Matrices::of(operation, a.buffer, &a.layout)?, Matrices::of(operation, b.buffer, &b.layout)?);
    check::output(operation, c.buffer, &c.layout)?;
    let target = Matrices::of(operation, c.buffer, &c.layout)?;
    let (a, b) = (typed::<E>(operation, &a)?, typed::<E>(operation, &b)?);
    let found = c.buffer.dtype();
    let c = E::slice_mut(c.buffer).ok_or(EngineError::ElementType { operation, expected: E::DTYPE, found })?;
    let accum = if adds { Accum::Add } else { Accum::Replace };
    if target.extents.contains(&0) {
        return Ok(());
    }
    threads.run(|par| {
        for at in 0..target.count() {
            let b = right.get(b, at.min(right.count() - 1));
            matmul(target.get_mut(c, at), accum, left.get(a, at), b, E::from_f64(alpha), par);
        }
    });
    Ok(())
}
