//! Where variants overtake the strong baseline: the ratio of times over a size of the problem, both logarithmic, with a line at 1.
//!
//! Fed by the rows of all cells (`strong_ratio` and its interval), the curves of [`crate::frames::series`] and the verdicts of
//! [`crate::frames::crossover`]. Marked are at most eight variants, one curve each: first those that cross, then those that win by most. The
//! rest are thin lines, so that nobody takes a choice for the whole.

use std::collections::BTreeMap;

use polars::prelude::*;

use super::card::{Card, Drawn, Sign};
use super::lines::{Line, Regime, busiest, label, lines};
use super::panel::{Below, Frame, Panel};
use super::scale::Scale;
use super::style::{BACKGROUND, INK, MARKS, Mark, NOISE};
use super::{Picture, Source};
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::error::Result;
use crate::text::markdown::counted;

/// The name of this kind of pictures.
pub(super) const KIND: &str = "crossover";

/// A place in the frame of crossovers, by what tells a curve.
type Verdicts = BTreeMap<[String; 8], usize>;

/// One picture for every machine and size.
pub(super) fn pictures(source: &Source<'_>) -> Result<Vec<Picture>> {
    let verdicts = verdicts(&source.answers.crossovers)?;
    let all = lines(source, &source.answers.roles.problem, 2)?;
    let mut pictures = Vec::new();
    for (regime, lines) in busiest(all, &source.fastest) {
        let chosen = one_a_variant(lines, source, &verdicts)?;
        pictures.push(picture(source, &regime, &chosen, source.file(KIND, pictures.len()))?);
    }
    Ok(pictures)
}

/// A line with what was found about it.
struct Told {
    line: Line,
    words: String,
    pays: bool,
    faster: bool,
    crosses: bool,
    /// The three figures of each point; the ends are open where there were too few samples.
    ratios: Vec<[f64; 3]>,
}

impl Told {
    fn best(&self) -> f64 {
        self.ratios.iter().map(|[ratio, ..]| *ratio).fold(f64::INFINITY, f64::min)
    }
}

fn key(run: i64, texts: [&str; 7]) -> [String; 8] {
    let [machine, engine, precision, threads, variant, axis, setting] = texts.map(str::to_owned);
    [run.to_string(), machine, engine, precision, threads, variant, axis, setting]
}

fn verdicts(frame: &DataFrame) -> PolarsResult<Verdicts> {
    let runs = frame.ints(RUN)?;
    let [machines, engines, variants, axes, settings] =
        ["machine", "engine", "variant", "axis", "setting"].map(|column| frame.texts(column));
    let columns = [machines?, engines?, variants?, axes?, settings?];
    let mut verdicts = Verdicts::new();
    for row in 0..frame.height() {
        let regime = [PRECISION, THREADS].map(|axis| if frame.schema().contains(axis) { frame.shown(axis, row) } else { Ok(None) });
        let [precision, threads] = regime;
        let (precision, threads) = (precision?.unwrap_or_default(), threads?.unwrap_or_default());
        let [machine, engine, variant, axis, setting] = columns.map(|column| column.get(row).unwrap_or_default());
        verdicts.insert(key(runs.get(row).unwrap_or(-1), [machine, engine, &precision, &threads, variant, axis, setting]), row);
    }
    Ok(verdicts)
}

/// Of each variant the curve that crosses, else the one that wins by most; in the order in which they are marked.
fn one_a_variant(lines: Vec<Line>, source: &Source<'_>, verdicts: &Verdicts) -> PolarsResult<Vec<Told>> {
    let frame = &source.answers.crossovers;
    let mut all = Vec::new();
    for line in lines {
        let regime = &line.regime;
        let [precision, threads] = [&regime.precision, &regime.threads].map(|text| text.as_deref().unwrap_or_default());
        let of = key(regime.run, [&regime.machine, &regime.engine, precision, threads, &line.variant, &regime.axis, &line.curve.setting]);
        let Some(row) = verdicts.get(&of) else { continue };
        let verdict = frame.texts("verdict")?.get(*row).unwrap_or_default();
        let ratios = line.points.iter().map(|(_, row)| source.ratio(*row)).collect::<PolarsResult<_>>()?;
        let crosses = matches!(verdict, "from" | "up-to");
        let words = frame.texts("words")?.get(*row).unwrap_or_default().to_owned();
        let (pays, faster) = (frame.flags("pays")?.get(*row) == Some(true), frame.ints("faster")?.get(*row).unwrap_or(0) > 0);
        all.push(Told { words, pays, faster, crosses, ratios, line });
    }
    all.sort_by(|a, b| b.crosses.cmp(&a.crosses).then(a.best().total_cmp(&b.best())).then_with(|| a.line.variant.cmp(&b.line.variant)));
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|told| seen.insert(told.line.variant.clone()));
    Ok(all)
}

fn picture(source: &Source<'_>, regime: &Regime, told: &[Told], file: String) -> Result<Picture> {
    let axis = super::card::name(axis_name(&regime.axis));
    let marked = &told[..told.len().min(MARKS.len())];
    let rest = &told[marked.len()..];
    let mut key: Vec<(Sign, String)> = marked
        .iter()
        .zip(MARKS)
        .map(|(told, mark)| (Sign::Mark(mark), format!("{}: {}", label(&told.line, source.answers), told.words)))
        .collect();
    if !rest.is_empty() {
        key.push((Sign::Thin, format!("{}, see the table", counted(rest.len() as u64, "other variant"))));
    }
    let winners = told.iter().filter(|told| told.pays).count();
    let of = counted(told.len() as u64, "variant");
    let somewhere = told.iter().filter(|told| told.faster).count();
    let heading = match (winners, somewhere) {
        (0, 0) => format!("{}: none of {of} shown to be faster than the strong baseline along {axis}", source.family()),
        (0, _) => format!("{}: {somewhere} of {of} faster than the strong baseline at some {axis}, none to rely on", source.family()),
        _ => {
            let pay = if winners == 1 { "pays" } else { "pay" };
            format!("{}: {winners} of {of} {pay} against the strong baseline along {axis}", source.family())
        }
    };
    let findings: Vec<&str> = key.iter().map(|(_, words)| words.as_str()).collect();
    let alt = format!("{heading}. {}. {}.", findings.join("; "), regime.words());
    let cells: usize = told.iter().map(|told| told.line.points.len()).sum();
    let card = Card {
        kind: KIND,
        file,
        reading: "Time over that of the strong baseline, the fastest exact cell: below 1 is faster. Whiskers are 95 % intervals."
            .to_owned(),
        height: 520,
        key,
        regime: format!(
            "{}. {}. {}. {}",
            regime.words(),
            counted(cells as u64, "cell"),
            source.noise(regime.run),
            source.machine(&regime.machine)
        ),
        heading,
        alt,
    };
    let floor = source.floor(regime.run);
    let scales = scales(marked, rest);
    card.draw(|area, rows| {
        let panel = Panel::new(area, rows, scales, &Frame { x: Below::Name(&axis), y: "time ÷ strong baseline's", right: 0 })?;
        plot(&panel, marked, rest, floor)
    })
}

/// Both axes: all points are on them, and the intervals of the marked ones as far as they do not dwarf the points.
fn scales(marked: &[Told], rest: &[Told]) -> (Scale, Scale) {
    let all = || marked.iter().chain(rest);
    let sizes: Vec<f64> = all().flat_map(|told| told.line.points.iter().map(|(x, _)| *x)).collect();
    let points = all().flat_map(|told| told.ratios.iter().map(|[ratio, ..]| *ratio));
    let ends = marked.iter().flat_map(|told| &told.ratios).flat_map(|[ratio, low, high]| [low.max(ratio / 2.0), high.min(ratio * 2.0)]);
    let ratios: Vec<f64> = points.chain(ends).chain([1.0]).collect();
    (Scale::sizes(sizes.iter().copied()), Scale::log(ratios.iter().copied()))
}

fn plot(panel: &Panel<'_, '_>, marked: &[Told], rest: &[Told], floor: f64) -> Drawn {
    if floor > 0.0 {
        panel.band(1.0 / (1.0 + floor), 1.0 + floor, NOISE)?;
    }
    panel.level(1.0, INK, 2)?;
    let path = |told: &Told, color, width| {
        panel.path(told.line.points.iter().zip(&told.ratios).map(|((x, _), [ratio, ..])| (*x, *ratio)), color, width)
    };
    for told in rest {
        path(told, BACKGROUND, 2)?;
    }
    // The first of the key lies on top.
    for (told, mark) in marked.iter().zip(MARKS).rev() {
        path(told, mark.color, 4)?;
        points(panel, told, mark)?;
    }
    Ok(())
}

fn points(panel: &Panel<'_, '_>, told: &Told, mark: Mark) -> Drawn {
    for ((x, _), [ratio, low, high]) in told.line.points.iter().zip(&told.ratios) {
        panel.whisker(*x, (*low, *high), mark.color)?;
        panel.mark((*x, *ratio), mark)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::examples::Cell;
    use crate::pictures::check::{Shapes, picture_of, pictures_of};

    /// Dense takes n squared, the window 100 n, so their ratio is 100 / n.
    fn cells() -> Vec<Cell> {
        let at = |n: i64, ids: [&'static str; 2], group: &'static str| {
            let of =
                |id, median: i64, error| Cell { id, group, n, median: Some(median * 1000), error_ratio: Some(error), ..Cell::default() };
            [Cell { baseline: true, ..of(ids[0], n * n, 1.0) }, Cell { variant: "attention/window", ..of(ids[1], 100 * n, 500.0) }]
        };
        [at(64, ["a", "b"], "g"), at(128, ["c", "d"], "h"), at(256, ["e", "f"], "i")].concat()
    }

    #[test]
    fn points_lie_where_the_axes_say() {
        let picture = picture_of("crossover", &cells());
        let shapes = Shapes::of(&picture);
        // The key's mark has another size.
        let marks: Vec<(f64, f64)> = shapes.circles(9);
        assert_eq!(marks.len(), 3);
        // Across they stand over the ticks of their sizes.
        for ((x, _), size) in marks.iter().zip(["64", "128", "256"]) {
            assert!((x - shapes.text(size).0).abs() <= 1.0, "{size}");
        }
        // Each ratio is half the one before, as 0.5 is of 1: the same step on a logarithmic axis, by its own ticks.
        let step = shapes.text("0.5").1 - shapes.text("1").1;
        for pair in marks.windows(2) {
            assert!((pair[1].1 - pair[0].1 - step).abs() <= 2.0, "{marks:?} {step}");
        }
        assert!(marks[0].1 < shapes.text("1").1 && marks[1].1 > shapes.text("1").1, "the crossing is at 100");
    }

    #[test]
    fn the_finding_is_told_in_words() {
        let picture = picture_of("crossover", &cells());
        assert_eq!(
            picture.alt,
            "attention: 1 of 1 variant pays against the strong baseline along n. window: from n = 100 [82, 122]. naive, f32."
        );
    }

    #[test]
    fn any_order_gives_the_same_bytes_and_no_curve_gives_no_picture() {
        let backwards: Vec<Cell> = cells().into_iter().rev().collect();
        assert_eq!(pictures_of(&cells()), pictures_of(&backwards));
        assert!(pictures_of(&cells()[..2]).iter().all(|picture| !picture.file.contains("crossover")));
    }
}
