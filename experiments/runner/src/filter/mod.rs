//! `--filter`: which cells of a plan to keep, as an expression over their columns.
//!
//! ```text
//! variant == "attention/flash" and n >= 256
//! precision in ["f32", "bf16"] and not baseline
//! family == "linear" or (n == n_kv and n < 1e3)
//! ```
//!
//! Columns are `variant`, `family`, `engine`, `experiment` (text), `baseline` (true or false) and every axis. The language knows
//! `== != < <= > >=`, `in [..]`, `and or not`, parentheses, text in double quotes, numbers, `true` and `false`. Text is not
//! ordered, and kinds do not mix: `n == "128"` is an error, not a comparison that never holds. So is a name that the registry does
//! not know, for the same reason.
//!
//! **A missing axis**: not every variant has every axis. Where a row lacks one, each comparison with it is false, except `!=`,
//! which is true. So `rank != 4` keeps variants without a rank, and `not (rank == 4)` says the same.
//!
//! It trades arithmetic and text patterns away for errors that find every mistake before anything runs.

mod columns;
mod error;
mod evaluate;
mod lexer;
mod parser;

pub use error::FilterError;
pub use evaluate::{Filter, Row};

#[cfg(test)]
mod tests;
