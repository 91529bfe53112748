//! Weights that are codes into a small table of levels: ternary weights and k-means palettes.
//!
//! A weight is scale of its row times the level that its code names. Ternary weights have the levels -1, 0, 1 and a scale a row; a
//! k-means palette has trained levels and scales of one.

use crate::error::{Result, shape_error};
use crate::host::HostTensor;

/// Codes [outputs, inputs] into a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Palette {
    /// Number of rows.
    pub outputs: usize,
    /// Number of columns.
    pub inputs: usize,
    /// Row-major codes, one a byte: packing is the engine's business.
    pub codes: Vec<u8>,
    /// What a code stands for; at most 256.
    pub levels: Vec<f32>,
    /// One factor a row.
    pub scales: Vec<f32>,
}

impl Palette {
    /// Bits of one code.
    pub fn bits(levels: usize) -> usize {
        levels.max(2).next_power_of_two().ilog2() as usize
    }

    /// The values that the codes stand for.
    pub fn dequantized(&self) -> HostTensor {
        let value = |(at, &code): (usize, &u8)| f64::from(self.levels[usize::from(code)]) * f64::from(self.scales[at / self.inputs]);
        let values = self.codes.iter().enumerate().map(value).collect();
        // `check` holds for every palette that is made here.
        HostTensor::new(&[self.outputs, self.inputs], values).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// Checks what an engine relies on: the fields are public.
    pub fn check(&self) -> Result<()> {
        let fits = self.outputs.checked_mul(self.inputs) == Some(self.codes.len())
            && self.scales.len() == self.outputs
            && self.levels.len() <= 256
            && self.codes.iter().all(|&code| usize::from(code) < self.levels.len());
        if fits { Ok(()) } else { Err(shape_error("palette", format!("the codes do not fit [{}, {}]", self.outputs, self.inputs))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stands_for_its_level_times_the_scale_of_its_row() {
        let ternary = Palette { outputs: 2, inputs: 2, codes: vec![0, 1, 2, 2], levels: vec![-1.0, 0.0, 1.0], scales: vec![2.0, 0.5] };
        ternary.check().unwrap();
        assert_eq!(ternary.dequantized().values(), [-2.0, 0.0, 0.5, 0.5]);
        assert_eq!([2, 3, 4, 16, 17, 256].map(Palette::bits), [1, 2, 2, 4, 5, 8]);
        assert!(Palette { codes: vec![0, 1, 2, 3], ..ternary }.check().is_err());
    }
}
