//! Explicit scratch: what an operation needs between its first and last step, taken and given back by name.
//!
//! Buffers are kept and reused, so that a warm call allocates nothing, and the arena knows how much was out at the same time: the
//! declared scratch figure of a cell. In poison mode every buffer comes filled with NaN, so that reading what was never written
//! shows up in the result instead of passing by luck.

use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::Layout;
use crate::tensor::{Buffer, Tensor};

/// A pool of scratch buffers of one engine.
#[derive(Debug)]
pub struct Arena<S> {
    free: Vec<S>,
    poison: bool,
    outstanding: usize,
    outstanding_bytes: usize,
    peak_bytes: usize,
}

impl<S: Buffer> Arena<S> {
    /// An empty arena.
    pub fn new() -> Self {
        Self { free: Vec::new(), poison: false, outstanding: 0, outstanding_bytes: 0, peak_bytes: 0 }
    }

    /// From now on, fill every buffer with NaN before it is handed out (verification), or stop doing so (timing).
    pub fn set_poison(&mut self, poison: bool) {
        self.poison = poison;
    }

    /// A scratch tensor with unspecified contents. Give it back with [`Arena::give`].
    pub fn take<B: TransformerBackend<Buffer = S>>(&mut self, backend: &B, dtype: DType, shape: &[usize]) -> Result<Tensor<S>> {
        let layout = Layout::contiguous(shape)?;
        // Exactly equal sizes only: a call asks for the same sizes every time, and the figures stay exact.
        let found = self.free.iter().position(|buffer| buffer.dtype() == dtype && buffer.len() == layout.len());
        let mut tensor = match found {
            Some(at) => Tensor { buffer: self.free.swap_remove(at), layout },
            None => backend.tensor(dtype, shape)?,
        };
        if self.poison {
            let poison = if dtype.is_float() { f64::NAN } else { f64::from(i32::MIN) };
            backend.fill(tensor.view_mut(), poison)?;
        }
        self.outstanding += 1;
        self.outstanding_bytes += tensor.bytes();
        self.peak_bytes = self.peak_bytes.max(self.outstanding_bytes);
        Ok(tensor)
    }

    /// Takes a scratch tensor back.
    pub fn give(&mut self, tensor: Tensor<S>) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.outstanding_bytes = self.outstanding_bytes.saturating_sub(tensor.bytes());
        self.free.push(tensor.buffer);
    }

    /// Runs work that takes scratch. What failing work had taken and not given back goes with it, and is no longer counted as out, so
    /// that an error keeps no scratch wherever it comes from. Work that succeeds gives everything back by itself: what it keeps, shows.
    pub fn scope<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = (self.outstanding, self.outstanding_bytes);
        let done = work(self);
        if done.is_err() {
            (self.outstanding, self.outstanding_bytes) = before;
        }
        done
    }

    /// Most bytes that were out at the same time.
    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// Tensors taken and not given back: 0 between calls, or somebody leaks.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }
}

impl<S: Buffer> Default for Arena<S> {
    fn default() -> Self {
        Self::new()
    }
}
