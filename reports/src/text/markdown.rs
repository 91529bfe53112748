//! Markdown out of text that anybody may have written: names and reasons come from definitions and from crashing programs.

use super::visible::{one_line, shortened};

/// What stands where a figure is absent.
pub(crate) const ABSENT: &str = "–";

/// Longest name shown; the whole one is in `cells.csv`.
const LONGEST_NAME: usize = 80;
/// Longest sentence shown.
const LONGEST_SENTENCE: usize = 200;

/// A name as plain text: no markup, one line, not too long.
pub(crate) fn name(text: &str) -> String {
    escaped(&shortened(&one_line(text), LONGEST_NAME))
}

/// A reason or note, likewise.
pub(crate) fn sentence(text: &str) -> String {
    escaped(&shortened(&one_line(text), LONGEST_SENTENCE))
}

/// Text of any length, likewise.
pub(crate) fn paragraph(text: &str) -> String {
    escaped(&one_line(text))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = None;
    while let Some(c) = chars.next() {
        let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Within a word it marks nothing up, and names are full of it.
            '_' if word(before) && word(chars.peek().copied()) => out.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '#' => out.extend(['\\', c]),
            _ => out.push(c),
        }
        before = Some(c);
    }
    out
}

/// Text word for word in a block of its own, fenced by more backticks than it has in a row.
pub(crate) fn code_block(text: &str) -> String {
    let text = one_line(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    format!("{fence}text\n{text}\n{fence}\n")
}

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table under construction. Cells are Markdown already.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    headings: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: Vec<(String, Align)>) -> Self {
        Self { headings, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The table, padded so that it can be read without being rendered.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([self.headings[column].0.chars().count(), 3]).max().unwrap_or(3)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |cell: &dyn Fn(usize) -> String| {
            let cells: Vec<String> = (0..widths.len()).map(cell).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let padded = |text: &str, column: usize| {
            let space = " ".repeat(widths[column].saturating_sub(text.chars().count()));
            if self.headings[column].1 == Align::Right { space + text } else { text.to_owned() + &space }
        };
        let mut out = line(&|column| padded(&self.headings[column].0, column));
        out += &line(&|column| match self.headings[column].1 {
            Align::Left => "-".repeat(widths[column]),
            Align::Right => "-".repeat(widths[column] - 1) + ":",
        });
        for row in &self.rows {
            out += &line(&|column| padded(row.get(column).map_or("", String::as_str), column));
        }
        out
    }
}

/// `1 cell`, `2 cells`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_come_out_harmless() {
        insta::assert_snapshot!(
            name("<script>alert(1)</script> | `x` *b* [l](javascript:x)\n# h \u{202e}evil"),
            @r"&lt;script&gt;alert(1)&lt;/script&gt; \| \`x\` \*b\* \[l\](javascript:x) \# h \\u{202e}evil"
        );
        assert_eq!(["head_dim", "_x_", "a__b"].map(name), ["head_dim", r"\_x\_", r"a\_\_b"]);
        assert_eq!(name(&"x".repeat(300)).chars().count(), LONGEST_NAME);
        insta::assert_snapshot!(code_block("run ```\n## x"), @r"
        ````text
        run ``` ## x
        ````
        ");
    }

    #[test]
    fn tables_line_up() {
        let mut table = Table::new(vec![("variant".into(), Align::Left), ("median".into(), Align::Right)]);
        table.push(vec!["attention/dense".into(), "1.23 µs".into()]);
        table.push(vec!["x".into()]);
        insta::assert_snapshot!(table.render(), @r"
        | variant         |  median |
        | --------------- | ------: |
        | attention/dense | 1.23 µs |
        | x               |         |
        ");
    }
}
