//! Element types and the precision triple of a cell.
//!
//! A precision is {weight, activation, accumulate}. `activation` says how products see activations: for int8 the tensors between
//! the operations stay f32 and every linear layer quantises its input rows by itself (dynamic quantisation), which is what
//! [`Precision::storage`] tells.

use std::fmt;
use std::str::FromStr;

/// The type of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// The upper half of a single.
    Bf16,
    /// IEEE half.
    F16,
    /// Signed byte; scales stand beside it.
    I8,
    /// Signed four-bit integer, two to a byte; scales stand beside it.
    I4,
    /// 32-bit integer: indices, and the accumulator of int8 products.
    I32,
}

impl DType {
    /// The name used in precisions, files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::I8 => "int8",
            Self::I4 => "int4",
            Self::I32 => "i32",
        }
    }

    /// Bytes that `count` elements take; `None` if that overflows.
    pub fn bytes(self, count: usize) -> Option<usize> {
        match self {
            Self::F64 => count.checked_mul(8),
            Self::F32 | Self::I32 => count.checked_mul(4),
            Self::Bf16 | Self::F16 => count.checked_mul(2),
            Self::I8 => Some(count),
            Self::I4 => Some(count.div_ceil(2)),
        }
    }

    /// Unit roundoff of a floating type: half the distance from 1 to the next number. Integers round to 1/2.
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Self::F64 => 2f64.powi(-53),
            Self::F32 => 2f64.powi(-24),
            Self::Bf16 => 2f64.powi(-8),
            Self::F16 => 2f64.powi(-11),
            Self::I8 | Self::I4 | Self::I32 => 0.5,
        }
    }

    /// Smallest positive normal number of a floating type; below it the relative bound no longer holds.
    pub fn smallest_normal(self) -> f64 {
        match self {
            Self::F64 => f64::MIN_POSITIVE,
            Self::F32 | Self::Bf16 => f64::from(f32::MIN_POSITIVE),
            Self::F16 => 2f64.powi(-14),
            Self::I8 | Self::I4 | Self::I32 => 1.0,
        }
    }

    /// Largest finite value.
    pub fn largest(self) -> f64 {
        match self {
            Self::F64 => f64::MAX,
            Self::F32 => f64::from(f32::MAX),
            Self::Bf16 => half::bf16::MAX.to_f64(),
            Self::F16 => half::f16::MAX.to_f64(),
            Self::I8 => 127.0,
            Self::I4 => 7.0,
            Self::I32 => f64::from(i32::MAX),
        }
    }

    /// True for the four floating types.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::Bf16 | Self::F16)
    }

    /// The value of `value` after one rounding to this type (to nearest, ties to even), back in f64.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::F64 => value,
            Self::F32 => f64::from(value as f32),
            Self::Bf16 => half::bf16::from_f32(round_to_odd(value)).to_f64(),
            Self::F16 => half::f16::from_f32(round_to_odd(value)).to_f64(),
            Self::I8 => value.round_ties_even().clamp(-127.0, 127.0),
            Self::I4 => value.round_ties_even().clamp(-7.0, 7.0),
            Self::I32 => f64::from(value.round_ties_even() as i32),
        }
    }
}

/// Rounds to f32 so that a second rounding to a narrower type gives the same as one direct rounding: inexact results get an odd
/// last bit, which no later tie can mistake for an exact value. (`half::*::from_f64` drops the low 32 bits instead.)
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    if value.is_nan() || f64::from(nearest) == value {
        return nearest;
    }
    let toward_zero = if f64::from(nearest).abs() > value.abs() { nearest.to_bits() - 1 } else { nearest.to_bits() };
    f32::from_bits(toward_zero | 1)
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a cell computes: {weight, activation, accumulate}.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Precision {
    /// How prepared weights are kept.
    pub weight: DType,
    /// How products see activations.
    pub activation: DType,
    /// In what products are summed.
    pub accumulate: DType,
}

/// The named triples, the common way to write a precision.
pub const PRECISION_PRESETS: [(&str, Precision); 8] = [
    ("f64", Precision::new(DType::F64, DType::F64, DType::F64)),
    ("f32", Precision::new(DType::F32, DType::F32, DType::F32)),
    ("bf16", Precision::new(DType::Bf16, DType::Bf16, DType::F32)),
    ("f16", Precision::new(DType::F16, DType::F16, DType::F32)),
    ("int8", Precision::new(DType::I8, DType::I8, DType::I32)),
    ("int8-weight", Precision::new(DType::I8, DType::F32, DType::F32)),
    ("int4", Precision::new(DType::I4, DType::F32, DType::F32)),
    ("bf16-weight", Precision::new(DType::Bf16, DType::F32, DType::F32)),
];

impl Precision {
    /// Plain f64: the reference.
    pub const F64: Self = Self::new(DType::F64, DType::F64, DType::F64);
    /// Plain f32.
    pub const F32: Self = Self::new(DType::F32, DType::F32, DType::F32);

    /// A triple, not checked.
    pub const fn new(weight: DType, activation: DType, accumulate: DType) -> Self {
        Self { weight, activation, accumulate }
    }

    /// The type in which tensors stand in memory between operations.
    pub fn storage(self) -> DType {
        if self.activation.is_float() { self.activation } else { DType::F32 }
    }

    /// The floating type in which everything but integer products is computed.
    pub fn compute(self) -> DType {
        if self.accumulate.is_float() { self.accumulate } else { DType::F32 }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PRECISION_PRESETS.iter().find(|(_, preset)| preset == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}/{}/{}", self.weight, self.activation, self.accumulate),
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, preset)) = PRECISION_PRESETS.iter().find(|(name, _)| *name == text) {
            return Ok(*preset);
        }
        let parts: Vec<DType> = text.split('/').filter_map(|name| ALL_TYPES.into_iter().find(|dtype| dtype.name() == name)).collect();
        let [weight, activation, accumulate] = parts[..] else {
            let names: Vec<&str> = PRECISION_PRESETS.iter().map(|(name, _)| *name).collect();
            return Err(format!("unknown precision {text:?}: write one of {}, or weight/activation/accumulate", names.join(", ")));
        };
        let precision = Self::new(weight, activation, accumulate);
        precision.check().map(|()| precision).map_err(|reason| format!("precision {precision}: {reason}"))
    }
}

const ALL_TYPES: [DType; 7] = [DType::F64, DType::F32, DType::Bf16, DType::F16, DType::I8, DType::I4, DType::I32];

impl Precision {
    /// Why no computation could mean this triple, if so: of a precision read from text that is known, of one made in code engines ask.
    pub fn check(self) -> Result<(), String> {
        let integer_product = self.weight == DType::I8 && self.activation == DType::I8;
        if self.activation == DType::I8 && self.weight != DType::I8 {
            return Err("int8 activations need int8 weights (write int8/int8/i32)".into());
        }
        if integer_product != (self.accumulate == DType::I32) {
            return Err("i32 accumulation goes with int8 weights and activations, and only with them".into());
        }
        if matches!(self.activation, DType::I4 | DType::I32) || self.weight == DType::I32 {
            return Err("activations are f64, f32, bf16, f16 or int8; weights also int4".into());
        }
        if !integer_product && !matches!(self.accumulate, DType::F64 | DType::F32) {
            return Err("products accumulate in f64 or f32 (or i32 for int8)".into());
        }
        let narrower = self.compute().unit_roundoff() > self.storage().unit_roundoff();
        if narrower {
            return Err("the accumulator is narrower than the activations".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_read_back_and_are_valid() {
        for (name, preset) in PRECISION_PRESETS {
            assert_eq!(name.parse::<Precision>(), Ok(preset));
            assert_eq!(preset.to_string(), name);
            assert_eq!(preset.check(), Ok(()));
        }
    }

    #[test]
    fn a_triple_can_be_written_out() {
        let precision: Precision = "bf16/bf16/f64".parse().unwrap();
        assert_eq!(precision.accumulate, DType::F64);
        assert_eq!("f32/f32/f32".parse::<Precision>().unwrap().to_string(), "f32");
    }

    #[test]
    fn senseless_triples_are_refused_with_the_way_out() {
        for text in ["int4/int8/i32", "f32/f32/i32", "f32/f32/bf16", "f32/int4/f32", "f64/f64/f32", "fp8", "f32/f32", "i32/f32/f32"] {
            let message = text.parse::<Precision>().unwrap_err();
            assert!(message.contains(text) && message.contains(':'), "{message}");
        }
    }

    #[test]
    fn rounding_is_to_nearest_even_in_every_type() {
        // 1 + u is a tie and goes to the even neighbour 1; 1 + 3u goes to 1 + 4u.
        for dtype in [DType::F32, DType::Bf16, DType::F16] {
            let u = dtype.unit_roundoff();
            assert_eq!(dtype.round(1.0 + u), 1.0, "{dtype}");
            assert_eq!(dtype.round(1.0 + 3.0 * u), 1.0 + 4.0 * u, "{dtype}");
        }
        // Just above a tie by less than f32 can tell: must go up.
        assert_eq!(DType::Bf16.round(1.0 + 2f64.powi(-8) + 2f64.powi(-50)), 1.0 + 2f64.powi(-7));
        assert_eq!(DType::F16.round(1e6), f64::INFINITY);
        assert_eq!(DType::I8.round(-300.0), -127.0);
        assert_eq!(DType::I4.round(2.5), 2.0);
    }

    #[test]
    fn int8_tensors_stay_f32_between_operations() {
        let int8: Precision = "int8".parse().unwrap();
        assert_eq!((int8.storage(), int8.compute()), (DType::F32, DType::F32));
    }
}
