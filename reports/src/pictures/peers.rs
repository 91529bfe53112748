//! How fast ours is beside the fastest peer: a dot for every row of the table, a line for every family and precision.
//!
//! Fed by [`crate::frames::peers`]. Of ours one engine is shown, as in the document; each machine has a picture of its own. Rows whose two times are
//! not known to be of the same rounds, and those in which ours computes in another precision, are counted and not drawn.

use plotters::prelude::{Color, PathElement, Rectangle};

use super::card::{Area, Card, Drawn, Sign, name};
use super::panel::{Below, Frame, Panel, RADIUS};
use super::scale::Scale;
use super::style::{Anchor, BACKGROUND, INK, MARKS, Mark, PAPER, SMALL, text, width};
use super::{Picture, machine};
use crate::answers::Answers;
use crate::error::Result;
use crate::frames::peers::{Class, Entry, Row, Speed, Verdict};
use crate::text::markdown::counted;
use crate::text::units::figure;

/// The name of this kind of pictures.
const KIND: &str = "peers";
/// Room above the panel's axis and below it.
const AROUND: i32 = 120;
/// Room for what a line says of itself.
const LABEL: i32 = 40;
/// Dots of a line lie at so many heights at most, so that near ones can be told apart.
const LANES: usize = 6;
/// From one to the next.
const LANE: i32 = 20;

/// What a verdict looks like.
fn mark(verdict: Verdict) -> Mark {
    match verdict {
        Verdict::Ahead => MARKS[0],
        Verdict::Behind => MARKS[4],
        Verdict::Open | Verdict::Apart => MARKS[7],
    }
}

/// A family in one precision.
struct Line<'p> {
    class: Class,
    speeds: Vec<(&'p Row, Speed)>,
}

impl Line<'_> {
    fn label(&self) -> String {
        let Class { family, precision, mean, rows, ahead, .. } = &self.class;
        let family = name(family.as_deref().unwrap_or_default());
        format!("{family}, {}: mean {}, {ahead} of {rows} at least as fast", name(precision), figure(mean.value.exp()))
    }
}

/// One picture for every machine on which ours has a speed.
pub(super) fn pictures(answers: &Answers<'_>) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for fingerprint in answers.peers.machines() {
        let Some(engine) = answers.peers.foremost(fingerprint) else { continue };
        let lines = lines(answers, fingerprint, engine);
        if !lines.is_empty() {
            pictures.push(picture(answers, (fingerprint, engine), &lines, super::numbered(KIND, pictures.len()))?);
        }
    }
    Ok(pictures)
}

fn lines<'p>(answers: &'p Answers<'_>, fingerprint: &'p str, engine: &'p str) -> Vec<Line<'p>> {
    let of = |class: Class| {
        let is_of = |row: &&Row| Some(row.family.as_str()) == class.family.as_deref() && row.precision == class.precision;
        let rows = answers.peers.on(fingerprint).filter(is_of);
        let speeds = rows.filter_map(|row| Some((row, row.of(engine).and_then(Entry::counts)?))).collect();
        Line { speeds, class }
    };
    answers.peers.classes(fingerprint, engine).into_iter().filter(|class| class.family.is_some()).map(of).collect()
}

fn picture(answers: &Answers<'_>, (fingerprint, engine): (&str, &str), lines: &[Line<'_>], file: String) -> Result<Picture> {
    let count = |verdict: Verdict| lines.iter().flat_map(|line| &line.speeds).filter(|(_, speed)| speed.verdict == verdict).count();
    let all: usize = lines.iter().map(|line| line.speeds.len()).sum();
    let heading = format!("{} beside the fastest peer: at least as fast in {} of {}", name(engine), count(Verdict::Ahead), rows(all));
    let shown = [
        (Verdict::Ahead, "at least as fast: the whole interval is above 1"),
        (Verdict::Open, "not decided: the interval holds 1, or the noise does, or the samples are too few"),
        (Verdict::Behind, "slower: the whole interval is below 1"),
    ];
    let mut key: Vec<(Sign, String)> = Vec::new();
    for (verdict, words) in shown.into_iter().filter(|(verdict, _)| count(*verdict) > 0) {
        key.push((Sign::Mark(mark(verdict)), format!("{words}: {}", rows(count(verdict)))));
    }
    key.push((Sign::Thin, "geometric mean of the line".to_owned()));
    let hidden = answers.peers.on(fingerprint).filter(|row| row.of(engine).is_some_and(|entry| entry.speed.is_some())).count() - all;
    if hidden > 0 {
        key.push((Sign::None, format!("{} not drawn: of other rounds, or in another precision", rows(hidden))));
    }
    let emulated: usize = lines.iter().map(|line| line.class.emulated).sum();
    if emulated > 0 {
        key.push((Sign::None, format!("in {} the fastest peer computes in another precision", rows(emulated))));
    }
    let peers = peers_of(answers, fingerprint);
    let told: Vec<String> = lines.iter().map(Line::label).collect();
    let card = Card {
        kind: KIND,
        file,
        reading: "The fastest peer's median time over ours, a dot for each problem: right of 1 is faster than every peer. 95 % intervals."
            .to_owned(),
        height: AROUND + lines.len() as i32 * height(lines),
        key,
        regime: format!("Peers: {}. {}", peers.join(", "), machine(answers, fingerprint)),
        alt: format!("{heading}. Mean speed over the fastest of {}: {}.", peers.join(", "), told.join("; ")),
        heading,
    };
    let ends = lines.iter().flat_map(|line| &line.speeds).flat_map(|(_, speed)| {
        let (low, high) = speed.ends.unwrap_or((speed.ratio, speed.ratio));
        [1.0, speed.ratio, low, high]
    });
    let scales = (Scale::log(ends.filter(|end| *end > 0.0)), Scale::names(lines.iter().map(|_| String::new())).bare());
    card.draw(|area, between| {
        let panel = Panel::new(area, between, scales, &Frame { x: Below::Name("speed: the fastest peer's time ÷ ours"), y: "", right: 0 })?;
        panel.upright(1.0, INK, 2)?;
        for (place, line) in lines.iter().rev().enumerate() {
            draw(&panel, area, (place, height(lines)), line)?;
        }
        Ok(())
    })
}

/// The peers that have a time on this machine.
fn peers_of(answers: &Answers<'_>, fingerprint: &str) -> Vec<String> {
    let entries = answers.peers.on(fingerprint).flat_map(|row| &row.entries).filter(|entry| entry.is_peer && entry.median.is_some());
    let mut names: Vec<String> = entries.map(|entry| name(&entry.engine)).collect();
    names.sort();
    names.dedup();
    names
}

fn rows(count: usize) -> String {
    counted(count as u64, "row")
}

fn lanes(line: &Line<'_>) -> usize {
    line.speeds.len().clamp(1, LANES)
}

/// How high a line is: the same for all, as the scale has it.
fn height(lines: &[Line<'_>]) -> i32 {
    LABEL + LANE * (lines.iter().map(lanes).max().unwrap_or(1) as i32 + 1)
}

fn draw(panel: &Panel<'_, '_>, area: &Area<'_>, (place, height): (usize, i32), line: &Line<'_>) -> Drawn {
    let (left, middle) = panel.at(panel.left(), place as f64);
    let top = middle - height / 2;
    let label = line.label();
    // Over the line at 1.
    let (right, bottom) = (left + 12 + width(&label, SMALL), top + 4 + SMALL * 5 / 4);
    area.draw(&Rectangle::new([(left + 4, top + 4), (right, bottom)], PAPER.filled()))?;
    area.draw_text(&label, &text(SMALL, INK, Anchor::TopLeft), (left + 8, top + 4))?;
    let across = |ratio: f64| panel.at(ratio, 0.0).0;
    let first = top + LABEL + LANE / 2;
    let last = first + LANE * (lanes(line) as i32 - 1);
    let mean = across(line.class.mean.value.exp());
    area.draw(&PathElement::new(vec![(mean, first - LANE / 2), (mean, last + LANE / 2)], BACKGROUND.stroke_width(4)))?;
    for (at, (_, speed)) in line.speeds.iter().enumerate() {
        let y = first + LANE * (at % LANES) as i32;
        let mark = mark(speed.verdict);
        if let Some((low, high)) = speed.ends {
            panel.span((across(low), across(high)), y, mark.color)?;
        }
        mark.draw(area, (across(speed.ratio), y), RADIUS - 2)?;
    }
    Ok(())
}
