//! Words of commands.

pub(crate) use crossover_protocol::text::wrap;

/// `1 cell`, `2 cells`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
