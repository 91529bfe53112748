//! What operations of the trait take that is more than one view.

use crate::tensor::{View, ViewMut};

/// An operand that an operation reads: a view, or the output itself (in place).
#[derive(Debug)]
pub enum Operand<'a, S> {
    /// Read from there.
    Of(View<'a, S>),
    /// Read what stands in the output, and overwrite it.
    InPlace,
}

/// The scale and shift of a normalisation.
#[derive(Debug)]
pub struct NormWeights<'a, S> {
    /// Factor for each channel.
    pub gamma: Option<View<'a, S>>,
    /// Summand for each channel.
    pub beta: Option<View<'a, S>>,
}

impl<S> Clone for NormWeights<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for NormWeights<'_, S> {}

/// What is added to the scores.
#[derive(Debug)]
pub enum ScoreBias<'a, S> {
    /// Nothing.
    None,
    /// A value for each pair, broadcastable to [batch, heads, queries, keys].
    ByPair(View<'a, S>),
    /// A value for each distance: [heads, 2 reach + 1], entry `key - query + reach`, clamped at both ends.
    ByDistance(View<'a, S>),
}

impl<S> Clone for ScoreBias<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for ScoreBias<'_, S> {}

/// What attention reads: q [batch, heads, queries, dim], k [batch, key heads, keys, dim], v [batch, key heads, keys, value dim].
#[derive(Debug)]
pub struct AttentionOperands<'a, S> {
    /// Queries.
    pub q: View<'a, S>,
    /// Keys.
    pub k: View<'a, S>,
    /// Values.
    pub v: View<'a, S>,
    /// Added to the scaled scores.
    pub bias: ScoreBias<'a, S>,
    /// [batch, keys]: keys whose entry is 0 are seen by nobody.
    pub key_mask: Option<View<'a, S>>,
}

impl<S> Clone for AttentionOperands<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for AttentionOperands<'_, S> {}

/// What attention writes.
#[derive(Debug)]
pub struct AttentionOutputs<'a, S> {
    /// [batch, heads, queries, value dim].
    pub out: ViewMut<'a, S>,
    /// [batch, heads, queries], in the compute type: log of the sum of exponentials of each row, to merge split keys.
    pub log_sum_exp: Option<ViewMut<'a, S>>,
}

/// What attention inside of chunks of a sorted sequence reads; q, k and v are [batch, heads, n, width], all in the tokens' own order.
#[derive(Debug)]
pub struct BucketOperands<'a, S> {
    /// Queries.
    pub q: View<'a, S>,
    /// Keys.
    pub k: View<'a, S>,
    /// Values.
    pub v: View<'a, S>,
    /// [batch, heads, n] as i32: the tokens of each head in the order in which their queries are cut into chunks. Each token once.
    pub query_order: View<'a, S>,
    /// The same for keys and their values; `None` where they stand in the order of the queries.
    pub key_order: Option<View<'a, S>>,
}

impl<S> Clone for BucketOperands<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for BucketOperands<'_, S> {}

/// Which experts take which rows of a mixture.
#[derive(Debug)]
pub struct Routes<'a, S> {
    /// [tokens, choices] as i32: numbers of the experts that a token is sent to, its first choice first.
    pub chosen: View<'a, S>,
    /// [tokens, choices]: what their outputs are multiplied by.
    pub gates: View<'a, S>,
    /// Rows that an expert takes at most.
    pub places: usize,
}

impl<S> Clone for Routes<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Routes<'_, S> {}

/// Two layers for each expert of a mixture.
#[derive(Debug)]
pub struct Experts<'a, W, S> {
    /// [hidden, width] of each.
    pub up: &'a [W],
    /// [experts, hidden].
    pub up_bias: View<'a, S>,
    /// [width, hidden] of each.
    pub down: &'a [W],
    /// [experts, width].
    pub down_bias: View<'a, S>,
}

impl<W, S> Clone for Experts<'_, W, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W, S> Copy for Experts<'_, W, S> {}
