//! Prepared weights.
//!
//! candle multiplies floats only, and on the CPU f32 and f64 only with sums of that type. So every weight is held as [outputs, inputs]
//! in the compute type, dequantised where it was codes: the product then meets exactly the values that the codes stand for. Under int8
//! activations the codes themselves are held, as f64, in which their products sum exactly. The bytes are what is really held. (candle's
//! own quantised formats are blocks of 32 inputs of other codes: they cannot hold these bits.)

use candle_core::{Tensor, Var};
use crossover_core::backend::PreparedWeight;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result};
use crossover_core::ops::WeightForm;
use crossover_core::weights::HostWeight;

use crate::backend::Engine;
use crate::buffer::CandleBuffer;
use crate::error::During;

/// A weight as this engine holds it.
#[derive(Debug)]
pub struct CandleWeight {
    pub(crate) held: Held,
    pub(crate) form: WeightForm,
    outputs: usize,
    inputs: usize,
}

/// [outputs, inputs] in one way or the other.
#[derive(Debug)]
pub(crate) enum Held {
    /// In the compute type; a variable in training.
    Values(Tensor),
    /// Codes in f64, and the scale of each output in f32.
    Codes { codes: Tensor, scales: Tensor },
    /// Codes of four bits for a kernel of ours.
    #[cfg(feature = "cuda")]
    Int4(crate::cuda::engine::PackedInt4),
}

impl PreparedWeight for CandleWeight {
    fn bytes(&self) -> usize {
        let bytes = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        match &self.held {
            Held::Values(values) => bytes(values),
            Held::Codes { codes, scales } => bytes(codes) + bytes(scales),
            #[cfg(feature = "cuda")]
            Held::Int4(packed) => packed.bytes(),
        }
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn inputs(&self) -> usize {
        self.inputs
    }
}

impl CandleWeight {
    pub(crate) fn prepare(engine: &Engine, weight: &HostWeight, precision: Precision) -> Result<Self> {
        check(weight, precision)?;
        let values = weight.dequantized();
        let (outputs, inputs) = (weight.outputs(), weight.inputs());
        let tensor = |dtype, values: &[f64]| CandleBuffer::rounded(dtype, values, &engine.device).map(|buffer| buffer.tensor);
        let matrix = |flat: Tensor| flat.reshape((outputs, inputs)).during("weight");
        #[cfg(feature = "cuda")]
        if let HostWeight::Int4(int4) = weight
            && let Some(packed) = crate::cuda::engine::PackedInt4::prepare(engine, int4).during("weight")?
        {
            return Ok(Self { held: Held::Int4(packed), form: weight.form(), outputs, inputs });
        }
        let held = match weight {
            HostWeight::Int8(int8) if precision.activation == DType::I8 => {
                let codes: Vec<f64> = int8.codes.iter().map(|&code| f64::from(code)).collect();
                let scales: Vec<f64> = int8.scales.iter().map(|&scale| f64::from(scale)).collect();
                Held::Codes { codes: matrix(tensor(DType::F64, &codes)?)?, scales: tensor(DType::F32, &scales)? }
            }
            _ if engine.training => {
                let variable = Var::from_tensor(&matrix(tensor(precision.compute(), values.values())?)?).during("weight")?;
                engine.remember(variable.clone());
                Held::Values(variable.as_tensor().clone())
            }
            _ => Held::Values(matrix(tensor(precision.compute(), values.values())?)?),
        };
        Ok(Self { held, form: weight.form(), outputs, inputs })
    }
}

/// The fields of a host weight are public: they may not fit together.
fn check(weight: &HostWeight, precision: Precision) -> Result<()> {
    weight.check()?;
    match weight {
        HostWeight::Dense { dtype, .. } => expect_type(*dtype, precision),
        HostWeight::Sparse(sparse) => expect_type(sparse.dtype, precision),
        HostWeight::Int8(_) | HostWeight::Int4(_) | HostWeight::Palette(_) => Ok(()),
    }
}

/// A type whose values the compute type holds exactly.
pub(crate) fn expect_type(dtype: DType, precision: Precision) -> Result<()> {
    if dtype.is_float() && dtype.unit_roundoff() >= precision.compute().unit_roundoff() {
        return Ok(());
    }
    Err(EngineError::ElementType { operation: "weight", expected: precision.compute(), found: dtype })
}
