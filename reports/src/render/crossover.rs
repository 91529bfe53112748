//! Where each variant starts to pay: the first table of a family, and the answer on top of the summary.
//!
//! One table for every machine, run, moving axis, precision and number of threads; a row for every variant and setting, a column for every
//! engine. What pays on some engine comes first, by its error.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;

use super::Context;
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::text::markdown::{ABSENT, Align, Table, counted, name};
use crate::text::units::{figure, scientific};

const ABOUT: &str = "\nWhere a variant overtakes the strong baseline: the fastest cell of the same engine, precision and threads that computes the exact result \
    (*against*; an exact variant is held against the declared baseline). *from 900 [850, 960]*: faster from there on, by interpolation between the measured \
    lengths, with the interval that the 95 % intervals of the ratios leave; *up to*: faster until there; nothing is said beyond the measured range; the ratio \
    of times behind *never* is the best that was seen. A ratio within the noise floor, or whose interval holds 1, is neither faster nor slower: \
    *by 256* is faster from there on and not decided before, *undecided* is what such points leave open otherwise. The interval of a crossing tells how well the times are known, and nothing of \
    how straight the curve is between two sizes. *error* is the distance from \
    the exact result (relative Frobenius norm) and *memory* the declared bytes over the declared baseline's, where it is first faster (else where it comes nearest), \
    the largest of the engines'; what is faster only with an error above 10 % is not bold. ‡: the error is the distance from a function of the variant's own. \
    *points* have a ratio; those beside them failed, or their baseline did.\n";

/// Lines of the crossovers of one table: what they have in common.
type Key = (Option<i64>, Option<String>, String, Option<String>, Option<String>);

/// The lines of one variant and setting, by engine.
type ByEngine<'a> = BTreeMap<&'a str, usize>;

/// The section of a family; nothing where no curve has two points. `frame` is that of `frames::crossover`.
pub(crate) fn section(frame: &DataFrame, context: &Context<'_>, family: &str) -> PolarsResult<String> {
    let lines = Lines::of(frame)?;
    let tables = lines.tables(family)?;
    if tables.is_empty() {
        return Ok(String::new());
    }
    let mut out = format!("\n## Where it starts to pay\n{ABOUT}");
    let several_runs = tables.keys().map(|key| key.0).collect::<BTreeSet<_>>().len() > 1;
    for (key, rows) in &tables {
        out += &format!("\n### {}\n\n", lines.heading(key, context, several_runs));
        out += &lines.table(rows)?;
    }
    Ok(out)
}

struct Lines<'a> {
    frame: &'a DataFrame,
    engines: &'a StringChunked,
    variants: &'a StringChunked,
    settings: &'a StringChunked,
    pays: &'a BooleanChunked,
}

impl<'a> Lines<'a> {
    fn of(frame: &'a DataFrame) -> PolarsResult<Self> {
        let [engines, variants, settings] = ["engine", "variant", "setting"].map(|column| frame.texts(column));
        Ok(Self { frame, engines: engines?, variants: variants?, settings: settings?, pays: frame.flags("pays")? })
    }

    fn tables(&self, family: &str) -> PolarsResult<BTreeMap<Key, Vec<usize>>> {
        let families = self.frame.texts("family")?;
        let text = |column: &str, row: usize| if self.frame.schema().contains(column) { self.frame.shown(column, row) } else { Ok(None) };
        let mut tables: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        for row in (0..self.frame.height()).filter(|row| families.get(*row) == Some(family)) {
            let axis = text("axis", row)?.unwrap_or_default();
            let key = (self.frame.ints(RUN)?.get(row), text("machine", row)?, axis, text(PRECISION, row)?, text(THREADS, row)?);
            tables.entry(key).or_default().push(row);
        }
        Ok(tables)
    }

    fn heading(&self, (run, machine, axis, precision, threads): &Key, context: &Context<'_>, several_runs: bool) -> String {
        let mut words = vec![format!("Over {}", name(axis_name(axis)))];
        words.extend(precision.as_deref().map(name));
        words.extend(threads.as_ref().map(|threads| threads.parse().map_or_else(|_| name(threads), |threads| counted(threads, "thread"))));
        words.extend(several_runs.then(|| format!("run {}", context.run(*run))));
        words.extend(machine.as_ref().filter(|_| context.several_machines).map(|machine| context.machine(machine)));
        words.join(", ")
    }

    fn table(&self, rows: &[usize]) -> PolarsResult<String> {
        let engines: BTreeSet<&str> = rows.iter().filter_map(|row| self.engines.get(*row)).collect();
        let mut headings = vec![("variant".to_owned(), Align::Left), ("setting".to_owned(), Align::Left)];
        headings.extend(engines.iter().map(|engine| (name(engine), Align::Left)));
        let last = [("error", Align::Right), ("memory", Align::Right), ("points", Align::Right), ("against", Align::Left)];
        headings.extend(last.map(|(heading, align)| (heading.to_owned(), align)));
        let mut table = Table::new(headings);
        for by_engine in self.variants_in_order(rows)? {
            let Some(first) = by_engine.values().next().copied() else { continue };
            let text = |column: &StringChunked| name(column.get(first).unwrap_or_default());
            let mut cells = vec![text(self.variants), text(self.settings)];
            for engine in &engines {
                cells.push(by_engine.get(engine).map_or_else(|| Ok(ABSENT.to_owned()), |row| self.emphasised(*row))?);
            }
            let error = self.largest("err_method_rel", &by_engine)?.map_or_else(|| ABSENT.to_owned(), scientific);
            cells.push(error + own_function(self.frame, first)?);
            cells.push(self.largest("declared_ratio", &by_engine)?.map_or_else(|| ABSENT.to_owned(), figure));
            cells.push(self.points(&by_engine)?);
            cells.push(self.against(&by_engine)?);
            table.push(cells);
        }
        Ok(table.render())
    }

    /// Those that pay somewhere first, by their error; the others by how near they come.
    fn variants_in_order(&self, rows: &[usize]) -> PolarsResult<Vec<ByEngine<'a>>> {
        let mut variants: BTreeMap<(&str, &str), ByEngine<'a>> = BTreeMap::new();
        for row in rows {
            let of = |column: &'a StringChunked| column.get(*row).unwrap_or_default();
            variants.entry((of(self.variants), of(self.settings))).or_default().insert(of(self.engines), *row);
        }
        let mut ordered = Vec::new();
        for by_engine in variants.into_values() {
            let pays = by_engine.values().any(|row| self.pays.get(*row) == Some(true));
            let by = if pays { self.largest("err_method_rel", &by_engine)? } else { self.least("ratio", &by_engine)? };
            ordered.push((!pays, by.unwrap_or(f64::INFINITY), by_engine));
        }
        // Stable, so that what is equal stays in the order of names.
        ordered.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        Ok(ordered.into_iter().map(|(_, _, by_engine)| by_engine).collect())
    }

    fn largest(&self, column: &str, by_engine: &ByEngine<'_>) -> PolarsResult<Option<f64>> {
        let column = self.frame.doubles(column)?;
        Ok(by_engine.values().filter_map(|row| column.get(*row)).reduce(f64::max))
    }

    fn least(&self, column: &str, by_engine: &ByEngine<'_>) -> PolarsResult<Option<f64>> {
        let column = self.frame.doubles(column)?;
        Ok(by_engine.values().filter_map(|row| column.get(*row)).reduce(f64::min))
    }

    /// `4`, or `3 of 4` where some have no ratio; the least of the engines'.
    fn points(&self, by_engine: &ByEngine<'_>) -> PolarsResult<String> {
        let [points, failed, alone] = ["points", "failed", "alone"].map(|column| self.frame.ints(column));
        let (points, failed, alone) = (points?, failed?, alone?);
        let of = |row: usize| {
            let with = points.get(row).unwrap_or(0);
            (with, with + failed.get(row).unwrap_or(0) + alone.get(row).unwrap_or(0))
        };
        let (with, all) = by_engine.values().map(|row| of(*row)).min().unwrap_or_default();
        Ok(if with == all { with.to_string() } else { format!("{with} of {all}") })
    }

    fn emphasised(&self, row: usize) -> PolarsResult<String> {
        let words = name(self.frame.texts("words")?.get(row).unwrap_or_default());
        Ok(if self.pays.get(row) == Some(true) { format!("**{words}**") } else { words })
    }

    fn against(&self, by_engine: &ByEngine<'_>) -> PolarsResult<String> {
        let column = self.frame.texts("against")?;
        let names: BTreeSet<&str> = by_engine.values().filter_map(|row| column.get(*row)).flat_map(|names| names.split(", ")).collect();
        Ok(names.into_iter().map(name).collect::<Vec<_>>().join(", "))
    }
}

/// Behind an error that is the distance from a function of the variant's own, and not from the baseline's.
pub(crate) fn own_function(frame: &DataFrame, row: usize) -> PolarsResult<&'static str> {
    Ok(if frame.flags("own_function")?.get(row) == Some(true) { " ‡" } else { "" })
}
