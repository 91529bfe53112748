//! Frames as JSON columns.

use std::collections::HashMap;

use polars::prelude::*;
use serde_json::Value;

use crate::text::visible::{shortened, visible};

/// Longest text that goes into the page; the whole one is in `cells.csv`.
const LONGEST: usize = 600;

/// A text of a run as the page has it: nothing in it acts, and it ends somewhere.
pub(super) fn shown(text: &str) -> String {
    shortened(&visible(text, |c| matches!(c, '\n' | '\t')), LONGEST)
}

/// `{"rows":N,"columns":[..]}` of the columns that are wanted.
pub(super) fn columns(frame: &DataFrame, wanted: impl Fn(&str) -> bool) -> PolarsResult<String> {
    let columns = frame.columns().iter().filter(|column| wanted(column.name()));
    let columns: Vec<String> = columns.map(one).collect::<PolarsResult<_>>()?;
    Ok(format!("{{\"rows\":{},\"columns\":[{}]}}", frame.height(), columns.join(",")))
}

/// `{"name":..,"kind":"int"|"double"|"flag","values":[..]}`, or `{"name":..,"kind":"text","words":[..],"codes":[..],"changed":[..]}`: `changed` are
/// the codes of words that are not what was recorded, because something in them acts or they are too long.
fn one(column: &Column) -> PolarsResult<String> {
    let (kind, values) = match column.dtype() {
        DataType::Int64 => ("int", list(column.i64()?.iter().map(|value| value.map(|value| value.to_string())))),
        DataType::Float64 => ("double", list(column.f64()?.iter().map(|value| value.and_then(fraction)))),
        DataType::Boolean => ("flag", list(column.bool()?.iter().map(|value| value.map(|value| u8::from(value).to_string())))),
        _ => return Ok(texts(column.name(), column.str()?)),
    };
    Ok(format!("{{\"name\":{},\"kind\":\"{kind}\",\"values\":{values}}}", quoted(column.name())))
}

fn texts(name: &str, column: &StringChunked) -> String {
    let (mut places, mut words, mut changed) = (HashMap::new(), Vec::new(), Vec::new());
    let mut codes = Vec::with_capacity(column.len());
    for text in column.iter() {
        codes.push(text.map(|text| {
            let next = places.len();
            let code = *places.entry(text).or_insert(next);
            if code == next {
                let word = shown(text);
                if word != text {
                    changed.push(code.to_string());
                }
                words.push(quoted(&word));
            }
            code.to_string()
        }));
    }
    let (words, changed) = (words.join(","), changed.join(","));
    let codes = list(codes.into_iter());
    format!("{{\"name\":{},\"kind\":\"text\",\"words\":[{words}],\"changed\":[{changed}],\"codes\":{codes}}}", quoted(name))
}

/// A list, or the one value of all rows.
fn list(values: impl Iterator<Item = Option<String>>) -> String {
    let values: Vec<String> = values.map(|value| value.unwrap_or_else(|| "null".to_owned())).collect();
    match values.first() {
        None => "null".to_owned(),
        Some(first) if values.iter().all(|value| value == first) => first.clone(),
        _ => format!("[{}]", values.join(",")),
    }
}

/// Six digits; absent where JSON has no such number.
fn fraction(value: f64) -> Option<String> {
    let rounded: f64 = format!("{value:.5e}").parse().ok()?;
    rounded.is_finite().then(|| format!("{rounded:?}").trim_end_matches(".0").to_owned())
}

fn quoted(text: &str) -> String {
    Value::from(shown(text)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(frame: &DataFrame) -> Value {
        serde_json::from_str(&columns(frame, |name| name != "unwanted").unwrap()).unwrap()
    }

    #[test]
    fn words_once_one_value_once_and_nothing_as_null() {
        let frame = df!(
            "text" => [Some("a"), None, Some("a"), Some("b\u{202e}")], "int" => [7i64; 4], "double" => [Some(0.1), Some(f64::NAN), None, Some(1.0 / 3.0)],
            "flag" => [true, false, true, true], "empty" => [None::<i64>; 4], "unwanted" => [1i64; 4],
        );
        let expected = json!({"rows": 4, "columns": [
            {"name": "text", "kind": "text", "words": ["a", "b\\u{202e}"], "changed": [1], "codes": [0, null, 0, 1]},
            {"name": "int", "kind": "int", "values": 7},
            {"name": "double", "kind": "double", "values": [0.1, null, null, 0.333_333]},
            {"name": "flag", "kind": "flag", "values": [1, 0, 1, 1]},
            {"name": "empty", "kind": "int", "values": null},
        ]});
        assert_eq!(read(&frame.unwrap()), expected);
    }

    #[test]
    fn a_frame_without_rows_has_its_columns() {
        let frame = df!("text" => Vec::<&str>::new(), "int" => Vec::<i64>::new()).unwrap();
        let columns = read(&frame)["columns"].clone();
        assert_eq!((&columns[0]["codes"], &columns[1]["values"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn fractions_read_back_to_six_digits() {
        let all = [1.0, 123_456_789.0, 1.5e-12, -0.25, f64::INFINITY].map(fraction);
        assert_eq!(all.map(|text| text.unwrap_or_default()), ["1", "123457000", "1.5e-12", "-0.25", ""]);
    }
}
