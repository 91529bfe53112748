//! Products, and what is made of them.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{Experts, Routes, TransformerBackend};
use crossover_core::check::MixtureSizes;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::{LinearSpec, MatmulSpec};
use crossover_core::sparse::{SparseWeight, Structure};
use crossover_core::weights::HostWeight;

use super::{Call, indices, operand, output, values};
use crate::list::{Case, INDEX, Kind, kept};

pub(super) fn matmul<'e, B: TransformerBackend>(engine: &'e B, case: &Case, is_transposed: bool) -> Result<Call<'e>> {
    let [m, n, k] = [0, 1, 2].map(|axis| case.shape[axis]);
    let (a, b) = (operand(engine, &[m, k])?, operand(engine, &if is_transposed { [n, k] } else { [k, n] })?);
    let mut out = output(engine, engine.storage(), &[m, n])?;
    Ok(Box::new(move || {
        let b = if is_transposed { b.view().transposed()? } else { b.view() };
        engine.matmul(MatmulSpec::PLAIN, a.view(), b, out.view_mut())
    }))
}

pub(super) fn linear<'e, B: TransformerBackend>(engine: &'e B, case: &Case) -> Result<Call<'e>> {
    let [rows, outputs, inputs] = [0, 1, 2].map(|axis| case.shape[axis]);
    let (dense, dtype) = (values(&[outputs, inputs])?, engine.config().precision.weight);
    let weight = match case.operation.kind {
        Kind::LinearCsr => HostWeight::Sparse(SparseWeight::masked(&dense, &kept(case.shape), Structure::Unstructured, dtype)?),
        Kind::LinearTwoOfFour => {
            let kept: Vec<bool> = (0..outputs * inputs).map(|at| at % 4 < 2).collect();
            HostWeight::Sparse(SparseWeight::masked(&dense, &kept, Structure::NofM { n: 2, m: 4 }, dtype)?)
        }
        _ => HostWeight::for_precision(&dense, engine.config().precision)?,
    };
    let weight = engine.prepare_weight(&weight)?;
    let (x, mut out) = (operand(engine, &[rows, inputs])?, output(engine, engine.storage(), &[rows, outputs])?);
    Ok(Box::new(move || engine.linear(LinearSpec { activation: Activation::None }, x.view(), &weight, None, out.view_mut())))
}

pub(super) fn gated_ffn<'e, B: TransformerBackend>(engine: &'e B, case: &Case) -> Result<Call<'e>> {
    let [rows, width, hidden] = [0, 1, 2].map(|axis| case.shape[axis]);
    let weight = |outputs: usize, inputs: usize| {
        engine.prepare_weight(&HostWeight::for_precision(&values(&[outputs, inputs])?, engine.config().precision)?)
    };
    let (gate, up, down) = (weight(hidden, width)?, weight(hidden, width)?, weight(width, hidden)?);
    let (x, mut out, mut scratch) = (operand(engine, &[rows, width])?, output(engine, engine.storage(), &[rows, width])?, Arena::new());
    let spec = LinearSpec { activation: Activation::Silu };
    Ok(Box::new(move || engine.gated_ffn(spec, x.view(), [&gate, &up, &down], out.view_mut(), &mut scratch)))
}

/// Tokens go to experts evenly, in an order that jumps about.
pub(super) fn mixture<'e, B: TransformerBackend>(engine: &'e B, case: &Case) -> Result<Call<'e>> {
    let MixtureSizes { tokens, choices, places, experts, width, hidden } = case.mixture();
    let weights = |outputs: usize, inputs: usize| -> Result<Vec<B::Weight>> {
        let host = HostWeight::for_precision(&values(&[outputs, inputs])?, engine.config().precision)?;
        (0..experts).map(|_| engine.prepare_weight(&host)).collect()
    };
    let (up, down) = (weights(hidden, width)?, weights(width, hidden)?);
    let (up_bias, down_bias) = (operand(engine, &[experts, hidden])?, operand(engine, &[experts, width])?);
    let (chosen, gates) = (indices(engine, &[tokens, choices], experts)?, operand(engine, &[tokens, choices])?);
    let (x, mut out, mut scratch) = (operand(engine, &[tokens, width])?, output(engine, engine.storage(), &[tokens, width])?, Arena::new());
    Ok(Box::new(move || {
        let routes = Routes { chosen: chosen.view(), gates: gates.view(), places };
        let experts = Experts { up: &up, up_bias: up_bias.view(), down: &down, down_bias: down_bias.view() };
        engine.mixture(LinearSpec { activation: Activation::Gelu }, x.view(), routes, experts, out.view_mut(), &mut scratch)
    }))
}

pub(super) fn cross_entropy<'e, B: TransformerBackend>(engine: &'e B, case: &Case) -> Result<Call<'e>> {
    let [rows, classes, inputs] = [0, 1, 2].map(|axis| case.shape[axis]);
    let weight = engine.prepare_weight(&HostWeight::for_precision(&values(&[classes, inputs])?, engine.config().precision)?)?;
    let targets = engine.upload(&HostTensor::new(&[rows], (0..rows).map(|row| (row * 7919 % classes) as f64).collect())?, INDEX)?;
    let (x, mut out) = (operand(engine, &[rows, inputs])?, output(engine, engine.storage(), &[rows])?);
    let (mut logits, mut scratch) = (output(engine, engine.compute(), &[rows, classes])?, Arena::new());
    Ok(Box::new(move || {
        engine.cross_entropy(x.view(), std::slice::from_ref(&weight), targets.view(), logits.view_mut(), out.view_mut(), &mut scratch)
    }))
}
