//! Exact attention for one query row.

use super::{Arithmetic, HostInputs, gamma, input, row_of};
use crate::error::{Result, shape_error};
use crate::host::HostTensor;
use crate::pattern::AttentionPattern;

pub(super) struct Operands<'a> {
    q: &'a HostTensor,
    k: &'a HostTensor,
    v: &'a HostTensor,
    heads: usize,
    queries: usize,
    key_heads: usize,
    keys: usize,
    scale: f64,
}

impl<'a> Operands<'a> {
    pub(super) fn of(inputs: &'a HostInputs) -> Result<Self> {
        let (q, k, v) = (input(inputs, "q")?, input(inputs, "k")?, input(inputs, "v")?);
        let (&[batch, heads, queries, width], &[k_batch, key_heads, keys, k_width], &[v_batch, v_heads, v_keys, _]) =
            (q.shape(), k.shape(), v.shape())
        else {
            return Err(shape_error("reference attention", "q, k and v must be [batch, heads, rows, width]"));
        };
        let fits = (k_batch, v_batch, v_heads, v_keys, k_width) == (batch, batch, key_heads, keys, width);
        if !fits || key_heads == 0 || heads % key_heads != 0 {
            let detail = format!("q {:?}, k {:?}, v {:?}", q.shape(), k.shape(), v.shape());
            return Err(shape_error("reference attention", detail));
        }
        Ok(Self { q, k, v, heads, queries, key_heads, keys, scale: 1.0 / (width as f64).sqrt() })
    }

    /// Row of q, first row of k and v, and position of the query, for a row of the output.
    fn locate(&self, row: usize) -> (usize, usize) {
        let (head, query) = (row / self.queries, row % self.queries);
        let (batch, head) = (head / self.heads, head % self.heads);
        let key_head = batch * self.key_heads + head / (self.heads / self.key_heads);
        (key_head * self.keys, query)
    }

    fn visible(&self, pattern: &AttentionPattern, query: usize) -> Vec<usize> {
        (0..self.keys).filter(|&key| pattern.allows(query, key)).collect()
    }

    /// Scaled scores of the visible keys.
    fn scores(&self, keys: &[usize], first: usize, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        let q = row_of(self.q, row)?;
        let scale = arithmetic.round(self.scale);
        let score = |&key: &usize| -> Result<f64> {
            let k = row_of(self.k, first + key)?;
            let product = arithmetic.dot(q.iter().copied().zip(k.iter().copied()));
            Ok(arithmetic.store(arithmetic.round(scale * product)))
        };
        keys.iter().map(score).collect()
    }

    pub(super) fn row(&self, pattern: &AttentionPattern, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        let (first, query) = self.locate(row);
        let keys = self.visible(pattern, query);
        let scores = self.scores(&keys, first, row, arithmetic)?;
        let weights = super::softmax::of_row(&scores, arithmetic);
        let width = self.v.shape()[3];
        let values = self.v.values();
        let channel = |channel: usize| {
            let terms = keys.iter().zip(&weights).map(|(key, &weight)| (weight, values[(first + key) * width + channel]));
            arithmetic.store(arithmetic.dot(terms))
        };
        Ok((0..width).map(channel).collect())
    }

    /// Errors of scores enter the exponent; those of the weights are weighted by |v|; then comes the second product.
    pub(super) fn bounds(&self, pattern: &AttentionPattern, row: usize, arithmetic: Arithmetic, exact: &[f64]) -> Result<Vec<f64>> {
        let (first, query) = self.locate(row);
        let keys = self.visible(pattern, query);
        let scores = self.scores(&keys, first, row, Arithmetic::EXACT)?;
        let weights = super::softmax::of_row(&scores, Arithmetic::EXACT);
        let (u, q) = (arithmetic.compute.unit_roundoff(), row_of(self.q, row)?);
        let mut score_errors = Vec::with_capacity(keys.len());
        for (key, score) in keys.iter().zip(&scores) {
            let magnitude: f64 = q.iter().zip(row_of(self.k, first + key)?).map(|(a, b)| (a * b).abs()).sum();
            score_errors.push(gamma(q.len() + 2, u) * self.scale * magnitude + arithmetic.storing(*score));
        }
        let relative = super::softmax::relative_errors(&scores, &weights, &score_errors, arithmetic);
        let width = self.v.shape()[3];
        let values = self.v.values();
        let subnormal = arithmetic.storage.unit_roundoff() * arithmetic.storage.smallest_normal();
        let product = gamma(keys.len() + 2, u);
        let bound = |(channel, exact): (usize, &f64)| {
            let terms = keys.iter().zip(&weights).zip(&relative).map(|((key, weight), relative)| {
                let value = values[(first + key) * width + channel].abs();
                // The weight is stored before it is used.
                value * (weight * (relative + arithmetic.storage.unit_roundoff() + product) + subnormal)
            });
            terms.sum::<f64>() + arithmetic.storing(*exact)
        };
        Ok(exact.iter().enumerate().map(bound).collect())
    }
}
