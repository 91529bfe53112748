//! Scratch memory that operations without an arena argument need: one piece for each thread, kept by the engine between calls.
//!
//! A piece grows when a larger shape comes (in the warm-up of a measured cell) and is never given back before the engine is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crossover_core::dtype::DType;
use crossover_core::error::Result;

use crate::aligned::{Aligned, LINE, Plain};

/// One piece of scratch for each participant of the pool.
#[derive(Debug)]
pub(crate) struct Workspace {
    pieces: Vec<Mutex<Aligned<u8>>>,
}

/// A participant's piece while it works.
pub(crate) struct Piece<'a>(MutexGuard<'a, Aligned<u8>>);

impl Workspace {
    pub(crate) fn new(participants: usize) -> Self {
        Self { pieces: (0..participants).map(|_| Mutex::new(Aligned::empty())).collect() }
    }

    /// Makes sure that every piece holds two slices of so many elements: before threads start, so that they cannot fail.
    pub(crate) fn reserve<T: Plain>(&self, counts: [usize; 2]) -> Result<()> {
        for piece in &self.pieces {
            let bytes = counts.iter().fold(0, |sum: usize, &count| sum.saturating_add(bytes_of::<T>(count)));
            piece.lock().unwrap_or_else(PoisonError::into_inner).at_least(DType::I8, bytes)?;
        }
        Ok(())
    }

    /// The piece of a participant. Nobody else asks for it at the same time, so the lock is never waited for.
    pub(crate) fn piece(&self, participant: usize) -> Piece<'_> {
        Piece(self.pieces[participant].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Piece<'_> {
    /// Two slices, as reserved; their values are unspecified.
    pub(crate) fn split<T: Plain>(&mut self, [first, second]: [usize; 2]) -> (&mut [T], &mut [T]) {
        let (head, tail) = self.0.split_at_mut(bytes_of::<T>(first));
        (typed(head, first), typed(tail, second))
    }
}

/// Whole lines, so that the second slice is aligned too. What is too large for a number is the largest number, which nobody can reserve.
fn bytes_of<T>(count: usize) -> usize {
    count.saturating_mul(size_of::<T>()).checked_next_multiple_of(LINE).unwrap_or(usize::MAX)
}

fn typed<T: Plain>(bytes: &mut [u8], count: usize) -> &mut [T] {
    assert!(count <= bytes.len() / size_of::<T>() && bytes.as_ptr().addr().is_multiple_of(align_of::<T>()));
    // SAFETY: aligned and long enough, as just checked; every pattern of bits is a value of T.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), count) }
}
