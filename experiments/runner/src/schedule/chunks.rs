//! Cutting a group into chunks that fit the number of live workers and the memory for them.

use crate::plan::{Group, PlannedCell};

/// One place in a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat<'g> {
    pub(super) cell: &'g PlannedCell,
    /// Here only to be compared with: its record is, or will have been, made elsewhere.
    pub(super) companion: bool,
    /// What its worker is predicted to take.
    pub(super) bytes: u64,
}

/// What a chunk must not exceed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) workers: usize,
    pub(super) bytes: u64,
}

impl Room {
    /// How many of the seats, from the first one on, fit in.
    fn fitting(self, seats: &[Seat<'_>]) -> usize {
        let mut left = self.bytes;
        let fits = |seat: &&Seat<'_>| {
            let rest = left.checked_sub(seat.bytes);
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        seats.iter().take(self.workers).take_while(fits).count()
    }

    fn beside(self, seats: &[Seat<'_>]) -> Self {
        let taken: u64 = seats.iter().map(|seat| seat.bytes).fold(0, u64::saturating_add);
        Self { workers: self.workers.saturating_sub(seats.len()), bytes: self.bytes.saturating_sub(taken) }
    }
}

/// The pending cells in chunks that fit the room. Baselines come first and sit in every chunk, after the first one as companions; at
/// least one seat is left to the others, so baselines beyond that count as others. Where memory is short, a cell does without the
/// baselines beside which there is no room for it, and what has no room at all has a chunk to itself.
pub(super) fn chunks<'g>(
    group: &'g Group,
    pending: impl Fn(&PlannedCell) -> bool,
    need: impl Fn(&PlannedCell) -> u64,
    room: Room,
) -> Vec<Vec<Seat<'g>>> {
    let room = Room { workers: room.workers.max(1), ..room };
    let (mut baselines, mut others) = (Vec::new(), Vec::new());
    for cell in &group.cells {
        let (companion, bytes) = (!pending(cell), need(cell));
        if cell.baseline && baselines.len() + 1 < room.workers {
            baselines.push(Seat { cell, companion, bytes });
        } else if !companion {
            others.push(Seat { cell, companion, bytes });
        }
    }
    let mut chunks = Vec::new();
    let mut waiting = others.as_slice();
    while let Some(next) = waiting.first() {
        let mut chunk: Vec<Seat<'g>> = Vec::new();
        for baseline in &mut baselines {
            if room.beside(&[*next]).beside(&chunk).fitting(&[*baseline]) == 1 {
                chunk.push(*baseline);
                baseline.companion = true;
            }
        }
        let (some, rest) = waiting.split_at(room.beside(&chunk).fitting(waiting).max(1));
        chunk.extend(some);
        chunks.push(chunk);
        waiting = rest;
    }
    baselines.retain(|seat| !seat.companion);
    let mut waiting = baselines.as_slice();
    while !waiting.is_empty() {
        let (some, rest) = waiting.split_at(room.fitting(waiting).max(1));
        chunks.push(some.to_vec());
        waiting = rest;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::fakes::group;

    /// Chunks as text: `*` marks companions.
    fn cut(names: &[&str], done: &[&str], workers: usize) -> Vec<String> {
        cut_to(names, done, Room { workers, bytes: 0 }, |_| 0)
    }

    fn cut_to(names: &[&str], done: &[&str], room: Room, need: impl Fn(&PlannedCell) -> u64) -> Vec<String> {
        let group = group(names);
        let chunks = chunks(&group, |cell| !done.contains(&cell.id.as_str()), need, room);
        let seat = |seat: &Seat<'_>| format!("{}{}", seat.cell.id, if seat.companion { "*" } else { "" });
        chunks.iter().map(|chunk| chunk.iter().map(seat).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn the_baseline_sits_in_every_chunk_and_is_measured_once() {
        assert_eq!(cut(&["base", "a", "b", "c", "d", "e"], &[], 3), ["base a b", "base* c d", "base* e"]);
        assert_eq!(cut(&["a", "base", "b"], &[], 8), ["base a b"]);
    }

    #[test]
    fn what_is_done_is_left_out_but_for_the_baseline_as_companion() {
        assert_eq!(cut(&["base", "a", "b", "c"], &["base", "b"], 8), ["base* a c"]);
        assert_eq!(cut(&["base", "a"], &["base", "a"], 8), [""; 0]);
        assert_eq!(cut(&["base", "a"], &["a"], 8), ["base"]);
    }

    #[test]
    fn a_group_without_baseline_or_with_one_worker_is_cut_plainly() {
        assert_eq!(cut(&["a", "b", "c"], &[], 2), ["a b", "c"]);
        assert_eq!(cut(&["base", "a", "b"], &[], 1), ["base", "a", "b"]);
    }

    #[test]
    fn many_baselines_leave_a_seat_to_the_others() {
        assert_eq!(cut(&["base1", "base2", "base3", "a", "b"], &[], 3), ["base1 base2 base3", "base1* base2* a", "base1* base2* b"]);
    }

    /// Cells that need what their names end in.
    fn cut_by_need(names: &[&str], bytes: u64) -> Vec<String> {
        let digits = |cell: &PlannedCell| cell.id.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        cut_to(names, &[], Room { workers: 4, bytes }, digits)
    }

    #[test]
    fn memory_bounds_how_many_live_at_once() {
        assert_eq!(cut_by_need(&["base1", "a3", "b4", "c4", "d1", "e1"], 9), ["base1 a3 b4", "base1* c4 d1 e1"]);
        assert_eq!(cut_by_need(&["base1", "a3", "b4", "c4", "d1", "e1"], u64::MAX), ["base1 a3 b4 c4", "base1* d1 e1"]);
        assert_eq!(cut_by_need(&["a2", "b2", "c2"], 3), ["a2", "b2", "c2"]);
    }

    #[test]
    fn a_baseline_that_does_not_fit_beside_a_cell_is_measured_without_it() {
        assert_eq!(cut_by_need(&["base8", "a1", "b5", "c2"], 10), ["base8 a1", "b5 c2"]);
        assert_eq!(cut_by_need(&["base8", "a5", "b5"], 10), ["a5 b5", "base8"]);
    }

    #[test]
    fn what_exceeds_all_memory_is_alone() {
        assert_eq!(cut_by_need(&["base1", "a99", "b2"], 10), ["a99", "base1 b2"]);
        assert_eq!(cut_by_need(&["base99", "a1", "b2"], 10), ["a1 b2", "base99"]);
    }
}
