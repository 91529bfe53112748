//! The trend: where the history of commits changed, at the terminal (`crossover trend`), for programs (`--json`) and as a page of the report.
//!
//! What is searched for, and how, is in [`crossover_results::history`]; here it is only shown. A trend never fails anybody: a change is found
//! some commits after it was made, by runs that nobody interleaved. Whether one commit is slower than another is the gate's question.

mod json;
mod page;
mod show;

use std::path::Path;

use crossover_results::history::{self, Trend};

use crate::error::{ReportError, Result};

pub(crate) use json::json;
pub(crate) use page::{FILE, Page, page};
#[cfg(test)]
pub(crate) use show::tests::history as tests_history;
pub(crate) use show::{Names, document};

/// Reads and searches a history that somebody asked for.
pub(crate) fn read(path: &Path) -> Result<Trend> {
    if !path.exists() {
        return Err(ReportError::Question(format!(
            "there is no history at {}: `just record` begins one, or name another by --history",
            path.display()
        )));
    }
    Ok(history::trend(&history::read(path)?))
}
