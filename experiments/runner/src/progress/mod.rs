//! Progress on standard error: a bar on a terminal, else one plain line a group, and one now and then within a long group. No colours at
//! all, so `NO_COLOR` holds by itself.
//!
//! It is redrawn when something happened and never by a timer: a thread that wakes up ten times a second would disturb what it shows.

mod estimate;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crossover_core::axes::{Axes, AxisValue};
use crossover_protocol::text::tell;
use crossover_results::schema::{Record, Status};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::plan::Group;

pub use estimate::{Estimate, Took, WEIGHED, Weight};

/// What the user sees while a run goes on.
pub struct Progress {
    display: Display,
    estimate: Estimate,
    differences: Differences,
    total: u64,
    done: u64,
    here: Here,
}

enum Display {
    Bar(ProgressBar),
    Lines(Box<dyn Write>),
}

/// The current group.
struct Here {
    title: String,
    counts: Vec<(Status, u32)>,
    began: Instant,
    /// When its last line was written.
    told: Instant,
}

impl Here {
    fn new(title: String) -> Self {
        Self { title, counts: Vec::new(), began: Instant::now(), told: Instant::now() }
    }
}

impl Progress {
    /// On standard error; `done` of `total` cells are there already.
    pub fn on_stderr(total: u64, done: u64, estimate: Estimate, differences: Differences) -> Self {
        if !io::stderr().is_terminal() {
            return Self::in_lines(Box::new(io::stderr()), total, done, estimate, differences);
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        // The template is fixed; a wrong one would show in the tests, and the default bar would do.
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_position(done);
        Self::new(Display::Bar(bar), total, done, estimate, differences)
    }

    /// In plain lines.
    pub(crate) fn in_lines(out: Box<dyn Write>, total: u64, done: u64, estimate: Estimate, differences: Differences) -> Self {
        Self::new(Display::Lines(out), total, done, estimate, differences)
    }

    fn new(display: Display, total: u64, done: u64, estimate: Estimate, differences: Differences) -> Self {
        Self { display, estimate, differences, total, done, here: Here::new(String::new()) }
    }

    /// The model of what cells cost.
    pub fn estimate(&self) -> &Estimate {
        &self.estimate
    }

    /// A group begins.
    pub fn begin_group(&mut self, group: &Group) {
        self.here = Here::new(self.differences.title(group));
        self.redraw();
    }

    /// A cell was recorded.
    pub fn cell_done(&mut self, record: &Record, weight: &Weight) {
        self.done += 1;
        match self.here.counts.iter_mut().find(|(status, _)| *status == record.status) {
            Some((_, count)) => *count += 1,
            None => self.here.counts.push((record.status, 1)),
        }
        let sampling = record.samples.iter().map(|sample| sample.ns).fold(0, u64::saturating_add);
        let (whole, sampling) = (Duration::from_nanos(record.elapsed_ns), Duration::from_nanos(sampling));
        let call = record.speed.as_ref().map(|speed| Duration::from_nanos(speed.median_ns));
        self.estimate.finished(weight, Took { whole, sampling, call });
        if self.here.told.elapsed() > SILENCE {
            self.write_line();
        }
        self.redraw();
    }

    /// Many cells were recorded without being run.
    pub fn cells_skipped(&mut self, count: u64) {
        self.done += count;
        self.redraw();
    }

    /// Something to be known at once, above the bar where there is one.
    pub fn notice(&mut self, text: &str) {
        let line = format!("warning: {text}");
        match &mut self.display {
            Display::Bar(bar) => bar.suspend(|| tell(&line)),
            Display::Lines(out) => drop(writeln!(out, "{line}").and_then(|()| out.flush())),
        }
    }

    /// A group has ended.
    pub fn end_group(&mut self) {
        self.write_line();
    }

    fn write_line(&mut self) {
        self.here.told = Instant::now();
        let line = self.line();
        if let Display::Lines(out) = &mut self.display {
            // Progress that nobody can read any more is no reason to stop.
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }

    fn redraw(&self) {
        if let Display::Bar(bar) = &self.display {
            bar.set_position(self.done);
            bar.set_message(format!("{}{}", self.time_left(), self.here.title));
        }
    }

    fn some_left(&self) -> Option<Duration> {
        Some(self.estimate.left()).filter(|left| !left.is_zero())
    }

    fn time_left(&self) -> String {
        self.some_left().map(|left| format!("{} left, ", rough(left))).unwrap_or_default()
    }

    /// `[12/340] attention n=128: 4 ok, 1 wrong in 3 s; about 5 min left`
    fn line(&self) -> String {
        let counts: Vec<String> = self.here.counts.iter().map(|(status, count)| format!("{count} {}", status.name())).collect();
        let took = rough(self.here.began.elapsed());
        let left = self.some_left().map(|left| format!("; about {} left", rough(left))).unwrap_or_default();
        let (before, after) = (format!("[{}/{}] ", self.done, self.total), format!(": {} in {took}{left}", counts.join(", ")));
        let room = WIDTH.saturating_sub(before.len() + after.len()).max(SHORTEST);
        format!("{before}{}{after}", cut(&self.here.title, room))
    }
}

/// Without a terminal, nobody waits longer than this for a line while cells are being finished.
const SILENCE: Duration = Duration::from_secs(10);

/// Fits 80 columns: the message takes what is left, and is cut.
const TEMPLATE: &str = "[{bar:20}] {pos}/{len} {wide_msg}";

/// Which axes tell the groups of a plan apart: those with more than one value in their family. The others need not be shown, and neither
/// need choices by name that are as in the family's first cell: what a group of a swapped component differs in is that component.
#[derive(Debug, Default)]
pub struct Differences(BTreeMap<(String, String), Axis>);

#[derive(Debug)]
struct Axis {
    first: AxisValue,
    varies: bool,
}

impl Differences {
    /// Takes in the axes of one of a group's cells.
    pub fn add(&mut self, family: &str, axes: &Axes) {
        for (axis, value) in axes {
            let key = (family.to_owned(), axis.clone());
            match self.0.get_mut(&key) {
                None => drop(self.0.insert(key, Axis { first: value.clone(), varies: false })),
                Some(known) => known.varies |= known.first != *value,
            }
        }
    }

    /// Task and telling axes of a group.
    fn title(&self, group: &Group) -> String {
        let Some(first) = group.cells.first() else { return String::new() };
        let mut title = first.task().to_owned();
        for (axis, value) in &first.axes {
            let known = self.0.get(&(first.family.clone(), axis.clone()));
            let differs = known.is_some_and(|known| known.varies && (value.as_text().is_none() || known.first != *value));
            if differs && group.cells.iter().all(|cell| cell.axes.get(axis) == Some(value)) {
                title += &format!(" {axis}={value}");
            }
        }
        title
    }
}

/// Columns of a line without a terminal.
const WIDTH: usize = 80;
/// What is left of a title however long the rest of its line is.
const SHORTEST: usize = 20;

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() > room { text.chars().take(room - 2).collect::<String>() + ".." } else { text.to_owned() }
}

/// A duration to one or two figures, as it is not known better.
pub fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        ..0.95 => format!("{:.1} s", seconds.max(0.1)),
        ..90.0 => format!("{seconds:.0} s"),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Measure;
    use crate::schedule::fakes::group;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn record(status: Status) -> Record {
        let cell = group(&["a"]).cells.remove(0);
        let record = crate::outcome::Draft::new(cell, "m".into()).not_run(status, "r".into());
        Record { elapsed_ns: 2_000_000_000, ..record }
    }

    #[test]
    fn without_a_terminal_each_group_is_a_line() {
        let out = Shared::default();
        let weight = Weight::new("fake", 1000, 1);
        let mut estimate = Estimate::new(&Measure::default());
        (0..5).for_each(|_| estimate.expect(&weight));
        let mut group = group(&["a", "b", "c"]);
        for cell in &mut group.cells {
            cell.axes.extend([("n".to_owned(), AxisValue::Int(128)), ("seed".to_owned(), AxisValue::Int(1))]);
        }
        group.cells[0].axes.insert("k".into(), AxisValue::Int(1));
        // Other groups have other `n`, and other `k` within; the seed is the same everywhere.
        let mut differences = Differences::default();
        differences.add("attention", &group.cells[0].axes);
        differences
            .add("attention", &[("n", 256), ("k", 2), ("seed", 1)].map(|(name, value)| (name.to_owned(), AxisValue::Int(value))).into());
        let mut progress = Progress::new(Display::Lines(Box::new(out.clone())), 7, 2, estimate, differences);
        progress.begin_group(&group);
        for status in [Status::Ok, Status::Wrong, Status::Ok] {
            progress.cell_done(&record(status), &weight);
        }
        progress.end_group();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "[5/7] attention n=128: 2 ok, 1 wrong in 0.1 s; about 4 s left\n");
    }

    #[test]
    fn a_group_is_named_by_what_is_swapped_in_it() {
        let mut groups: Vec<Group> = ["flash", "linear"].map(|_| group(&["a"])).into();
        let mut differences = Differences::default();
        for (group, (attention, precision)) in groups.iter_mut().zip([("flash", "f32"), ("linear", "f32")]) {
            let axes = [("attention", attention), ("precision", precision)];
            group.cells[0].axes = axes.map(|(name, value)| (name.to_owned(), AxisValue::from(value))).into();
            differences.add("attention", &group.cells[0].axes);
        }
        assert_eq!([differences.title(&groups[0]), differences.title(&groups[1])], ["attention", "attention attention=linear"]);
    }

    /// A terminal of 80 columns that keeps what is written.
    #[derive(Debug, Clone, Default)]
    struct Terminal(Arc<Mutex<String>>);

    impl indicatif::TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().push('\n');
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_fits_eighty_columns() {
        let terminal = Terminal::default();
        let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        bar.set_style(ProgressStyle::with_template(TEMPLATE).unwrap().progress_chars("=> "));
        let mut group = group(&["a"]);
        let mut differences = Differences::default();
        for value in [0, 1] {
            group.cells[0].axes.extend((0..30).map(|n| (format!("axis{n}"), AxisValue::Int(value))));
            differences.add("attention", &group.cells[0].axes);
        }
        let mut progress = Progress::new(Display::Bar(bar), 1000, 250, Estimate::new(&Measure::default()), differences);
        progress.begin_group(&group);
        progress.cells_skipped(250);
        progress.finish();
        let shown = terminal.0.lock().unwrap().clone();
        assert!(shown.contains("] 250/1000 attention axis0=1"), "{shown}");
        assert!(shown.lines().all(|line| line.trim_end().chars().count() <= 80), "{shown}");
        assert!(!shown.contains('\u{1b}'), "no colours");
    }

    #[test]
    fn durations_are_rough() {
        let shown = |ms| rough(Duration::from_millis(ms));
        assert_eq!([shown(0), shown(440), shown(1200), shown(80_000)], ["0.1 s", "0.4 s", "1 s", "80 s"]);
        assert_eq!([shown(100_000), shown(3_600_000), shown(36_000_000)], ["2 min", "60 min", "10.0 h"]);
    }
}
