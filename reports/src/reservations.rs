//! What to know of each run before its figures are read: on top of the summary, under the title of the page, and beside advice.

use polars::prelude::*;

use crate::columns::{RUN, Typed};
use crate::runs::{ASSUMED_FLOOR, Run};
use crate::text::markdown::counted;
use crate::text::units::percent;
use crossover_results::schema::Stop;

/// A remark on a run, as plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) text: String,
    /// True where it limits what the figures are worth.
    pub(crate) warns: bool,
}

impl Remark {
    fn plain(text: String) -> Self {
        Self { text, warns: false }
    }

    fn warning(text: String) -> Self {
        Self { text, warns: true }
    }
}

/// The remarks on the run at this place, the noise first. `cells` are those of all runs.
pub(crate) fn of_run(runs: &[Run], cells: &DataFrame, place: usize) -> PolarsResult<Vec<Remark>> {
    let Some(run) = runs.get(place) else { return Ok(Vec::new()) };
    let own = |column: &str| -> PolarsResult<Vec<Option<String>>> {
        let (runs, values) = (cells.ints(RUN)?, cells.texts(column)?);
        let of_it = runs.iter().zip(values.iter()).filter(|(run, _)| *run == Some(place as i64));
        Ok(of_it.map(|(_, value)| value.map(str::to_owned)).collect())
    };
    let stops = own("stop")?;
    let mut remarks = vec![noise(run)];
    remarks.extend(unfinished(run, stops.len() as u64));
    remarks.extend(parts(run));
    for (stop, what) in [(Stop::Few, "have fewer samples than asked for"), (Stop::Disturbed, "have disturbed samples only")] {
        let count = stops.iter().filter(|why| why.as_deref() == Some(stop.name())).count();
        remarks.extend((count > 0).then(|| Remark::plain(format!("{} {what}", counted(count as u64, "cell")))));
    }
    remarks.extend(builds(&own("build")?));
    Ok(remarks)
}

fn noise(run: &Run) -> Remark {
    match run.noise_floor() {
        Some(floor) => Remark::plain(format!("noise floor {}: a ratio nearer to 1 decides nothing", percent(floor))),
        None => Remark::warning(format!(
            "noise was not measured, {} are taken for its floor: a ratio nearer to 1 decides nothing",
            percent(ASSUMED_FLOOR)
        )),
    }
}

/// Where a run lacks cells of its plan.
fn unfinished(run: &Run, finished: u64) -> Option<Remark> {
    let planned = run.manifest.cells_planned;
    (finished < planned).then(|| Remark::warning(format!("only {finished} of {planned} planned cells are finished")))
}

/// Where it is a shard, or joined of some.
fn parts(run: &Run) -> Option<Remark> {
    if run.manifest.missing_parts().is_empty() {
        return None;
    }
    let parts: Vec<String> = run.manifest.parts.iter().map(|part| format!("{} of {}", part.index, part.count)).collect();
    Some(Remark::warning(format!("only part {} of its plan", parts.join(" and part "))))
}

/// Where cells of several builds are held against each other.
fn builds(cells: &[Option<String>]) -> Option<Remark> {
    let mut counts: Vec<(&str, u64)> = Vec::new();
    for build in cells.iter().flatten() {
        match counts.iter_mut().find(|(known, _)| known == build) {
            Some((_, count)) => *count += 1,
            None => counts.push((build, 1)),
        }
    }
    counts.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    let told: Vec<String> = counts.iter().map(|(_, count)| count.to_string()).collect();
    (counts.len() > 1).then(|| Remark::plain(format!("cells of {} builds ({})", counts.len(), told.join(" and "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_builds_are_counted_and_one_is_no_news() {
        let cells = |builds: &[&str]| builds.iter().map(|build| Some((*build).to_owned())).collect::<Vec<_>>();
        assert_eq!(builds(&cells(&["a", "a"])), None);
        let told = builds(&cells(&["b", "a", "a"])).unwrap();
        assert_eq!((told.text.as_str(), told.warns), ("cells of 2 builds (2 and 1)", false));
    }
}
