//! The two Parquet tables of a run: `cells` (one row per cell) and `samples` (one row per sample).
//!
//! They are derived from the journal, so they hold nothing that the journal does not. Rows are gathered column by column and
//! written a row group at a time, so memory follows the group and not the run. Values are not compressed beyond dictionaries:
//! the tables are small beside the journal, and any reader takes them without a codec.

mod axis_columns;
mod column;
mod fixed;
mod samples;
mod writer;

#[cfg(test)]
mod tests;

pub use axis_columns::AxisColumns;
pub use writer::{Origin, TableWriter};

pub(crate) use fixed::fixed_columns;
pub(crate) use samples::check_batch;

/// Rows of `cells` held at a time: at some 50 columns about 10 MB.
const CELL_GROUP: usize = 16_384;
/// Rows of `samples` held at a time.
const SAMPLE_GROUP: usize = 65_536;
