//! Which engine is fastest: part of the summary.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;

use super::Context;
use super::listing::{by_machine, listing, threads_of, with_interval};
use crate::answers::ENGINES;
use crate::columns::Typed;
use crate::text::markdown::{ABSENT, Align, Table, name};
use crate::text::units::figure;

const ABOUT: &str = "\n## Engines\n\n\
    Geometric means of the ratios of median times over the cells that both engines have done well: same run, variant, axes, precision and threads. *time* is the engine's over \
    that of the first of its family, with a 95 % interval over problems (Student's t on logarithms; cells of one problem count as \
    varying together); *cells* and *problems* are those that the two share, so they differ from line to line. An engine's *place* is one more than the number of engines that are shown to be faster by the whole interval, so engines that nothing parts share one.\n";

/// The section; empty where no two engines share a cell. `frame` is that of `frames::engines`.
pub(crate) fn section(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    if frame.height() == 0 {
        return Ok(String::new());
    }
    let mut out = ABOUT.to_owned();
    let threads = frame.ints("threads")?;
    for (heading, rows) in by_machine(frame, context, 3)? {
        out += &heading;
        let counts: BTreeSet<Option<i64>> = rows.iter().map(|row| threads.get(*row)).collect();
        for count in counts {
            let rows: Vec<usize> = rows.iter().copied().filter(|row| threads.get(*row) == count).collect();
            if let Some(count) = count {
                out += &format!("\n{} {}\n", if context.several_machines { "####" } else { "###" }, threads_of(&count.to_string()));
            }
            out += &ranking(frame, &rows)?;
            out += &pairs(frame, &rows)?;
        }
    }
    Ok(out)
}

/// A line for every engine of every family, against the first of it.
fn ranking(frame: &DataFrame, rows: &[usize]) -> PolarsResult<String> {
    let (families, engines, rivals) = (frame.texts("family")?, frame.texts("engine")?, frame.texts("rival")?);
    let (places, orders, rival_orders) = (frame.ints("place")?, frame.ints("order")?, frame.ints("rival_order")?);
    let mut order: BTreeSet<(&str, i64, i64, &str)> = BTreeSet::new();
    let mut against: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in rows {
        let (Some(family), Some(engine)) = (families.get(*row), engines.get(*row)) else { continue };
        let (Some(place), Some(at)) = (places.get(*row), orders.get(*row)) else { continue };
        order.insert((family, at, place, engine));
        if rival_orders.get(*row) == Some(1) {
            against.insert((family, engine), *row);
        }
    }
    let mut lines = Vec::new();
    for (family, at, place, engine) in order {
        let mut line = vec![name(family), place.to_string(), name(engine)];
        line.extend(match against.get(&(family, engine)) {
            Some(row) => [
                ratio(frame, *row)?,
                frame.ints("cells")?.get(*row).unwrap_or(0).to_string(),
                frame.ints("problems")?.get(*row).unwrap_or(0).to_string(),
                name(rivals.get(*row).unwrap_or_default()),
            ],
            None if at == 1 => ["1".to_owned(), String::new(), String::new(), String::new()],
            None => [ABSENT.to_owned(), "0".to_owned(), "0".to_owned(), "no cell shared with the first".to_owned()],
        });
        lines.push(line);
    }
    let headings = [
        ("family", Align::Left),
        ("place", Align::Right),
        ("engine", Align::Left),
        ("time [95 % CI]", Align::Right),
        ("cells", Align::Right),
        ("problems", Align::Right),
        ("against", Align::Left),
    ];
    Ok("\n".to_owned() + &listing(&headings, lines, ENGINES))
}

fn ratio(frame: &DataFrame, row: usize) -> PolarsResult<String> {
    let double = |column: &str| Ok::<_, PolarsError>(frame.doubles(column)?.get(row));
    Ok(with_interval(double("ratio")?.unwrap_or(f64::NAN), double("ratio_low")?, double("ratio_high")?))
}

/// Each engine against each, over all families; nothing where there are but two, which the ranking has told.
fn pairs(frame: &DataFrame, rows: &[usize]) -> PolarsResult<String> {
    let (families, engines, rivals) = (frame.texts("family")?, frame.texts("engine")?, frame.texts("rival")?);
    let several = rows.iter().any(|row| families.get(*row) == Some(crate::frames::engines::ALL));
    let of_all = |row: &&usize| !several || families.get(**row) == Some(crate::frames::engines::ALL);
    let mut by: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut order: BTreeSet<(i64, &str)> = BTreeSet::new();
    for row in rows.iter().filter(of_all) {
        let (Some(engine), Some(rival)) = (engines.get(*row), rivals.get(*row)) else { continue };
        by.insert((engine, rival), *row);
        order.insert((frame.ints("place")?.get(*row).unwrap_or(0), engine));
    }
    if order.len() < 3 {
        return Ok(String::new());
    }
    let headings = std::iter::once(("engine".to_owned(), Align::Left))
        .chain(order.iter().map(|(_, rival)| (format!("over {}", name(rival)), Align::Right)));
    let mut table = Table::new(headings.collect());
    for (_, engine) in &order {
        let mut line = vec![name(engine)];
        for (_, rival) in &order {
            line.push(match by.get(&(*engine, *rival)) {
                Some(row) => {
                    let cells = frame.ints("cells")?.get(*row).unwrap_or(0);
                    format!("{} ({cells})", figure(frame.doubles("ratio")?.get(*row).unwrap_or(f64::NAN)))
                }
                None => ABSENT.to_owned(),
            });
        }
        table.push(line);
    }
    let of = if several { "all families" } else { "these cells" };
    Ok(format!("\nEach over each, {of}, with the number of shared cells:\n\n{}", table.render()))
}
