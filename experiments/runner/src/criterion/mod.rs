//! What `cargo bench` leaves behind, read and turned into records.
//!
//! Criterion has a folder for each benchmark, and in its folder `new` what the last run measured: `files` finds and reads them,
//! `record` makes a cell of each. The figures of a cell (median, interval, percentile) are computed from the samples as those of every
//! other cell are; criterion's own estimates only have to agree with them, by which files of two runs in one folder are found out.
//!
//! # What becomes of a benchmark
//!
//! | benchmark | family | variant | engine | axes |
//! |---|---|---|---|---|
//! | one of `engines/benches` (its id says so) | `kernel` | `kernel/matmul` | as in the id | `precision`, `threads`, and the sizes |
//! | anybody else's | `criterion` | `criterion/` and its group in kebab case | `unknown` | `function`, `value`, `group_id` where the group is spelt otherwise |
//!
//! Nobody checked what was computed, so every cell is `unchecked` and takes part in no ranking. What criterion does not write down stays
//! unknown: warm-up, preparation, instruction set, memory, errors; of benchmarks that are not ours the cost, too, because an *element* of
//! theirs may be anything.
//!
//! What this trades away: criterion may have measured something else than wall time (a `Measurement` of the benchmark's own), and its files
//! do not say so. They are taken for nanoseconds.

mod files;
mod record;

pub use files::{Benchmark, CriterionError, read};
pub use record::{BUILD, Origin, record};
