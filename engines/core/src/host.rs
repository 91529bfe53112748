//! Tensors on the host: f64 arrays as drawn or read, before any engine has seen them.

use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};

use crate::dtype::DType;
use crate::error::{Result, shape_error};

/// A host tensor. Always f64 and row-major: narrower types are this, rounded. Copies share their values, which never change: a cell's
/// inputs go by several names, and at long lengths each would be gigabytes.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor(Arc<ArrayD<f64>>);

impl HostTensor {
    /// From values in row-major order.
    pub fn new(shape: &[usize], values: Vec<f64>) -> Result<Self> {
        let count = values.len();
        ArrayD::from_shape_vec(IxDyn(shape), values)
            .map(|array| Self(Arc::new(array)))
            .map_err(|_| shape_error("host tensor", format!("{count} values for the shape {shape:?}")))
    }

    /// Its extents.
    pub fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    /// Its values in row-major order.
    pub fn values(&self) -> &[f64] {
        // Built from a row-major vector and never relaid, so this always holds.
        self.0.as_slice().unwrap_or(&[])
    }

    /// As an ndarray, for host mathematics.
    pub fn array(&self) -> &ArrayD<f64> {
        &self.0
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if a dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every value rounded once to `dtype`: the bits that all engines get.
    pub fn rounded(&self, dtype: DType) -> Self {
        Self(Arc::new(self.0.mapv(|value| dtype.round(value))))
    }

    /// The same values under another shape of the same size.
    pub fn reshaped(self, shape: &[usize]) -> Result<Self> {
        let values = Arc::unwrap_or_clone(self.0).into_raw_vec_and_offset().0;
        Self::new(shape, values)
    }
}
