//! Uniform integer quantisation at 2 to 8 bits, with a scale for the whole weight, each row or each group of inputs.
//!
//! Symmetric codes are -(2^(b-1) - 1)..=2^(b-1) - 1; asymmetric ones are 0..=2^b - 1 with a zero point that is itself a code, so that
//! zero stays exact (Jacob et al., 2018, section 2.1). Finer scales cost bytes and follow outliers less; asymmetric codes use the range
//! better for skewed weights and cost products a correction term. Rounding is to nearest, nothing is calibrated on data. The two forms
//! that engines hold natively (int8 rows, int4 groups) are made by [`crossover_core::quantize`].

use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use crossover_core::quantize::{Int4Groups, Int8Rows, int4_groups, int8_rows};
use crossover_core::weights::HostWeight;

use crate::error::Result;
use crate::matrix::{Matrix, largest};
use crate::saving::Saving;

const TRANSFORM: &str = "quantisation";

/// What shares one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// The whole weight.
    Tensor,
    /// Each row (output channel).
    Row,
    /// Each so many neighbouring inputs of a row; the last group may be shorter.
    Group(usize),
}

/// Where zero lies among the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the middle: value = scale x code.
    Symmetric,
    /// At a zero point: value = scale x (code - zero).
    Asymmetric,
}

/// A weight as integer codes.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantised {
    /// Number of rows.
    pub outputs: usize,
    /// Number of columns.
    pub inputs: usize,
    /// Bits of a code.
    pub bits: u32,
    /// What shares a scale.
    pub granularity: Granularity,
    /// Row-major codes; negative ones only if symmetric.
    pub codes: Vec<i16>,
    /// One scale for each share, row-major.
    pub scales: Vec<f32>,
    /// One zero point for each share; none if symmetric.
    pub zeros: Option<Vec<u8>>,
    /// What this saves: codes packed at their bits, four bytes a scale, one byte a zero point.
    pub saving: Saving,
}

/// Quantises a weight. `dtype` is the type it was held in before.
pub fn quantise(weight: &HostTensor, bits: u32, granularity: Granularity, scheme: Scheme, dtype: DType) -> Result<Quantised> {
    let matrix = Matrix::within_f32(TRANSFORM, weight)?;
    if !(2..=8).contains(&bits) {
        return Err(matrix.parameter_error("the number of bits", bits, "2 to 8"));
    }
    if granularity == Granularity::Group(0) {
        return Err(matrix.parameter_error("the group", 0, "at least one input"));
    }
    let (codes, scales, zeros) = match scheme {
        Scheme::Symmetric => {
            let (codes, scales) = symmetric(weight, &matrix, bits, granularity)?;
            (codes, scales, None)
        }
        Scheme::Asymmetric => {
            let (codes, scales, zeros) = asymmetric(&matrix, bits, granularity);
            (codes, scales, Some(zeros))
        }
    };
    let [outputs, inputs] = matrix.shape();
    let values = dequantise(&codes, &scales, zeros.as_deref(), [outputs, inputs], granularity);
    let bytes = (codes.len() * bits as usize).div_ceil(8) + 4 * scales.len() + zeros.as_ref().map_or(0, Vec::len);
    let saving = Saving::new(weight, dtype, codes.len(), bytes, &HostTensor::new(&[outputs, inputs], values)?)?;
    Ok(Quantised { outputs, inputs, bits, granularity, codes, scales, zeros, saving })
}

impl Quantised {
    /// The values that the codes stand for.
    pub fn dequantised(&self) -> Result<HostTensor> {
        let shape = [self.outputs, self.inputs];
        let values = dequantise(&self.codes, &self.scales, self.zeros.as_deref(), shape, self.granularity);
        Ok(HostTensor::new(&shape, values)?)
    }

    /// As a weight that engines have integer kernels for, without loss: symmetric codes of at most 4 bits as int4 groups, longer
    /// ones as int8 rows. None for zero points, and for more than 4 bits in groups.
    pub fn host_weight(&self) -> Option<HostWeight> {
        if self.zeros.is_some() {
            return None;
        }
        let (outputs, inputs) = (self.outputs, self.inputs);
        // Codes of at most 8 bits fit by construction.
        let codes = self.codes.iter().map(|&code| code as i8).collect();
        let scales = match self.granularity {
            Granularity::Tensor => vec![self.scales[0]; outputs],
            Granularity::Row | Granularity::Group(_) => self.scales.clone(),
        };
        match (self.bits, self.granularity) {
            (..=4, Granularity::Group(group)) => Some(HostWeight::Int4(Int4Groups { outputs, inputs, group, codes, scales })),
            (..=4, _) => Some(HostWeight::Int4(Int4Groups { outputs, inputs, group: inputs, codes, scales })),
            (_, Granularity::Group(_)) => None,
            _ => Some(HostWeight::Int8(Int8Rows { outputs, inputs, codes, scales })),
        }
    }
}

/// The entries that share one scale, in the order of the scales.
fn shares<'a>(matrix: &Matrix<'a>, granularity: Granularity) -> Vec<&'a [f64]> {
    match granularity {
        Granularity::Tensor => vec![matrix.values],
        Granularity::Row => matrix.each_row().collect(),
        Granularity::Group(group) => matrix.each_row().flat_map(|row| row.chunks(group)).collect(),
    }
}

fn symmetric(weight: &HostTensor, matrix: &Matrix<'_>, bits: u32, granularity: Granularity) -> Result<(Vec<i16>, Vec<f32>)> {
    let widen = |codes: Vec<i8>| codes.into_iter().map(i16::from).collect();
    match (bits, granularity) {
        (8, Granularity::Row) => {
            let made = int8_rows(weight)?;
            Ok((widen(made.codes), made.scales))
        }
        (4, Granularity::Group(group)) => {
            let made = int4_groups(weight, group)?;
            Ok((widen(made.codes), made.scales))
        }
        _ => {
            let top = f64::from((1i16 << (bits - 1)) - 1);
            let mut codes = Vec::with_capacity(matrix.values.len());
            let scales = shares(matrix, granularity).into_iter().map(|share| {
                let scale = (largest(share) / top) as f32;
                codes.extend(share.iter().map(|value| steps(*value, scale).clamp(-top, top) as i16));
                scale
            });
            let scales = scales.collect();
            Ok((codes, scales))
        }
    }
}

fn asymmetric(matrix: &Matrix<'_>, bits: u32, granularity: Granularity) -> (Vec<i16>, Vec<f32>, Vec<u8>) {
    let top = f64::from((1i16 << bits) - 1);
    let (mut codes, mut scales, mut zeros) = (Vec::with_capacity(matrix.values.len()), Vec::new(), Vec::new());
    for share in shares(matrix, granularity) {
        // The range takes in zero, or the zero point would not be a code.
        let (low, high) = share.iter().fold((0.0f64, 0.0f64), |(low, high), value| (low.min(*value), high.max(*value)));
        let scale = ((high - low) / top) as f32;
        let zero = steps(-low, scale).clamp(0.0, top);
        codes.extend(share.iter().map(|value| (steps(*value, scale) + zero).clamp(0.0, top) as i16));
        scales.push(scale);
        zeros.push(zero as u8);
    }
    (codes, scales, zeros)
}

/// A value in whole steps of a scale; none if the scale is zero (all zeros, or too small for f32).
fn steps(value: f64, scale: f32) -> f64 {
    if scale > 0.0 { (value / f64::from(scale)).round_ties_even() } else { 0.0 }
}

fn dequantise(codes: &[i16], scales: &[f32], zeros: Option<&[u8]>, [_, inputs]: [usize; 2], granularity: Granularity) -> Vec<f64> {
    let share = |at: usize| match granularity {
        Granularity::Tensor => 0,
        Granularity::Row => at / inputs,
        Granularity::Group(group) => at / inputs * inputs.div_ceil(group) + at % inputs / group,
    };
    let value = |(at, &code): (usize, &i16)| {
        let zero = zeros.map_or(0, |zeros| i16::from(zeros[share(at)]));
        f64::from(code - zero) * f64::from(scales[share(at)])
    };
    codes.iter().enumerate().map(value).collect()
}

#[cfg(test)]
#[path = "quantise_tests.rs"]
mod tests;
