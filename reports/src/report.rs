//! From run folders to the files of a report.

use std::fs;
use std::path::{Path, PathBuf};

use crossover_results::write_atomically;
use polars::prelude::*;

use crate::error::{ReportError, Result};
use crate::frames::order::{axis_roles, sorted};
use crate::frames::{accuracy, baseline, failures, headline, memory, overview, speed};
use crate::render::{self, Context};
use crate::text::csv::cells_csv;
use crate::text::markdown::counted;
use crate::{runs, scan};

const SUMMARY: &str = "summary.md";
const CELLS: &str = "cells.csv";

/// What a report can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `summary.md`, `speed.md`, `memory.md`, `accuracy.md`.
    Markdown,
    /// `cells.csv`.
    Csv,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The file to begin with.
    pub entry: PathBuf,
    /// Runs in the report.
    pub runs: usize,
    /// Cells in the report.
    pub cells: usize,
    /// What must not be overlooked; the report says it too.
    pub warnings: Vec<String>,
    /// True where a share of a ceiling is impossible: exit code 1.
    pub finding: bool,
}

/// Writes the report on `runs` into the folder `out`, each file whole or not at all.
///
/// # Errors
/// When a run cannot be read, was written by a newer version, or the folder cannot be written.
pub fn write_report(runs: &[PathBuf], out: &Path, formats: &[Format]) -> Result<Outcome> {
    let runs = runs::open(runs)?;
    // Collected once: every frame below starts from these rows, so the files are read a single time.
    let cells = scan::collect(&runs)?;
    let lazy = cells.clone().lazy();
    let roles = axis_roles(&lazy)?;
    let machines = runs::machines(&runs);
    let several_machines = cells.column("machine")?.as_materialized_series().n_unique()? > 1;
    let labels = runs.iter().map(|run| run.label.as_str()).collect();
    let floors = runs.iter().map(|run| run.manifest.noise.as_ref().map(|noise| noise.floor)).collect();
    let context = Context { labels, floors, machines, several_machines, roles };

    let compared = baseline::with_baseline(lazy.clone())?;
    let ceilings: Vec<_> = runs.iter().map(|run| run.ceilings.as_ref()).collect();
    let speed_rows = speed::with_share(sorted(speed::speed(compared.clone()), &context.roles).collect()?, &ceilings)?;
    let over = render::speed::over_ceiling(&speed_rows, &context)?;

    let mut files: Vec<(&str, String)> = Vec::new();
    if formats.contains(&Format::Markdown) {
        let memory_rows = sorted(memory::memory(compared.clone()), &context.roles).collect()?;
        let accuracy_rows = sorted(accuracy::accuracy(compared), &context.roles).collect()?;
        files.push(("speed.md", render::speed::document(&speed_rows, &context, &over)?));
        files.push(("memory.md", render::memory::document(&memory_rows, &context)?));
        files.push(("accuracy.md", render::accuracy::document(&accuracy_rows, &context)?));
    }
    if formats.contains(&Format::Csv) {
        files.push((CELLS, cells_csv(&sorted(lazy.clone(), &context.roles).collect()?, &context.labels)?));
    }
    if formats.contains(&Format::Markdown) {
        let frames = render::summary::Frames {
            cells: &cells,
            overview: &overview::overview(lazy.clone()).collect()?,
            headline: &headline::headline(speed_rows.clone().lazy(), &context.roles).collect()?,
            speed: &speed_rows,
            failures: &failures::failures(lazy).collect()?,
        };
        let links: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
        // Last, so that where it is, what it links to is too.
        files.push((SUMMARY, render::summary::document(&runs, &frames, &context, &over, &links)?));
    }
    fs::create_dir_all(out).map_err(|source| ReportError::OutFolder { path: out.to_owned(), source })?;
    for (file, text) in &files {
        write_atomically(&out.join(file), text.as_bytes())?;
    }
    let entry = out.join(files.last().map_or("", |(file, _)| *file));
    let mut warnings: Vec<String> =
        runs.iter().flat_map(|run| run.notes.iter().map(move |note| format!("run {}: {note}", run.label))).collect();
    warnings.extend((!over.is_empty()).then(|| impossible(over.len())));
    Ok(Outcome { entry, runs: runs.len(), cells: cells.height(), finding: !over.is_empty(), warnings })
}

fn impossible(count: usize) -> String {
    let figures = counted(count as u64, "figure");
    format!(
        "{figures} above 100 % of the machine's ceiling, which was measured too low (under load?) or is that of another cost; see speed.md"
    )
}
