//! Cutting a group into chunks that fit the number of live workers.

use crate::plan::{Group, PlannedCell};

/// One place in a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat<'g> {
    pub(super) cell: &'g PlannedCell,
    /// Here only to be compared with: its record is, or will have been, made elsewhere.
    pub(super) companion: bool,
}

/// The pending cells in chunks of at most `live_workers`. Baselines come first and sit in every chunk, after the first one as
/// companions; at least one seat is left to the others, so baselines beyond that count as others.
pub(super) fn chunks<'g>(group: &'g Group, pending: impl Fn(&PlannedCell) -> bool, live_workers: usize) -> Vec<Vec<Seat<'g>>> {
    let live_workers = live_workers.max(1);
    let (mut baselines, mut others) = (Vec::new(), Vec::new());
    for cell in &group.cells {
        if cell.baseline && baselines.len() + 1 < live_workers {
            baselines.push(Seat { cell, companion: !pending(cell) });
        } else if pending(cell) {
            others.push(Seat { cell, companion: false });
        }
    }
    if others.is_empty() {
        baselines.retain(|seat| !seat.companion);
        return if baselines.is_empty() { Vec::new() } else { vec![baselines] };
    }
    let room = live_workers - baselines.len();
    let mut chunks = Vec::new();
    for some in others.chunks(room) {
        chunks.push([baselines.as_slice(), some].concat());
        baselines.iter_mut().for_each(|seat| seat.companion = true);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::fakes::group;

    /// Chunks as text: `*` marks companions.
    fn cut(names: &[&str], done: &[&str], live_workers: usize) -> Vec<String> {
        let group = group(names);
        let chunks = chunks(&group, |cell| !done.contains(&cell.id.as_str()), live_workers);
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
}
