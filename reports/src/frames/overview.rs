//! How the cells of each family ended.

use polars::prelude::*;

/// Counts by family and status: `family`, `status`, `cells`; sorted by both.
pub(crate) fn overview(cells: LazyFrame) -> LazyFrame {
    cells
        .group_by([col("family"), col("status")])
        .agg([len().cast(DataType::Int64).alias("cells")])
        .sort(["family", "status"], SortMultipleOptions::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Typed;
    use crate::examples::{Cell, frame};

    #[test]
    fn counts_every_cell_once() {
        let cells = [Cell::default(), Cell { id: "b", ..Cell::default() }, Cell { id: "c", ..Cell::failed("oom", "no memory") }];
        let counts = overview(frame(&cells).lazy()).collect().unwrap();
        assert_eq!(counts.texts("status").unwrap().iter().flatten().collect::<Vec<_>>(), ["ok", "oom"]);
        assert_eq!(counts.ints("cells").unwrap().iter().flatten().collect::<Vec<_>>(), [2, 1]);
    }
}
