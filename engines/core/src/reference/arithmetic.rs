//! The arithmetic of a reference: exact (f64 with compensated sums), or rounded after each step as a precision does.

use crate::dtype::{DType, Precision};

/// How a reference computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    /// Type of stored intermediates and outputs.
    pub storage: DType,
    /// Type of products and sums.
    pub compute: DType,
    /// Rows are quantised to int8 before they meet a weight.
    pub quantises_rows: bool,
    compensated: bool,
}

impl Arithmetic {
    /// f64, with compensated sums.
    pub const EXACT: Self = Self { storage: DType::F64, compute: DType::F64, quantises_rows: false, compensated: true };

    /// As a straightforward dense implementation at this precision.
    pub fn plain(precision: Precision) -> Self {
        Self {
            storage: precision.storage(),
            compute: precision.compute(),
            quantises_rows: precision.activation == DType::I8,
            compensated: false,
        }
    }

    /// The exact arithmetic that quantises rows where this one does: quantisation is part of what is asked, roundings are not.
    pub fn made_exact(self) -> Self {
        Self { quantises_rows: self.quantises_rows, ..Self::EXACT }
    }

    /// One rounding of the compute type. Of two operands of that type, + - * / and square root of the f64 values rounded once are
    /// exactly what the type's own operation gives: f64 has more than twice the digits of f32 (Figueroa, 1995).
    pub fn round(&self, value: f64) -> f64 {
        self.compute.round(value)
    }

    /// One rounding to storage.
    pub fn store(&self, value: f64) -> f64 {
        self.storage.round(value)
    }

    /// Sum of products.
    pub fn dot(&self, terms: impl Iterator<Item = (f64, f64)>) -> f64 {
        if !self.compensated {
            return terms.fold(0.0, |sum, (a, b)| self.round(sum + self.round(a * b)));
        }
        let mut sum = Compensated::default();
        for (a, b) in terms {
            sum.add_product(a, b);
        }
        sum.value()
    }

    /// Sum.
    pub fn sum(&self, terms: impl Iterator<Item = f64>) -> f64 {
        self.dot(terms.map(|term| (term, 1.0)))
    }

    /// A row as the weight meets it: int8 steps, where the precision says so.
    pub fn quantised(&self, row: &[f64]) -> Vec<f64> {
        if !self.quantises_rows {
            return row.to_vec();
        }
        let scale = quantisation_step(row);
        row.iter().map(|value| if scale > 0.0 { DType::I8.round(value / scale) * scale } else { 0.0 }).collect()
    }

    /// Error of keeping `value` in storage: half a unit in its last place, or half the smallest step.
    pub fn storing(&self, value: f64) -> f64 {
        let u = self.storage.unit_roundoff();
        u * value.abs() + u * self.storage.smallest_normal()
    }
}

/// The step of a row's dynamic int8 quantisation.
pub fn quantisation_step(row: &[f64]) -> f64 {
    let largest = row.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    f64::from((largest / DType::I8.largest()) as f32)
}

/// Higham's gamma: the relative error that `terms` roundings can add up to.
pub fn gamma(terms: usize, unit_roundoff: f64) -> f64 {
    let total = terms as f64 * unit_roundoff;
    if total < 1.0 { total / (1.0 - total) } else { f64::INFINITY }
}

/// Dot product in twice the working precision (Ogita, Rump and Oishi, 2005, algorithm Dot2).
#[derive(Default)]
struct Compensated {
    sum: f64,
    error: f64,
}

impl Compensated {
    fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        let sum = self.sum + product;
        if !sum.is_finite() {
            // The error terms of an overflow or a NaN would be NaN, and turn an infinity into one.
            (self.sum, self.error) = (sum, 0.0);
            return;
        }
        self.error += product_error(a, b, product) + sum_error(self.sum, product, sum);
        self.sum = sum;
    }

    fn value(&self) -> f64 {
        self.sum + self.error
    }
}

/// The part of a + b that rounding to `sum` lost (Knuth).
fn sum_error(a: f64, b: f64, sum: f64) -> f64 {
    let b_part = sum - a;
    (a - (sum - b_part)) + (b - b_part)
}

/// The part of a * b that rounding to `product` lost (Dekker, by splitting in halves of 26 bits).
fn product_error(a: f64, b: f64, product: f64) -> f64 {
    let ((a_high, a_low), (b_high, b_low)) = (halves(a), halves(b));
    let error = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low);
    // Splitting overflows above 2^996; there the plain product is all we have.
    if error.is_finite() { error } else { 0.0 }
}

fn halves(value: f64) -> (f64, f64) {
    const SPLITTER: f64 = 134_217_729.0; // 2^27 + 1
    let scaled = SPLITTER * value;
    let high = scaled - (scaled - value);
    (high, value - high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compensation_survives_cancellation() {
        // 1e16 + 1 - 1e16: a plain sum loses the 1.
        let terms = [(1e8, 1e8), (1.0, 1.0), (-1e8, 1e8)];
        assert_eq!(Arithmetic::EXACT.dot(terms.into_iter()), 1.0);
        assert_eq!(Arithmetic::plain(Precision::F64).dot(terms.into_iter()), 0.0);
    }

    #[test]
    fn infinities_pass_through() {
        assert_eq!(Arithmetic::EXACT.dot([(f64::INFINITY, 1.0), (1.0, 1.0)].into_iter()), f64::INFINITY);
        assert!(Arithmetic::EXACT.dot([(f64::NAN, 1.0)].into_iter()).is_nan());
    }

    #[test]
    fn plain_f32_is_what_f32_gives() {
        let values: Vec<f32> = (1..500).map(|i| 1.0 / i as f32).collect();
        let native = values.iter().fold(0f32, |sum, &value| sum + value * value);
        let plain = Arithmetic::plain(Precision::F32).dot(values.iter().map(|&value| (f64::from(value), f64::from(value))));
        assert_eq!(plain, f64::from(native));
    }
}
