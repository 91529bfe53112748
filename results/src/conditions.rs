//! What is known of a cell's measurement beside its times: how the machine was, and what the calls took of it.
//!
//! Workers tell it for each batch of samples ([`Batch`]); [`Conditions`] sums the batches up for the cell, as the median does with the
//! samples.

use serde::{Deserialize, Serialize};

/// How the machine was over all batches of a cell, and what one call took beside time. A figure that some batch lacks is absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Time that the hypervisor gave to others, all cores together.
    pub steal_ns: Option<u64>,
    /// The highest load average.
    pub load_average: Option<f64>,
    /// Involuntary context switches of the worker's threads.
    pub involuntary_switches: Option<u64>,
    /// The lowest frequency.
    pub frequency_khz: Option<u64>,
    /// Joules of one call: of packages and memory, whoever used them.
    pub energy_j: Option<f64>,
    /// Instructions of one call, in user space, on all threads.
    pub instructions: Option<f64>,
    /// Cycles, likewise.
    pub cycles: Option<f64>,
    /// Misses of the last cache, likewise.
    pub cache_misses: Option<f64>,
}

/// What the worker saw beside its clock while it took one round's samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The round.
    pub round: u32,
    /// Calls of all its samples together.
    pub calls: u64,
    /// Time that the hypervisor gave to others meanwhile, all cores together.
    pub steal_ns: Option<u64>,
    /// Load average over a minute, at the end.
    pub load_average: Option<f64>,
    /// Involuntary context switches of the worker's threads.
    pub involuntary_switches: Option<u64>,
    /// Frequency of the processor that it ended on.
    pub frequency_khz: Option<u64>,
    /// Microjoules of packages and memory.
    pub energy_uj: Option<u64>,
    /// Instructions of all calls, in user space, on all threads.
    pub instructions: Option<u64>,
    /// Cycles, likewise.
    pub cycles: Option<u64>,
    /// Misses of the last cache, likewise.
    pub cache_misses: Option<u64>,
}

impl Conditions {
    /// Over all batches; absent where there is none.
    pub fn over(batches: &[Batch]) -> Option<Self> {
        if batches.is_empty() {
            return None;
        }
        let calls = batches.iter().fold(0, |sum: u64, batch| sum.saturating_add(batch.calls));
        let sum = |get: fn(&Batch) -> Option<u64>| batches.iter().try_fold(0u64, |sum, batch| sum.checked_add(get(batch)?));
        let a_call = |get: fn(&Batch) -> Option<u64>| sum(get).filter(|_| calls > 0).map(|sum| sum as f64 / calls as f64);
        let loads = batches.iter().map(|batch| batch.load_average);
        let frequencies = batches.iter().map(|batch| batch.frequency_khz);
        Some(Self {
            steal_ns: sum(|batch| batch.steal_ns),
            load_average: loads.reduce(|highest, load| Some(highest?.max(load?))).flatten(),
            involuntary_switches: sum(|batch| batch.involuntary_switches),
            frequency_khz: frequencies.reduce(|lowest, frequency| Some(lowest?.min(frequency?))).flatten(),
            energy_j: a_call(|batch| batch.energy_uj).map(|microjoules| microjoules / 1e6),
            instructions: a_call(|batch| batch.instructions),
            cycles: a_call(|batch| batch.cycles),
            cache_misses: a_call(|batch| batch.cache_misses),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(round: u32, calls: u64, figure: u64) -> Batch {
        Batch {
            round,
            calls,
            steal_ns: Some(figure),
            load_average: Some(figure as f64),
            involuntary_switches: Some(figure),
            frequency_khz: Some(figure),
            energy_uj: Some(figure),
            instructions: Some(figure),
            cycles: Some(figure),
            cache_misses: Some(figure),
        }
    }

    #[test]
    fn batches_add_up_and_what_a_call_took_is_over_all_calls() {
        let conditions = Conditions::over(&[batch(0, 10, 3_000_000), batch(1, 30, 5_000_000)]).unwrap();
        assert_eq!((conditions.steal_ns, conditions.involuntary_switches), (Some(8_000_000), Some(8_000_000)));
        assert_eq!((conditions.load_average, conditions.frequency_khz), (Some(5e6), Some(3_000_000)));
        assert_eq!((conditions.energy_j, conditions.instructions), (Some(0.2), Some(200_000.0)));
        assert_eq!(Conditions::over(&[]), None);
    }

    #[test]
    fn a_figure_that_one_batch_lacks_is_nobodys() {
        let partly = Batch { steal_ns: None, load_average: None, frequency_khz: None, energy_uj: None, ..batch(1, 5, 1) };
        for batches in [[batch(0, 5, 1), partly], [partly, batch(0, 5, 1)]] {
            let conditions = Conditions::over(&batches).unwrap();
            assert_eq!((conditions.steal_ns, conditions.load_average), (None, None));
            assert_eq!((conditions.frequency_khz, conditions.energy_j), (None, None));
            assert_eq!((conditions.involuntary_switches, conditions.cycles), (Some(2), Some(0.2)));
        }
    }
}
