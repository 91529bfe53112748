//! Everything that did not end well, by what happened and why.

use polars::prelude::*;

use crossover_results::schema::Status;

/// Cells that are not `ok`, grouped by status and reason: `status`, `reason`, `cells`, and an example (`id`, `variant`, `engine`).
/// Sorted as [`Status::ALL`], then the most frequent first, then by reason.
pub(crate) fn failures(cells: LazyFrame) -> LazyFrame {
    let rank = Status::ALL.iter().zip(0i64..).fold(lit(Status::ALL.len() as i64), |otherwise, (status, rank)| {
        when(col("status").eq(lit(status.name()))).then(lit(rank)).otherwise(otherwise)
    });
    cells
        .filter(col("status").neq(lit(Status::Ok.name())))
        .sort(["id"], SortMultipleOptions::default())
        .group_by([col("status"), col("reason")])
        .agg([len().cast(DataType::Int64).alias("cells"), col("id").first(), col("variant").first(), col("engine").first()])
        .sort_by_exprs(
            [rank, col("cells"), col("reason"), col("id"), col("status")],
            SortMultipleOptions::default().with_order_descending_multi([false, true, false, false, false]),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Typed;
    use crate::examples::{Cell, frame};

    #[test]
    fn grouped_by_reason_with_the_first_id_as_the_example() {
        let cells = [
            Cell { id: "d", ..Cell::failed("crashed", "signal 9") },
            Cell { id: "c", ..Cell::failed("oom", "too large") },
            Cell { id: "b", ..Cell::failed("oom", "too large") },
            Cell { id: "a", ..Cell::failed("oom", "killed") },
            Cell { id: "e", ..Cell::default() },
        ];
        let expected = "oom/too large/2/b oom/killed/1/a crashed/signal 9/1/d";
        for frame in [frame(&cells), frame(&cells).reverse()] {
            let rows = failures(frame.lazy()).collect().unwrap();
            let rows: Vec<String> = (0..rows.height())
                .map(|row| ["status", "reason", "cells", "id"].map(|name| rows.shown(name, row).unwrap().unwrap()).join("/"))
                .collect();
            assert_eq!(rows.join(" "), expected);
        }
    }

    #[test]
    fn a_missing_reason_is_a_group_too() {
        let cell = Cell { status: "crashed", reason: None, ..Cell::default() };
        assert_eq!(failures(frame(&[cell]).lazy()).collect().unwrap().height(), 1);
    }
}
