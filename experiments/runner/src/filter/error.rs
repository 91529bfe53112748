//! Errors of a filter: the column in the expression, and a line of carets.

use std::ops::Range;

use crate::excerpt::excerpt;

/// Why a text is no filter.
#[derive(Debug, thiserror::Error)]
#[error("--filter, column {column}: {message}\n  {line}\n  {carets}{}", .help.as_ref().map(|help| format!("\n  {help}")).unwrap_or_default())]
pub struct FilterError {
    /// Counted from 1, in characters.
    column: usize,
    message: String,
    help: Option<String>,
    line: String,
    carets: String,
}

impl FilterError {
    /// An error about the bytes `span` of `text`.
    pub(super) fn new(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let end = text.floor_char_boundary(span.end).max(start);
        let column = text[..start].chars().count();
        let shown = excerpt(text, column, text[start..end].chars().count());
        Self { column: column + 1, message: message.into(), help: None, line: shown.line, carets: shown.carets }
    }

    /// What is wrong and what to do, for a place that shows the expression itself.
    pub fn told(&self) -> (&str, &str) {
        (&self.message, self.help.as_deref().unwrap_or_default())
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
