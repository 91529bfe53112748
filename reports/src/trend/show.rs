//! A trend for people.

use std::collections::{BTreeMap, BTreeSet};

use crossover_results::history::{Change, Key, LEVEL, MachineTrend, SeriesTrend, Trend};

use crate::text::document::{Cell, Document, Grid, Tone};
use crate::text::markdown::{ABSENT, Align, counted};
use crate::text::units::{figure, moment};

/// Series that are named where they ended.
const NAMED: usize = 3;

/// What is said of a history, with at most `limit` changes of each machine.
pub(crate) fn document(trend: &Trend, limit: usize) -> Document {
    let mut out = Document::default();
    if trend.machines.is_empty() {
        out.text("The history has no line yet: `just record` adds some.");
    }
    trend.machines.iter().for_each(|machine| of_machine(&mut out, machine, limit));
    out
}

fn of_machine(out: &mut Document, machine: &MachineTrend, limit: usize) {
    out.heading(heading(machine));
    let (timed, exact): (Vec<_>, Vec<_>) = machine.series.iter().partition(|series| series.key.metric.is_timed());
    let changed = |all: &[&SeriesTrend]| all.iter().filter(|series| !series.changes.is_empty()).count();
    out.text(format!(
        "{}. Of {} series of times (each the ratio to a baseline within one run) {} changed; the chance that any is named which did not is \
         {:.0} % at most. Of {} series that need no clock {} changed. Ratios are after over before: more is worse.",
        extent(machine),
        machine.searched,
        changed(&timed),
        LEVEL * 100.0,
        exact.len(),
        changed(&exact)
    ));
    let short = timed.iter().filter(|series| !series.is_long_enough).count();
    if short > 0 {
        out.item(format!("{short} more of times are too short for a change to be seen in them."));
    }
    let names = Names::of(machine);
    let ended: Vec<String> = machine.series.iter().filter(|series| !series.is_current).map(|series| names.cell(&series.key)).collect();
    let ended: BTreeSet<String> = ended.into_iter().collect();
    if !ended.is_empty() {
        let some: Vec<&str> = ended.iter().take(NAMED).map(String::as_str).collect();
        let cells = counted(ended.len() as u64, "cell");
        out.item(format!("The newest run lacks a figure of {cells} that earlier ones have, such as {}.", some.join("; ")));
    }
    changes(out, machine, &names, limit);
}

fn changes(out: &mut Document, machine: &MachineTrend, names: &Names<'_>, limit: usize) {
    let mut grid = Grid::new([
        ("ratio", Align::Right),
        ("p", Align::Right),
        ("date", Align::Left),
        ("commit", Align::Left),
        ("what changed", Align::Left),
    ]);
    let changes = shown(machine);
    for (series, change) in changes.iter().take(limit) {
        let tone = if change.is_worse() { Tone::Bad } else { Tone::Good };
        let at = &series.points[change.at];
        grid.push([
            Cell::toned(change.ratio().map_or_else(|| ABSENT.to_owned(), ratio), tone),
            Cell::plain(change.p.map_or_else(|| ABSENT.to_owned(), figure)),
            Cell::plain(date(at.commit_unix_s)),
            Cell::plain(at.commit.clone()),
            Cell::plain(what(names, series, change)),
        ]);
    }
    out.grid(grid);
    if changes.len() > limit {
        out.text(format!("and {} more", changes.len() - limit));
    }
}

/// Of exact figures the last change only: one that wavers would fill the table.
fn shown(machine: &MachineTrend) -> Vec<(&SeriesTrend, &Change)> {
    let mut all = machine.changes();
    all.retain(|(series, change)| series.key.metric.is_timed() || series.changes.last() == Some(*change));
    all
}

fn what(names: &Names<'_>, series: &SeriesTrend, change: &Change) -> String {
    let count = series.changes.len();
    let others = if count > 1 && !series.key.metric.is_timed() { format!(" (the last of {count} changes)") } else { String::new() };
    let shown = if series.key.metric.is_timed() { figure } else { exactly };
    format!("{}: {} to {}{others}", names.series(&series.key), shown(change.before), shown(change.after))
}

/// With as many digits as show that it is not 1.
fn ratio(ratio: f64) -> String {
    let short = figure(ratio);
    let longer = (5..17).map(|digits| format!("{ratio:.digits$}"));
    [short].into_iter().chain(longer).find(|text| text.parse() != Ok(1.0)).unwrap_or_else(|| "1".to_owned())
}

/// A figure that no clock went into, to its last digit.
fn exactly(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:e}") }
}

/// Which machine it is, and what was run there.
pub(super) fn heading(machine: &MachineTrend) -> String {
    let place = &machine.place;
    format!("{} on machine {}, {}", place.experiment, place.machine, counted(place.cores, "core"))
}

/// How much of it there is, and of when.
pub(super) fn extent(machine: &MachineTrend) -> String {
    let (first, last) = machine.span;
    let (runs, commits) = (counted(machine.runs as u64, "run"), counted(machine.commits as u64, "commit"));
    format!("{runs} of {commits}, made {} to {}", date(first), date(last))
}

fn date(unix_s: u64) -> String {
    moment(unix_s.saturating_mul(1000)).split(' ').next().unwrap_or_default().to_owned()
}

/// What the series of a machine are called: as short as they can be told apart.
pub(crate) struct Names<'a> {
    /// Variant and engine of each cell.
    cells: BTreeMap<&'a str, String>,
    /// How many cells there are of each name.
    alike: BTreeMap<String, usize>,
    /// Cells that were computed by several instruction sets.
    several: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    pub(crate) fn of(machine: &'a MachineTrend) -> Self {
        let mut cells: BTreeMap<&str, String> = BTreeMap::new();
        let mut sets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut alike: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for SeriesTrend { key, .. } in &machine.series {
            cells.insert(&key.id, format!("{} on {}", key.variant, key.engine));
            sets.entry(&key.id).or_default().insert(&key.isa);
            alike.entry(words(key)).or_default().insert(&key.id);
        }
        let several = sets.into_iter().filter(|(_, sets)| sets.len() > 1).map(|(id, _)| id).collect();
        Self { cells, alike: alike.into_iter().map(|(name, ids)| (name, ids.len())).collect(), several }
    }

    /// As `attention/flash on simd, precision=f32 n=256`.
    pub(crate) fn cell(&self, key: &Key) -> String {
        let mut name = words(key);
        if self.alike.get(&name).is_some_and(|cells| *cells > 1) {
            name += &format!(" [{}]", key.id);
        }
        if self.several.contains(key.id.as_str()) {
            name += &format!(" ({})", key.isa);
        }
        name
    }

    /// The same with the metric, and what a time is divided by.
    pub(crate) fn series(&self, key: &Key) -> String {
        let against = self.cells.get(key.against.as_str()).map_or_else(|| key.against.clone(), String::clone);
        let over = if key.metric.is_timed() { format!(" over {against}") } else { String::new() };
        format!("{} of {}{over}", key.metric, self.cell(key))
    }
}

fn words(key: &Key) -> String {
    let comma = if key.setting.is_empty() { "" } else { ", " };
    format!("{} on {}{comma}{}", key.variant, key.engine, key.setting)
}

#[cfg(test)]
pub(crate) mod tests {
    use crossover_results::history::{Line, Metric, Place, trend};

    use super::*;
    use crate::text::screen::Screen;

    /// Thirty commits in which one ratio grows by a fifth from the twenty-first on, and declared bytes go to and fro.
    pub(crate) fn history() -> Vec<Line> {
        let line = |commit: u64, metric: Metric, value: f64| Line {
            key: Key {
                place: Place { machine: "m1".into(), cores: 2, experiment: "gate".into() },
                variant: if metric == Metric::Flops { "attention/dense".into() } else { "attention/flash".into() },
                engine: "simd".into(),
                setting: "precision=f32 n=256".into(),
                id: if metric == Metric::Flops { "base".into() } else { "cell".into() },
                isa: "avx2".into(),
                metric,
                against: if metric.is_timed() { "base".into() } else { String::new() },
            },
            commit: format!("{:012x}", 0xc0ffee + commit),
            commit_unix_s: 1_700_000_000 + commit * 86_400,
            build: "b".into(),
            run_unix_ms: 1_700_000_001_000 + commit * 86_400_000,
            value,
            interval: None,
        };
        let wave = |commit: u64| 1.0 + 0.01 * ((commit * 7 % 11) as f64 - 5.0) / 5.0;
        let of = |commit: u64| {
            [
                line(commit, Metric::TimeRatio, if commit < 20 { 0.5 } else { 0.6 } * wave(commit)),
                line(commit, Metric::DeclaredBytes, if [3, 4, 9].contains(&commit) { 1100.0 } else { 1000.0 }),
                line(commit, Metric::Flops, 5000.0),
            ]
        };
        (0..30).flat_map(of).collect()
    }

    #[test]
    fn changes_stand_in_a_table_of_eighty_columns() {
        let text = Screen::file().show(&document(&trend(&history()), 20));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        // However its lines are broken.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = [
            "gate on machine m1, 2 cores 30 runs of 30 commits, made 2023-11-14 to 2023-12-13.",
            "Of 1 series of times (each the ratio to a baseline within one run) 1 changed; the chance that any is named which did not is 5 % at most.",
            "Of 2 series that need no clock 1 changed. Ratios are after over before: more is worse.",
            "1.20 0.00100 2023-12-04 000000c10002 time-ratio of attention/flash on simd, precision=f32 n=256 over attention/dense on simd: 0.500",
            "0.909 – 2023-11-24 000000c0fff8 declared_bytes of attention/flash on simd, precision=f32 n=256: 1100 to 1000 (the last of 4 changes)",
        ];
        for words in wanted {
            assert!(text.contains(words), "{words}\n{text}");
        }
        let short = Screen::file().show(&document(&trend(&history()), 1));
        assert!(short.ends_with("and 1 more\n"), "{short}");
    }

    #[test]
    fn small_changes_of_exact_figures_can_be_seen() {
        assert_eq!([527_360.0, 1.25e-7, 0.0].map(exactly), ["527360", "1.25e-7", "0"]);
        assert_eq!([1.000_121, 0.996, 1.2].map(ratio), ["1.00012", "0.996", "1.20"]);
    }

    #[test]
    fn what_is_too_short_or_ended_is_told_and_nothing_is_no_error() {
        let mut lines: Vec<Line> = history().into_iter().take(9).collect();
        lines.remove(6);
        let text = Screen::file().show(&document(&trend(&lines), 20));
        assert!(text.contains("1 more of times are too short") && text.contains("The newest run lacks a figure of 1 cell"), "{text}");
        assert!(Screen::file().show(&document(&trend(&[]), 20)).contains("has no line yet"));
    }

    #[test]
    fn names_that_are_alike_are_told_apart() {
        let mut lines = history();
        let mut other = lines[0].clone();
        other.key.id = "twin".into();
        let mut wider = lines[2].clone();
        wider.key.isa = "avx512".into();
        lines.extend([other, wider]);
        let trend = trend(&lines);
        let names = Names::of(&trend.machines[0]);
        assert_eq!(names.cell(&lines[0].key), "attention/flash on simd, precision=f32 n=256 [cell]");
        assert_eq!(names.cell(&lines[2].key), "attention/dense on simd, precision=f32 n=256 (avx2)");
    }
}
