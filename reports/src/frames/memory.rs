//! How much memory: the three named figures, each with its ratio to the baseline's. They are never added to each other.

use polars::prelude::*;

use super::baseline::{base, is_own_baseline};
use super::quotient;
use crate::columns::DECLARED_BYTES;

/// Adds to cells with baselines: `own_baseline`, `declared_bytes` (the sum of the declared parts), and the ratios
/// `declared_ratio`, `allocator_peak_ratio`, `high_water_ratio`.
pub(crate) fn memory(cells: LazyFrame) -> LazyFrame {
    let sum = |name: fn(&str) -> String| DECLARED_BYTES.iter().map(|part| col(name(part).as_str())).reduce(|sum, part| sum + part);
    let (own, theirs) = (sum(str::to_owned).unwrap_or(lit(NULL)), sum(base).unwrap_or(lit(NULL)));
    cells.with_columns([own.alias("declared_bytes"), theirs.alias(base("declared_bytes"))]).with_columns([
        is_own_baseline().alias("own_baseline"),
        quotient("declared_bytes", &base("declared_bytes")).alias("declared_ratio"),
        quotient("allocator_peak_bytes", &base("allocator_peak_bytes")).alias("allocator_peak_ratio"),
        quotient("high_water_bytes", &base("high_water_bytes")).alias("high_water_ratio"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Typed;
    use crate::examples::{Cell, frame};
    use crate::frames::baseline::with_baseline;

    #[test]
    fn each_figure_has_its_own_ratio() {
        let cells = [
            Cell { id: "a", baseline: true, scratch: Some(1000), ..Cell::default() },
            Cell { id: "b", scratch: Some(0), ..Cell::default() },
            Cell { id: "c", ..Cell::failed("oom", "x") },
        ];
        let rows = memory(with_baseline(frame(&cells).lazy()).unwrap());
        let rows = rows.sort(["id"], SortMultipleOptions::default()).collect().unwrap();
        // Weights 100, activations 200, scratch as given, state 0; the peak is the double of the scratch.
        assert_eq!(rows.ints("declared_bytes").unwrap().iter().collect::<Vec<_>>(), [Some(1300), Some(300), None]);
        assert_eq!(rows.doubles("declared_ratio").unwrap().get(1), Some(300.0 / 1300.0));
        assert_eq!(rows.doubles("allocator_peak_ratio").unwrap().get(1), Some(0.0));
        assert_eq!(rows.doubles("high_water_ratio").unwrap().iter().collect::<Vec<_>>(), [Some(1.0), Some(1.0), None]);
    }
}
