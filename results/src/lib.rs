//! The results store: schema, append-only journal, Parquet, lock and resume.
//!
//! A run lives in one folder ([`RunFolder`]). While it goes on, each finished cell becomes one checksummed line of the journal,
//! synced to the disk before the next step, so a kill at any moment loses at most the cells in flight. Resuming reads the
//! journal's index (ids and statuses, without parsing the records). At the end the journal is turned into two Parquet files,
//! one row per cell and one row per sample; they are derived, and can be made again from the journal at any time.
//! The manifest beside them says what was asked, on which machine, with which builds; the lock keeps a second writer out.
//!
//! Beside the runs there is one table of what many of them showed, commit by commit ([`history`]).
//!
//! What this trades away: the journal is several times larger than the Parquet (text, field names in every line), in exchange
//! for a file that grep, a person and a half-broken disk can deal with. `RESULTS.md` beside this crate describes every file.

mod atomic;
pub mod ceilings;
mod conditions;
mod error;
pub mod history;
mod journal;
mod lock;
mod machine;
mod manifest;
mod merge;
mod run_folder;
pub mod schema;
#[cfg(test)]
mod schema_examples;
pub mod statistics;
mod tables;
mod whole;

pub use atomic::write_atomically;
pub use error::{Result, StoreError};
pub use journal::{DamagedFrame, Index, Journal, Records, Recovery, read_index, read_records};
pub use lock::RunLock;
pub use machine::{Cache, Machine};
pub use manifest::{Build, Instrument, Manifest, Noise, Part};
pub use merge::{JOINED, Merged, merge};
pub use run_folder::{Finished, RunFolder};
pub use tables::{AxisColumns, Origin, TableWriter};
pub use whole::{IMPORTED, write_whole};
