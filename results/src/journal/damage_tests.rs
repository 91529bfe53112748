//! Every way of breaking a small journal: no panic, no wrong row, and at most the broken frame missing.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::round_trip_tests::all;
use super::scan::{Scanner, Step};
use super::small_disk::SmallDisk;
use super::*;
use crate::error::StoreError;
use crate::schema::{Record, SCHEMA_VERSION};
use crate::schema_examples::small_record;

struct Sound {
    records: Vec<Record>,
    bytes: Vec<u8>,
}

fn sound() -> Sound {
    let records: Vec<_> = ["first", "second", "third"].map(small_record).into();
    let disk = SmallDisk::holding(b"");
    disk.open().unwrap().0.append_batch(&records).unwrap();
    let bytes = disk.content.lock().unwrap().clone();
    Sound { records, bytes }
}

/// Reads a damaged journal both ways, checks that they agree, and returns the records, or none where it is refused.
fn read_damaged(sound: &Sound, bytes: &[u8]) -> Option<(Vec<Record>, Recovery)> {
    let disk = SmallDisk::holding(bytes);
    let index = match disk.index() {
        Ok(index) => index,
        Err(error @ (StoreError::NotAJournal { .. } | StoreError::Newer { .. })) => {
            assert!(disk.open().is_err());
            assert_eq!(*disk.content.lock().unwrap(), bytes, "a refused file is left as it is");
            assert!(error.to_string().contains("journal:1: "), "{error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let (records, recovery) = disk.read();
    assert_eq!(index.recovery, recovery);
    for record in &records {
        assert!(sound.records.contains(record), "a record that was never written: {record:?}");
        assert_eq!(index.cells[&record.id], record.status);
    }
    assert_eq!(index.cells.len(), records.len());
    Some((records, recovery))
}

/// A place for a real file.
fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    (folder, path)
}

#[test]
fn any_byte_changed_costs_at_most_its_frame() {
    let sound = sound();
    for at in 0..sound.bytes.len() {
        let old = sound.bytes[at];
        for new in [old ^ 1, old ^ 0x80, b'\n', b' ', 0, b'9'] {
            if new == old {
                continue;
            }
            let mut bytes = sound.bytes.clone();
            bytes[at] = new;
            match read_damaged(&sound, &bytes) {
                Some((records, recovery)) => {
                    assert!(records.len() >= 2, "byte {at} as {new}");
                    let lost = sound.records.len() - records.len();
                    assert!(lost == 0 || recovery.damaged_total > 0 || recovery.torn_bytes > 0, "byte {at} as {new}: unreported");
                }
                None => assert!(at < HEADER.len(), "byte {at} as {new}"),
            }
        }
    }
}

#[test]
fn any_byte_removed_or_added_costs_at_most_its_frame() {
    let sound = sound();
    for at in HEADER.len()..sound.bytes.len() {
        let mut bytes = sound.bytes.clone();
        bytes.remove(at);
        assert!(read_damaged(&sound, &bytes).unwrap().0.len() >= 2, "without byte {at}");
        for new in [b'\n', b' ', b'x', 0xff] {
            let mut bytes = sound.bytes.clone();
            bytes.insert(at, new);
            assert!(read_damaged(&sound, &bytes).unwrap().0.len() >= 2, "byte {new} before {at}");
        }
    }
}

#[test]
fn cut_anywhere_it_is_repaired_and_goes_on() {
    let sound = sound();
    let ends: Vec<_> = sound.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    for length in 0..=sound.bytes.len() {
        let whole = ends.iter().filter(|end| **end <= length).count().saturating_sub(1);
        let kept = ends[..].iter().rfind(|end| **end <= length).copied().unwrap_or(0);
        let (records, recovery) = read_damaged(&sound, &sound.bytes[..length]).unwrap();
        assert_eq!(records, sound.records[..whole]);
        assert_eq!((recovery.torn_bytes, recovery.damaged_total), ((length - kept) as u64, 0));

        let disk = SmallDisk::holding(&sound.bytes[..length]);
        let (mut journal, index) = disk.open().unwrap();
        assert_eq!(index.recovery, recovery, "the torn tail is reported");
        journal.append(&small_record("after")).unwrap();
        let (records, recovery) = disk.read();
        assert_eq!(recovery, Recovery { frames: whole as u64 + 1, ..Recovery::default() });
        assert_eq!((&records[..whole], records[whole].id.as_str()), (&sound.records[..whole], "after"));
    }
}

#[test]
fn any_byte_changed_it_still_goes_on() {
    let sound = sound();
    for at in HEADER.len()..sound.bytes.len() {
        for new in [sound.bytes[at] ^ 0x15, b'\n'] {
            let mut bytes = sound.bytes.clone();
            bytes[at] = new;
            let (before, _) = read_damaged(&sound, &bytes).unwrap();
            let disk = SmallDisk::holding(&bytes);
            let (mut journal, _) = disk.open().unwrap();
            assert_eq!(disk.read().0, before, "byte {at}: opening loses nothing");
            journal.append(&small_record("after")).unwrap();
            let (after, recovery) = disk.read();
            assert_eq!((&after[..before.len()], after[before.len()].id.as_str()), (&before[..], "after"), "byte {at}");
            assert_eq!(recovery.torn_bytes, 0);
        }
    }
}

#[test]
fn damage_in_the_middle_is_kept_and_located() {
    let sound = sound();
    let mut bytes = sound.bytes.clone();
    let second = HEADER.len() + bytes[HEADER.len()..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes[second + 60] ^= 4;
    let (_, recovery) = read_damaged(&sound, &bytes).unwrap();
    let expected = DamagedFrame { line: 3, offset: second as u64, reason: "the checksum does not match".into() };
    assert_eq!(recovery.damaged, [expected]);
    let disk = SmallDisk::holding(&bytes);
    drop(disk.open().unwrap());
    assert_eq!(*disk.content.lock().unwrap(), bytes, "evidence stays");
}

#[test]
fn a_real_file_is_repaired_too() {
    let sound = sound();
    let (_folder, path) = file();
    let last = sound.bytes.iter().rposition(|byte| *byte == b'{').unwrap();
    for length in [0, 5, HEADER.len(), last, sound.bytes.len() - 1] {
        fs::write(&path, &sound.bytes[..length]).unwrap();
        let (mut journal, index) = Journal::open(&path).unwrap();
        journal.append(&small_record("after")).unwrap();
        let (records, recovery) = all(&path);
        assert_eq!(recovery, Recovery { frames: index.recovery.frames + 1, ..Recovery::default() });
        assert_eq!(records.last().unwrap().id, "after");
    }
}

/// A line with a right checksum over whatever is asked for.
fn forged(id: &str, status: &str, payload: &str) -> String {
    let checked = format!("{} {id} {status} {payload}", payload.len());
    format!("{:08x} {checked}\n", crc32fast::hash(checked.as_bytes()))
}

fn journal_of(path: &Path, lines: &[String]) {
    fs::write(path, [String::from_utf8_lossy(HEADER).as_ref(), &lines.concat()].concat()).unwrap();
}

#[test]
fn a_head_that_disagrees_with_its_record_is_damage() {
    let (_folder, path) = file();
    let payload = serde_json::to_string(&small_record("a")).unwrap();
    let lines = [
        forged("b", "crashed", &payload),
        forged("a", "ok", &payload),
        forged("a", "splendid", &payload),
        forged("a", "crashed", "{}"),
        forged("a", "crashed", &payload.replace("}", ",\"x\":1}")),
        forged("a", "crashed", &payload),
    ];
    journal_of(&path, &lines);
    let (records, recovery) = all(&path);
    assert_eq!(records, [small_record("a")]);
    let lines: Vec<_> = recovery.damaged.iter().map(|damaged| damaged.line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6]);
    assert!(recovery.damaged[0].reason.contains("id disagrees") && recovery.damaged[1].reason.contains("status disagrees"));
}

#[test]
fn newer_versions_are_refused_and_left_alone() {
    let (_folder, path) = file();
    let ours = format!("\"schema\":{SCHEMA_VERSION}");
    let newer = serde_json::to_string(&small_record("a")).unwrap().replace(&ours, "\"schema\":99,\"mood\":\"good\"");
    journal_of(&path, &[forged("a", "splendid", &newer)]);
    for error in [read_index(&path).unwrap_err(), Journal::open(&path).err().unwrap()] {
        let expected = format!("journal:2: the record's schema version 99 is newer than version {SCHEMA_VERSION}");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    // Also where the version is not at the front, as soon as the record is parsed.
    journal_of(&path, &[forged("a", "ok", "{\"id\":\"a\",\"schema\":99}")]);
    let read: Vec<_> = read_records(&path).unwrap().collect();
    assert!(matches!(read[..], [Err(StoreError::Newer { found: 99, line: 2, .. })]), "{read:?}");
    fs::write(&path, "crossover-journal 2\n").unwrap();
    assert!(read_index(&path).unwrap_err().to_string().contains("format version 2 is newer"));
}

#[test]
fn other_files_are_no_journals() {
    let (_folder, path) = file();
    for text in ["PAR1\0\0\u{15}", "\n", "crossover-journal x\n", &"x".repeat(1000)] {
        fs::write(&path, text).unwrap();
        let message = read_index(&path).unwrap_err().to_string();
        assert!(message.contains("not a crossover journal") && message.len() < 400, "{message}");
    }
}

#[test]
fn a_line_without_end_is_not_held_in_memory() {
    let mut bytes = HEADER.to_vec();
    bytes.extend(vec![b'x'; 5000]);
    bytes.push(b'\n');
    let after = bytes.len() as u64;
    bytes.extend(forged("a", "ok", "{}").bytes());
    let torn = bytes.len() as u64;
    bytes.extend(vec![b'y'; 3000]);
    let mut scanner = Scanner::new(&bytes[..], Path::new("journal"), 1000).unwrap();
    assert!(matches!(scanner.advance().unwrap(), Some(Step::Damaged(DamagedFrame { line: 2, offset: 20, .. }))));
    assert!(scanner.bytes().len() <= 1000);
    assert!(matches!(scanner.advance().unwrap(), Some(Step::Frame(_, place)) if place.line == 3 && place.offset == after));
    assert!(matches!(scanner.advance().unwrap(), Some(Step::Torn { offset, bytes: 3000, .. }) if offset == torn));
    assert!(scanner.advance().unwrap().is_none());
}

#[test]
fn ever_so_much_damage_is_counted_and_not_collected() {
    let sound = sound();
    let mut bytes = HEADER.to_vec();
    bytes.extend("rubbish\n".repeat(5000).bytes());
    bytes.extend(&sound.bytes[HEADER.len()..]);
    let (records, recovery) = read_damaged(&sound, &bytes).unwrap();
    assert_eq!((records.len(), recovery.damaged.len(), recovery.damaged_total), (3, 1000, 5000));
}
