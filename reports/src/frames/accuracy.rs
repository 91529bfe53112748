//! How right: the errors as they were measured, and what the share of the tolerance says about the tolerance.

use polars::prelude::*;

/// A tolerance that is used less than this is perhaps too loose to catch a fault.
const LOOSE: f64 = 0.001;

/// Adds `flag`: `wrong` where the error is beyond its tolerance, `loose` where a thousandth of the tolerance is not reached
/// by an error that is not zero, null else.
pub(crate) fn accuracy(cells: LazyFrame) -> LazyFrame {
    let used = || col("tolerance_used");
    let flag = when(used().gt(lit(1.0)))
        .then(lit("wrong"))
        .when(used().gt(lit(0.0)).and(used().lt(lit(LOOSE))))
        .then(lit("loose"))
        .otherwise(lit(NULL).cast(DataType::String));
    cells.with_column(flag.alias("flag"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Typed;

    #[test]
    fn flags_what_is_wrong_and_what_is_suspiciously_right() {
        let used = [Some(1.5), Some(1.0), Some(0.001), Some(0.000_9), Some(0.0), None];
        let rows = accuracy(df!("tolerance_used" => used).unwrap().lazy()).collect().unwrap();
        let flags: Vec<_> = rows.texts("flag").unwrap().iter().collect();
        assert_eq!(flags, [Some("wrong"), None, None, Some("loose"), None, None]);
    }
}
