//! The least time that a call can take on a machine: its operations at the measured peak, its bytes at the measured bandwidth.
//!
//! A share of the ceiling is that time over the measured one, and a share above 100 % proves the model wrong. So every choice here
//! errs towards the *faster* machine: where ceilings were measured with more threads than the cell used, they count in full
//! (two threads of one core share its units, so half would be too little), and a cache is as large as the machine says.
//!
//! The bandwidth is that of the innermost level that the working set fits. The part that fits the level before it counts at that
//! level's speed: a set just larger than a cache is still mostly served by it, and would else seem to beat its ceiling.

use crossover_core::dtype::{DType, Precision};
use crossover_protocol::Bandwidth;
use crossover_results::Cache;
use serde_json::Value;

/// Which of the two limits is the larger for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Arithmetic,
    Bandwidth,
}

/// The kind of product that a cell's arithmetic may use at best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Products {
    Double,
    Single,
    /// bf16, on a unit of its own where the machine has one that is faster than single precision.
    Bf16,
    /// int8, likewise.
    Int8,
}

impl Products {
    /// Those of a precision: by what products see of the activations.
    pub(crate) fn of(precision: Precision) -> Self {
        match precision.activation {
            DType::F64 => Self::Double,
            DType::Bf16 => Self::Bf16,
            DType::I8 => Self::Int8,
            _ => Self::Single,
        }
    }

    /// The precision that people know it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Double => "f64",
            Self::Single => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// Operations a second at best.
    pub(crate) fn peak(self, set: &crossover_protocol::Ceilings) -> u64 {
        let narrow = |precision: &str| {
            let units = set.narrow.iter().filter(|unit| unit.precision == precision).map(|unit| unit.ops_per_s);
            units.max().unwrap_or(0).max(set.f32_flops_per_s)
        };
        match self {
            Self::Double => set.f64_flops_per_s,
            Self::Single => set.f32_flops_per_s,
            Self::Bf16 => narrow("bf16"),
            Self::Int8 => narrow("int8"),
        }
    }
}

/// The ceilings of one machine, for one or more numbers of threads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ceilings {
    measured: Vec<crossover_protocol::Ceilings>,
    caches: Vec<Cache>,
}

impl Ceilings {
    /// Reads what `crossover probe --json` prints: one set of ceilings, or a list of them by threads.
    pub(crate) fn read(value: &Value, caches: &[Cache]) -> Result<Self, String> {
        let sets = if let Value::Array(sets) = value { sets.clone() } else { vec![value.clone()] };
        let mut measured = Vec::with_capacity(sets.len());
        for set in sets {
            let set: crossover_protocol::Ceilings = serde_json::from_value(set).map_err(|error| error.to_string())?;
            let positive = |bandwidth: &Bandwidth| bandwidth.read_bytes_per_s.max(bandwidth.copy_bytes_per_s) > 0;
            if set.threads == 0 || set.f64_flops_per_s == 0 || set.f32_flops_per_s == 0 || !set.bandwidth.iter().all(positive) {
                return Err("a ceiling is zero".to_owned());
            }
            measured.push(set);
        }
        measured.sort_by_key(|set| set.threads);
        Ok(Self { measured, caches: caches.to_owned() })
    }

    /// As they were measured, by increasing threads.
    pub(crate) fn measured(&self) -> &[crossover_protocol::Ceilings] {
        &self.measured
    }

    /// The least nanoseconds for this work, and which limit sets it; `None` where nothing was measured for so many threads.
    pub(crate) fn least_ns(&self, flops: u64, bytes: u64, threads: u64, products: Products) -> Option<(f64, Bound)> {
        let set = self.measured.iter().find(|set| u64::from(set.threads) >= threads)?;
        let arithmetic = flops as f64 / products.peak(set) as f64;
        let transfer = self.transfer_seconds(set, bytes as f64, threads)?;
        let (seconds, bound) = if transfer > arithmetic { (transfer, Bound::Bandwidth) } else { (arithmetic, Bound::Arithmetic) };
        (seconds > 0.0).then_some((seconds * 1e9, bound))
    }

    fn transfer_seconds(&self, set: &crossover_protocol::Ceilings, bytes: f64, threads: u64) -> Option<f64> {
        let last = set.bandwidth.len().checked_sub(1)?;
        let capacity = |index: usize| if index == last { f64::INFINITY } else { self.capacity(&set.bandwidth[index], threads) };
        let level = (0..=last).find(|index| bytes <= capacity(*index))?;
        let inner = if level == 0 { 0.0 } else { capacity(level - 1) };
        let outer_seconds = (bytes - inner) / fastest(&set.bandwidth[level..]);
        Some(if level == 0 { outer_seconds } else { inner / fastest(&set.bandwidth[level - 1..]) + outer_seconds })
    }

    /// What a level holds for so many threads: what the machine says, but not less than what was measured to fit.
    fn capacity(&self, bandwidth: &Bandwidth, threads: u64) -> f64 {
        let level = bandwidth.level.strip_prefix('L').and_then(|level| level.parse::<u8>().ok());
        let size =
            self.caches.iter().filter(|cache| Some(cache.level) == level && cache.kind != "instruction").map(|cache| cache.bytes).max();
        // The first two levels belong to a core each, the third to all.
        let copies = if level.is_some_and(|level| level < 3) { threads } else { 1 };
        let said = size.unwrap_or(0).saturating_mul(copies);
        said.max(bandwidth.working_set_bytes.saturating_mul(threads)) as f64
    }
}

/// Bytes a second of this level or one further out: a slower figure for an inner level than for an outer one is noise.
fn fastest(levels: &[Bandwidth]) -> f64 {
    levels.iter().map(|level| level.read_bytes_per_s.max(level.copy_bytes_per_s)).max().unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::ceilings_json;

    fn ceilings() -> Ceilings {
        let cache = |level, kind: &str, bytes| Cache { level, kind: kind.into(), bytes };
        Ceilings::read(&ceilings_json(), &[cache(1, "data", 32 << 10), cache(1, "instruction", 1 << 30)]).unwrap()
    }

    #[test]
    fn the_larger_limit_counts() {
        // 100 GFLOP/s in f32, 50 in f64; 200 GB/s in L1.
        assert_eq!(ceilings().least_ns(1000, 1000, 1, Products::Single), Some((10.0, Bound::Arithmetic)));
        assert_eq!(ceilings().least_ns(1000, 1000, 1, Products::Double), Some((20.0, Bound::Arithmetic)));
        assert_eq!(ceilings().least_ns(1000, 4000, 1, Products::Single), Some((20.0, Bound::Bandwidth)));
        assert_eq!(ceilings().least_ns(0, 0, 1, Products::Single), None);
    }

    #[test]
    fn narrow_numbers_have_the_peak_of_their_fastest_unit() {
        let mut json = ceilings_json();
        let unit = |isa: &str, rate: u64| serde_json::json!({"precision": "bf16", "isa": isa, "ops_per_s": rate});
        json["narrow"] = serde_json::json!([unit("avx512_bf16", 200_000_000_000), unit("amx_bf16", 1_000_000_000_000)]);
        let ceilings = Ceilings::read(&json, &[]).unwrap();
        assert_eq!(ceilings.least_ns(1000, 0, 1, Products::Bf16), Some((1.0, Bound::Arithmetic)));
        // Without a unit of their own they are computed in single precision.
        assert_eq!(ceilings.least_ns(1000, 0, 1, Products::Int8), Some((10.0, Bound::Arithmetic)));
    }

    #[test]
    fn a_working_set_counts_at_the_level_that_it_fits() {
        let ns = |bytes| ceilings().least_ns(0, bytes, 1, Products::Single).unwrap().0;
        // All of a 32 KiB L1 although the probe went over 16 KiB only, at 200 GB/s.
        assert!((ns(32 << 10) - 32768.0 / 200.0).abs() < 1e-9);
        // What is beyond it at 10 GB/s, and the step between is none.
        assert!((ns((32 << 10) + 1000) - (32768.0 / 200.0 + 100.0)).abs() < 1e-9);
        assert!(ns(1 << 30) > 0.99 * f64::from(1 << 30) / 10.0);
    }

    #[test]
    fn more_threads_than_were_measured_have_no_ceiling() {
        assert_eq!(ceilings().least_ns(1000, 1000, 3, Products::Single), None);
        assert!(ceilings().least_ns(1000, 1000, 2, Products::Single).is_some());
    }

    #[test]
    fn what_is_no_ceiling_is_said_to_be_none() {
        assert!(Ceilings::read(&serde_json::json!({"fma": 3}), &[]).is_err());
        let mut zero = ceilings_json();
        zero["f32_flops_per_s"] = 0.into();
        assert_eq!(Ceilings::read(&zero, &[]), Err("a ceiling is zero".to_owned()));
    }
}
