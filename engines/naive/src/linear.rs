//! y = activation(x W^T + bias) with a prepared weight.
//!
//! Floating activations: each weight is widened or dequantised inside the product (code * scale, rounded to the compute type) and
//! never stands in memory; sums go over the inputs in order (of a sparse weight over the stored ones); bias, activation, one rounding.
//!
//! int8 activations: each row of x is quantised as it comes, symmetrically, with scale = max |x| / 127 in f32 and codes
//! x / scale rounded half to even. The products of codes are summed exactly in i32, and acc * (scale_x * scale_w) + bias is computed
//! in f32. A row with a NaN or an infinity has no scale and gives NaN throughout.

use crossover_core::activation::Activation;
use crossover_core::tensor::{View, ViewMut};

use crate::buffer::{NaiveBuffer, typed};
use crate::element::Real;
use crate::elementwise::activate;
use crate::matmul::{Matrix, TILE, accumulate};
use crate::walk::{Row, last_stride, pieces, rows_of};
use crate::weight::{Codes, NaiveWeight, dequantized, unpack};

/// The part after the product, the same for every kind of weight.
struct Epilogue<'a> {
    bias: Option<Row<'a>>,
    activation: Activation,
}

/// With floating activations.
pub(crate) fn linear<R: Real>(
    activation: Activation,
    x: View<'_, NaiveBuffer>,
    weight: &NaiveWeight,
    bias: Option<View<'_, NaiveBuffer>>,
    out: ViewMut<'_, NaiveBuffer>,
) {
    let (mut sums, mut factors) = ([R::ZERO; TILE], [R::ZERO; TILE]);
    each_tile(weight, x, bias, activation, out, |row, outputs, epilogue, out, (out_start, out_stride)| {
        let sums = &mut sums[..outputs.len()];
        sums.fill(R::ZERO);
        for inputs in pieces(weight.inputs, TILE) {
            let factors = &mut factors[..inputs.len()];
            row.buffer.load(row.start + inputs.start * row.stride, row.stride, factors);
            add_products(sums, factors, weight, outputs.start, inputs.start);
        }
        epilogue.finish(sums, outputs.start);
        out.store(out_start, out_stride, sums);
    });
}

/// With int8 activations and int8 codes.
pub(crate) fn linear_int8(
    activation: Activation,
    x: View<'_, NaiveBuffer>,
    weight: &NaiveWeight,
    (codes, scales): (&[i8], &[f32]),
    bias: Option<View<'_, NaiveBuffer>>,
    out: ViewMut<'_, NaiveBuffer>,
) {
    let (mut sums, mut results) = ([0i32; TILE], [0f32; TILE]);
    let (mut values, mut quantised) = ([0f32; TILE], [0i8; TILE]);
    each_tile(weight, x, bias, activation, out, |row, outputs, epilogue, out, (out_start, out_stride)| {
        let (sums, results) = (&mut sums[..outputs.len()], &mut results[..outputs.len()]);
        let scale = row_scale(row);
        sums.fill(0);
        for inputs in pieces(weight.inputs, TILE) {
            let (values, quantised) = (&mut values[..inputs.len()], &mut quantised[..inputs.len()]);
            row.buffer.load(row.start + inputs.start * row.stride, row.stride, values);
            for (code, &value) in quantised.iter_mut().zip(values.iter()) {
                *code = quantise(value, scale);
            }
            for (output, sum) in outputs.clone().zip(sums.iter_mut()) {
                let of_output = &codes[output * weight.inputs + inputs.start..][..inputs.len()];
                *sum += quantised.iter().zip(of_output).map(|(&x, &w)| i32::from(x) * i32::from(w)).sum::<i32>();
            }
        }
        for ((result, &sum), &of_output) in results.iter_mut().zip(sums.iter()).zip(&scales[outputs.clone()]) {
            *result = sum as f32 * (scale * of_output);
        }
        epilogue.finish(results, outputs.start);
        out.store(out_start, out_stride, results);
    });
}

/// Calls `work` with each row of x and each tile of outputs: the row, the outputs, what follows the product, and where to store.
fn each_tile(
    weight: &NaiveWeight,
    x: View<'_, NaiveBuffer>,
    bias: Option<View<'_, NaiveBuffer>>,
    activation: Activation,
    out: ViewMut<'_, NaiveBuffer>,
    mut work: impl FnMut(Row<'_>, std::ops::Range<usize>, &Epilogue<'_>, &mut NaiveBuffer, (usize, usize)),
) {
    if out.layout.is_empty() {
        return;
    }
    let epilogue = Epilogue { bias: bias.and_then(|bias| rows_of(&bias).next()), activation };
    let (in_stride, out_stride) = (last_stride(&x.layout), last_stride(&out.layout));
    // Not `rows_of`: with no inputs x has no elements, and the outputs are still the activated bias.
    for (start, out_start) in x.layout.leading_offsets(1).zip(out.layout.leading_offsets(1)) {
        let row = Row { buffer: x.buffer, start, stride: in_stride, width: weight.inputs };
        for outputs in pieces(weight.outputs, TILE) {
            let place = (out_start + outputs.start * out_stride, out_stride);
            work(row, outputs, &epilogue, out.buffer, place);
        }
    }
}

/// sums[j] += x[p] * W[output + j, input + p] for p = 0, 1, 2, ...
fn add_products<R: Real>(sums: &mut [R], x: &[R], weight: &NaiveWeight, output: usize, input: usize) {
    let start = output * weight.inputs + input;
    match &weight.codes {
        Codes::Dense(values) => typed!(values, values => {
            accumulate(sums, x, Matrix { values, start, row_stride: 1, column_stride: weight.inputs });
        }),
        Codes::Int8 { codes, scales } => {
            for (j, sum) in sums.iter_mut().enumerate() {
                let scale = scales[output + j];
                for (&x, &code) in x.iter().zip(&codes[start + j * weight.inputs..]) {
                    *sum = *sum + x * dequantized(code, scale);
                }
            }
        }
        Codes::Int4 { packed, scales, group } => {
            let groups = weight.inputs.div_ceil(*group);
            for (j, sum) in sums.iter_mut().enumerate() {
                for (p, &x) in x.iter().enumerate() {
                    let scale = scales[(output + j) * groups + (input + p) / group];
                    *sum = *sum + x * dequantized(unpack(packed, start + j * weight.inputs + p), scale);
                }
            }
        }
        Codes::Sparse(stored) => stored.add_products(sums, x, output, input),
        Codes::Palette(coded) => coded.add_products(sums, x, (output, input), weight.inputs),
    }
}

impl Epilogue<'_> {
    fn finish<R: Real>(&self, sums: &mut [R], first_output: usize) {
        if let Some(bias) = self.bias {
            let mut sums = sums.iter_mut();
            bias.part(first_output, sums.len()).fold((), |(), value: R| {
                if let Some(sum) = sums.next() {
                    *sum = *sum + value;
                }
            });
        }
        for sum in sums {
            *sum = activate(self.activation, *sum);
        }
    }
}

/// max |x| / 127, or NaN if an element is not finite.
fn row_scale(row: Row<'_>) -> f32 {
    let largest = row.fold(0f32, |largest, value: f32| Real::larger(largest, value.abs()));
    if largest.is_finite() { largest / 127.0 } else { f32::NAN }
}

/// A row of zeros has scale 0 and codes 0; a scale that has lost digits in the subnormal range is met by the clamp.
fn quantise(value: f32, scale: f32) -> i8 {
    if scale > 0.0 { (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8 } else { 0 }
}
