//! How much memory the workers of a chunk may take together.
//!
//! A cell's need is predicted by a run on shapes alone (`crossover_variants`), before any process is started. The budget is the
//! experiment's `memory_budget_mb`, else most of what the machine has available when a group begins; the limit of one worker bounds
//! each of them. A cell that exceeds either becomes an `oom` row with both figures, and nothing is started for it.
//!
//! What this trades away: an engine's own scratch is not in the prediction, nor is what a worker in another language holds beside the
//! tensors; the share that is kept back is for them. How true it is, `experiments/worker/tests/memory.rs` holds against the high-water marks
//! of six cells of 80 to 540 MiB on the naive engine: they must take 0.6 to 1.1 times what was predicted.

use std::path::Path;

use crossover_core::memory;
use crossover_variants::registry;

use crate::definition::Measure;
use crate::plan::PlannedCell;

/// What a worker takes beside its cell: the program, its stacks and buffers.
const WORKER: u64 = 32 << 20;
/// The part of the available memory that is kept back: one of so many.
const KEPT_BACK: u64 = 8;

/// As `memory_budget_mb` counts.
const MB: u64 = 1_000_000;

/// The memory for one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryBudget {
    /// For all workers that live at once.
    pub(super) together: u64,
    /// For each of them, where it is limited.
    each: Option<u64>,
}

impl MemoryBudget {
    /// What there is now.
    pub(super) fn now(measure: &Measure) -> Self {
        let available = || memory::available(Path::new("/")).map(|bytes| bytes - bytes / KEPT_BACK);
        // A system that does not tell leaves it to the workers to find out.
        Self { together: measure.memory_budget.or_else(available).unwrap_or(u64::MAX), each: measure.memory_limit }
    }

    /// Why a cell is not to be started, where it cannot fit.
    pub(super) fn refuse(&self, need: u64) -> Option<String> {
        let each = self.each.unwrap_or(u64::MAX);
        let (most, of) = if each < self.together { (each, "one worker") } else { (self.together, "all workers") };
        // In the unit in which the experiment sets it; what is too much is told as more.
        let (shown, limit) = (need.div_ceil(MB), most / MB);
        (need > most).then(|| format!("not started: it is predicted to need {shown} MB, and the memory for {of} is {limit} MB"))
    }
}

/// The memory that a cell's worker is predicted to take; only its own where the registry does not know the cell.
pub(super) fn need(cell: &PlannedCell) -> u64 {
    let footprint = registry::find(&cell.variant).filter(|_| cell.unfit.is_none()).and_then(|entry| entry.footprint(&cell.axes).ok());
    footprint.map_or(0, |footprint| footprint.on_host(&cell.engine)).saturating_add(WORKER)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::definition;
    use crate::plan::{Plan, Selection};

    /// Dense and streaming attention at a length, on two engines.
    fn cells(n: usize) -> Vec<PlannedCell> {
        let text = format!(
            "name = 'x'\n[[sweep]]\nvariants = ['attention/dense', 'attention/flash']\nengines = ['naive', 'candle-cuda']\n\
             [sweep.axes]\nn = {n}\nheads = 8\nhead_dim = 64"
        );
        let definition = definition::parse(Path::new("x.toml"), &text).unwrap();
        let engines = ["naive".to_owned(), "candle-cuda".to_owned()];
        Plan::new(&definition, &engines, Selection::default()).unwrap().groups().flat_map(|group| group.cells).collect()
    }

    fn of<'c>(cells: &'c [PlannedCell], variant: &str, engine: &str) -> &'c PlannedCell {
        cells.iter().find(|cell| cell.variant == variant && cell.engine == engine).unwrap()
    }

    #[test]
    fn scores_in_memory_are_what_makes_dense_attention_large() {
        let cells = cells(16_384);
        let (dense, flash) = (need(of(&cells, "attention/dense", "naive")), need(of(&cells, "attention/flash", "naive")));
        let scores = 8 * 16_384 * 16_384 * 4;
        assert!(dense >= scores && dense < scores + flash + (64 << 20), "{dense}");
        // Three inputs twice in f64; these and the output once in f32.
        let tensors = 8 * 16_384 * 64;
        assert!(flash >= tensors * (3 * 16 + 4 * 4) && flash < 1 << 30, "{flash}");
        // The scores are on the device there, the inputs in f64 are not.
        let on_device = need(of(&cells, "attention/dense", "candle-cuda"));
        assert!((tensors * 48..flash).contains(&on_device), "{on_device}");
    }

    #[test]
    fn a_cell_beyond_the_memory_is_refused_with_both_figures() {
        let budget = |together, each| MemoryBudget { together, each };
        assert_eq!(budget(1 << 30, None).refuse(1 << 30), None);
        let reason = budget(1 << 30, None).refuse(3 << 30).unwrap();
        assert_eq!(reason, "not started: it is predicted to need 3222 MB, and the memory for all workers is 1073 MB");
        let reason = budget(1 << 30, Some(1 << 20)).refuse(2 << 20).unwrap();
        assert_eq!(reason, "not started: it is predicted to need 3 MB, and the memory for one worker is 1 MB");
    }

    #[test]
    fn without_a_budget_it_is_what_the_machine_has_left() {
        let measure = Measure { memory_budget: Some(7), ..Measure::default() };
        assert_eq!(MemoryBudget::now(&measure).together, 7);
        let together = MemoryBudget::now(&Measure::default()).together;
        assert!(together > 1 << 20 && memory::available(Path::new("/")).is_none_or(|_| together < 1 << 50), "{together}");
    }
}
