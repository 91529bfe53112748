//! Which baseline a cell is compared with, and what that one showed while the cell was sampled.

use crossover_core::axes::Axes;
use crossover_results::schema::Beside;

use crate::outcome;
use crate::plan::{Group, PlannedCell};

use super::rounds::Live;

/// Of the baselines of a cell's group the one of the same engine, then the one that agrees in the most axes; none for baselines
/// themselves. Reports choose by the same order (`reports/src/frames/baseline.rs`).
fn baseline_of<'g>(cell: &PlannedCell, group: &'g Group) -> Option<&'g PlannedCell> {
    let baselines = group.cells.iter().filter(|other| other.baseline && !cell.baseline);
    baselines.min_by_key(|other| (other.engine != cell.engine, differing(&cell.axes, &other.axes), &other.id))
}

/// Axes that one of the two lacks, or has at another value.
fn differing(one: &Axes, other: &Axes) -> usize {
    let here = one.iter().filter(|(name, value)| other.get(*name) != Some(value)).count();
    here + other.keys().filter(|name| !one.contains_key(*name)).count()
}

/// The baseline of a cell that leaves at the end of a round. One that is still live has been in every round that the cell was in, and in
/// no other so far: so all its samples are of the cell's rounds. One that is gone (it crashed) would lack the last of them.
pub(super) fn beside(cell: &PlannedCell, group: &Group, live: &[Live]) -> Option<Beside> {
    let baseline = baseline_of(cell, group)?;
    live.iter().find(|live| live.draft.cell.id == baseline.id).and_then(|live| outcome::beside(baseline, &live.sampling))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::fakes::group;

    /// The id of the baseline of the group's last cell. Cells are `id engine axis=value`.
    fn chosen(cells: &[&str]) -> Option<String> {
        let names: Vec<&str> = cells.iter().map(|cell| cell.split(' ').next().unwrap()).collect();
        let mut group = group(&names);
        for (cell, text) in group.cells.iter_mut().zip(cells) {
            let mut words = text.split(' ').skip(1);
            cell.engine = words.next().unwrap().to_owned();
            let axis = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.into()));
            cell.axes = words.filter_map(axis).collect();
        }
        baseline_of(group.cells.last().unwrap(), &group).map(|baseline| baseline.id.clone())
    }

    #[test]
    fn the_same_engine_then_the_most_axes_then_the_first_id() {
        let of = |cells: &[&str]| chosen(cells).unwrap();
        assert_eq!(of(&["base1 naive block=8", "base2 simd block=4", "a simd block=8"]), "base2");
        assert_eq!(of(&["base1 naive block=4 wide=1", "base2 naive block=8", "a naive block=8"]), "base2");
        assert_eq!(of(&["base1 naive block=8 wide=1", "base2 naive block=8", "a naive block=8"]), "base2");
        assert_eq!(of(&["base2 naive", "base1 naive", "a naive"]), "base1");
        assert_eq!(of(&["base1 naive", "base2 simd", "a candle"]), "base1", "another engine's is better than none");
    }

    #[test]
    fn a_baseline_has_none_nor_has_a_group_without() {
        assert_eq!(chosen(&["base1 naive", "base2 naive"]), None);
        assert_eq!(chosen(&["a naive", "b naive"]), None);
    }
}
