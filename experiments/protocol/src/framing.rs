//! One message a line: reading with a bound on the line's length, writing with a flush.
//!
//! The bound matters: a worker that prints a gigabyte without a newline must cost the runner a fixed buffer, not its memory.

use std::io::{self, BufRead, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The longest line that a message may take. Messages carry no tensors; 4096 samples need some 200 kB.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// What can go wrong between two processes.
#[derive(Debug, Error)]
pub enum WireError {
    /// The pipe broke.
    #[error("the pipe to the other process failed: {0}")]
    Io(#[from] io::Error),
    /// A line that is no message.
    #[error("not a protocol message ({source}): {start:?}")]
    Garbage {
        /// What the parser said.
        source: serde_json::Error,
        /// The beginning of the line.
        start: String,
    },
    /// A line beyond [`MAX_LINE_BYTES`].
    #[error("a line longer than {MAX_LINE_BYTES} bytes; it begins with {start:?}")]
    TooLong {
        /// The beginning of the line.
        start: String,
    },
}

/// A message, or the end of the stream.
#[derive(Debug, PartialEq)]
pub enum ReadLine<T> {
    /// A message.
    Message(T),
    /// The other side closed its end.
    End,
}

/// Reads one message. Blank lines are passed over.
pub fn read_message<T: DeserializeOwned>(reader: &mut impl BufRead) -> Result<ReadLine<T>, WireError> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if !read_bounded_line(reader, &mut line)? {
            return Ok(ReadLine::End);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        return serde_json::from_slice(&line)
            .map(ReadLine::Message)
            .map_err(|source| WireError::Garbage { source, start: beginning(&line) });
    }
}

/// Writes one message and flushes it.
pub fn write_message<T: Serialize>(writer: &mut impl Write, message: &T) -> Result<(), WireError> {
    // A message of ours always serialises: its maps have text keys and its numbers are finite or absent.
    let mut line = serde_json::to_vec(message).map_err(|source| WireError::Io(io::Error::other(source)))?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()?;
    Ok(())
}

/// Appends one line without its newline. False at the end of the stream with nothing read.
fn read_bounded_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, WireError> {
    loop {
        let available = match reader.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if available.is_empty() {
            return Ok(!line.is_empty());
        }
        let (taken, ended) = match available.iter().position(|&byte| byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (available.len(), false),
        };
        line.extend_from_slice(&available[..taken - usize::from(ended)]);
        reader.consume(taken);
        if line.len() > MAX_LINE_BYTES {
            return Err(WireError::TooLong { start: beginning(line) });
        }
        if ended {
            return Ok(true);
        }
    }
}

fn beginning(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, Response};

    fn read_all(text: &[u8]) -> Result<ReadLine<Request>, WireError> {
        read_message(&mut io::BufReader::with_capacity(16, text))
    }

    #[test]
    fn a_message_survives_the_wire() {
        let mut wire = Vec::new();
        let sent = Request::Measure { samples: 3, calls: 10 };
        write_message(&mut wire, &sent).unwrap();
        assert_eq!(wire.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert_eq!(read_all(&wire).unwrap(), ReadLine::Message(sent));
    }

    #[test]
    fn floats_survive_the_wire_bit_for_bit() {
        let text = r#"{"type":"verified","passed":true,"complaint":null,"err_impl":1.1102230246251563e-16,"err_impl_rel":0.1,
            "tolerance_used":0.30000000000000004,"err_method":null,"err_method_rel":null,"cosine":null,"error_ratio":null,
            "nonfinite":0,"rows_checked":1,"rows_total":1}"#
            .replace('\n', "");
        let ReadLine::Message(Response::Verified(figures)) = read_message(&mut text.as_bytes()).unwrap() else {
            panic!("not a verified message");
        };
        assert_eq!(figures.err_impl.unwrap().to_bits(), 1.1102230246251563e-16_f64.to_bits());
        assert_eq!(figures.tolerance_used.unwrap().to_bits(), 0.30000000000000004_f64.to_bits());
    }

    #[test]
    fn garbage_is_named_by_its_beginning() {
        let error = read_all(b"Segmentation fault\n").unwrap_err();
        assert!(matches!(&error, WireError::Garbage { start, .. } if start == "Segmentation fault"), "{error}");
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(matches!(read_all(br#"{"type":"quit","now":true}"#), Err(WireError::Garbage { .. })));
    }

    #[test]
    fn an_endless_line_is_cut_off_at_the_bound() {
        let endless = io::BufReader::new(io::Read::take(io::repeat(b'x'), 1 << 30));
        let mut endless = endless;
        assert!(matches!(read_message::<Request>(&mut endless), Err(WireError::TooLong { .. })));
    }

    #[test]
    fn the_end_of_the_stream_is_not_an_error() {
        assert_eq!(read_all(b"\n \n").unwrap(), ReadLine::End);
    }
}
