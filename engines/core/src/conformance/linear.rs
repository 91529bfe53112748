//! Layers: y = activation(x W^T + b) with weights in every form, against what the codes stand for in f64.

use crate::activation::Activation;
use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::host::HostTensor;
use crate::ops::{LinearSpec, OpSpec};
use crate::quantize::{int4_groups, int8_rows};
use crate::reference::{Arithmetic, gamma};
use crate::support::Support;
use crate::weights::HostWeight;

use super::Property;
use super::cases::Fill;
use super::compare::{Target, storing};
use super::place::Placed;
use super::trial::{Outcome, Stop, Trial, fail};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    let linear = |name, check| Property { name, operation: "linear", check };
    vec![
        linear("linear", componentwise),
        linear("linear-exact", exact),
        linear("linear-nan", nan_stays_in_its_row),
        linear("linear-not-finite", what_is_not_finite_reaches_its_output),
    ]
}

/// A weight as the precision holds it, or in any other form.
fn weight<B: TransformerBackend>(t: &mut Trial<'_, B>, values: &HostTensor, own: bool) -> Outcome<HostWeight> {
    if own {
        return Ok(HostWeight::for_precision(values, t.engine.config().precision)?);
    }
    let dense = |dtype: DType| HostWeight::Dense { values: values.rounded(dtype), dtype };
    Ok(match t.source.below(7) {
        0 => dense(DType::F64),
        1 => dense(DType::F32),
        2 => dense(DType::Bf16),
        3 => dense(DType::F16),
        4 => HostWeight::Int8(int8_rows(values)?),
        _ => {
            let group = t.source.choose(&[1, 2, 3, 5, 8, 32, 200]);
            HostWeight::Int4(int4_groups(values, group)?)
        }
    })
}

/// Runs a layer; a weight that cannot be prepared is refused like a layer that cannot be run.
pub(super) fn layer<B: TransformerBackend>(
    t: &mut Trial<'_, B>,
    spec: LinearSpec,
    x: &Placed<B::Buffer>,
    host: &HostWeight,
    bias: Option<&Placed<B::Buffer>>,
    dtype: DType,
) -> Outcome<Vec<f64>> {
    let (lead, inputs) = x.shape().split_at(x.shape().len() - 1);
    let shape = [lead, &[host.outputs()]].concat();
    let rows = lead.iter().product();
    let operation = OpSpec::Linear { rows, inputs: inputs[0], outputs: host.outputs(), form: host.form(), spec, bias: bias.is_some() };
    let prepared = match t.engine.prepare_weight(host) {
        Ok(prepared) => prepared,
        Err(_) if matches!(t.engine.supports(&operation), Support::Unsupported(_)) => return Err(Stop::Refused),
        Err(error) => return fail(format!("{operation:?} is said to be supported, but its weight cannot be prepared: {error}")),
    };
    let mut out = t.output(dtype, &shape)?;
    let result = t.engine.linear(spec, x.view(), &prepared, bias.map(Placed::view), out.view_mut());
    t.done(&operation, result)?;
    t.read(&out)
}

fn componentwise<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, outputs, inputs] = t.source.sizes([0, 0, 0]);
    let spec = LinearSpec { activation: t.source.choose(&Activation::ALL) };
    let (x_type, b_type, dtype) = (t.float_type(), t.float_type(), t.float_type());
    let shape = t.source.choose(&[vec![rows, inputs], vec![1, rows, inputs], vec![2, rows.div_ceil(2), inputs]]);
    let spread = t.source.choose(&[0.1, 1.0, 3.0]);
    let x = t.input(x_type, &shape, Fill::Normal(spread))?;
    let values = HostTensor::new(&[outputs, inputs], spread_rows(t, outputs, inputs))?;
    let own = t.source.one_in(2);
    let host = weight(t, &values, own)?;
    against_dense(t, spec, &x, &host, [b_type, dtype])
}

/// A layer against the f64 product with what its weight stands for, element by element; the bias is drawn here.
pub(super) fn against_dense<B: TransformerBackend>(
    t: &mut Trial<'_, B>,
    spec: LinearSpec,
    x: &Placed<B::Buffer>,
    host: &HostWeight,
    [b_type, dtype]: [DType; 2],
) -> Outcome {
    let (outputs, inputs) = (host.outputs(), host.inputs());
    let bias = if t.source.one_in(3) { None } else { Some(t.input(b_type, &[outputs], Fill::Normal(1.0))?) };
    let found = layer(t, spec, x, host, bias.as_ref(), dtype)?;
    let bias = bias.map_or(vec![0.0; outputs], |bias| bias.values);
    let dequantised = host.dequantized();
    let codes = t.engine.config().precision.activation == DType::I8;
    let mut targets = Vec::with_capacity(found.len());
    for at in 0..found.len() {
        let (row, output) = (at / outputs, at % outputs);
        let x = &x.values[row * inputs..(row + 1) * inputs];
        let w = &dequantised.values()[output * inputs..(output + 1) * inputs];
        let (x, doubt) = if codes { quantised(x) } else { (x.to_vec(), vec![0.0; inputs]) };
        targets.push(target(&x, &doubt, w, bias[output], spec.activation, [t.compute(), dtype]));
    }
    t.compare(dtype, &found, &targets)
}

/// Rows of different size, so that a scale shared between them shows.
pub(super) fn spread_rows<B: TransformerBackend>(t: &mut Trial<'_, B>, outputs: usize, inputs: usize) -> Vec<f64> {
    let deviation = 1.0 / (inputs.max(1) as f64).sqrt();
    (0..outputs).flat_map(|row| t.source.values(Fill::Normal(deviation * [1.0, 0.2, 4.0][row % 3]), inputs)).collect()
}

/// A row after symmetric int8 rounding, and by how much an element may be off because its code is a near tie.
fn quantised(row: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let scale = quantisation_step(row);
    let code = |value: &f64| if scale > 0.0 { DType::I8.round(value / scale) } else { 0.0 };
    let doubt = |value: &f64| {
        let code = value / scale;
        // A scale that is one f32 step off, or a product with 1 / scale, moves a code by a few parts in 10^7.
        if scale > 0.0 && ((code - code.floor()) - 0.5).abs() < 1e-4 { scale } else { 0.0 }
    };
    (row.iter().map(|value| code(value) * scale).collect(), row.iter().map(doubt).collect())
}

/// The step of a row's dynamic int8 quantisation, in f32.
fn quantisation_step(row: &[f64]) -> f64 {
    let largest = row.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    f64::from((largest / DType::I8.largest()) as f32)
}

/// One output of a layer whose inputs may each be off by `doubt`.
pub(super) fn target(x: &[f64], doubt: &[f64], w: &[f64], bias: f64, activation: Activation, [compute, out]: [DType; 2]) -> Target {
    let (u, terms) = (compute.unit_roundoff(), x.len() + 4);
    let magnitude = x.iter().zip(w).map(|(x, w)| (x * w).abs()).sum::<f64>() + bias.abs();
    let carried: f64 = doubt.iter().zip(w).map(|(doubt, w)| doubt * w.abs()).sum();
    let sum = Arithmetic::EXACT.dot(x.iter().copied().zip(w.iter().copied())) + bias;
    let value = activation.apply(sum);
    let evaluation = activation.evaluation_error(magnitude, value, u);
    let fixed = evaluation + storing(out, value) + compute.smallest_normal() * terms as f64;
    let reach = gamma(terms, u) * (magnitude + carried) + carried;
    let slope = activation.steepest(sum, reach);
    let hard = slope * reach + fixed;
    let soft = slope * (6.0 * (terms as f64).sqrt() * u * magnitude + carried) + fixed;
    Target { value, hard, soft: soft.min(hard) }
}

/// Whole numbers whose codes are themselves: each row of x and W holds the largest code, so every scale is 1 (of int4: each group).
fn exact<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, outputs, inputs] = t.source.sizes([1, 1, 1]);
    let precision = t.engine.config().precision;
    let largest = if precision.weight == DType::I4 { 7 } else { 127 };
    let whole = |t: &mut Trial<'_, B>, rows: usize, largest: usize, every: usize| {
        let mut values = t.source.values(Fill::Integers(largest), rows * inputs);
        for row in values.chunks_mut(inputs) {
            row.iter_mut().step_by(every).for_each(|value| *value = largest as f64);
        }
        values
    };
    let x = whole(t, rows, 127, inputs);
    // 32 is the group of the precision's own int4 weights.
    let w = whole(t, outputs, largest, if largest == 7 { 32 } else { inputs });
    let host = weight(t, &HostTensor::new(&[outputs, inputs], w.clone())?, true)?;
    let (x, dtype) = (t.given(t.storage(), &[rows, inputs], &x)?, t.float_type());
    let bias = t.input(t.storage(), &[outputs], Fill::Integers(100))?;
    let activation = t.source.choose(&[Activation::None, Activation::Relu]);
    let found = layer(t, LinearSpec { activation }, &x, &host, Some(&bias), dtype)?;
    let element = |at: usize| {
        let (x, w) = (&x.values[at / outputs * inputs..], &w[at % outputs * inputs..][..inputs]);
        let sum = x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() + bias.values[at % outputs];
        Target::exact(dtype.round(activation.apply(sum)))
    };
    let targets: Vec<Target> = (0..found.len()).map(element).collect();
    t.compare(dtype, &found, &targets)
}

fn nan_stays_in_its_row<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, outputs, inputs] = t.source.sizes([1, 1, 1]);
    let (row, column) = (t.source.below(rows), t.source.below(inputs));
    let mut x = t.source.values(Fill::Normal(1.0), rows * inputs);
    x[row * inputs + column] = f64::NAN;
    let values = HostTensor::new(&[outputs, inputs], spread_rows(t, outputs, inputs))?;
    let host = weight(t, &values, true)?;
    let x = t.given(t.storage(), &[rows, inputs], &x)?;
    let spec = LinearSpec { activation: t.source.choose(&Activation::ALL) };
    let found = layer(t, spec, &x, &host, None, t.storage())?;
    match found.iter().enumerate().find(|(at, value)| value.is_nan() != (at / outputs == row)) {
        None => Ok(()),
        Some((at, value)) => fail(format!("a NaN in row {row} of x, but element {at} of [{rows}, {outputs}] is {value}")),
    }
}

/// A NaN or an infinity among the weights of an output shows in that output of every row, in codes too, and in no other.
fn what_is_not_finite_reaches_its_output<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, outputs, inputs] = t.source.sizes([1, 1, 1]);
    let (output, input) = (t.source.below(outputs), t.source.below(inputs));
    let mut values = spread_rows(t, outputs, inputs);
    values[output * inputs + input] = t.source.choose(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    let own = t.source.one_in(2);
    let host = weight(t, &HostTensor::new(&[outputs, inputs], values)?, own)?;
    let x = t.input(t.storage(), &[rows, inputs], Fill::Normal(1.0))?;
    let found = layer(t, LinearSpec { activation: Activation::None }, &x, &host, None, t.storage())?;
    match found.iter().enumerate().find(|(at, value)| value.is_finite() == (at % outputs == output)) {
        None => Ok(()),
        Some((at, value)) => {
            let form = host.form();
            fail(format!(
                "{form:?} with a weight of output {output} that is not finite, but element {at} of [{rows}, {outputs}] is {value}"
            ))
        }
    }
}
