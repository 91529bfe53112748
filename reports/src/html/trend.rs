//! What the history of commits says, for the page: the blocks of the very document that is `trend.md`. Other documents come by the same way.
//!
//! A block is `{heading}`, `{text}`, `{item}`, or `{columns, figures, rows}` with the places of columns that are figures.

use serde_json::{Value, json};

use super::columns::shown;
use crate::text::document::{Block, Document, Grid};
use crate::text::markdown::Align;

pub(super) fn blocks(document: Option<&Document>) -> Value {
    document.map_or(Value::Null, |document| document.blocks.iter().map(block).collect())
}

fn block(block: &Block) -> Value {
    match block {
        Block::Heading(text) => json!({ "heading": shown(text) }),
        Block::Text(text) => json!({ "text": shown(text) }),
        Block::Item(text) => json!({ "item": shown(text) }),
        Block::Command(words) => json!({ "text": shown(&words.join(" ")) }),
        Block::Grid(grid) => table(grid),
    }
}

fn table(grid: &Grid) -> Value {
    let columns: Vec<String> = grid.columns.iter().map(|(heading, _)| shown(heading)).collect();
    let figures: Vec<usize> = (0..grid.columns.len()).filter(|column| grid.columns[*column].1 == Align::Right).collect();
    let rows: Vec<Vec<String>> = grid.rows.iter().map(|row| row.iter().map(|cell| shown(&cell.text)).collect()).collect();
    json!({ "columns": columns, "figures": figures, "rows": rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::document::Cell;

    #[test]
    fn a_document_becomes_blocks_in_which_nothing_acts() {
        let mut document = Document::default();
        document.heading("h\u{202e}");
        document.item("i");
        let mut grid = Grid::new([("ratio", Align::Right), ("what", Align::Left)]);
        grid.push([Cell::plain("1.20"), Cell::plain("<b>")]);
        document.grid(grid);
        let wanted =
            json!([{"heading": "h\\u{202e}"}, {"item": "i"}, {"columns": ["ratio", "what"], "figures": [0], "rows": [["1.20", "<b>"]]}]);
        assert_eq!(blocks(Some(&document)), wanted);
        assert_eq!(blocks(None), Value::Null);
    }
}
