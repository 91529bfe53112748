//! The answers as pictures: SVG files in the folder `pictures` of a report, embedded in its documents.
//!
//! A picture is a [`card::Card`]: the finding as a heading, how to read it, the plot, its key, and last the regime (engine, precision, threads, sizes,
//! number of cells, noise, machine), so that it stays honest wherever somebody pastes it. The same finding is its alternative text, and
//! in its `title` and `desc` for screen readers.
//!
//! | picture | its question | fed by |
//! |---|---|---|
//! | [`crossover`] | where does what overtake the strong baseline? | `rows`, `crossovers` |
//! | [`pareto`] | what is the best choice at which error? | `rows` with their frontier |
//! | [`curves`], [`precision`] | what does a parameter or a number format cost and save? | `rows` |
//! | [`heatmap`] | how do two sizes act together? | `rows` |
//! | [`roofline`] | how near does it come to what the machine can? | `rows`, the runs' ceilings |
//! | [`engines`] | which engine is fastest? | `engines` |
//! | [`peers`] | how fast is ours beside other programs? | `peers` |
//! | [`trend`] | how did the ratios go over the commits? | the history |
//!
//! Pictures answer with few marks; what they leave out is counted in them, and is in the tables. One picture is about one machine.
//! Where there is nothing to draw there is no picture. `style` has sizes, inks and marks, `scale` the axes, `panel` the plot with its shapes, `lines`
//! picks the curves that can be compared.
//!
//! Axes, grids and shapes are drawn by `plotters`, whose backend writes SVG in whole units: files stay small, and the same input gives
//! the same bytes. What this trades away: its text has no measure, so lines are broken by an estimate that errs towards wide letters.

mod card;
#[cfg(test)]
mod check;
mod crossover;
mod curves;
mod engines;
mod heatmap;
mod lines;
mod panel;
mod pareto;
mod peers;
mod precision;
mod roofline;
mod scale;
mod style;
mod trend;

use std::collections::BTreeMap;

use polars::prelude::*;

use crate::answers::Answers;
use crate::columns::Typed;
use crate::error::Result;
use crate::frames::series::{Series, series};
use crate::render;
use crate::runs::{ASSUMED_FLOOR, Run};
use crate::text::markdown::paragraph;
use crate::text::units::percent;

/// The folder within the report.
pub(crate) const FOLDER: &str = "pictures";

/// Crossovers in the summary.
const SUMMARY_SHOWS: usize = 3;

/// A finished picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    /// The question that it answers.
    pub(crate) kind: &'static str,
    /// Its file's name within [`FOLDER`].
    pub(crate) file: String,
    /// What it shows, for those who do not see it.
    pub(crate) alt: String,
    /// The file's content.
    pub(crate) svg: String,
}

/// All pictures of a family, the crossovers first.
pub(crate) fn of(answers: &Answers<'_>, family: &str) -> Result<Vec<Picture>> {
    let source = Source::of(answers, family)?;
    let kinds = [crossover::pictures, pareto::pictures, curves::pictures, precision::pictures, heatmap::pictures, roofline::pictures];
    Ok(kinds.map(|kind| kind(&source)).into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// The pictures of engines, which are about all families.
pub(crate) fn of_engines(answers: &Answers<'_>) -> Result<Vec<Picture>> {
    engines::pictures(answers)
}

/// The pictures of ours beside other programs.
pub(crate) fn of_peers(answers: &Answers<'_>) -> Result<Vec<Picture>> {
    peers::pictures(answers)
}

/// The pictures of the history.
pub(crate) fn of_trend(trend: &crossover_results::history::Trend) -> Result<Vec<Picture>> {
    trend::pictures(trend)
}

/// The crossovers for the summary: the first of each of the families with the most cells.
pub(crate) fn foremost<'p>(answers: &Answers<'_>, drawn: &'p BTreeMap<String, Vec<Picture>>) -> PolarsResult<Vec<&'p Picture>> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for family in answers.cells.texts("family")?.iter().flatten() {
        *sizes.entry(family).or_default() += 1;
    }
    let mut crossovers: Vec<(usize, &Picture)> = Vec::new();
    for (family, pictures) in drawn {
        let first = pictures.iter().find(|picture| picture.kind == crossover::KIND);
        crossovers.extend(first.map(|picture| (sizes.get(family.as_str()).copied().unwrap_or(0), picture)));
    }
    // Stable: as many cells, in the order of names.
    crossovers.sort_by_key(|(cells, _)| std::cmp::Reverse(*cells));
    Ok(crossovers.into_iter().take(SUMMARY_SHOWS).map(|(_, picture)| picture).collect())
}

/// Markdown that shows these pictures; `folder` leads from the text's place to the report.
pub(crate) fn embedded<'p>(pictures: impl IntoIterator<Item = &'p Picture>, folder: &str) -> String {
    pictures.into_iter().map(|picture| format!("\n![{}]({folder}{FOLDER}/{})\n", paragraph(&picture.alt), picture.file)).collect()
}

/// What the pictures of a family are made from.
struct Source<'a> {
    answers: &'a Answers<'a>,
    family: &'a str,
    /// Beginning of the files' names.
    stem: String,
    /// The rows of the family.
    rows: DataFrame,
    /// The curves over these rows.
    curves: Vec<Series>,
    /// The fastest engine of the family by machine.
    fastest: BTreeMap<String, String>,
}

impl<'a> Source<'a> {
    fn of(answers: &'a Answers<'_>, family: &'a str) -> PolarsResult<Self> {
        let files = render::family::files(&answers.cells)?;
        let file = files.into_iter().find(|(known, _)| known == family).map_or_else(String::new, |(_, file)| file);
        let rows = answers.rows.clone().lazy().filter(col("family").eq(lit(family))).collect()?;
        let fastest = render::answer::fastest_engines(&rows)?;
        let fastest = fastest.into_iter().map(|((_, machine), engine)| (machine, engine)).collect();
        Ok(Self { answers, family, stem: file.trim_end_matches(".md").to_owned(), curves: series(&rows, &answers.roles)?, rows, fastest })
    }

    /// The name of a file: `attention-crossover.svg`, then `attention-crossover-2.svg`.
    fn file(&self, kind: &str, before: usize) -> String {
        numbered(&format!("{}-{kind}", self.stem), before)
    }

    fn family(&self) -> String {
        card::name(self.family)
    }

    /// The ratio of a row to the strong baseline with the ends of its interval, open where there is none.
    fn ratio(&self, row: usize) -> PolarsResult<[f64; 3]> {
        let [ratio, low, high] = ["strong_ratio", "strong_low", "strong_high"].map(|column| self.rows.doubles(column));
        Ok([ratio?.get(row).unwrap_or(1.0), low?.get(row).filter(|low| *low > 0.0).unwrap_or(0.0), high?.get(row).unwrap_or(f64::INFINITY)])
    }

    fn run(&self, run: i64) -> Option<&Run> {
        self.answers.runs.get(usize::try_from(run).ok()?)
    }

    fn floor(&self, run: i64) -> f64 {
        self.run(run).map_or(ASSUMED_FLOOR, Run::floor)
    }

    fn noise(&self, run: i64) -> String {
        let how = if self.run(run).and_then(Run::noise_floor).is_some() { "" } else { "was not measured, taken as " };
        format!("Noise floor {how}{} (shaded)", percent(self.floor(run)))
    }

    fn machine(&self, fingerprint: &str) -> String {
        machine(self.answers, fingerprint)
    }
}

/// A machine in a few words.
fn machine(answers: &Answers<'_>, fingerprint: &str) -> String {
    let known = answers.machines.get(fingerprint);
    let model = known.and_then(|machine| machine.cpu_model.as_deref()).unwrap_or("unknown processor");
    let cores = known.map_or_else(String::new, |machine| format!(", {}", machine.cores()));
    format!("{}{cores} ({})", card::name(model), card::name(fingerprint))
}

/// The name of a file among others of its kind.
fn numbered(kind: &str, before: usize) -> String {
    let number = if before == 0 { String::new() } else { format!("-{}", before + 1) };
    format!("{kind}{number}.svg")
}
