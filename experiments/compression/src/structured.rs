//! Removal of whole units: hidden neurons of an FFN, heads of an attention.
//!
//! A unit reads the input through rows of its incoming weights and writes through columns of the outgoing one; without it both go, and
//! what is left is dense and smaller, so that every engine gains without a sparse kernel. The score is the norm of the rows times the
//! norm of the columns: it bounds what a unit can add to the output, up to the gain of the activation, without any data (Li et al.,
//! 2017, section 3.1, rank filters by the norm of their own weights only). Scores from gradients (Michel et al., 2019, section 4.1)
//! choose better but need data.

use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;

use crate::error::{CompressionError, Result};
use crate::masks::keep_largest;
use crate::matrix::{Matrix, norm, wrong_shape};
use crate::saving::{Saving, dense_bytes};

const TRANSFORM: &str = "structured pruning";

/// Weights without the units that scored low.
#[derive(Debug, Clone, PartialEq)]
pub struct Pruned {
    /// The incoming weights with the rows of the units that stay.
    pub incoming: Vec<HostTensor>,
    /// The outgoing weight with the columns of the units that stay.
    pub outgoing: HostTensor,
    /// The units that stay, ascending.
    pub keep: Vec<usize>,
    /// What this saves, over all the weights; its error is that of the weights with zeros in place of what went.
    pub saving: Saving,
}

/// Scores of FFN hidden neurons: incoming weights [hidden, inputs] (two for a gated FFN), outgoing [outputs, hidden].
pub fn neuron_scores(incoming: &[&HostTensor], outgoing: &HostTensor) -> Result<Vec<f64>> {
    let neurons = Matrix::of(TRANSFORM, outgoing)?.columns;
    unit_scores(incoming, outgoing, neurons)
}

/// Scores of attention heads: incoming weights (the value's; with the query's and key's if wanted) [heads x width, inputs], outgoing
/// [outputs, heads x width].
pub fn head_scores(incoming: &[&HostTensor], outgoing: &HostTensor, heads: usize) -> Result<Vec<f64>> {
    unit_scores(incoming, outgoing, heads)
}

/// For each of `units` equal shares of the hidden dimension: norm of its incoming rows times norm of its outgoing columns.
fn unit_scores(incoming: &[&HostTensor], outgoing: &HostTensor, units: usize) -> Result<Vec<f64>> {
    let outgoing = Matrix::of(TRANSFORM, outgoing)?;
    if units == 0 || !outgoing.columns.is_multiple_of(units) {
        return Err(outgoing.parameter_error("the number of units", units, format!("a divisor of the {} columns", outgoing.columns)));
    }
    let width = outgoing.columns / units;
    let incoming = incoming.iter().map(|weight| Matrix::of(TRANSFORM, weight)).collect::<Result<Vec<Matrix<'_>>>>()?;
    if let Some(other) = incoming.iter().find(|weight| weight.rows != outgoing.columns) {
        return Err(wrong_shape(
            TRANSFORM,
            &other.shape(),
            format!("[{}, inputs], as the outgoing weight has so many columns", outgoing.columns),
        ));
    }
    let score = |unit: usize| {
        let (rows, columns) = (unit * width, unit * width..(unit + 1) * width);
        let read = norm(incoming.iter().flat_map(|weight| &weight.values[rows * weight.columns..(rows + width) * weight.columns]));
        read * norm(outgoing.each_row().flat_map(|row| &row[columns.clone()]))
    };
    Ok((0..units).map(score).collect())
}

/// The units of the k highest scores, ascending; of equal scores those of lower index.
pub fn keep_best(scores: &[f64], k: usize) -> Result<Vec<usize>> {
    if k == 0 || k > scores.len() {
        return Err(CompressionError::Parameter {
            transform: TRANSFORM,
            parameter: "the number of units to keep",
            given: k.to_string(),
            expected: format!("1 to {}", scores.len()),
            shape: vec![scores.len()],
        });
    }
    if let Some(position) = scores.iter().position(|score| score.is_nan()) {
        return Err(CompressionError::Value { transform: TRANSFORM, position, value: f64::NAN, expected: "a score" });
    }
    let kept = keep_largest(scores, k);
    Ok((0..scores.len()).filter(|&unit| kept[unit]).collect())
}

/// The rows of units that are `width` rows each.
pub fn spread(units: &[usize], width: usize) -> Vec<usize> {
    units.iter().flat_map(|unit| unit * width..(unit + 1) * width).collect()
}

/// These rows of a weight, or these entries of a bias, in this order.
pub fn select_rows(weight: &HostTensor, keep: &[usize]) -> Result<HostTensor> {
    let Some((&rows, rest)) = weight.shape().split_first() else {
        return Err(wrong_shape(TRANSFORM, weight.shape(), "at least one dimension"));
    };
    check_indices(weight, keep, rows)?;
    let width: usize = rest.iter().product();
    let values = keep.iter().flat_map(|row| &weight.values()[row * width..(row + 1) * width]).copied().collect();
    Ok(HostTensor::new(&[&[keep.len()], rest].concat(), values)?)
}

/// These columns of a weight, in this order.
pub fn select_columns(weight: &HostTensor, keep: &[usize]) -> Result<HostTensor> {
    let &[rows, columns] = weight.shape() else {
        return Err(wrong_shape(TRANSFORM, weight.shape(), "[outputs, inputs]"));
    };
    check_indices(weight, keep, columns)?;
    let values = (0..rows).flat_map(|row| keep.iter().map(move |column| weight.values()[row * columns + column])).collect();
    Ok(HostTensor::new(&[rows, keep.len()], values)?)
}

/// Keeps the k best of `units` units (as many as hidden neurons for an FFN, the heads for attention); sizes are counted in `dtype`.
pub fn prune(incoming: &[&HostTensor], outgoing: &HostTensor, units: usize, k: usize, dtype: DType) -> Result<Pruned> {
    let scores = unit_scores(incoming, outgoing, units)?;
    let keep = keep_best(&scores, k)?;
    let hidden = spread(&keep, outgoing.shape()[1] / units);
    let kept_rows = incoming.iter().map(|weight| select_rows(weight, &hidden)).collect::<Result<Vec<HostTensor>>>()?;
    let kept_columns = select_columns(outgoing, &hidden)?;
    let saving = saving_of(incoming, outgoing, &hidden, dtype)?;
    Ok(Pruned { incoming: kept_rows, outgoing: kept_columns, keep, saving })
}

/// What it saves to keep these hidden indices only: sizes and error over all weights together. The indices are those of columns of the
/// outgoing weight.
pub fn saving_of(incoming: &[&HostTensor], outgoing: &HostTensor, hidden: &[usize], dtype: DType) -> Result<Saving> {
    let Matrix { rows: outputs, columns: width, .. } = Matrix::of(TRANSFORM, outgoing)?;
    check_indices(outgoing, hidden, width)?;
    let mut stays = vec![false; width];
    hidden.iter().for_each(|&at| stays[at] = true);
    let all: Vec<f64> = incoming.iter().flat_map(|weight| weight.values()).chain(outgoing.values()).copied().collect();
    let rows = incoming.iter().flat_map(|weight| {
        let inputs = weight.shape()[1];
        weight.values().iter().enumerate().map(move |(at, &value)| (at / inputs, value))
    });
    let columns = outgoing.values().iter().enumerate().map(|(at, &value)| (at % width, value));
    let left: Vec<f64> = rows.chain(columns).map(|(unit, value)| if stays[unit] { value } else { 0.0 }).collect();
    let bytes = |hidden: usize| {
        dense_bytes(dtype, outputs, hidden) + incoming.iter().map(|weight| dense_bytes(dtype, hidden, weight.shape()[1])).sum::<usize>()
    };
    let (parameters, shape) = (all.len(), [all.len()]);
    let (all, left) = (HostTensor::new(&shape, all)?, HostTensor::new(&shape, left)?);
    Ok(Saving {
        parameters_before: parameters,
        parameters_after: parameters / width * hidden.len(),
        bytes_before: bytes(width),
        bytes_after: bytes(hidden.len()),
        relative_error: crate::saving::relative_error(&all, &left)?,
    })
}

fn check_indices(weight: &HostTensor, keep: &[usize], bound: usize) -> Result<()> {
    match keep.iter().find(|&&index| index >= bound) {
        Some(index) => Err(CompressionError::Parameter {
            transform: TRANSFORM,
            parameter: "an index",
            given: index.to_string(),
            expected: format!("less than {bound}"),
            shape: weight.shape().to_vec(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "structured_tests.rs"]
mod tests;
