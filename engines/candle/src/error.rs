//! candle's errors as the engine's.

use candle_core::Error;
use crossover_core::error::{EngineError, Result};

use crate::backend::NAME;

/// Gives a candle result the name of the operation that asked for it.
pub(crate) trait During<T> {
    /// The same, as an engine's answer.
    fn during(self, operation: &'static str) -> Result<T>;
}

impl<T> During<T> for candle_core::Result<T> {
    fn during(self, operation: &'static str) -> Result<T> {
        self.map_err(|error| refused(operation, &error))
    }
}

/// candle's own words; where a backtrace is attached it is left out.
fn refused(operation: &str, error: &Error) -> EngineError {
    let text = error.to_string();
    let reason = format!("candle: {}", text.lines().next().unwrap_or("no message"));
    EngineError::Unsupported { engine: NAME, operation: operation.to_owned(), reason }
}
