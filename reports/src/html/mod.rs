//! `index.html`: the whole report as one page that is opened from disk and asks nothing of any network.
//!
//! # Design
//!
//! The program gathers, the page shows. What is *reckoned* (ratios, baselines, curves, crossings, shares) comes from the frames, so the page
//! cannot disagree with the tables; what is *chosen* (filters, axes, the order of rows, one cell) happens in the page, in plain JavaScript
//! without a build step: `reports/web`, one subject a file, embedded at build time. Its scripts share one object, `Report`, and are run in the
//! order of [`template::SCRIPTS`].
//!
//! The state of the page is its address: every choice is written behind the `#`, so a link restores the view, and going back works.
//!
//! Charts are drawn by Apache ECharts, which is vendored. It was chosen because it has everything the page needs in one file without
//! dependencies (log axes, category axes, custom marks for intervals, heatmaps, tens of thousands of points on a canvas), needs no `eval`, and is a
//! kept project of the Apache foundation. uPlot is twenty times smaller and faster, but knows neither categories nor heatmaps, so half of
//! the pictures would be written by hand. Plotly is three times larger. Vega compiles expressions with `Function`, which the page's
//! security policy forbids.
//!
//! # Data
//!
//! One JSON object in a `<script type="application/json">`, see [`page_data`]. Cells are columns, not rows: most of a wide table is
//! repetition. A text column is a list of words and one code a row; a column with one value for all rows is that value; a column without
//! any value is `null`. Fractions have six digits (`cells.csv` has them all). Times of samples are thinned, see [`samples`].
//!
//! Texts from runs are made visible (see `text::visible`) and shortened before they go in, and the page writes them as text nodes only. `<` is
//! written `\u003c`, so nothing in the data can end the script element. The policy in the page's head allows the embedded scripts by their hashes
//! and no request at all.
//!
//! What this trades away: the page has its own copy of how a time or a size is written (`web/format.js`), since it writes axes and
//! tooltips that no program can write in advance.

mod columns;
mod facts;
mod peers;
mod samples;
mod template;
mod trend;

use serde_json::{Value, json};

use crate::answers::Answers;
use crate::error::Result;
use crate::frames::series::Series;
use crate::frames::standing::{Standing, with_standing};
use crate::pictures::Picture;
use crate::render::answer::fastest_engines;
use crate::text::document::Document;
use columns::{columns, shown};

/// The page. `links` are the other files of the report, `peers` what is told of other programs.
pub(crate) fn page(
    answers: &Answers<'_>,
    links: &[&str],
    trend: Option<&Document>,
    peers: Option<(&Document, &[Picture])>,
) -> Result<String> {
    Ok(template::page(&facts::title(answers), &page_data(answers, links, trend, peers)?))
}

/// The object that the page starts from:
///
/// | field | what it is |
/// |---|---|
/// | `cells` | `{rows, columns}`, the wide frame |
/// | `crossovers` | the same of the crossings, each with its `standing` and its `place` in the order of its family on its engine |
/// | `listed` | by standing how many variants a first screen has, as in the summary |
/// | `problem`, `parameters` | the axis columns by their role |
/// | `curves` | `{axis, setting, rows}`: cells that are points of one curve |
/// | `fastest` | `{family, machine, engine}`: the engine that one would use |
/// | `samples` | `{most, cells}`: at most so many samples a cell, and for each row `[taken, ns a call, ..]`, rejected ones negative; or `null` |
/// | `peers` | ours beside other programs: `{blocks, pictures}` (see the modules `trend` and `peers`), or `null` |
/// | `trend` | what the history of commits says, as blocks (see the module `trend`), or `null` |
/// | `runs`, `machines`, `links` | what the manifests say, and the report's other files |
fn page_data(answers: &Answers<'_>, links: &[&str], trend: Option<&Document>, peers: Option<(&Document, &[Picture])>) -> Result<String> {
    let mut out = format!("{{\"cells\":{}", columns(&answers.rows, is_shown)?);
    out += &format!(",\"crossovers\":{}", columns(&with_standing(&answers.crossovers)?, |_| true)?);
    out += &format!(",\"curves\":{}", curves(answers));
    out += &format!(",\"samples\":{}", samples::samples(answers)?);
    let fastest = fastest_engines(&answers.rows)?;
    let fastest = fastest
        .iter()
        .map(|((family, machine), engine)| json!({"family": shown(family), "machine": shown(machine), "engine": shown(engine)}));
    out += &format!(",\"fastest\":{}", fastest.collect::<Value>());
    let listed: Value = Standing::ALL.into_iter().map(|standing| json!([standing.name(), standing.listed()])).collect();
    out += &format!(",\"listed\":{listed}");
    out += &format!(",\"peers\":{}", peers::peers(peers));
    out += &format!(",\"trend\":{}", trend::blocks(trend));
    let facts = facts::facts(answers, links)?;
    for (name, value) in &facts {
        out += &format!(",{}:{value}", Value::from(name.as_str()));
    }
    Ok(out + "}")
}

/// Of the baselines' columns the page needs to know which they are; the figures stand in the baselines' own rows.
fn is_shown(name: &str) -> bool {
    const OF_BASELINES: [&str; 3] = ["base:id", "base:variant", "base:engine"];
    !name.contains("base:") && !name.starts_with("against:") || OF_BASELINES.contains(&name)
}

fn curves(answers: &Answers<'_>) -> String {
    let one = |curve: &Series| {
        let rows: Vec<usize> = curve.points.iter().map(|(_, row)| *row).collect();
        json!({"axis": shown(&curve.axis), "setting": shown(&curve.setting), "rows": rows}).to_string()
    };
    format!("[{}]", answers.curves.iter().map(one).collect::<Vec<_>>().join(","))
}
