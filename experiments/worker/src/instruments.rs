//! What is read beside the clock while samples are taken: how the machine was, what energy it took, what the processor counted.
//!
//! Nothing of it is inside a timed window. Energy and the state of the machine are read before the first and after the last sample of a
//! batch; the processor's counters around each window. A machine that does not tell a figure leaves it empty, and [`Instruments::list`]
//! says why.

mod counters;
mod energy;
mod surroundings;

use std::path::Path;

use crossover_protocol::{Conditions, Instrument};

use counters::Counters;
use energy::Energy;
use surroundings::Surroundings;

/// Everything that could be opened.
pub struct Instruments {
    surroundings: Surroundings,
    energy: Energy,
    counters: Counters,
}

/// The figures at the start of a batch.
pub struct Before {
    surroundings: surroundings::Reading,
    energy: Option<Vec<u64>>,
}

impl Instruments {
    /// Opens what there is. Counters only see threads that are started after this.
    pub fn open() -> Self {
        let root = Path::new("/");
        Self { surroundings: Surroundings::under(root), energy: Energy::under(root), counters: Counters::open() }
    }

    /// What there is, and why not where there is none.
    pub fn list(&self) -> Vec<Instrument> {
        let energy = std::iter::once(("energy_uj", self.energy.absent()));
        let listed = self.surroundings.absent().into_iter().chain(energy).chain(self.counters.absent());
        listed.map(|(name, absent)| Instrument { name: name.to_owned(), absent }).collect()
    }

    /// A batch begins.
    pub fn begin(&mut self) -> Before {
        self.counters.reset();
        // Energy last, and first at the end: its window is the batch.
        let surroundings = self.surroundings.read();
        Before { surroundings, energy: self.energy.read() }
    }

    /// A timed window begins.
    pub fn open_window(&mut self) {
        self.counters.start();
    }

    /// It has ended.
    pub fn close_window(&mut self) {
        self.counters.stop();
    }

    /// The batch has ended. Where there was `other_work` between the windows, the energy is not that of the calls, and is left out.
    pub fn end(&mut self, before: &Before, other_work: bool) -> Conditions {
        let energy_uj = before.energy.as_ref().filter(|_| !other_work).and_then(|before| self.energy.since(before));
        let [instructions, cycles, cache_misses] = self.counters.totals();
        Conditions { energy_uj, instructions, cycles, cache_misses, ..self.surroundings.since(&before.surroundings) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever machine this is: what is said to be absent is, and every figure is listed.
    #[test]
    fn a_figure_that_is_never_there_has_a_reason() {
        let mut instruments = Instruments::open();
        let before = instruments.begin();
        instruments.open_window();
        std::hint::black_box((0..10_000u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)));
        instruments.close_window();
        let conditions = serde_json::to_value(instruments.end(&before, false)).unwrap();
        let listed = instruments.list();
        assert_eq!(listed.len(), conditions.as_object().unwrap().len());
        for Instrument { name, absent } in listed {
            assert!(absent.as_ref().is_none_or(|reason| !reason.is_empty()), "{name}");
            assert!(conditions[&name].is_null() || absent.is_none(), "{name}: {absent:?}, {conditions}");
        }
    }

    #[test]
    fn energy_of_other_work_is_nobodys() {
        let mut instruments = Instruments::open();
        let before = instruments.begin();
        assert_eq!(instruments.end(&before, true).energy_uj, None);
    }
}
