//! Prepared weights.
//!
//! A dense weight [outputs, inputs] is the B of a product, transposed, and is packed into the micro-kernel's panels here, before the
//! timer: all of its inputs for one tile of outputs behind each other. A product with few rows streams the same panels. Weights in narrow
//! types are panels of words (`narrow.rs`); under f64 every weight is panels of doubles.

use crossover_core::backend::PreparedWeight;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::ops::WeightForm;
use crossover_core::weights::HostWeight;

use crate::aligned::{Aligned, Plain};
use crate::backend::NAME;
use crate::element::Element;
use crate::gemm::{Source, TileColumns, pack_columns};
use crate::isa::Isa;
use crate::narrow::Coded;
use crate::narrow::sparse::Sparse;
use crate::vector::{Lanes, Scalar};

/// A weight [outputs, inputs] as this engine holds it.
#[derive(Debug)]
pub struct SimdWeight {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) form: WeightForm,
    pub(crate) packed: Packed,
}

/// How it is held.
#[derive(Debug)]
pub(crate) enum Packed {
    /// Panels of doubles.
    F64(Aligned<f64>),
    /// Panels of singles.
    F32(Aligned<f32>),
    /// Panels of words: 16-bit floats or codes.
    Coded(Coded),
    /// Stored entries.
    Sparse(Sparse),
}

impl PreparedWeight for SimdWeight {
    fn bytes(&self) -> usize {
        match &self.packed {
            Packed::F64(panels) => size_of_val(&**panels),
            Packed::F32(panels) => size_of_val(&**panels),
            Packed::Coded(coded) => coded.bytes(),
            Packed::Sparse(sparse) => sparse.bytes(),
        }
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn inputs(&self) -> usize {
        self.inputs
    }
}

impl SimdWeight {
    /// Packs a host weight; its fields are public, so what is relied on is checked here.
    pub(crate) fn prepare(weight: &HostWeight, precision: Precision, isa: Isa) -> Result<Self> {
        let (outputs, inputs, form) = (weight.outputs(), weight.inputs(), weight.form());
        if let HostWeight::Dense { values, .. } = weight {
            let &[_, _] = values.shape() else {
                return Err(shape_error("weight", format!("{:?} is not [outputs, inputs]", values.shape())));
            };
        }
        let width = isa.run::<f32, _>(TileColumns);
        let refused = |reason: &str| {
            let operation = format!("a weight held as {form} at {precision}");
            Err(EngineError::Unsupported { engine: NAME, operation, reason: reason.into() })
        };
        let packed = match (precision.compute(), weight) {
            _ if precision.activation == DType::I8 && form != WeightForm::Int8PerChannel => {
                return refused("int8 activations multiply int8 weights only");
            }
            (DType::F64, _) => Packed::F64(panels(isa, DType::F64, checked(weight)?.values(), [outputs, inputs])?),
            (_, HostWeight::Dense { dtype: DType::F64, .. }) => return refused("weights in f64 do not fit sums in f32"),
            (_, HostWeight::Sparse(sparse)) if sparse.dtype == DType::F64 => return refused("weights in f64 do not fit sums in f32"),
            (_, HostWeight::Dense { values, dtype: dtype @ (DType::Bf16 | DType::F16) }) => {
                Packed::Coded(Coded::halves(values, *dtype, width)?)
            }
            (_, HostWeight::Int8(rows)) => Packed::Coded(Coded::int8(rows, width)?),
            (_, HostWeight::Int4(codes)) => Packed::Coded(Coded::int4(codes, width)?),
            (_, HostWeight::Sparse(sparse)) => Packed::Sparse(Sparse::prepare(sparse)?),
            (_, HostWeight::Palette(palette)) => Packed::Coded(Coded::palette(palette, width)?),
            (_, HostWeight::Dense { values, .. }) => Packed::F32(panels(isa, DType::F32, values.values(), [outputs, inputs])?),
        };
        Ok(Self { outputs, inputs, form, packed })
    }
}

/// What a weight stands for. The fields of host weights are public, so they are checked before they are relied on.
fn checked(weight: &HostWeight) -> Result<HostTensor> {
    weight.check()?;
    Ok(weight.dequantized())
}

/// The panels of a dense weight, each value rounded once.
fn panels<E: Lanes + Element + Plain>(isa: Isa, dtype: DType, values: &[f64], [outputs, inputs]: [usize; 2]) -> Result<Aligned<E>> {
    let tile = isa.run::<E, _>(TileColumns);
    let mut rounded = Aligned::<E>::zeros(dtype, values.len())?;
    rounded.iter_mut().zip(values).for_each(|(to, &from)| *to = E::from_f64(from));
    let mut panels = Aligned::zeros(dtype, outputs.next_multiple_of(tile).saturating_mul(inputs))?;
    pack_columns::<Scalar<E>>(&Source { pointer: rounded.as_ptr(), row: 1, column: inputs }, inputs, outputs, tile, &mut panels);
    Ok(panels)
}
