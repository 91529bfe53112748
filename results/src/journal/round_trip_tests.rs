//! What goes in comes out; what could not come out does not go in; and a failing disk loses nothing.

use std::path::Path;
use std::time::Instant;

use crossover_core::axes::AxisValue;
use proptest::prelude::*;

use super::small_disk::SmallDisk;
use super::*;
use crate::error::StoreError;
use crate::schema::{Record, SCHEMA_VERSION, Status};
use crate::schema_examples::{any_record, full_record, small_record};

pub(super) fn all(path: &Path) -> (Vec<Record>, Recovery) {
    let mut records = read_records(path).unwrap();
    let read = records.by_ref().collect::<Result<Vec<_>, _>>().unwrap();
    (read, records.recovery().clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_records_come_back_as_they_are(records in proptest::collection::vec(any_record(), 0..6), batched in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::create(&path).unwrap();
        if batched {
            journal.append_batch(&records).unwrap();
        } else {
            records.iter().for_each(|record| journal.append(record).unwrap());
        }
        let (read, recovery) = all(&path);
        prop_assert_eq!(&read, &records);
        prop_assert_eq!(&recovery, &Recovery { frames: records.len() as u64, ..Recovery::default() });
        let index = read_index(&path).unwrap();
        prop_assert_eq!(index.recovery, recovery);
        for record in &records {
            let last = records.iter().rfind(|other| other.id == record.id).unwrap();
            prop_assert_eq!(index.cells[&record.id], last.status);
        }
    }
}

/// Records without the fields that came later: transforms and equal cost with layout 2, the conditions with 3, the baseline beside with 4.
#[test]
fn records_of_earlier_layouts_are_read() {
    let later = [
        (2, vec![",\"transform\":null", ",\"matching\":null"]),
        (3, vec![",\"conditions\":null", ",\"batches\":[]"]),
        (4, vec![",\"beside\":null"]),
    ];
    for schema in 1..SCHEMA_VERSION {
        let record = Record { schema, ..small_record("abc") };
        let mut text = serde_json::to_string(&record).unwrap();
        for field in later.iter().filter(|(since, _)| *since > schema).flat_map(|(_, fields)| fields) {
            assert!(text.contains(field), "{field} in {text}");
            text = text.replace(field, "");
        }
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
    // Within the figures, too: what was held on a device came with layout 4.
    let mut record = Record { schema: 3, ..full_record() };
    record.memory.as_mut().unwrap().device_peak_bytes = None;
    let text = serde_json::to_string(&record).unwrap();
    let older = text.replace(",\"device_peak_bytes\":null", "");
    assert_ne!(older, text);
    assert_eq!(serde_json::from_str::<Record>(&older).unwrap(), record);
}

#[test]
fn a_frame_is_one_line_that_grep_can_find() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    Journal::create(&path).unwrap().append(&Record { reason: Some("a\nb\0".into()), ..small_record("abc") }).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.split('\n').collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (3, "crossover-journal 1", ""));
    let (head, payload) = lines[1].split_at(lines[1].find('{').unwrap());
    let head: Vec<_> = head.split(' ').collect();
    assert_eq!(head[1..], [&payload.len().to_string(), "abc", "crashed", ""]);
    assert_eq!(head[0], format!("{:08x}", crc32fast::hash(&lines[1].as_bytes()[9..])));
}

#[test]
fn what_would_not_come_back_is_refused_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = Journal::create(&path).unwrap();
    let good = full_record();
    let mut wrong: Vec<_> = ["", "a b", "a\nb", "tab\t", "nul\0", "ä", &"x".repeat(129)].iter().map(|id| small_record(id)).collect();
    wrong.push(Record { schema: 99, ..good.clone() });
    wrong.push(Record { schema: 0, ..good.clone() });
    wrong.push(Record { elapsed_ns: u64::MAX, ..good.clone() });
    for value in [f64::NAN, f64::INFINITY] {
        wrong.push(Record { axes: [("share".to_owned(), AxisValue::Float(value))].into(), ..good.clone() });
        let mut record = good.clone();
        record.accuracy.as_mut().unwrap().cosine = Some(value);
        wrong.push(record);
    }
    for record in wrong {
        let error = journal.append_batch(&[good.clone(), record.clone()]).unwrap_err();
        assert!(matches!(error, StoreError::NotStorable { .. }) && !error.is_environment(), "{record:?}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    journal.append(&good).unwrap();
    assert_eq!(all(&path), (vec![good], Recovery { frames: 1, ..Recovery::default() }));
}

#[test]
fn create_does_not_overwrite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    Journal::create(&path).unwrap().append(&full_record()).unwrap();
    assert!(Journal::create(&path).is_err());
    assert_eq!(all(&path).0.len(), 1);
}

#[test]
fn a_full_disk_takes_nothing_from_what_is_there() {
    let disk = SmallDisk::holding(HEADER);
    *disk.space.lock().unwrap() = 1500;
    let mut journal = Journal::over(Box::new(disk.clone()), Path::new("run/journal.txt"), HEADER.len() as u64);
    let mut kept = 0;
    let error = loop {
        match journal.append(&small_record(&format!("id{kept}"))) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Append { rolled_back: true, .. }) && error.is_environment());
    let message = error.to_string();
    assert!(message.contains("run/journal.txt") && message.contains("resume"), "{message}");
    assert!(kept >= 2);
    assert_eq!(disk.read().1, Recovery { frames: kept, ..Recovery::default() });
    // Space again: the same journal goes on.
    *disk.space.lock().unwrap() = 1 << 20;
    journal.append(&small_record("later")).unwrap();
    assert_eq!(disk.read().0.last().unwrap().id, "later");
}

#[test]
fn half_a_frame_that_cannot_be_undone_does_not_spoil_the_next() {
    let disk = SmallDisk::holding(HEADER);
    *disk.space.lock().unwrap() = 100;
    *disk.truncate_fails.lock().unwrap() = true;
    let mut journal = Journal::over(Box::new(disk.clone()), Path::new("journal"), HEADER.len() as u64);
    assert!(matches!(journal.append(&small_record("a")), Err(StoreError::Append { rolled_back: false, .. })));
    assert_eq!(disk.read().1, Recovery { torn_bytes: 80, ..Recovery::default() });
    *disk.space.lock().unwrap() = 1 << 20;
    assert!(journal.append(&small_record("b")).is_err(), "nothing is glued to half a frame");
    *disk.truncate_fails.lock().unwrap() = false;
    journal.append(&small_record("c")).unwrap();
    assert_eq!(disk.read(), (vec![small_record("c")], Recovery { frames: 1, ..Recovery::default() }));
}

#[test]
fn a_frame_that_was_not_synced_does_not_count() {
    let disk = SmallDisk::holding(HEADER);
    *disk.space.lock().unwrap() = 1 << 20;
    *disk.sync_fails.lock().unwrap() = true;
    let mut journal = Journal::over(Box::new(disk.clone()), Path::new("journal"), HEADER.len() as u64);
    assert!(journal.append(&small_record("a")).is_err());
    assert_eq!(disk.read(), (vec![], Recovery::default()));
}

#[cfg(target_os = "linux")]
#[test]
fn the_systems_own_full_disk_is_understood() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut journal = Journal::over(Box::new(full), Path::new("/dev/full"), 0);
    let error = journal.append(&full_record()).unwrap_err();
    assert!(error.to_string().to_lowercase().contains("no space left"), "{error}");
}

/// A resumed run reads the index before it does anything else: 100,000 cells of 1.7 kB within a second.
#[test]
fn the_index_of_a_large_journal_is_quick() {
    let count = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = Journal::create(&path).unwrap();
    let records: Vec<_> = (0..count).map(|n| Record { id: format!("{n:016x}"), ..full_record() }).collect();
    journal.append_batch(&records).unwrap();
    let start = Instant::now();
    let index = read_index(&path).unwrap();
    let taken = start.elapsed();
    assert_eq!((index.cells.len(), index.cells["0000000000000007"]), (count, Status::Ok));
    println!("index of {count} frames, {} bytes: {taken:?}", std::fs::metadata(&path).unwrap().len());
    if !cfg!(debug_assertions) {
        assert!(taken.as_secs_f64() < 1.0, "{taken:?}");
    }
}
