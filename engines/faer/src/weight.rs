//! Prepared weights: dense matrices as they come. faer packs inside of each product.

use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::dtype::Precision;
use crossover_core::error::{EngineError, Result};
use crossover_core::tensor::Tensor;
use crossover_core::weights::HostWeight;
use crossover_simd::SimdBackend;
use crossover_simd::buffer::SimdBuffer;

use crate::backend::NAME;

/// A weight [outputs, inputs].
#[derive(Debug)]
pub struct FaerWeight {
    pub(crate) values: Tensor<SimdBuffer>,
}

impl PreparedWeight for FaerWeight {
    fn bytes(&self) -> usize {
        self.values.bytes()
    }

    fn outputs(&self) -> usize {
        self.values.shape()[0]
    }

    fn inputs(&self) -> usize {
        self.values.shape()[1]
    }
}

impl FaerWeight {
    /// Puts a host weight into memory, each value rounded once.
    pub(crate) fn prepare(memory: &SimdBackend, weight: &HostWeight, precision: Precision) -> Result<Self> {
        match weight {
            HostWeight::Dense { values, dtype } if *dtype == precision.compute() && values.shape().len() == 2 => {
                Ok(Self { values: memory.upload(values, *dtype)? })
            }
            _ => Err(EngineError::Unsupported {
                engine: NAME,
                operation: format!("a weight held as {:?} at {precision}", weight.form()),
                reason: "faer multiplies dense matrices of f64 or f32".into(),
            }),
        }
    }
}
