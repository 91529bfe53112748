//! What is asked: sizes, limits, and what to look at.

use crossover_core::axes::Axes;

use super::points::Point;
use crate::error::{ReportError, Result};
use crate::frames::unprofitable::WRONG;

/// A question. Filters that are not given let everything pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    pub(crate) seq: i64,
    pub(crate) d_model: i64,
    pub(crate) heads: i64,
    /// Largest relative distance from the exact result (Frobenius norm).
    pub(crate) max_error: Option<f64>,
    /// Most declared bytes.
    pub(crate) max_memory: Option<u64>,
    /// A family, or a task of one (`attention/causal`).
    pub(crate) family: String,
    pub(crate) engine: Option<String>,
    pub(crate) precision: Option<String>,
    pub(crate) threads: Option<i64>,
}

impl Question {
    /// Refuses what no cell can be.
    pub(crate) fn check(&self) -> Result<()> {
        if self.d_model % self.heads != 0 {
            let Self { d_model, heads, .. } = self;
            let (less, more) = (d_model / heads * heads, (d_model / heads + 1) * heads);
            let near = if less > 0 { format!("{less} or {more}") } else { more.to_string() };
            return Err(ReportError::Question(format!(
                "--d-model {d_model} has no whole number of channels for each of --heads {heads}; {near} would have"
            )));
        }
        Ok(())
    }

    pub(crate) fn head_dim(&self) -> i64 {
        self.d_model / self.heads
    }

    /// The sizes that it fixes, of those that a cell has.
    pub(super) fn sizes(&self, axes: &Axes) -> Vec<(&'static str, i64)> {
        let has = |axis: &str| axes.contains_key(axis);
        let mut sizes = Vec::new();
        sizes.extend(["n", "n_kv"].into_iter().find(|axis| has(axis)).map(|axis| (axis, self.seq)));
        if has("d_model") {
            sizes.push(("d_model", self.d_model));
        } else {
            sizes.extend(["d_in", "d_out"].into_iter().filter(|axis| has(axis)).map(|axis| (axis, self.d_model)));
        }
        let of_heads = [("heads", self.heads), ("head_dim", self.head_dim())];
        sizes.extend(of_heads.into_iter().filter(|(axis, _)| has(axis)));
        sizes
    }

    /// Is a cell of this family and task meant?
    pub(super) fn means(&self, family: &str, task: &str) -> bool {
        self.family == family || self.family == task
    }

    /// Errs it more than would count as paying, where nobody has said what can be borne?
    pub(super) fn is_far_off(&self, point: &Point) -> bool {
        self.max_error.is_none() && point.error.is_some_and(|error| error > WRONG)
    }

    /// By which factor a point is beyond the limits; at most 1 within them. What is not known is beyond any limit.
    pub(super) fn excess(&self, point: &Point) -> f64 {
        let over = |value: Option<f64>, limit: Option<f64>| match (value, limit) {
            (_, None) => 0.0,
            (Some(value), Some(limit)) if value <= limit => 0.0,
            (Some(value), Some(limit)) => value / limit,
            (None, Some(_)) => f64::INFINITY,
        };
        over(point.error, self.max_error).max(over(point.bytes, self.max_memory.map(|bytes| bytes as f64)))
    }
}
