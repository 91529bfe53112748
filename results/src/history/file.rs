//! Reading the history, and adding to it.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{HEADER, Key, Line, Metric, Place};
use crate::atomic::sync_folder_of;
use crate::error::{Result, StoreError, excerpt};

/// What [`append`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// So many lines are new.
    Lines(usize),
    /// All of them were there already, the first at this line of the file; nothing was written.
    Known(u64),
}

/// Reads a history.
///
/// # Errors
/// When the file cannot be read, or a line is not what [`append`] writes: the error names it.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let mut file = File::open(path).map_err(StoreError::io("read the history", path))?;
    // Not in the middle of another's lines.
    wait_for_lock(&file, FlockOperation::LockShared).map_err(StoreError::io("lock the history", path))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(StoreError::io("read the history", path))?;
    Ok(parsed(path, &bytes)?.into_iter().map(|(_, line)| line).collect())
}

/// Adds the lines of one run, all or none. Two that do so at once wait for each other.
///
/// # Errors
/// When the file is damaged, is of another version, has the run with other figures, or cannot be written; it is then as it was.
pub fn append(path: &Path, lines: &[Line]) -> Result<Appended> {
    // Before there is a file: one that cannot be written leaves no empty one behind.
    let text = lines.iter().map(|line| written(path, line)).collect::<Result<Vec<_>>>()?.concat();
    let is_new = !path.exists();
    let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
    let mut file = opened.map_err(StoreError::io("open the history", path))?;
    wait_for_lock(&file, FlockOperation::LockExclusive).map_err(StoreError::io("lock the history", path))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(StoreError::io("read the history", path))?;
    // One that was just made is empty; so is one that somebody emptied, and that has nothing to lose either.
    let known = if bytes.is_empty() { Vec::new() } else { parsed(path, &bytes)? };
    if let Some(line) = known_already(path, &known, lines)? {
        return Ok(Appended::Known(line));
    }
    let text = if bytes.is_empty() { [HEADER.as_bytes(), b"\n", &text].concat() } else { text };
    let stored = file.write_all(&text).and_then(|()| file.sync_all());
    if let Err(source) = stored {
        // What was not written whole must not stay; where even that fails, the next reader names the line.
        let _ = file.set_len(bytes.len() as u64).and_then(|()| file.sync_all());
        return Err(StoreError::io("append to the history", path)(source));
    }
    if is_new {
        sync_folder_of(path)?;
    }
    Ok(Appended::Lines(lines.len()))
}

/// Another writer is done within milliseconds, and the kernel takes the lock from one that dies.
fn wait_for_lock(file: &File, how: FlockOperation) -> io::Result<()> {
    loop {
        match flock(file, how) {
            Err(Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

/// What tells one line from another: a run says one thing of a series.
type Name<'l> = (&'l Key, u64);

fn name(line: &Line) -> Name<'_> {
    (&line.key, line.run_unix_ms)
}

/// The line of the file from which on the run is there, whole and the same: every line of it, and no other.
fn known_already(path: &Path, known: &[(u64, Line)], lines: &[Line]) -> Result<Option<u64>> {
    let by_name: HashMap<Name<'_>, &(u64, Line)> = known.iter().map(|entry| (name(&entry.1), entry)).collect();
    let runs = |line: &Line| (line.key.place.clone(), line.run_unix_ms);
    let Some(first) = lines.first() else { return Ok(None) };
    // A joined run is of several experiments, of which the file may have one alone.
    let mut own: Vec<_> = lines.iter().map(runs).collect();
    own.dedup();
    let mut recorded = known.iter().filter(|(_, line)| own.contains(&runs(line)));
    let Some((at, there)) = recorded.next() else { return Ok(None) };
    let refuse = |line: u64, message: String| Err(StoreError::HistoryHasRun { path: path.to_owned(), line, message });
    if there.commit != first.commit {
        return refuse(*at, format!("as one of commit {}, and not of {}", there.commit, first.commit));
    }
    for line in lines {
        match by_name.get(&name(line)) {
            Some((_, same)) if same == line => {}
            Some((at, _)) => return refuse(*at, "with another figure".to_owned()),
            None => {
                return refuse(*at, format!("without {} of {} on {}", line.key.metric, line.key.variant, line.key.engine));
            }
        }
    }
    let names: HashSet<Name<'_>> = lines.iter().map(name).collect();
    match recorded.find(|(_, line)| !names.contains(&name(line))) {
        Some((at, gone)) => {
            refuse(*at, format!("with {} of {} on {}, which it has no more", gone.key.metric, gone.key.variant, gone.key.engine))
        }
        None => Ok(Some(*at)),
    }
}

/// Every line with its number in the file.
fn parsed(path: &Path, bytes: &[u8]) -> Result<Vec<(u64, Line)>> {
    let refuse = |line: u64, message: String| StoreError::History { path: path.to_owned(), line, message };
    let Some((first, _)) = bytes.iter().position(|byte| *byte == b'\n').map(|end| bytes.split_at(end)) else {
        return Err(refuse(1, format!("the first line should name the columns, but is `{}`", excerpt(bytes))));
    };
    if first != HEADER.as_bytes() {
        let found = excerpt(first);
        return Err(refuse(1, format!("the columns are not those of this version ({HEADER}): the line begins with `{found}`")));
    }
    if bytes.last() != Some(&b'\n') {
        let last = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        return Err(refuse(last, "the last line is not whole: a writer was killed".to_owned()));
    }
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let mut lines: Vec<(u64, Line)> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            refuse(line, told(&error))
        })?;
        let at = record.position().map_or(0, csv::Position::line);
        lines.push((at, line_of(&record).map_err(|message| refuse(at, message))?));
    }
    let mut seen: HashMap<Name<'_>, u64> = HashMap::new();
    for (at, line) in &lines {
        if let Some(before) = seen.insert(name(line), *at) {
            return Err(refuse(*at, format!("line {before} tells the same of the same run")));
        }
    }
    Ok(lines)
}

/// The library's words without the place, which stands before them already.
fn told(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!("it has {len} fields where {expected_len} belong"),
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

fn line_of(record: &csv::StringRecord) -> std::result::Result<Line, String> {
    let names: Vec<&str> = HEADER.split(',').collect();
    let field = |name: &str| {
        let text = names.iter().position(|known| *known == name).and_then(|column| record.get(column)).unwrap_or_default();
        if text.chars().any(char::is_control) { Err(format!("`{name}` has a control character")) } else { Ok(text) }
    };
    let text = |name: &str| match field(name)? {
        "" => Err(format!("`{name}` is empty")),
        text => Ok(text.to_owned()),
    };
    let whole = |name: &str| {
        let text = field(name)?;
        text.parse::<u64>().map_err(|_| format!("`{name}` is `{}`, not a whole number", excerpt(text.as_bytes())))
    };
    let number = |name: &str| {
        let text = field(name)?;
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("`{name}` is `{}`, not a finite number", excerpt(text.as_bytes())))
    };
    let metric = field("metric")?;
    let metric = Metric::of(metric)
        .ok_or_else(|| format!("the metric `{}` is none that this program knows; a newer one may", excerpt(metric.as_bytes())))?;
    let interval = match (field("low")?, field("high")?) {
        ("", "") => None,
        _ => Some((number("low")?, number("high")?)),
    };
    let line = Line {
        key: Key {
            place: Place { machine: text("machine")?, cores: whole("cores")?, experiment: text("experiment")? },
            variant: text("variant")?,
            engine: text("engine")?,
            setting: field("setting")?.to_owned(),
            id: text("id")?,
            isa: field("isa")?.to_owned(),
            metric,
            against: field("against")?.to_owned(),
        },
        commit: text("commit")?,
        commit_unix_s: whole("commit_unix_s")?,
        build: text("build")?,
        run_unix_ms: whole("run_unix_ms")?,
        value: number("value")?,
        interval,
    };
    check(&line).map_or(Ok(line), Err)
}

/// What is wrong with a line, if anything is.
fn check(line: &Line) -> Option<String> {
    let ends = line.interval.unwrap_or((line.value, line.value));
    let Key { metric, against, .. } = &line.key;
    if !line.commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(format!("`commit` is `{}`, not hex digits", excerpt(line.commit.as_bytes())));
    }
    if ![line.value, ends.0, ends.1].into_iter().all(f64::is_finite) {
        return Some("a figure is not finite".to_owned());
    }
    if !(ends.0 <= line.value && line.value <= ends.1) {
        return Some(format!("the value {} lies outside of its interval", line.value));
    }
    if line.value < 0.0 || metric.is_timed() && ends.0 <= 0.0 {
        return Some(format!("no {metric} is {}", ends.0.min(line.value)));
    }
    (metric.is_timed() == against.is_empty()).then(|| format!("a {metric} {} `against`", if metric.is_timed() { "has" } else { "has no" }))
}

/// The line as bytes of the file.
fn written(path: &Path, line: &Line) -> Result<Vec<u8>> {
    let Line { key, commit, commit_unix_s, build, run_unix_ms, value, interval } = line;
    let Place { machine, cores, experiment } = &key.place;
    let (low, high) = interval.map_or_else(Default::default, |(low, high)| (number(low), number(high)));
    let fields = [
        commit.as_str(),
        &commit_unix_s.to_string(),
        machine,
        &cores.to_string(),
        &key.isa,
        build,
        experiment,
        &run_unix_ms.to_string(),
        &key.id,
        &key.variant,
        &key.engine,
        &key.setting,
        &key.against,
        key.metric.name(),
        &number(*value),
        &low,
        &high,
    ];
    let refuse = |reason: String| StoreError::NotStorable { id: excerpt(key.id.as_bytes()), reason };
    // What this program would not read again must not get in, as a machine's name with a line end in it.
    line_of(&csv::StringRecord::from(fields.to_vec())).map_err(refuse)?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: io::Error| StoreError::io("write the history", path)(error);
    writer.write_record(fields).map_err(|error| failed(error.into()))?;
    writer.into_inner().map_err(|error| failed(error.into_error()))
}

/// The shortest digits that read back the same; whole numbers without a point.
fn number(value: f64) -> String {
    let is_whole = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
    if is_whole { format!("{value:.0}") } else { format!("{value:?}") }
}
