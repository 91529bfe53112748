//! Symmetric integer quantisation, shared by all engines.
//!
//! Codes are symmetric around zero (-127..127 and -7..7): no zero points, so that products of codes need no correction terms. A scale
//! is max|w| / largest code, rounded to f32 as engines hold it; the codes are made with the rounded scale, so the round trip stays
//! within half a step.
//!
//! No code stands for a NaN or an infinity. Where a value is not finite, the scale that it shares is NaN (and the codes are 0), so that
//! every output of these weights is NaN: wider than the value's own reach, but never silent.

use crate::dtype::DType;
use crate::error::{Result, shape_error};
use crate::host::HostTensor;

/// Most inputs for which a sum of int8 products cannot leave i32.
pub const LONGEST_INT8_SUM: usize = i32::MAX as usize / (127 * 127);

/// int8 codes [outputs, inputs] with one scale an output.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Rows {
    /// Number of rows.
    pub outputs: usize,
    /// Number of columns.
    pub inputs: usize,
    /// Row-major codes in -127..=127.
    pub codes: Vec<i8>,
    /// One scale a row.
    pub scales: Vec<f32>,
}

/// int4 codes [outputs, inputs] with one scale for each `group` neighbouring inputs of a row; the last group may be shorter.
#[derive(Debug, Clone, PartialEq)]
pub struct Int4Groups {
    /// Number of rows.
    pub outputs: usize,
    /// Number of columns.
    pub inputs: usize,
    /// Inputs that share a scale.
    pub group: usize,
    /// Row-major codes in -7..=7, one a byte: packing two to a byte is the engine's business.
    pub codes: Vec<i8>,
    /// Row-major scales, `inputs.div_ceil(group)` a row.
    pub scales: Vec<f32>,
}

/// Quantises each row of a weight to int8.
pub fn int8_rows(weight: &HostTensor) -> Result<Int8Rows> {
    let &[outputs, inputs] = weight.shape() else {
        return Err(shape_error("int8 quantisation", format!("{:?} is not [outputs, inputs]", weight.shape())));
    };
    let mut codes = Vec::with_capacity(weight.len());
    let mut scales = Vec::with_capacity(outputs);
    for row in weight.values().chunks(inputs.max(1)) {
        scales.push(encode(row, DType::I8, &mut codes));
    }
    scales.resize(outputs, 0.0);
    Ok(Int8Rows { outputs, inputs, codes, scales })
}

/// Quantises each group of each row of a weight to int4.
pub fn int4_groups(weight: &HostTensor, group: usize) -> Result<Int4Groups> {
    let &[outputs, inputs] = weight.shape() else {
        return Err(shape_error("int4 quantisation", format!("{:?} is not [outputs, inputs]", weight.shape())));
    };
    if group == 0 {
        return Err(shape_error("int4 quantisation", "a group needs at least one input"));
    }
    let mut codes = Vec::with_capacity(weight.len());
    let mut scales = Vec::with_capacity(outputs * inputs.div_ceil(group));
    for row in weight.values().chunks(inputs.max(1)) {
        scales.extend(row.chunks(group).map(|part| encode(part, DType::I4, &mut codes)));
    }
    Ok(Int4Groups { outputs, inputs, group, codes, scales })
}

/// Appends the codes of `values` and returns their scale. All zeros have scale 0 and codes 0; with a value that is not finite the scale is
/// NaN, as it is where no f32 is as large as the scale.
fn encode(values: &[f64], dtype: DType, codes: &mut Vec<i8>) -> f32 {
    let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let scale = (largest / dtype.largest()) as f32;
    // To `f64::max` a NaN is nothing, so every value is asked.
    let scale = if scale.is_finite() && values.iter().all(|value| value.is_finite()) { scale } else { f32::NAN };
    let code = |value: &f64| if scale > 0.0 { dtype.round(value / f64::from(scale)) as i8 } else { 0 };
    codes.extend(values.iter().map(code));
    scale
}

impl Int8Rows {
    /// Checks what an engine relies on: the fields are public. Reads every code, so it belongs where a weight is packed.
    pub fn check(&self) -> Result<()> {
        check("int8 weight", [self.outputs, self.inputs, 1], (&self.codes, &self.scales), DType::I8)
    }

    /// The values that the codes stand for.
    pub fn dequantized(&self) -> HostTensor {
        decode(self.outputs, self.inputs, &self.codes, |row, _| self.scales[row])
    }
}

impl Int4Groups {
    /// Checks what an engine relies on: the fields are public. Reads every code, so it belongs where a weight is packed.
    pub fn check(&self) -> Result<()> {
        if self.group == 0 {
            return Err(shape_error("int4 weight", "a group needs at least one input"));
        }
        check("int4 weight", [self.outputs, self.inputs, self.inputs.div_ceil(self.group)], (&self.codes, &self.scales), DType::I4)
    }

    /// The values that the codes stand for.
    pub fn dequantized(&self) -> HostTensor {
        let groups = self.inputs.div_ceil(self.group);
        decode(self.outputs, self.inputs, &self.codes, |row, column| self.scales[row * groups + column / self.group])
    }
}

/// As many codes and scales as the extents say, and codes that are symmetric around zero: kernels rely on there being no -128.
fn check(
    operation: &'static str,
    [outputs, inputs, scales_of_row]: [usize; 3],
    (codes, scales): (&[i8], &[f32]),
    dtype: DType,
) -> Result<()> {
    let (found, largest) = (codes.len(), dtype.largest() as i8);
    if outputs.checked_mul(inputs) != Some(found) || outputs.checked_mul(scales_of_row) != Some(scales.len()) {
        let detail = format!("{found} codes and {} scales for [{outputs}, {inputs}] with {scales_of_row} scales a row", scales.len());
        return Err(shape_error(operation, detail));
    }
    match codes.iter().position(|code| !(-largest..=largest).contains(code)) {
        None => Ok(()),
        Some(at) => Err(shape_error(operation, format!("code {} at position {at} is outside -{largest}..={largest}", codes[at]))),
    }
}

fn decode(outputs: usize, inputs: usize, codes: &[i8], scale: impl Fn(usize, usize) -> f32) -> HostTensor {
    let values = codes.iter().enumerate().map(|(at, &code)| f64::from(code) * f64::from(scale(at / inputs, at % inputs))).collect();
    // The codes were made from this very shape.
    HostTensor::new(&[outputs, inputs], values).unwrap_or_else(|error| unreachable!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weight(outputs: usize, inputs: usize, values: Vec<f64>) -> HostTensor {
        HostTensor::new(&[outputs, inputs], values).unwrap()
    }

    proptest! {
        #[test]
        fn the_round_trip_stays_within_half_a_step(values in prop::collection::vec(-1e3..1e3f64, 35), group in 1usize..9) {
            let w = weight(5, 7, values);
            let int8 = int8_rows(&w).unwrap();
            for (at, (before, after)) in w.values().iter().zip(int8.dequantized().values()).enumerate() {
                let step = f64::from(int8.scales[at / 7]);
                // The f32 scale may be a hair too small for the largest value: 127.00001 steps are clamped to 127.
                prop_assert!((before - after).abs() <= step * (0.5 + 1e-5), "{before} became {after}, step {step}");
            }
            let int4 = int4_groups(&w, group).unwrap();
            let groups = 7usize.div_ceil(group);
            for (at, (before, after)) in w.values().iter().zip(int4.dequantized().values()).enumerate() {
                let step = f64::from(int4.scales[at / 7 * groups + at % 7 / group]);
                prop_assert!((before - after).abs() <= step * (0.5 + 1e-6));
            }
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let w = weight(2, 3, vec![0.0; 6]);
        assert_eq!(int8_rows(&w).unwrap().dequantized(), w);
        assert_eq!(int4_groups(&w, 2).unwrap().dequantized(), w);
    }

    #[test]
    fn what_is_not_finite_does_not_vanish() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            for at in 0..3 {
                let mut values = [1.0, 0.0, -2.0, 3.0, 4.0, 5.0];
                values[at] = value;
                let w = weight(2, 3, values.to_vec());
                let (int8, int4) = (int8_rows(&w).unwrap(), int4_groups(&w, 2).unwrap());
                let spoiled = |w: HostTensor| w.values().iter().map(|value| value.is_nan()).collect::<Vec<_>>();
                assert_eq!(spoiled(int8.dequantized()), [true, true, true, false, false, false], "{value} at {at}");
                let first = at < 2;
                assert_eq!(spoiled(int4.dequantized()), [first, first, !first, false, false, false], "{value} at {at}");
                int8.check().unwrap();
                int4.check().unwrap();
            }
        }
    }

    #[test]
    fn codes_that_do_not_fit_are_errors() {
        let int8 = int8_rows(&weight(2, 3, vec![1.0; 6])).unwrap();
        let int4 = int4_groups(&weight(2, 3, vec![1.0; 6]), 2).unwrap();
        let changed8 = |change: fn(&mut Int8Rows)| {
            let mut weight = int8.clone();
            change(&mut weight);
            weight.check().map_err(|error| error.to_string()).unwrap_err()
        };
        assert_eq!(changed8(|weight| weight.codes[4] = -128), "int8 weight: code -128 at position 4 is outside -127..=127");
        assert!(changed8(|weight| weight.codes.truncate(5)).contains("5 codes and 2 scales for [2, 3]"));
        assert!(changed8(|weight| weight.scales.push(1.0)).contains("6 codes and 3 scales"));
        assert!(changed8(|weight| weight.outputs = usize::MAX).contains("6 codes"));
        let changed4 = |change: fn(&mut Int4Groups)| {
            let mut weight = int4.clone();
            change(&mut weight);
            weight.check().map_err(|error| error.to_string()).unwrap_err()
        };
        assert_eq!(changed4(|weight| weight.codes[0] = -8), "int4 weight: code -8 at position 0 is outside -7..=7");
        assert!(changed4(|weight| weight.codes[5] = 8).contains("code 8 at position 5"));
        assert!(changed4(|weight| weight.group = 0).contains("at least one input"));
        assert!(changed4(|weight| weight.group = 3).contains("with 1 scales a row"));
        assert!(changed4(|weight| weight.codes.push(0)).contains("7 codes"));
    }

    #[test]
    fn impossible_requests_are_errors() {
        assert!(int4_groups(&weight(1, 1, vec![1.0]), 0).is_err());
        assert!(int8_rows(&HostTensor::new(&[3], vec![1.0; 3]).unwrap()).is_err());
    }
}
