//! Text for people and for spreadsheets: units, escaping, Markdown tables, CSV.

pub(crate) mod csv;
pub(crate) mod document;
pub(crate) mod markdown;
pub(crate) mod screen;
pub(crate) mod units;
pub(crate) mod visible;
