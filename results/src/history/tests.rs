//! Runs that are recorded, files that are damaged, series that changed.

use std::fs;
use std::path::Path;

use super::{Appended, Commit, HEADER, Key, Line, Metric, Place, append, lines_of, read, trend};
use crate::error::StoreError;
use crate::manifest::{Build, Manifest, example};
use crate::run_folder::RunFolder;
use crate::schema::{Beside, Record, Status, Stop};
use crate::schema_examples::{full_record, small_record};

fn line(commit: u64, metric: Metric, value: f64) -> Line {
    Line {
        key: Key {
            place: Place { machine: "m1".into(), cores: 2, experiment: "gate".into() },
            variant: "attention/flash".into(),
            engine: "simd".into(),
            setting: "precision=f32 n=256".into(),
            id: "0123456789abcdef".into(),
            isa: "avx2, \"fma\"".into(),
            metric,
            against: if metric.is_timed() { "base".into() } else { String::new() },
        },
        commit: format!("{commit:012x}"),
        commit_unix_s: 1_700_000_000 + commit * 86_400,
        build: "b".into(),
        run_unix_ms: 1_700_000_000_000 + commit * 86_400_000,
        value,
        interval: metric.is_timed().then_some((value * 0.99, value * 1.01)),
    }
}

fn both(commit: u64, ratio: f64) -> Vec<Line> {
    vec![line(commit, Metric::TimeRatio, ratio), line(commit, Metric::ErrImpl, 1.25e-7)]
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn lines_come_back_as_written_and_earlier_ones_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.csv");
    assert_eq!(append(&path, &both(1, 0.5)).unwrap(), Appended::Lines(2));
    let first = text(&path);
    assert!(first.starts_with(HEADER), "{first}");
    let expected = "000000000001,1700086400,m1,2,\"avx2, \"\"fma\"\"\",b,gate,1700086400000,0123456789abcdef,attention/flash,simd,\
                    precision=f32 n=256,base,time-ratio,0.5,0.495,0.505";
    assert_eq!(first.lines().nth(1), Some(expected));
    let odd = [line(2, Metric::DeclaredBytes, 9_007_199_254_740_991.0), line(2, Metric::Flops, 0.0), line(2, Metric::ErrImpl, 5e-324)];
    append(&path, &odd).unwrap();
    assert!(text(&path).starts_with(&first) && text(&path).contains(",declared_bytes,9007199254740991,,\n"));
    assert_eq!(read(&path).unwrap(), [both(1, 0.5), odd.to_vec()].concat());
}

#[test]
fn a_run_is_recorded_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.csv");
    append(&path, &both(1, 0.5)).unwrap();
    append(&path, &both(2, 0.5)).unwrap();
    let before = text(&path);
    assert_eq!(append(&path, &both(2, 0.5)).unwrap(), Appended::Known(4));
    // The same run with another figure, with a cell more, or of another commit.
    let mut longer = both(2, 0.5);
    longer.push(line(2, Metric::Flops, 7.0));
    let mut elsewhere = both(2, 0.5);
    elsewhere.iter_mut().for_each(|line| line.commit = "fff".into());
    for (lines, wanted) in
        [(both(2, 0.6), "4: the run is recorded there with another figure"), (longer, "without flops"), (elsewhere, "not of fff")]
    {
        let error = append(&path, &lines).unwrap_err();
        assert!(matches!(error, StoreError::HistoryHasRun { .. }) && !error.is_environment());
        assert!(error.to_string().contains(wanted), "{error}");
    }
    assert_eq!(text(&path), before);
}

#[test]
fn what_is_damaged_is_named_by_its_line_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.csv");
    append(&path, &both(1, 0.5)).unwrap();
    append(&path, &both(2, 0.6)).unwrap();
    let good = text(&path);
    let last = good.lines().last().unwrap();
    let of = |from: &str, to: &str| good.replacen(from, to, 1);
    let cases = [
        (good[..good.len() - 20].to_owned(), ":5: the last line is not whole"),
        (of(",0.6,", ",NaN,"), ":4: `value` is `NaN`, not a finite number"),
        (of(",0.6,", ",-0.6,"), ":4: the value -0.6 lies outside"),
        (of(",0.6,", ",,"), ":4: `value` is ``"),
        (of("time-ratio", "moon-phase"), ":2: the metric `moon-phase` is none"),
        (of(",simd,", ",simd,x,"), ":2: it has 18 fields where 17 belong"),
        (of("1700086400,", "-5,"), ":2: `commit_unix_s` is `-5`, not a whole number"),
        (of("000000000001", "main"), ":2: `commit` is `main`, not hex digits"),
        (of(",base,", ",,"), ":2: a time-ratio has `against`"),
        (of("run_unix_ms", "run"), ":1: the columns are not those of this version"),
        (good.clone() + last + "\n", ":6: line 5 tells the same of the same run"),
        ("no table".to_owned(), ":1: the first line should name the columns"),
        (of("gate", "ga\u{7}te"), ":2: `experiment` has a control character"),
    ];
    for (damaged, wanted) in cases {
        fs::write(&path, &damaged).unwrap();
        for error in [read(&path).unwrap_err(), append(&path, &both(3, 0.7)).unwrap_err()] {
            assert!(!error.is_environment() && error.to_string().contains(wanted), "{wanted}: {error}");
        }
        assert_eq!(text(&path), damaged, "{wanted}");
    }
    fs::write(&path, [good.as_bytes(), b"\xff\n"].concat()).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains(":6: "));
    assert!(read(&folder.path().join("none.csv")).unwrap_err().is_environment());
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.csv");
    append(&path, &both(1, 0.5)).unwrap();
    let before = text(&path);
    let with = |change: &dyn Fn(&mut Line)| {
        let mut lines = both(2, 0.5);
        change(&mut lines[1]);
        append(&path, &lines).unwrap_err().to_string()
    };
    assert!(with(&|line| line.value = f64::NAN).contains("not a finite number"));
    assert!(with(&|line| line.key.engine = "a\nb".into()).contains("control character"));
    assert!(with(&|line| line.key.id.clear()).contains("`id` is empty"));
    // Nor is the good line before the bad one.
    assert_eq!(text(&path), before);
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.csv");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let path = &path;
            scope.spawn(move || {
                for turn in 0..10 {
                    assert_eq!(append(path, &both(writer * 10 + turn, 0.5)).unwrap(), Appended::Lines(2));
                }
            });
        }
    });
    let mut commits: Vec<String> = read(&path).unwrap().into_iter().map(|line| line.commit).collect();
    commits.sort();
    commits.dedup();
    assert_eq!((commits.len(), text(&path).lines().count()), (80, 161));
}

/// A run of a baseline on each of two engines, a cell beside one of them, and one that failed.
fn run(path: &Path, change: &dyn Fn(&mut Manifest, &mut Vec<Record>)) -> RunFolder {
    let machine = example().machine.fingerprint;
    let cell = |id: &str, engine: &str, baseline: bool, median: u64| {
        let mut record = Record {
            id: id.into(),
            group: "g".into(),
            engine: engine.into(),
            baseline,
            beside: None,
            machine: machine.clone(),
            build: "f00d".into(),
            ..full_record()
        };
        let speed = record.speed.as_mut().unwrap();
        (speed.median_ns, speed.ci_low_ns, speed.ci_high_ns) = (median, Some(median - 10), Some(median + 10));
        record
    };
    let beside = Beside { id: "b".into(), median_ns: 2000, ci_low_ns: Some(1900), ci_high_ns: Some(2100), samples: 9 };
    let mut records = vec![
        cell("b", "simd", true, 4000),
        cell("a", "faer", true, 1000),
        Record { beside: Some(beside), variant: "attention/flash".into(), ..cell("c", "simd", false, 1000) },
        Record { machine: machine.clone(), build: "f00d".into(), ..small_record("d") },
    ];
    let mut manifest = example();
    change(&mut manifest, &mut records);
    let folder = RunFolder::create(path).unwrap();
    manifest.write(&folder.manifest_path()).unwrap();
    let lock = folder.lock().unwrap();
    folder.open_journal(&lock).unwrap().0.append_batch(&records).unwrap();
    folder
}

fn commit() -> Commit {
    Commit { name: "0123456789abcdef0123456789abcdef01234567".into(), unix_s: 1_700_000_000 }
}

#[test]
fn a_run_adds_ratios_within_it_and_what_needs_no_clock() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = run(&temporary.path().join("run"), &|_, _| {});
    let found = lines_of(&folder, &commit()).unwrap();
    let timed = found.lines.iter().filter(|line| line.key.metric == Metric::TimeRatio);
    let ratios: Vec<_> = timed.map(|line| (line.key.id.as_str(), line.key.against.as_str(), line.value, line.interval)).collect();
    // The cell by what stood beside it, whose own record is of other rounds; the second baseline by the first; the first by nobody.
    let expected = [("b", "a", 4.0, Some((3.9505, 4.050_51))), ("c", "b", 0.5, Some((0.471_429, 0.531_579)))];
    assert_eq!(ratios, expected);
    let of_c: Vec<(Metric, f64)> = found.lines.iter().filter(|line| line.key.id == "c").map(|line| (line.key.metric, line.value)).collect();
    let expected = [
        (Metric::TimeRatio, 0.5),
        (Metric::ErrImpl, 1.0e-7),
        (Metric::DeclaredBytes, 10.0),
        (Metric::WarmAllocations, 0.0),
        (Metric::Flops, 68_719_476_736.0),
    ];
    assert_eq!(of_c, expected);
    assert_eq!(found.without, ["attention/causal on naive (crashed)"]);
    assert!(found.lines.iter().all(|line| line.commit == "0123456789ab" && line.key.setting == "precision=f32 n=128"));
    let path = temporary.path().join("history.csv");
    append(&path, &found.lines).unwrap();
    assert_eq!(read(&path).unwrap(), found.lines);
}

#[test]
fn figures_of_disturbed_samples_are_no_ratios() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = run(&temporary.path().join("run"), &|_, records| {
        for record in records.iter_mut().take(2) {
            Stop::Disturbed.name().clone_into(&mut record.speed.as_mut().unwrap().stop);
        }
    });
    let found = lines_of(&folder, &commit()).unwrap();
    let ratios: Vec<&str> = found.lines.iter().filter(|line| line.key.metric.is_timed()).map(|line| line.key.id.as_str()).collect();
    assert_eq!(ratios, ["c"]);
}

#[test]
fn baselines_with_an_interruption_between_them_have_no_ratio() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = run(&temporary.path().join("run"), &|manifest, records| {
        let first = records.iter().map(|record| record.finished_unix_ms).min().unwrap();
        manifest.resumed_unix_ms = vec![first + 1_000];
        records.iter_mut().filter(|record| record.id == "b").for_each(|record| record.finished_unix_ms = first + 2_000);
    });
    let found = lines_of(&folder, &commit()).unwrap();
    let ratios: Vec<&str> = found.lines.iter().filter(|line| line.key.metric.is_timed()).map(|line| line.key.id.as_str()).collect();
    // What was timed beside its baseline still has one.
    assert_eq!(ratios, ["c"]);
    assert!(matches!(&found.apart[..], [one] if one.contains(" on ")), "{:?}", found.apart);
}

#[test]
fn a_run_of_no_single_commit_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    type Damage = fn(&mut Manifest, &mut Vec<Record>);
    let cases: [(Damage, &str); 3] = [
        (
            |manifest, records| {
                manifest.builds.push(Build { fingerprint: "beef".into(), ..manifest.builds[0].clone() });
                records[0].build = "beef".into();
            },
            "crossover-worker was built anew while it went on",
        ),
        (|_, records| records[1].machine = "other".into(), "cells of several machines"),
        (|_, records| records.iter_mut().for_each(|record| record.status = Status::Wrong), "no cell of it has a figure"),
    ];
    for (number, (damage, wanted)) in cases.into_iter().enumerate() {
        let folder = run(&temporary.path().join(number.to_string()), &damage);
        let error = lines_of(&folder, &commit()).unwrap_err();
        assert!(!error.is_environment() && error.to_string().contains(wanted), "{error}");
    }
    let folder = run(&temporary.path().join("peers"), &|manifest, records| {
        manifest.builds.push(Build { fingerprint: "beef".into(), worker: "numpy".into(), ..manifest.builds[0].clone() });
        records[0].build = "beef".into();
    });
    assert!(lines_of(&folder, &commit()).is_ok(), "workers of other names have builds of their own");
    fs::remove_file(folder.journal_path()).unwrap();
    assert!(lines_of(&folder, &commit()).unwrap_err().to_string().contains("no journal"));
}

/// A ratio that was about 0.5 for 20 commits, and then about 0.6.
fn slower() -> Vec<Line> {
    let wave = |commit: u64| 1.0 + 0.01 * ((commit * 7 % 11) as f64 - 5.0) / 5.0;
    (0..30).flat_map(|commit| both(commit, if commit < 20 { 0.5 } else { 0.6 } * wave(commit))).collect()
}

#[test]
fn a_change_has_its_commit_its_size_and_its_probability() {
    let mut lines = slower();
    lines.extend((0..30).map(|commit| line(commit, Metric::DeclaredBytes, if commit < 7 { 100.0 } else { 90.0 })));
    // Out of order, as after a merge of branches.
    lines.reverse();
    let found = trend(&lines);
    let [machine] = &found.machines[..] else { panic!("{found:?}") };
    assert_eq!((machine.commits, machine.runs, machine.searched), (30, 30, 1));
    let told: Vec<(Metric, String, f64)> = machine
        .changes()
        .into_iter()
        .map(|(series, change)| (series.key.metric, series.points[change.at].commit.clone(), change.ratio().unwrap()))
        .collect();
    assert_eq!((told[0].0, told[0].1.as_str()), (Metric::TimeRatio, "000000000014"));
    assert!((told[0].2 - 1.2).abs() < 0.01, "{told:?}");
    assert_eq!(told[1..], [(Metric::DeclaredBytes, "000000000007".to_owned(), 0.9)]);
    let p = machine.changes()[0].1.p.unwrap();
    assert!(p <= 0.05 && machine.changes()[0].1.is_worse() && !machine.changes()[1].1.is_worse());
    assert_eq!(trend(&lines), found);
}

#[test]
fn machines_cores_and_instruction_sets_never_meet() {
    let moved = |change: &dyn Fn(&mut Key)| {
        let mut lines = slower();
        lines.iter_mut().filter(|line| line.commit_unix_s >= 1_700_000_000 + 20 * 86_400).for_each(|line| change(&mut line.key));
        let found = trend(&lines);
        assert!(found.machines.iter().all(|machine| machine.changes().is_empty()), "{found:?}");
        found.machines.len()
    };
    assert_eq!(moved(&|key| key.place.machine = "m2".into()), 2);
    assert_eq!(moved(&|key| key.place.cores = 4), 2);
    assert_eq!(moved(&|key| key.place.experiment = "quick".into()), 2);
    assert_eq!(moved(&|key| key.isa = "avx512".into()), 1);
    assert_eq!(
        moved(&|key| if key.metric.is_timed() {
            key.against = "other".into()
        }),
        1
    );
}

#[test]
fn short_series_and_those_that_ended_are_told_apart() {
    let mut lines: Vec<Line> = (0..9).flat_map(|commit| both(commit, if commit < 5 { 0.1 } else { 0.9 })).collect();
    lines.push(line(9, Metric::ErrImpl, 1.25e-7));
    let found = trend(&lines);
    let of = |metric: Metric| found.machines[0].series.iter().find(|series| series.key.metric == metric).unwrap();
    let [ratio, error] = [of(Metric::TimeRatio), of(Metric::ErrImpl)];
    assert_eq!((ratio.is_long_enough, ratio.is_current, ratio.changes.len()), (false, false, 0));
    assert_eq!((error.is_long_enough, error.is_current, found.machines[0].searched), (true, true, 0));
    assert!(trend(&[]).machines.is_empty());
}

#[test]
fn the_documentation_names_every_column_and_metric() {
    let text = include_str!("../../RESULTS.md");
    let section = text.split("\n## history.csv\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    for name in HEADER.split(',').chain(Metric::ALL.map(Metric::name)) {
        assert!(section.contains(&format!("`{name}`")), "{name}");
    }
}
