//! Raw samples for the page, thinned while they are read, so that a run of ten million samples never stands in memory as a whole.
//!
//! Of each cell at most [`MOST`] samples go into the page, evenly spread over the order in which they were taken. A report of very many cells has
//! fewer a cell, [`MOST_OF_ALL`] together; where that would leave hardly any, there are none, and the page says so.

use std::collections::HashMap;
use std::fs::File;

use crossover_results::StoreError;
use polars::prelude::*;

use crate::answers::Answers;
use crate::columns::{RUN, Typed};
use crate::error::{ReportError, Result};
use crate::runs::Run;

/// Samples of one cell.
const MOST: usize = 60;
/// Samples of all cells together: about three megabytes.
const MOST_OF_ALL: usize = 600_000;
/// Fewer of a cell show nothing of how they are spread.
const LEAST: usize = 6;
/// Rows that are read at a time.
const AT_A_TIME: usize = 1 << 20;

/// `{"most":N,"cells":[..]}`, or `null` where there are too many cells.
pub(super) fn samples(answers: &Answers<'_>) -> Result<String> {
    let rows = &answers.rows;
    let most = MOST.min(MOST_OF_ALL / rows.height().max(1));
    if most < LEAST {
        return Ok("null".to_owned());
    }
    let (runs, ids) = (rows.ints(RUN)?, rows.texts("id")?);
    let mut cells = vec![String::from("null"); rows.height()];
    for (index, run) in answers.runs.iter().enumerate().filter(|(_, run)| run.has_cells && run.folder.samples_path().exists()) {
        let of_run = (0..rows.height()).filter(|row| runs.get(*row) == Some(index as i64));
        let places: HashMap<&str, usize> = of_run.filter_map(|row| Some((ids.get(row)?, row))).collect();
        each_cell(run, |id, samples| {
            if let Some(place) = places.get(id) {
                cells[*place] = thinned(samples, most);
            }
        })?;
    }
    Ok(format!("{{\"most\":{most},\"cells\":[{}]}}", cells.join(",")))
}

/// `[taken, ns a call, ..]`, rejected samples negative.
fn thinned(samples: &[f64], most: usize) -> String {
    let mut out = format!("[{}", samples.len());
    let kept = samples.len().min(most);
    for at in 0..kept {
        let ns = samples[at * samples.len() / kept];
        // Four digits are more than a chart shows.
        let rounded: f64 = format!("{ns:.3e}").parse().unwrap_or(ns);
        out += &format!(",{rounded}");
    }
    out + "]"
}

/// Calls `told` with each cell's id and the times of its samples, which stand together in the table.
fn each_cell(run: &Run, mut told: impl FnMut(&str, &[f64])) -> Result<()> {
    let path = run.folder.samples_path();
    let failure = ReportError::table(&path);
    let open =
        || File::open(&path).map_err(|source| ReportError::Store(StoreError::Io { action: "open the table", path: path.clone(), source }));
    let total = ParquetReader::new(open()?).num_rows().map_err(&failure)?;
    let (mut cell, mut samples) = (String::new(), Vec::new());
    for first in (0..total).step_by(AT_A_TIME) {
        let wanted = ["id", "calls", "ns", "rejected"].map(str::to_owned).to_vec();
        let reader = ParquetReader::new(open()?).with_columns(Some(wanted)).with_slice(Some((first, AT_A_TIME.min(total - first))));
        let part = reader.finish().map_err(&failure)?;
        let (ids, calls, ns, rejected) = (part.texts("id"), part.ints("calls"), part.ints("ns"), part.flags("rejected"));
        let (ids, calls, ns, rejected) =
            (ids.map_err(&failure)?, calls.map_err(&failure)?, ns.map_err(&failure)?, rejected.map_err(&failure)?);
        for (((id, calls), ns), rejected) in ids.iter().zip(calls.iter()).zip(ns.iter()).zip(rejected.iter()) {
            let (Some(id), Some(calls), Some(ns)) = (id, calls, ns) else { continue };
            if id != cell {
                told(&cell, &samples);
                samples.clear();
                id.clone_into(&mut cell);
            }
            let time = ns as f64 / calls.max(1) as f64;
            samples.push(if rejected == Some(true) { -time } else { time });
        }
    }
    told(&cell, &samples);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_thinned_evenly_and_says_how_many_there_were() {
        assert_eq!(thinned(&[1.0, 2.0, 3.0, -4.0], 60), "[4,1,2,3,-4]");
        assert_eq!(thinned(&[], 60), "[0]");
        let many: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(thinned(&many, 5), "[1000,0,200,400,600,800]");
        assert_eq!(thinned(&[123_456.789], 5), "[1,123500]");
    }
}
