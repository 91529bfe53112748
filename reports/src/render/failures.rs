//! Every cell that is not `ok`, by reason: part of the summary.

use polars::prelude::*;

use crate::columns::Typed;
use crate::text::markdown::{ABSENT, Align, Table, counted, name, sentence};

/// Reasons that are spelt out.
const LISTED: usize = 50;

/// The section. `frame` is that of `frames::failures`.
pub(crate) fn section(frame: &DataFrame) -> PolarsResult<String> {
    let mut out = "\n## Failures, skips and emulations\n\n".to_owned();
    if frame.height() == 0 {
        return Ok(out + "None.\n");
    }
    let (statuses, reasons, counts) = (frame.texts("status")?, frame.texts("reason")?, frame.ints("cells")?);
    let (ids, variants, engines) = (frame.texts("id")?, frame.texts("variant")?, frame.texts("engine")?);
    let headings = [("status", Align::Left), ("cells", Align::Right), ("reason", Align::Left), ("example", Align::Left)];
    let mut table = Table::new(headings.map(|(heading, align)| (heading.to_owned(), align)).into());
    for row in 0..frame.height().min(LISTED) {
        let text = |column: &StringChunked| name(column.get(row).unwrap_or_default());
        table.push(vec![
            text(statuses),
            counts.get(row).unwrap_or(0).to_string(),
            reasons.get(row).map_or_else(|| ABSENT.to_owned(), sentence),
            format!("{} on {}, id {}", text(variants), text(engines), text(ids)),
        ]);
    }
    out += &table.render();
    if frame.height() > LISTED {
        let rest: i64 = (LISTED..frame.height()).filter_map(|row| counts.get(row)).sum();
        let more = counted((frame.height() - LISTED) as u64, "more reason");
        out += &format!("\nAnd {more} ({}): see the column *reason* of cells.csv.\n", counted(rest.unsigned_abs(), "cell"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame};
    use crate::frames::failures::failures;

    fn rendered(cells: &[Cell]) -> String {
        section(&failures(frame(cells).lazy()).collect().unwrap()).unwrap()
    }

    #[test]
    fn reasons_with_counts_and_an_example() {
        let cells = [
            Cell { id: "c1", ..Cell::failed("oom", "needs 3 GiB | has <2>") },
            Cell { id: "c2", ..Cell::failed("oom", "needs 3 GiB | has <2>") },
            Cell { id: "c3", ..Cell::failed("crashed", "signal 9\n`rm -rf`") },
        ];
        insta::assert_snapshot!(rendered(&cells).trim(), @r"
        ## Failures, skips and emulations

        | status  | cells | reason                       | example                         |
        | ------- | ----: | ---------------------------- | ------------------------------- |
        | oom     |     2 | needs 3 GiB \| has &lt;2&gt; | attention/flash on naive, id c1 |
        | crashed |     1 | signal 9 \`rm -rf\`          | attention/flash on naive, id c3 |
        ");
        assert!(rendered(&[]).ends_with("None.\n"));
    }

    #[test]
    fn a_long_list_ends_with_how_many_more() {
        let names: Vec<&'static str> = (0..53).map(|index| &*format!("reason {index}").leak()).collect();
        let cells: Vec<Cell> = names.iter().map(|name| Cell { id: name, ..Cell::failed("oom", name) }).collect();
        assert!(rendered(&cells).ends_with("\nAnd 3 more reasons (3 cells): see the column *reason* of cells.csv.\n"));
    }
}
