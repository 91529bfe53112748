//! Speed: time, interval, ratio, rates and share of the ceiling, one row a cell.

use polars::prelude::*;

use super::family_tables::{Measures, sections};
use super::regime::value;
use super::{Context, ratio};
use crate::columns::{THREADS, Typed, axis_name};
use crate::text::markdown::{ABSENT, Align, counted, name};
use crate::text::units::{figure, percent, time};

const ABOUT: &str = "\n## Speed\n\n\
    The median time of one call, and the 95 % confidence interval of that median. The ratio is the cell's time over its baseline's \
    in the same rounds: below 1 is faster. \
    Its interval divides the ends of the two medians' intervals crosswise, so it is rather too wide than too narrow. \
    *share* is the least time that the machine's measured ceilings allow over the measured one (ceilings measured with more threads than the cell used count \
    in full, so such a share is rather too low); *stop* says whether the interval \
    became as narrow as asked or the time ran out; *samples* are those that the figures come from, and those rejected for a \
    disturbance. A cell without a time has its status in place of it; the reasons are in the summary. Emulated cells ran in another \
    precision than they are named by, and are not ranked.\n";

/// A cell that is faster than the machine can be.
pub(crate) struct OverCeiling {
    pub(crate) cell: String,
    pub(crate) share: f64,
}

struct Speed<'a> {
    frame: &'a DataFrame,
    shares: bool,
    /// For each row, whether it ran on fewer threads than it may.
    threads_left: Vec<bool>,
    /// Some of them did.
    fewer_threads: bool,
}

/// The section of a family. `frame` has the columns of `frames::speed` with shares.
pub(crate) fn section(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    let mut out = ABOUT.to_owned();
    out += &ratio::legend(frame)?;
    let shares = frame.doubles("share")?.null_count() < frame.height();
    if !shares {
        out += "\nNo share of a ceiling is given: the runs' manifests have none that fits. `crossover probe` measures them.\n";
    }
    let threads_left = threads_left(frame)?;
    let fewer_threads = threads_left.contains(&true);
    Ok(out + &sections(frame, context, &Speed { frame, shares, threads_left, fewer_threads })?)
}

/// Did each cell use fewer threads than it may?
fn threads_left(frame: &DataFrame) -> PolarsResult<Vec<bool>> {
    if !frame.schema().contains(THREADS) {
        return Ok(vec![false; frame.height()]);
    }
    let (used, allowed) = (frame.ints("threads_used")?, frame.ints(THREADS)?);
    Ok(used.iter().zip(allowed.iter()).map(|pair| matches!(pair, (Some(used), Some(allowed)) if used < allowed)).collect())
}

/// The cells with a share above 100 %.
pub(crate) fn over_ceiling(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<Vec<OverCeiling>> {
    let mut over = Vec::new();
    for (row, share) in frame.doubles("share")?.iter().enumerate() {
        let Some(share) = share.filter(|share| *share > 1.0) else { continue };
        let mut words = format!("{} on {}", value(frame, context, "variant", row)?, value(frame, context, "engine", row)?);
        for axis in context.roles.problem.iter().chain(&context.roles.parameters) {
            if let Some(value) = frame.shown(axis, row)? {
                words += &format!(", {} = {}", name(axis_name(axis)), name(&value));
            }
        }
        over.push(OverCeiling { cell: words, share });
    }
    Ok(over)
}

/// What stands on top of a report with impossible figures.
pub(crate) fn warning(over: &[OverCeiling]) -> String {
    const LISTED: usize = 10;
    if over.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "\n> **Warning: {} above 100 % of the machine's ceiling.** No cell can be. Either the ceiling was measured too low, as on a machine \
         that was busy with something else then, or the cost model counts more than the cell must do. The times do not depend on either, \
         the shares do:\n>\n",
        counted(over.len() as u64, "figure")
    );
    for over in over.iter().take(LISTED) {
        out += &format!("> * {}: {}\n", over.cell, percent(over.share));
    }
    if over.len() > LISTED {
        out += &format!("> * and {} more: see the column *share* in the documents of the families\n", over.len() - LISTED);
    }
    out
}

impl Measures for Speed<'_> {
    fn headings(&self) -> Vec<(&'static str, Align)> {
        let mut headings: Vec<_> = ["median", "95 % CI", "ratio", "GFLOP/s", "GB/s"].map(|heading| (heading, Align::Right)).into();
        if self.shares {
            headings.push(("share", Align::Right));
        }
        if self.fewer_threads {
            headings.push(("threads used", Align::Right));
        }
        headings.extend([("stop", Align::Left), ("samples / rejected", Align::Right)]);
        headings
    }

    fn cells(&self, row: usize) -> PolarsResult<Vec<String>> {
        let frame = self.frame;
        let int = |name: &str| Ok::<_, PolarsError>(frame.ints(name)?.get(row));
        let double = |name: &str| Ok::<_, PolarsError>(frame.doubles(name)?.get(row));
        let shown = |value: Option<f64>, unit: fn(f64) -> String| value.map_or_else(|| ABSENT.to_owned(), unit);
        let status = frame.texts("status")?.get(row).unwrap_or_default();
        let median = match int("median_ns")? {
            None => format!("**{}**", name(status)),
            Some(median) if status == "ok" => time(median as f64),
            Some(median) => format!("{} ({})", time(median as f64), name(status)),
        };
        let interval = match (int("ci_low_ns")?, int("ci_high_ns")?) {
            (Some(low), Some(high)) => format!("{} … {}", time(low as f64), time(high as f64)),
            _ => ABSENT.to_owned(),
        };
        let own_baseline = frame.flags("own_baseline")?.get(row) == Some(true);
        let mut cells = vec![median, interval, if own_baseline { "baseline".to_owned() } else { ratio::ratio(frame, row)? }];
        cells.extend([shown(double("gflops")?, figure), shown(double("gbytes")?, figure)]);
        if self.shares {
            cells.push(match double("share")? {
                Some(share) if share > 1.0 => format!("**{} (impossible)**", percent(share)),
                share => shown(share, percent),
            });
        }
        if self.fewer_threads {
            let used = int("threads_used")?.map_or_else(|| ABSENT.to_owned(), |used| used.to_string());
            cells.push(if self.threads_left[row] { format!("**{used}**") } else { used });
        }
        cells.push(frame.texts("stop")?.get(row).map_or_else(|| ABSENT.to_owned(), name));
        cells.push(match (int("samples")?, int("rejected")?) {
            (Some(samples), Some(rejected)) => format!("{samples} / {rejected}"),
            _ => ABSENT.to_owned(),
        });
        Ok(cells)
    }

    fn compares(&self) -> bool {
        true
    }
}
