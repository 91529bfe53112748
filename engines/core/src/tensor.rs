//! Buffers of an engine with a core-owned layout on top: tensors, and the views that operations take.

use crate::dtype::DType;
use crate::error::Result;
use crate::layout::Layout;

/// What the core must know of an engine's buffer: its type and its length. Where it lives is the engine's business.
pub trait Buffer {
    /// Type of its elements.
    fn dtype(&self) -> DType;
    /// Number of its elements.
    fn len(&self) -> usize;
    /// True if it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A buffer and how it is seen.
#[derive(Debug)]
pub struct Tensor<S> {
    /// The engine's buffer.
    pub buffer: S,
    /// Its layout.
    pub layout: Layout,
}

/// A read-only view that an operation takes.
#[derive(Debug)]
pub struct View<'a, S> {
    /// The engine's buffer.
    pub buffer: &'a S,
    /// The part of it that is meant.
    pub layout: Layout,
}

/// A view that an operation writes.
#[derive(Debug)]
pub struct ViewMut<'a, S> {
    /// The engine's buffer.
    pub buffer: &'a mut S,
    /// The part of it that is meant.
    pub layout: Layout,
}

impl<S> Tensor<S> {
    /// The whole tensor, to read.
    pub fn view(&self) -> View<'_, S> {
        View { buffer: &self.buffer, layout: self.layout }
    }

    /// The whole tensor, to write.
    pub fn view_mut(&mut self) -> ViewMut<'_, S> {
        ViewMut { buffer: &mut self.buffer, layout: self.layout }
    }

    /// Its extents.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }
}

impl<S: Buffer> Tensor<S> {
    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.buffer.dtype()
    }

    /// Bytes of its buffer.
    pub fn bytes(&self) -> usize {
        self.dtype().bytes(self.buffer.len()).unwrap_or(usize::MAX)
    }
}

impl<S> Clone for View<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for View<'_, S> {}

impl<S: Buffer> View<'_, S> {
    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.buffer.dtype()
    }
}

impl<'a, S> View<'a, S> {
    /// The same buffer seen through another layout, as made by the methods of [`Layout`].
    pub fn with(self, relayout: impl FnOnce(&Layout) -> Result<Layout>) -> Result<Self> {
        Ok(Self { layout: relayout(&self.layout)?, ..self })
    }

    /// The matrix transpose.
    pub fn transposed(self) -> Result<Self> {
        self.with(Layout::transposed)
    }

    /// Part of one dimension.
    pub fn narrow(self, axis: usize, start: usize, length: usize) -> Result<Self> {
        self.with(|layout| layout.narrow(axis, start, length))
    }

    /// Its extents.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }
}

impl<S: Buffer> ViewMut<'_, S> {
    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.buffer.dtype()
    }
}

impl<S> ViewMut<'_, S> {
    /// The same view for a shorter time, so that it can be handed on and used again.
    pub fn reborrow(&mut self) -> ViewMut<'_, S> {
        ViewMut { buffer: self.buffer, layout: self.layout }
    }

    /// The same view, to read.
    pub fn as_view(&self) -> View<'_, S> {
        View { buffer: self.buffer, layout: self.layout }
    }

    /// The same buffer seen through another layout.
    pub fn with(self, relayout: impl FnOnce(&Layout) -> Result<Layout>) -> Result<Self> {
        Ok(Self { layout: relayout(&self.layout)?, ..self })
    }

    /// Part of one dimension.
    pub fn narrow(self, axis: usize, start: usize, length: usize) -> Result<Self> {
        self.with(|layout| layout.narrow(axis, start, length))
    }

    /// Its extents.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }
}
