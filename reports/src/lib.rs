//! Aggregation and reports: the only crate that links polars.
//!
//! The way of a cell through this crate, by the files in its order:
//!
//! `runs` opens the run folders (and makes the tables again where a run was killed) → `scan` makes one lazy frame of all cells,
//! whatever their runs' axes are → `frames` answers one question a module (speed, memory, accuracy, crossovers, growth with the size, the
//! frontier, engines, peers, what never pays, the papers' figures, failures, ..), each from frame to frame, sorted, without a look at files or
//! formats → `render` turns answers into Markdown, `pictures` into SVG, `html` into a page → `text` knows units, escaping and CSV →
//! `report` writes the files.
//!
//! Beside the report, `commands` has what answers at the terminal: `compare` (two runs, cell by cell), `advise` (what to use at a size), `trend`
//! (where the history of commits changed), `summary` (the end of a run) and `kernels` (that of an import). They make a `text::document`, which
//! `text::screen` shows.
//!
//! # What is written
//!
//! | file | what it is |
//! |---|---|
//! | `summary.md` | the commands that made the runs, the machines, counts, the best variant against its baseline, every failure |
//! | `FAMILY.md` | of one family: where its variants start to pay, the frontier of time, error and memory, growth with the size; then every cell in tables |
//! | `index.html` | the same as a page to explore, in one file that needs no network (see the module `html`) |
//! | `pictures/*.svg` | the answers as pictures, each with its regime and a text for screen readers; the documents show them |
//! | `cells.csv` | every column of every cell: RFC 4180 with CRLF line ends, UTF-8, the header first; empty means absent |
//! | `crossovers.csv`, `frontier.csv`, `scaling.csv`, `engines.csv`, `unprofitable.csv` | the answers of these sections, all lines |
//! | `peers.md`, `peers.csv` | every engine beside the fastest of other programs, where a run has such |
//! | `trend.md` | where the history of commits changed, where the project has one of two commits at least |
//! | `published.csv`, `published-order.csv`, `published-crossings.csv` | figures, orders and crossings beside the papers', where a run measured one of their tables |
//!
//! `cells.csv` begins with the column `run` (the run folder's name); the others are those of `cells.parquet` (see `RESULTS.md`),
//! missing ones of older layouts empty. Text that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, a tab
//! or a carriage return, and is not a number) has an apostrophe in front; control and text-direction characters are spelt out
//! as `\u{..}`. Numbers stay numbers.
//!
//! # Rules
//!
//! * Nothing is dropped: a cell that failed is a row with its status in place of the time.
//! * Ratios are *cell over baseline*, below 1 is faster or smaller. The baseline of a cell is the one of its group in the same run
//!   on the same machine; where there are several, the one beside which it was measured, else the one that agrees best (engine, then
//!   precision, then threads).
//! * Ratios of times divide by what the baseline showed in the rounds in which the cell was measured (`beside_*`). Where a record has none
//!   of that, they divide by the baseline's own record and are marked.
//! * Their interval is the conservative one: the ends of the two medians' 95 % intervals divided crosswise. It is at least as wide
//!   as the true one, so a difference that it shows is there; one that it does not show may be.
//! * Emulated cells have rows and ratios, but are left out of the ranking. Cells of different machines are never put together.
//! * A share of the ceiling above 100 % means that the model of the machine or of the cost is wrong: the report says so on top
//!   and the command ends with exit code 1.
//!
//! What this trades away: polars takes most of the workspace's build time. In return there is one scan, and one way to group,
//! join and sort for reports of twenty cells and of ten million.

mod advise;
mod answers;
mod ceilings;
mod columns;
mod commands;
mod compare;
mod error;
mod fits;
mod frames;
mod html;
mod kernels;
mod labels;
mod out_folder;
mod pictures;
mod render;
mod report;
mod reservations;
mod runs;
mod scan;
mod splice;
mod summary;
mod text;
mod trend;

#[cfg(test)]
mod examples;

pub use commands::run_command;
pub use error::{ReportError, Result};
pub use report::{Format, Outcome, write_report};
