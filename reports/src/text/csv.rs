//! Tables as CSV: RFC 4180 (CRLF, quotes doubled), safe to open in a spreadsheet.

use polars::prelude::*;

use super::visible::visible;
use crate::columns::{AXIS, CELL_COLUMNS, RUN, axis_columns, axis_name};

/// The first characters that make a spreadsheet take a text for a formula, full-width ones included.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// All cells with all columns that were recorded; `labels` are the names of the runs.
pub(crate) fn cells_csv(cells: &DataFrame, labels: &[&str]) -> PolarsResult<String> {
    let columns = [RUN].into_iter().chain(CELL_COLUMNS.iter().map(|(name, _)| *name)).map(str::to_owned);
    csv(cells, &columns.chain(axis_columns(cells.schema())).collect::<Vec<_>>(), labels)
}

/// A frame of answers with all its columns.
pub(crate) fn frame_csv(frame: &DataFrame, labels: &[&str]) -> PolarsResult<String> {
    csv(frame, &frame.get_column_names_owned().iter().map(|name| name.to_string()).collect::<Vec<_>>(), labels)
}

/// Axes go by the names that people know them by, and so do the runs.
fn csv(frame: &DataFrame, names: &[String], labels: &[&str]) -> PolarsResult<String> {
    let mut out = String::new();
    let mut headings: Vec<String> = names.iter().filter(|name| !name.starts_with(AXIS)).cloned().collect();
    for axis in names.iter().filter(|name| name.starts_with(AXIS)) {
        let mut heading = axis_name(axis).to_owned();
        while heading.is_empty() || headings.contains(&heading) {
            heading.insert_str(0, "axis_");
        }
        headings.push(heading);
    }
    record(&mut out, headings.iter().map(|heading| text(heading)));
    let (fixed, axes): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| !name.starts_with(AXIS));
    let columns = fixed.iter().chain(&axes).map(|name| frame.column(name)).collect::<PolarsResult<Vec<_>>>()?;
    for row in 0..frame.height() {
        let field = |column: &&Column| match column.name().as_str() {
            RUN => column
                .i64()
                .map(|runs| text(runs.get(row).and_then(|run| labels.get(usize::try_from(run).ok()?)).copied().unwrap_or_default())),
            "axis" => column.str().map(|axes| axes.get(row).map(|axis| text(axis_name(axis))).unwrap_or_default()),
            _ => field(column, row),
        };
        record(&mut out, columns.iter().map(field).collect::<PolarsResult<Vec<_>>>()?.into_iter());
    }
    Ok(out)
}

fn field(column: &Column, row: usize) -> PolarsResult<String> {
    Ok(match column.dtype() {
        DataType::Int64 => column.i64()?.get(row).map(|value| value.to_string()),
        DataType::Float64 => column.f64()?.get(row).map(|value| format!("{value:?}")),
        DataType::Boolean => column.bool()?.get(row).map(|value| value.to_string()),
        _ => column.str()?.get(row).map(text),
    }
    .unwrap_or_default())
}

/// A text as a field: made visible, disarmed, quoted where it must be.
fn text(text: &str) -> String {
    let mut field = visible(text, |c| matches!(c, '\n' | '\r' | '\t'));
    if field.starts_with(FORMULA) && !is_number(&field) {
        field.insert(0, '\'');
    }
    if field.contains(['"', ',', '\n', '\r']) || field.starts_with(' ') || field.ends_with(' ') {
        field = format!("\"{}\"", field.replace('"', "\"\""));
    }
    field
}

/// A number written as text, as in a column that has both.
fn is_number(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E')) && text.parse::<f64>().is_ok()
}

fn record(out: &mut String, fields: impl Iterator<Item = String>) {
    let fields: Vec<String> = fields.collect();
    out.push_str(&fields.join(","));
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_disarmed_and_numbers_are_not() {
        let fields = ["=1+1", "+x", "-2", "-2.5e-3", "-x", "@SUM(A1)", "\t=1", "\r=1", "＝1", "a=b", "1e5", "-"].map(text);
        let expected = ["'=1+1", "'+x", "-2", "-2.5e-3", "'-x", "'@SUM(A1)", "'\t=1", "\"'\r=1\"", "'＝1", "a=b", "1e5", "'-"];
        assert_eq!(fields, expected);
    }

    #[test]
    fn quoting_follows_the_rfc() {
        let fields = ["plain", "a,b", "say \"no\"", "two\nlines", " space", "", "rtl\u{202e}"].map(text);
        assert_eq!(fields, ["plain", "\"a,b\"", "\"say \"\"no\"\"\"", "\"two\nlines\"", "\" space\"", "", "rtl\\u{202e}"]);
    }
}
