//! Documents on a terminal: as wide as that is, 80 columns where there is none, coloured only where somebody looks.
//!
//! The last column of a table takes what the others leave and is broken between words; so the figures stand under each other, and a name of
//! any length finds its place. Characters are counted, not measured: wide ones (CJK) may reach beyond the edge.

use std::env;
use std::io::{self, IsTerminal};

use terminal_size::{Width, terminal_size_of};

use super::document::{Block, Cell, Document, Grid, Tone};
use super::markdown::Align;
use super::visible::{one_line, shortened};

/// Columns where nobody says how many there are.
const USUAL: usize = 80;
/// Below this nothing can be read, so lines are left to be broken by the terminal.
const NARROWEST: usize = 40;
/// Characters of a column that is not the last.
const LONGEST_FIGURE: usize = 32;
/// Characters of a name or sentence: all of it is in the record.
const LONGEST: usize = 240;
const GAP: &str = "  ";

/// Where a document is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    width: usize,
    is_coloured: bool,
}

impl Screen {
    /// Standard output. `NO_COLOR` (not empty, see no-color.org) and a terminal without colours are honoured.
    pub(crate) fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::file();
        }
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        let width = terminal_size_of(&stdout).map_or(USUAL, |(Width(width), _)| usize::from(width));
        Self::new(width, !is_set("NO_COLOR") && !is_dumb)
    }

    /// A file, or a program that reads.
    pub(crate) fn file() -> Self {
        Self::new(USUAL, false)
    }

    fn new(width: usize, is_coloured: bool) -> Self {
        Self { width: width.max(NARROWEST), is_coloured }
    }

    /// Of that width.
    pub(crate) fn wide(self, width: usize) -> Self {
        Self::new(width, self.is_coloured)
    }

    /// The document as text.
    pub(crate) fn show(&self, document: &Document) -> String {
        let mut out = String::new();
        for block in &document.blocks {
            match block {
                Block::Heading(text) => out += &format!("\n{}", self.wrapped("", "", text)),
                Block::Text(text) => out += &self.wrapped("", "", text),
                Block::Item(text) => out += &self.wrapped("  ", "    ", text),
                Block::Grid(grid) => out += &self.grid(grid),
                Block::Command(words) => out += &self.command(words),
            }
        }
        out.trim_start_matches('\n').to_owned()
    }

    fn wrapped(&self, first: &str, others: &str, text: &str) -> String {
        let lines = broken(&one_line(text), self.width - first.len(), self.width - others.len());
        lines.iter().enumerate().map(|(line, text)| format!("{}{text}\n", if line == 0 { first } else { others })).collect()
    }

    /// On several lines where it must be, in a way that a shell puts together again.
    fn command(&self, words: &[String]) -> String {
        let (mut out, mut line) = (String::new(), " ".to_owned());
        for word in words {
            if line.trim() != "" && line.chars().count() + 1 + word.chars().count() > self.width - 2 {
                out += &format!("{line} \\\n");
                line = "     ".to_owned();
            }
            line += &format!(" {}", one_line(word));
        }
        out + &line + "\n"
    }

    fn grid(&self, grid: &Grid) -> String {
        let Some(last) = grid.columns.len().checked_sub(1) else { return String::new() };
        let texts: Vec<Vec<String>> = grid.rows.iter().map(|row| row.iter().map(|cell| one_line(&cell.text)).collect()).collect();
        let shown = |row: usize, column: usize| shortened(&texts[row][column], LONGEST_FIGURE);
        let width = |column: usize| {
            let cells = (0..texts.len()).map(|row| shown(row, column).chars().count());
            cells.chain([grid.columns[column].0.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..last).map(width).collect();
        let taken: usize = widths.iter().map(|width| width + GAP.len()).sum();
        let room = self.width.saturating_sub(taken).max(16);
        let mut out = String::new();
        let mut line = |cells: &[String], row: Option<&Vec<Cell>>| {
            let set = |column: usize| {
                let space = " ".repeat(widths[column].saturating_sub(cells[column].chars().count()));
                let text = self.toned(&cells[column], row.map_or(Tone::Plain, |row| row[column].tone));
                if grid.columns[column].1 == Align::Right { space + &text + GAP } else { text + &space + GAP }
            };
            let figures: String = (0..last).map(set).collect();
            let mut pieces = broken(&cells[last], room, room - 2).into_iter();
            out += (figures + &pieces.next().unwrap_or_default()).trim_end();
            out.push('\n');
            pieces.for_each(|piece| out += &format!("{}{piece}\n", " ".repeat(taken + 2)));
        };
        line(&grid.columns.iter().map(|(heading, _)| heading.clone()).collect::<Vec<_>>(), None);
        for (row, cells) in grid.rows.iter().enumerate() {
            let mut shown: Vec<String> = (0..last).map(|column| shown(row, column)).collect();
            shown.push(shortened(&texts[row][last], LONGEST));
            line(&shown, Some(cells));
        }
        out
    }

    fn toned(&self, text: &str, tone: Tone) -> String {
        let code = match tone {
            _ if !self.is_coloured => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => 32,
            Tone::Bad => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// In lines of at most as many characters as the first and the others have room for, between words where there are any.
fn broken(text: &str, first: usize, others: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        let mut rest = word;
        loop {
            let room = if lines.is_empty() { first } else { others }.max(1);
            let space = usize::from(!line.is_empty());
            if line.chars().count() + space + rest.chars().count() <= room {
                line += &format!("{}{rest}", if space == 1 { " " } else { "" });
                break;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                continue;
            }
            let cut = rest.char_indices().nth(room).map_or(rest.len(), |(at, _)| at);
            lines.push(rest[..cut].to_owned());
            rest = &rest[cut..];
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let mut grid = Grid::new([("ratio", Align::Right), ("verdict", Align::Left), ("cell", Align::Left)]);
        grid.push([
            Cell::plain("0.512"),
            Cell::toned("faster", Tone::Good),
            Cell::plain("attention/flash on simd: n = 256, precision = bf16, threads = 1"),
        ]);
        grid.push([
            Cell::plain("1.50"),
            Cell::toned("slower", Tone::Bad),
            Cell::plain("\u{202e}evil\x1b[31m\nname ".to_owned() + &"x".repeat(300)),
        ]);
        let mut document = Document::default();
        document.heading("Cells");
        document.text("A sentence that is longer than forty characters and so needs a second line.");
        document.grid(grid);
        document.blocks.push(Block::Command(["crossover", "cell", "variant=attention/flash", "engine=simd"].map(str::to_owned).to_vec()));
        document
    }

    #[test]
    fn the_last_column_is_broken_and_nothing_acts() {
        let text = Screen::new(40, false).show(&document());
        assert!(text.lines().all(|line| line.chars().count() <= 42), "{text}");
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text}");
        insta::assert_snapshot!(text.lines().take(10).collect::<Vec<_>>().join("\n"), @r"
        Cells
        A sentence that is longer than forty
        characters and so needs a second line.
        ratio  verdict  cell
        0.512  faster   attention/flash on simd:
                          n = 256, precision =
                          bf16, threads = 1
         1.50  slower   \u{202e}evil\u{1b}[31m
                          name
                          xxxxxxxxxxxxxxxxxxxxxx
        ");
        assert!(text.ends_with("  crossover cell \\\n      variant=attention/flash \\\n      engine=simd\n"), "{text}");
    }

    #[test]
    fn colours_only_where_they_are_asked_for() {
        assert!(Screen::new(80, true).show(&document()).contains("\x1b[32mfaster\x1b[0m   attention"));
        assert!(!Screen::file().show(&document()).contains('\x1b'));
    }

    #[test]
    fn columns_stay_under_each_other_with_colours() {
        let plain = Screen::new(80, false).show(&document());
        let coloured = Screen::new(80, true).show(&document());
        assert_eq!(coloured.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", ""), plain);
    }
}
