//! Accuracy: what an optimisation costs in correctness, one row a cell.

use polars::prelude::*;

use super::Context;
use super::family_tables::{Measures, sections};
use crate::columns::Typed;
use crate::text::markdown::{ABSENT, Align, name};
use crate::text::units::{figure, percent, scientific};

const ABOUT: &str = "\n## Accuracy\n\n\
    *err_impl*: largest absolute error against the same variant in f64 on the same rounded inputs (what the implementation loses), \
    and relative to the whole in the Frobenius norm. *tolerance used*: the largest error as a share of its bound; above 100 % the cell \
    is wrong, and where less than 0.1 % is used the bound may be too loose to catch a fault. *err_method*: against the exact dense \
    operation in f64 on the inputs as drawn (what the method loses), likewise. *cosine*: mean over the rows, between output and exact \
    rows. *error ratio*: relative err_method over that of the plain dense operation at the same precision. *rows*: compared of all. \
    *nonfinite*: output values that are NaN or infinite where the exact ones are not.\n";

/// Said where the rows of some output tell of classes.
const CLASSES: &str = "\n*divergence*: mean Kullback-Leibler divergence, in nats, of the output rows that tell of classes from the exact ones. \
    *first class*: share of those rows in which the same class comes first.\n";

struct Accuracy<'a> {
    frame: &'a DataFrame,
    /// Show how far apart rows over classes are?
    classes: bool,
}

/// The section of a family. `frame` has the columns of `frames::accuracy` and those of the baseline.
pub(crate) fn section(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    let classes = frame.doubles("top_1_agreement")?.iter().any(|share| share.is_some());
    let more = if classes { CLASSES } else { "" };
    Ok(format!("{ABOUT}{more}{}", sections(frame, context, &Accuracy { frame, classes })?))
}

impl Measures for Accuracy<'_> {
    fn headings(&self) -> Vec<(&'static str, Align)> {
        let figures = ["err_impl", "relative", "tolerance used", "err_method", "relative", "cosine", "error ratio"];
        let classes = ["divergence", "first class"].into_iter().filter(|_| self.classes);
        std::iter::once(("status", Align::Left))
            .chain(figures.into_iter().chain(classes).chain(["rows", "nonfinite"]).map(|heading| (heading, Align::Right)))
            .chain([("remark", Align::Left)])
            .collect()
    }

    fn cells(&self, row: usize) -> PolarsResult<Vec<String>> {
        let shown = |column: &str, unit: fn(f64) -> String| -> PolarsResult<String> {
            Ok(self.frame.doubles(column)?.get(row).map_or_else(|| ABSENT.to_owned(), unit))
        };
        let int = |column: &str| -> PolarsResult<Option<i64>> { Ok(self.frame.ints(column)?.get(row)) };
        let status = self.frame.texts("status")?.get(row).unwrap_or_default();
        let rows = match (int("rows_checked")?, int("rows_total")?) {
            (Some(checked), Some(total)) => format!("{checked} of {total}"),
            _ => ABSENT.to_owned(),
        };
        let remark = match self.frame.texts("flag")?.get(row) {
            Some("wrong") => "**wrong**",
            Some("loose") => "bound may be too loose",
            _ => "",
        };
        let mut cells = vec![
            if status == "ok" { name(status) } else { format!("**{}**", name(status)) },
            shown("err_impl", scientific)?,
            shown("err_impl_rel", scientific)?,
            shown("tolerance_used", percent)?,
            shown("err_method", scientific)?,
            shown("err_method_rel", scientific)?,
            shown("cosine", |cosine| format!("{cosine:.9}"))?,
            shown("error_ratio", figure)?,
        ];
        if self.classes {
            cells.extend([shown("divergence", scientific)?, shown("top_1_agreement", percent)?]);
        }
        cells.extend([
            rows,
            match int("nonfinite")? {
                Some(0) => "0".to_owned(),
                Some(count) => format!("**{count}**"),
                None => ABSENT.to_owned(),
            },
            remark.to_owned(),
        ]);
        Ok(cells)
    }

    fn compares(&self) -> bool {
        false
    }
}
