//! A short document for two kinds of readers: people at a terminal ([`super::screen`]) and renderers of Markdown.
//!
//! Its texts are plain. What acts in them is disarmed where they are written, so nobody who makes one has to think of it.

use super::markdown::{self, Align, Table};

/// Blocks in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    pub(crate) blocks: Vec<Block>,
}

/// A part of it.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    Heading(String),
    Text(String),
    /// Of a list.
    Item(String),
    Grid(Grid),
    /// To be typed: words that are quoted for the shell already.
    Command(Vec<String>),
}

/// A table; the last column is for names.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) columns: Vec<(String, Align)>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A text in a table.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

/// What a text is told to be by its colour, where there are colours; the words say it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
}

impl Document {
    pub(crate) fn heading(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Heading(text.into()));
    }

    pub(crate) fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Text(text.into()));
    }

    pub(crate) fn item(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Item(text.into()));
    }

    /// Nothing where it has no rows.
    pub(crate) fn grid(&mut self, grid: Grid) {
        if !grid.rows.is_empty() {
            self.blocks.push(Block::Grid(grid));
        }
    }

    /// As Markdown, under a title.
    pub(crate) fn markdown(&self, title: &str) -> String {
        format!("# {}\n{}", markdown::name(title), self.body(2))
    }

    /// The same without a title; its headings are of that level.
    pub(crate) fn body(&self, level: usize) -> String {
        let (mut out, marks) = (String::new(), "#".repeat(level));
        let mut is_list = false;
        for block in &self.blocks {
            let goes_on = is_list && matches!(block, Block::Item(_));
            out += if goes_on { "" } else { "\n" };
            is_list = matches!(block, Block::Item(_));
            match block {
                Block::Heading(text) => out += &format!("{marks} {}\n", markdown::name(text)),
                Block::Text(text) => out += &format!("{}\n", markdown::paragraph(text)),
                Block::Item(text) => out += &format!("* {}\n", markdown::paragraph(text)),
                Block::Grid(grid) => out += &grid.markdown(),
                Block::Command(words) => out += &markdown::code_block(&words.join(" ")),
            }
        }
        out
    }
}

impl Grid {
    pub(crate) fn new<const N: usize>(columns: [(&str, Align); N]) -> Self {
        Self { columns: columns.map(|(heading, align)| (heading.to_owned(), align)).to_vec(), rows: Vec::new() }
    }

    pub(crate) fn push<const N: usize>(&mut self, row: [Cell; N]) {
        self.rows.push(row.to_vec());
    }

    fn markdown(&self) -> String {
        let mut table = Table::new(self.columns.iter().map(|(heading, align)| (disarmed(heading), *align)).collect());
        self.rows.iter().for_each(|row| table.push(row.iter().map(|cell| markdown::sentence(&cell.text)).collect()));
        table.render()
    }
}

/// A heading is ours, and may hold a name that is not. Brackets around an interval stay as they are; before a parenthesis they would be a link.
fn disarmed(heading: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " %.,:()[]/+-".contains(c);
    if heading.chars().all(is_plain) && !heading.contains("](") { heading.to_owned() } else { markdown::sentence(heading) }
}

impl Cell {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_disarms_what_it_is_given() {
        let mut document = Document::default();
        document.text("runs <script> and [x](y)");
        document.item("one");
        document.item("two");
        let mut grid = Grid::new([("cell", Align::Left), ("ratio [95 % CI]", Align::Left), ("<b>|[l](x)", Align::Left)]);
        grid.push([Cell::plain("a|b\n# c"), Cell::plain("1"), Cell::plain("2")]);
        document.grid(grid);
        document.grid(Grid::new([("none", Align::Left)]));
        insta::assert_snapshot!(document.markdown("A against *B*"), @r"
        # A against \*B\*

        runs &lt;script&gt; and \[x\](y)

        * one
        * two

        | cell      | ratio [95 % CI] | &lt;b&gt;\|\[l\](x) |
        | --------- | --------------- | ------------------- |
        | a\|b \# c | 1               | 2                   |
        ");
    }
}
