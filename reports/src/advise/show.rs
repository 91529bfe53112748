//! Advice for people.

use std::collections::BTreeSet;

use crossover_core::axes::AxisValue;
use crossover_results::Machine;
use crossover_variants::registry;

use super::candidates::{Between, Candidate};
use super::points::Point;
use super::{Advice, Kind, Section, command_line};
use crate::runs::{Run, described};
use crate::text::document::{Block, Cell, Document, Grid};
use crate::text::markdown::{ABSENT, Align, counted};
use crate::text::units::{bytes, figure, percent, scientific, time};

/// Sections that are shown whole; of the others there is a line.
const SECTIONS: usize = 3;

/// Behind an error that is no distance from the baseline's function.
const OWN: &str = "‡";
const OWN_FUNCTION: &str =
    "‡: the distance from the variant's own function in f64, which is not the baseline's: what it costs a model is not told here.";

/// Behind an error that is more than somebody would bear who did not say so.
const FAR_OFF: &str = " !";

const FAR_OFF_MEANS: &str = "!: more than 10 % off on these inputs, which are drawn at random, and so ranked behind all that is not; --max-error says what can be borne.";

/// Behind the words for a sweep.
const SWEEP: &str = " (in half an hour at most: what has no room is left out evenly, and --resume runs it)";

/// At most `limit` candidates a section.
pub(crate) fn document(advice: &Advice<'_>, kind: Kind, this: &Machine, limit: usize) -> Document {
    let mut out = Document::default();
    out.text(asked(advice));
    sources(&mut out, advice, kind, this);
    for section in advice.sections.iter().take(SECTIONS) {
        show(&mut out, advice, section, limit);
    }
    let others: Vec<String> =
        advice.sections.iter().skip(SECTIONS).map(|section| format!("{} ({})", titled(advice, section), section.ranked.len())).collect();
    if !others.is_empty() {
        out.text(format!(
            "Also at this size, with the number of candidates: {}. --family with one of these names shows it.",
            others.join("; ")
        ));
    }
    if advice.sections.is_empty() {
        unanswered(&mut out, advice, limit);
    } else if advice.elsewhere > 0 {
        out.text(format!(
            "Not ranked, since nothing was measured at or on both sides of this size: {} of variant, engine, precision and threads. To measure at this size{SWEEP}:",
            counted(advice.elsewhere as u64, "combination")
        ));
        out.blocks.push(Block::Command(command_line::sweep(advice.question)));
    }
    if shown(advice, limit).any(|point| advice.question.is_far_off(point)) {
        out.text(FAR_OFF_MEANS);
    }
    if shown(advice, limit).any(|point| point.own_function) {
        out.text(OWN_FUNCTION);
    }
    if advice.own_function > 0 {
        out.text(format!(
            "{} left out, of which --max-error can say nothing: the error is the distance from the variant's own function, which is not \
             the baseline's.",
            counted(advice.own_function as u64, "cell")
        ));
    }
    if advice.emulated > 0 {
        out.text(format!("{} left out: computed in another precision than asked.", counted(advice.emulated as u64, "emulated cell")));
    }
    out
}

/// All points that are in a table.
fn shown<'a>(advice: &'a Advice<'_>, limit: usize) -> impl Iterator<Item = &'a Point> {
    let of = move |section: &'a Section| section.ranked.iter().take(limit).chain(&section.misses).map(|candidate| &candidate.point);
    let nearest = advice.nearest.iter().take(SECTIONS).flat_map(move |(_, points)| points.iter().take(limit));
    advice.sections.iter().take(SECTIONS).flat_map(of).chain(nearest)
}

fn asked(advice: &Advice<'_>) -> String {
    let question = advice.question;
    let (seq, width, heads, channels) = (question.seq, question.d_model, question.heads, question.head_dim());
    let mut text = format!("For n = {seq}, d_model = {width}, {heads} heads of {channels}: {}", question.family);
    text += &question.engine.as_ref().map_or_else(String::new, |engine| format!(" on {engine}"));
    text += &question.precision.as_ref().map_or_else(String::new, |precision| format!(" in {precision}"));
    text += &question.threads.map_or_else(String::new, |threads| format!(", {}", counted(threads.unsigned_abs(), "thread")));
    text += &question.max_error.map_or_else(String::new, |error| format!(", error at most {error:e}"));
    text += &question.max_memory.map_or_else(String::new, |memory| format!(", memory at most {}", bytes(memory as f64)));
    text + "."
}

fn sources(out: &mut Document, advice: &Advice<'_>, kind: Kind, this: &Machine) {
    let Some(first) = advice.runs.first() else { return };
    let machine = &first.manifest.machine;
    let names: Vec<&str> = advice.runs.iter().map(|run| run.label.as_str()).collect();
    out.item(format!("From {} ({}) on {}", counted(names.len() as u64, "run"), names.join(", "), described(machine)));
    if machine.fingerprint != this.fingerprint {
        let why = if kind == Kind::Published {
            "no run of this machine answers, so these are those of the nearest machine that the project has"
        } else {
            "as named"
        };
        out.item(format!("NOT this machine ({}): {why}. Times here are others, and their order may be", described(this)));
    }
    let shown = advice.sections.iter().flat_map(|section| section.ranked.iter().map(|candidate| candidate.point.run));
    if shown.collect::<BTreeSet<_>>().len() > 1 {
        out.item("The times are of several runs, which were never interleaved: drift between them is in the order");
    }
    if let Some(floor) = advice.runs.iter().map(Run::floor).reduce(f64::max) {
        out.item(format!("Two times nearer to each other than the noise floor ({}) may stand in either order", percent(floor)));
    }
    for (place, run) in advice.runs.iter().enumerate() {
        // The noise that was measured stands above.
        let of_it = advice.remarks.iter().filter(|(of, _)| *of == place).map(|(_, remark)| remark).enumerate();
        let own = of_it.filter(|(at, remark)| *at > 0 || remark.warns).map(|(_, remark)| remark.text.clone());
        let told: Vec<String> = own.chain(run.notes.iter().cloned()).collect();
        if !told.is_empty() {
            out.item(format!("{}: {}", run.label, told.join("; ")));
        }
    }
    out.item("Memory is what is declared (weights, activations, scratch, state); error the relative distance from the exact result; time the median of a call");
}

fn titled(advice: &Advice<'_>, section: &Section) -> String {
    let open = |section: &Section, name: &str| section.open.iter().find(|(axis, _)| axis == name).map(|(_, value)| value.clone());
    let differs = |name: &str| advice.sections.iter().map(|section| open(section, name)).collect::<BTreeSet<_>>().len() > 1;
    let told: Vec<String> = section.open.iter().filter(|(axis, _)| differs(axis)).map(|(axis, value)| format!("{axis}={value}")).collect();
    if told.is_empty() { section.task.clone() } else { format!("{}, {}", section.task, told.join(", ")) }
}

fn show(out: &mut Document, advice: &Advice<'_>, section: &Section, limit: usize) {
    out.heading(format!("{}: {}", titled(advice, section), counted(section.ranked.len() as u64, "candidate")));
    let mut grid = grid("measured");
    for (place, candidate) in section.ranked.iter().take(limit).enumerate() {
        grid.push(row(advice, &candidate.point, &format!("{}", place + 1), &origin(candidate), &[]));
    }
    if section.ranked.is_empty() {
        out.text(format!("None is within the limits; beyond them: {}.", counted(section.beyond as u64, "candidate")));
    }
    out.grid(grid);
    if section.ranked.len() > limit {
        out.text(format!("And {} more: --limit {} shows all.", section.ranked.len() - limit, section.ranked.len()));
    }
    for (place, candidate) in section.ranked.iter().take(limit).enumerate() {
        if let Some(between) = &candidate.between {
            out.item(format!("{} is interpolated between {}", place + 1, ends(between)));
        }
    }
    for (place, candidate) in section.ranked.iter().take(limit).enumerate() {
        out.text(format!("To check {}:", place + 1));
        out.blocks.push(Block::Command(command_line::cell(&candidate.point, advice.question)));
    }
    misses(out, advice, section);
}

fn misses(out: &mut Document, advice: &Advice<'_>, section: &Section) {
    if section.misses.is_empty() {
        return;
    }
    let than = if section.ranked.is_empty() { "The nearest to the limits" } else { "Faster, but beyond a limit; the nearest to it first" };
    out.text(format!("{than} ({} of {}):", section.misses.len(), section.beyond));
    let mut grid = grid("over by");
    for candidate in &section.misses {
        let excess = advice.question.excess(&candidate.point);
        let over = if excess.is_finite() { format!("{} x", figure(excess)) } else { "unknown".to_owned() };
        grid.push(row(advice, &candidate.point, "", &over, &[]));
    }
    out.grid(grid);
}

fn unanswered(out: &mut Document, advice: &Advice<'_>, limit: usize) {
    let family = &advice.question.family;
    if advice.nearest.is_empty() {
        let within = if advice.beyond > 0 { " within the limits" } else { "" };
        out.text(format!("Nothing of {family} was measured{within} that could answer this. To measure it{SWEEP}:"));
    } else {
        let beyond = if advice.beyond > 0 { format!(", {} of them beyond a limit", advice.beyond) } else { String::new() };
        out.text(format!(
            "This size is outside of what was measured, and nothing is extrapolated ({} of {family} were measured{beyond}). What was measured nearest to \
             it, as it is:",
            counted(advice.measured as u64, "cell")
        ));
        for (task, points) in advice.nearest.iter().take(SECTIONS) {
            let sizes = |point: &Point| {
                let size = |(axis, _): &(&str, i64)| Some(format!("{axis} = {}", point.axes.get(*axis)?));
                advice.question.sizes(&point.axes).iter().filter_map(size).collect::<Vec<_>>().join(", ")
            };
            // What is the same for all stands above them, what is not beside each.
            let open: Vec<Vec<(String, String)>> = points.iter().map(|point| point.own_open_axes(advice.question)).collect();
            let is_common = |axis: &(String, String)| open.iter().all(|own| own.contains(axis));
            let common = open.first().into_iter().flatten().filter(|axis| is_common(axis)).map(spelled);
            let at: Vec<String> = points.first().map(sizes).into_iter().chain(common).collect();
            out.heading(format!("{task}, measured at {}", at.join(", ")));
            let mut grid = grid("measured");
            for (point, own) in points.iter().zip(&open).take(limit) {
                let own: Vec<String> = own.iter().filter(|axis| !is_common(axis)).map(|(axis, value)| format!("{axis}={value}")).collect();
                grid.push(row(advice, point, "", &half_width(point), &own));
            }
            out.grid(grid);
        }
        out.text(format!("To measure the size that was asked for{SWEEP}:"));
    }
    out.blocks.push(Block::Command(command_line::sweep(advice.question)));
}

fn grid(fifth: &str) -> Grid {
    let right = Align::Right;
    Grid::new([("", right), ("time", right), ("memory", right), ("error", right), (fifth, Align::Left), ("cell", Align::Left)])
}

/// `open` are axes of the problem that tell it from others in the table.
fn row(advice: &Advice<'_>, point: &Point, place: &str, fifth: &str, open: &[String]) -> [Cell; 6] {
    let error = error(point) + if advice.question.is_far_off(point) { FAR_OFF } else { "" };
    let cell = if open.is_empty() { chosen(point) } else { format!("{}; {}", chosen(point), open.join(", ")) };
    [place.to_owned(), time(point.ns), known(point.bytes, bytes), error, fifth.to_owned(), cell].map(Cell::plain)
}

fn spelled((axis, value): &(String, String)) -> String {
    format!("{axis} = {value}")
}

fn known(figure: Option<f64>, show: fn(f64) -> String) -> String {
    figure.map_or_else(|| ABSENT.to_owned(), show)
}

fn error(point: &Point) -> String {
    let error = known(point.error, scientific);
    if point.own_function { format!("{error} {OWN}") } else { error }
}

/// How it is known: the half width of the interval of a measured median, or the ends of the range.
fn origin(candidate: &Candidate) -> String {
    match &candidate.between {
        Some(Between { axis, below, above }) => {
            let end = |point: &Point| point.axes.get(*axis).map_or_else(String::new, AxisValue::to_string);
            format!("no: {axis} {}..{}", end(below), end(above))
        }
        None => half_width(&candidate.point),
    }
}

fn half_width(point: &Point) -> String {
    point.interval.map_or_else(|| "yes".to_owned(), |(low, high)| format!("±{}", percent((high - low) / 2.0 / point.ns)))
}

fn ends(between: &Between) -> String {
    let end = |point: &Point| {
        let axis = between.axis;
        let value = point.axes.get(axis).map_or_else(String::new, AxisValue::to_string);
        format!("{axis} = {value} ({}, {}, error {})", time(point.ns), known(point.bytes, bytes), error(point))
    };
    format!("{} and {}", end(&between.below), end(&between.above))
}

/// Variant and engine with what was chosen: precision, threads and parameters.
fn chosen(point: &Point) -> String {
    let parameters = registry::find(&point.variant).map(|entry| entry.descriptor.parameters);
    let is_shown = |name: &str, value: &AxisValue| match name {
        // Where an axis may be empty, that is its default.
        _ if value.as_text() == Some("") => false,
        "precision" | "threads" => true,
        "isa" => value.as_text() != Some("auto"),
        _ => parameters.is_none_or(|parameters| parameters.iter().any(|parameter| parameter.name == name)),
    };
    let axes: Vec<String> =
        point.axes.iter().filter(|(name, value)| is_shown(name, value)).map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} on {}: {}", point.variant, point.engine, axes.join(", "))
}
