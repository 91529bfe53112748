//! The papers' tables and what their rows are here, out of `results/published` (see the README there).
//!
//! They are built in, so that a report needs no folder beside it. Which method is which variant, and what is known to be different, is data: a
//! new table is two lines below and rows in `methods.csv` and `tables.csv`.

use std::io::Cursor;

use polars::prelude::*;

use crate::columns::Typed;

/// The tables by name; an experiment `published-NAME` measures what stands in one.
const TABLES: [(&str, &str); 7] = [
    ("components", include_str!("../../../../results/published/components.csv")),
    ("flashattention-table18", include_str!("../../../../results/published/flashattention-table18.csv")),
    ("linformer-table3", include_str!("../../../../results/published/linformer-table3.csv")),
    ("lra-table1", include_str!("../../../../results/published/lra-table1.csv")),
    ("lra-table2", include_str!("../../../../results/published/lra-table2.csv")),
    ("nystromformer-table1", include_str!("../../../../results/published/nystromformer-table1.csv")),
    ("reformer-table2", include_str!("../../../../results/published/reformer-table2.csv")),
];
const METHODS: &str = include_str!("../../../../results/published/methods.csv");
const CONDITIONS: &str = include_str!("../../../../results/published/tables.csv");

/// What a figure of a paper is, as far as it can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measure {
    Time,
    Memory,
    /// How wrong, by the loss of accuracy: only the order can be compared.
    Error,
}

impl Measure {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Memory => "memory",
            Self::Error => "error",
        }
    }
}

/// One figure of a paper.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) setting: String,
    pub(super) method: String,
    pub(super) param: String,
    pub(super) n: Option<i64>,
    pub(super) measure: Measure,
    /// The ratio to dense, below 1 is less; of errors the accuracy itself with its sign turned, so that less is better there too.
    pub(super) ratio: f64,
}

/// What a method is here.
#[derive(Debug, Clone)]
pub(super) struct Here {
    pub(super) variant: String,
    /// Values that some axes must have, as `axis:NAME` and text.
    pub(super) axes: Vec<(String, String)>,
}

/// A paper's table under one setting.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    pub(super) setting: String,
    /// The method that the others are held against.
    pub(super) dense: String,
    /// `gpu`, `tpu`, or empty where it does not matter.
    pub(super) device: String,
    pub(super) axes: Vec<(String, String)>,
    /// What is known to be different, in words.
    pub(super) differs: String,
}

/// One table with everything that belongs to it.
pub(super) struct PaperTable {
    pub(super) figures: Vec<Figure>,
    pub(super) conditions: Vec<Conditions>,
    methods: Vec<(String, String, Here)>,
}

impl PaperTable {
    /// The table of this name; none where there is none.
    pub(super) fn of(table: &str) -> PolarsResult<Option<Self>> {
        let Some((_, text)) = TABLES.iter().find(|(name, _)| *name == table) else { return Ok(None) };
        let conditions = conditions(table)?;
        let figures = figures(text, &conditions)?;
        Ok(Some(Self { figures, conditions, methods: methods(table)? }))
    }

    /// What a method with this parameter is here.
    pub(super) fn here(&self, method: &str, param: &str) -> Option<&Here> {
        self.methods.iter().find(|(name, value, _)| name == method && value == param).map(|(.., here)| here)
    }

    /// The conditions of a setting: its own, or those of all.
    pub(super) fn conditions(&self, setting: &str) -> Option<&Conditions> {
        conditions_of(&self.conditions, setting)
    }
}

fn conditions_of<'a>(all: &'a [Conditions], setting: &str) -> Option<&'a Conditions> {
    all.iter().find(|known| known.setting.is_empty() || known.setting == setting)
}

/// Rows of a CSV file as text, by these columns; empty where there is nothing.
fn rows<const N: usize>(text: &str, columns: [&str; N]) -> PolarsResult<Vec<[String; N]>> {
    let options = CsvReadOptions::default().with_infer_schema_length(Some(0));
    let frame = options.into_reader_with_file_handle(Cursor::new(text.as_bytes())).finish()?;
    let mut rows = Vec::with_capacity(frame.height());
    for row in 0..frame.height() {
        let mut fields = [const { String::new() }; N];
        for (field, column) in fields.iter_mut().zip(columns) {
            frame.texts(column)?.get(row).unwrap_or_default().clone_into(field);
        }
        rows.push(fields);
    }
    Ok(rows)
}

/// `rank=256 sharing=headwise`; the value may have an `=` of its own.
fn axes(text: &str) -> Vec<(String, String)> {
    text.split_whitespace()
        .filter_map(|part| part.split_once('='))
        .map(|(axis, value)| (format!("axis:{axis}"), value.to_owned()))
        .collect()
}

fn methods(table: &str) -> PolarsResult<Vec<(String, String, Here)>> {
    let all = rows(METHODS, ["table", "method", "param", "variant", "axes"])?;
    let own = all.into_iter().filter(|row| row[0] == table);
    Ok(own.map(|[_, method, param, variant, named]| (method, param, Here { variant, axes: axes(&named) })).collect())
}

fn conditions(table: &str) -> PolarsResult<Vec<Conditions>> {
    let all = rows(CONDITIONS, ["table", "setting", "dense", "device", "axes", "differs"])?;
    let own = all.into_iter().filter(|row| row[0] == table);
    Ok(own.map(|[_, setting, dense, device, named, differs]| Conditions { setting, dense, device, axes: axes(&named), differs }).collect())
}

/// The figures that can be compared: numbers, of a setting whose conditions are known, and not of the dense method itself.
fn figures(text: &str, all: &[Conditions]) -> PolarsResult<Vec<Figure>> {
    let rows = rows(text, ["setting", "method", "param", "n", "metric", "value"])?;
    let mut figures = Vec::new();
    for [setting, method, param, n, metric, value] in &rows {
        let (Some(conditions), Ok(value)) = (conditions_of(all, setting), value.parse::<f64>()) else { continue };
        let same = |row: &&[String; 6]| (&row[0], &row[3], &row[4]) == (setting, n, metric) && row[1] == conditions.dense;
        let dense = rows.iter().find(same).and_then(|row| row[5].parse::<f64>().ok());
        let found = match (metric.as_str(), dense) {
            ("time", Some(dense)) => Some((Measure::Time, value / dense)),
            ("steps_per_s", Some(dense)) => Some((Measure::Time, dense / value)),
            ("speedup", _) => Some((Measure::Time, 1.0 / value)),
            ("memory", Some(dense)) => Some((Measure::Memory, value / dense)),
            ("memory_saving", _) => Some((Measure::Memory, 1.0 / value)),
            ("accuracy", _) => Some((Measure::Error, -value)),
            _ => None,
        };
        let of_dense = *method == conditions.dense;
        if let Some((measure, ratio)) = found.filter(|(measure, ratio)| ratio.is_finite() && !(of_dense && *measure != Measure::Error)) {
            let (setting, method, param) = (setting.clone(), method.clone(), param.clone());
            figures.push(Figure { setting, method, param, n: n.parse().ok(), measure, ratio });
        }
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_reads_and_every_line_about_it_finds_something() {
        for (name, text) in TABLES {
            let table = PaperTable::of(name).unwrap().unwrap();
            assert!(!table.figures.is_empty() && !table.methods.is_empty(), "{name}");
            let known = rows(text, ["method", "param", "setting"]).unwrap();
            for (method, param, _) in &table.methods {
                let is_ratio_only = name == "linformer-table3" && method == "transformer";
                assert!(is_ratio_only || known.iter().any(|row| row[0] == *method && row[1] == *param), "{name}: {method} {param}");
            }
            for conditions in &table.conditions {
                assert!(
                    conditions.setting.is_empty() || known.iter().any(|row| row[2] == conditions.setting),
                    "{name}: {}",
                    conditions.setting
                );
                assert!(conditions.dense.is_empty() || table.here(&conditions.dense, "").is_some(), "{name}: {}", conditions.dense);
            }
        }
        for [table] in rows(METHODS, ["table"]).unwrap().into_iter().chain(rows(CONDITIONS, ["table"]).unwrap()) {
            assert!(TABLES.iter().any(|(name, _)| **name == table), "{table}");
        }
        assert!(PaperTable::of("quick").unwrap().is_none());
    }

    #[test]
    fn figures_are_ratios_to_dense_whatever_the_paper_prints() {
        let ratio = |table: &str, method: &str, param: &str, n: i64, measure: Measure| {
            let table = PaperTable::of(table).unwrap().unwrap();
            let is = |figure: &&Figure| {
                (figure.method.as_str(), figure.param.as_str(), figure.n, figure.measure) == (method, param, Some(n), measure)
            };
            table.figures.iter().find(is).unwrap().ratio
        };
        // 8.42 ms over 16.47; 2.3 steps a second over 1.5; 1 over 3.2; 836 MB over 17024.
        let close = |value: f64, expected: f64| assert!((value / expected - 1.0).abs() < 1e-12, "{value} {expected}");
        close(ratio("flashattention-table18", "flash", "", 4096, Measure::Time), 8.42 / 16.47);
        close(ratio("lra-table2", "reformer", "", 3072, Measure::Time), 2.3 / 1.5);
        close(ratio("linformer-table3", "linformer", "k=256", 4096, Measure::Time), 1.0 / 3.2);
        close(ratio("flashattention-table18", "flash", "", 4096, Measure::Memory), 836.0 / 17024.0);
    }
}
