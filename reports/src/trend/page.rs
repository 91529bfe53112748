//! The trend as a page of the report: `trend.md` with a picture a family, and a section of `index.html`.
//!
//! There is none before a machine has two commits: one point is no trend.

use crossover_results::history::Trend;

use super::show::document;
use crate::error::Result;
use crate::pictures::{self, Picture, embedded};
use crate::text::document::Document;

/// The document's name.
pub(crate) const FILE: &str = "trend.md";
/// Changes of a machine that it lists.
const LISTED: usize = 100;

/// What a report has of it.
pub(crate) struct Page {
    /// The whole of [`FILE`].
    pub(crate) markdown: String,
    pub(crate) pictures: Vec<Picture>,
    /// The same words for `index.html`.
    pub(crate) document: Document,
}

/// The page of a history.
pub(crate) fn page(trend: &Trend) -> Result<Option<Page>> {
    let machines = trend.machines.iter().filter(|machine| machine.commits > 1).cloned().collect();
    let trend = Trend { machines };
    if trend.machines.is_empty() {
        return Ok(None);
    }
    let mut document = document(&trend, LISTED);
    document.text(
        "A change of times is found some commits after it was made (five at least, for a small one many), and its place is an estimate. \
         METHODOLOGY tells how, and what it cannot see; `crossover gate` judges one commit by itself.",
    );
    let pictures = pictures::of_trend(&trend)?;
    let markdown = document.markdown("Trend over commits") + &embedded(&pictures, "");
    Ok(Some(Page { markdown, pictures, document }))
}

#[cfg(test)]
mod tests {
    use crossover_results::history::trend;

    use super::super::show::tests::history;
    use super::*;

    #[test]
    fn there_is_a_page_from_the_second_commit_on() {
        let lines = history();
        assert!(page(&trend(&[])).unwrap().is_none() && page(&trend(&lines[..3])).unwrap().is_none());
        let of = page(&trend(&lines[..6])).unwrap().unwrap();
        assert!(of.markdown.starts_with("# Trend over commits\n\n## gate on machine m1, 2 cores\n"), "{}", of.markdown);
        let all = page(&trend(&lines)).unwrap().unwrap();
        assert!(all.markdown.contains("| 000000c10002 | time-ratio of attention/flash on simd"), "{}", all.markdown);
        assert!(all.markdown.contains("](pictures/trend-attention.svg)"), "{}", all.markdown);
    }
}
