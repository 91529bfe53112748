//! Prepared weights.
//!
//! A dense weight [outputs, inputs] is the B of a product, transposed, and is packed into the micro-kernel's panels here, before the
//! timer: all of its inputs for one tile of outputs behind each other. A product with few rows streams the same panels.

use crossover_core::backend::PreparedWeight;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result, shape_error};
use crossover_core::ops::WeightForm;
use crossover_core::weights::HostWeight;

use crate::aligned::{Aligned, Plain};
use crate::backend::NAME;
use crate::element::Element;
use crate::gemm::{Source, TileColumns, pack_columns};
use crate::isa::Isa;
use crate::vector::Lanes;

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
}

impl PreparedWeight for SimdWeight {
    fn bytes(&self) -> usize {
        match &self.packed {
            Packed::F64(panels) => size_of_val(&**panels),
            Packed::F32(panels) => size_of_val(&**panels),
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
        let packed = match weight {
            HostWeight::Dense { values, dtype } if *dtype == precision.compute() => {
                let &[_, _] = values.shape() else {
                    return Err(shape_error("weight", format!("{:?} is not [outputs, inputs]", values.shape())));
                };
                match dtype {
                    DType::F64 => Packed::F64(panels(isa, *dtype, values.values(), [outputs, inputs])?),
                    _ => Packed::F32(panels(isa, *dtype, values.values(), [outputs, inputs])?),
                }
            }
            _ => {
                let operation = format!("a weight held as {form:?} at {precision}");
                return Err(EngineError::Unsupported { engine: NAME, operation, reason: "it has no kernel for this form".into() });
            }
        };
        Ok(Self { outputs, inputs, form, packed })
    }
}

/// The panels of a dense weight, each value rounded once.
fn panels<E: Lanes + Element + Plain>(isa: Isa, dtype: DType, values: &[f64], [outputs, inputs]: [usize; 2]) -> Result<Aligned<E>> {
    let tile = isa.run::<E, _>(TileColumns);
    let mut rounded = Aligned::<E>::zeros(dtype, values.len())?;
    rounded.iter_mut().zip(values).for_each(|(to, &from)| *to = E::from_f64(from));
    let mut panels = Aligned::zeros(dtype, outputs.next_multiple_of(tile).saturating_mul(inputs))?;
    pack_columns(&Source { pointer: rounded.as_ptr(), row: 1, column: inputs }, inputs, outputs, tile, &mut panels);
    Ok(panels)
}
