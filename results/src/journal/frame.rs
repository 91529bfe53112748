//! One frame as bytes: encoding, and decoding that believes nothing.

use std::io::Write;
use std::ops::Range;

use crossover_core::axes::AxisValue;

use super::LONGEST_LINE;
use crate::error::{Result, StoreError, excerpt};
use crate::schema::{Record, SCHEMA_VERSION, Status};

/// Longest id that is stored; ours have 16 characters.
const LONGEST_ID: usize = 128;
/// Where the text under the checksum begins: after eight hex digits and a space.
const CHECKED_FROM: usize = 9;

/// A whole frame found at the start of some bytes; the ranges index those bytes.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) id: Range<usize>,
    pub(super) status: Status,
    pub(super) payload: Range<usize>,
    /// The schema version, where the payload begins as ours do.
    pub(super) schema: Option<u64>,
}

/// Why some bytes are not a frame.
#[derive(Debug)]
pub(super) enum Fault {
    /// They are not what any writer wrote.
    Damaged(&'static str),
    /// The checksum holds, but the content cannot be taken.
    Unreadable(String),
}

/// Appends the frame of `record`, newline included, to `out`.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) -> Result<()> {
    check_storable(record)?;
    let refuse = |reason: String| StoreError::NotStorable { id: record.id.clone(), reason };
    let payload = serde_json::to_vec(record).map_err(|error| refuse(error.to_string()))?;
    let start = out.len();
    out.extend_from_slice(b"00000000 ");
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{} {} {} ", payload.len(), record.id, record.status.name());
    out.extend_from_slice(&payload);
    if out.len() - start >= LONGEST_LINE {
        let length = out.len() - start;
        out.truncate(start);
        return Err(refuse(format!("it takes {length} bytes and the journal holds at most {LONGEST_LINE}: take fewer samples")));
    }
    let crc = crc32fast::hash(&out[start + CHECKED_FROM..]);
    out[start..start + 8].copy_from_slice(format!("{crc:08x}").as_bytes());
    out.push(b'\n');
    Ok(())
}

/// Refuses what would not come back exactly as it went in, or not fit the tables.
fn check_storable(record: &Record) -> Result<()> {
    let refuse = |reason: String| Err(StoreError::NotStorable { id: excerpt(record.id.as_bytes()), reason });
    if record.id.is_empty() || record.id.len() > LONGEST_ID || !record.id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse(format!("an id is 1 to {LONGEST_ID} visible ASCII characters without spaces"));
    }
    if record.schema == 0 || record.schema > SCHEMA_VERSION {
        return refuse(format!("its schema version is {}, this program writes 1 to {SCHEMA_VERSION}", record.schema));
    }
    for (name, value) in &record.axes {
        // JSON has no NaN: it would come back as null.
        if matches!(value, AxisValue::Float(value) if !value.is_finite()) {
            return refuse(format!("axis `{name}` is {value}: an axis is a finite number or a text"));
        }
    }
    for column in crate::tables::fixed_columns() {
        if let Err(reason) = column.value(record).check() {
            return refuse(format!("`{}` is {reason}", column.name));
        }
    }
    if record.samples.iter().any(|sample| i64::try_from(sample.ns).is_err()) {
        return refuse("a sample's `ns` is beyond the signed 64-bit range".to_owned());
    }
    record.batches.iter().try_for_each(crate::tables::check_batch).or_else(refuse)
}

/// Reads the frame at the start of `bytes`, which may go on after it.
pub(super) fn decode(bytes: &[u8]) -> std::result::Result<Frame, Fault> {
    const SHORT: Fault = Fault::Damaged("the frame is cut short");
    if bytes.len() < CHECKED_FROM {
        return Err(SHORT);
    }
    let crc = hex(&bytes[..8]).ok_or(Fault::Damaged("it does not begin with a checksum"))?;
    if bytes[8] != b' ' {
        return Err(Fault::Damaged("no space after the checksum"));
    }
    let length = token(bytes, CHECKED_FROM, 10)?;
    let id = token(bytes, length.end + 1, LONGEST_ID)?;
    let status = token(bytes, id.end + 1, 32)?;
    let length = decimal(&bytes[length]).ok_or(Fault::Damaged("no payload length"))?;
    let start = status.end + 1;
    let end = start.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(SHORT)?;
    if crc32fast::hash(&bytes[CHECKED_FROM..end]) != crc {
        return Err(Fault::Damaged("the checksum does not match"));
    }
    let name = &bytes[status];
    let schema = schema_version(&bytes[start..end]);
    let status = match Status::ALL.into_iter().find(|status| status.name().as_bytes() == name) {
        Some(status) => status,
        // The caller refuses a newer schema as a whole; the status is then no matter.
        None if schema.is_some_and(|version| version > u64::from(SCHEMA_VERSION)) => Status::Crashed,
        None => return Err(Fault::Unreadable(format!("unknown status `{}`", excerpt(name)))),
    };
    Ok(Frame { id, status, payload: start..end, schema })
}

/// The record of a frame, compared with what the frame's head says.
pub(super) fn parse_record(frame: &Frame, bytes: &[u8]) -> std::result::Result<Record, String> {
    let record: Record = serde_json::from_slice(&bytes[frame.payload.clone()]).map_err(|error| format!("the record: {error}"))?;
    if record.id.as_bytes() != &bytes[frame.id.clone()] {
        return Err(format!("the frame's id disagrees with its record's, `{}`", excerpt(record.id.as_bytes())));
    }
    if record.status != frame.status {
        return Err(format!("the frame's status disagrees with its record's, `{}`", record.status.name()));
    }
    Ok(record)
}

/// The version in `{"schema":N,...`, which is how a record begins: cheap enough for a pass that parses nothing else.
fn schema_version(payload: &[u8]) -> Option<u64> {
    let rest = payload.strip_prefix(b"{\"schema\":")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    decimal(&rest[..digits]).map(|version| version as u64)
}

/// The text from `start` to the next space, at least one byte and at most `longest`.
fn token(bytes: &[u8], start: usize, longest: usize) -> std::result::Result<Range<usize>, Fault> {
    let rest = bytes.get(start..).unwrap_or_default();
    match rest.iter().take(longest + 1).position(|byte| *byte == b' ') {
        Some(length) if length > 0 => Ok(start..start + length),
        _ => Err(Fault::Damaged("its head is not `checksum length id status`")),
    }
}

/// Eight lower-case hex digits, as the writer writes them.
fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| match digit {
        b'0'..=b'9' => Some(value << 4 | u32::from(digit - b'0')),
        b'a'..=b'f' => Some(value << 4 | u32::from(digit - b'a' + 10)),
        _ => None,
    })
}

/// Decimal digits alone: no sign, no space.
fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
