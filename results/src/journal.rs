//! The journal: an append-only text file, one line per finished cell.
//!
//! ```text
//! crossover-journal 1
//! <crc32, 8 hex digits> <payload length> <cell id> <status> <record as JSON>
//! ```
//!
//! The checksum covers all between the first space and the newline, so a line is either exactly what was written or known to
//! be damaged. A batch is one write and one sync. Three kinds of trouble are told apart:
//!
//! * a **torn tail** (the last line is not whole): the writer was killed. [`Journal::open`] cuts it off; its cells run again.
//! * a **damaged frame** further up: kept as it is for people to look at, skipped and reported by the readers; its cell runs again.
//! * a **newer version** of the file or of a record: refused, because to skip it would be to lose it.
//!
//! An id may occur more than once (a cell that was run again): the last whole frame counts.

mod frame;
mod reader;
mod scan;
mod writer;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod round_trip_tests;
#[cfg(test)]
mod small_disk;

pub use reader::{Index, Records, read_index, read_records};
pub use writer::Journal;

/// The first line of every journal.
const HEADER: &[u8] = b"crossover-journal 1\n";
/// The version in [`HEADER`].
const JOURNAL_VERSION: u64 = 1;
/// A line longer than this is damaged: no record comes near, and a reader must not take all memory for a broken file.
const LONGEST_LINE: usize = 64 << 20;
/// Damaged frames described one by one; more are only counted.
const DESCRIBED: usize = 1000;

/// What a pass over a journal found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whole frames, repeated ids included.
    pub frames: u64,
    /// Bytes of an unfinished last frame. [`Journal::open`] removes them, the readers pass over them.
    pub torn_bytes: u64,
    /// Frames that were skipped, at most the first thousand.
    pub damaged: Vec<DamagedFrame>,
    /// How many there are in all.
    pub damaged_total: u64,
}

/// A place in the journal that is not a whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFrame {
    /// Line within the file, from 1.
    pub line: u64,
    /// Bytes before it in the file.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

impl Recovery {
    fn add_damage(&mut self, damaged: DamagedFrame) {
        self.damaged_total += 1;
        if self.damaged.len() < DESCRIBED {
            self.damaged.push(damaged);
        }
    }
}
