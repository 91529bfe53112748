//! Text that fits a terminal: the programs at both ends of the protocol speak to people too, and do it in one way.

use std::io::{IsTerminal, Write};

/// Columns of plain output.
const WIDTH: usize = 80;

/// Words, broken into lines that begin with `first` or with as many spaces. A word that is too long for a line, as a formula can be, is
/// broken after a `*` or a comma, or else gets a line of its own.
pub fn wrap<'a>(first: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    let indent = " ".repeat(first.chars().count());
    let mut text = String::new();
    let mut line = first.to_owned();
    let mut is_bare = true;
    let room = WIDTH.saturating_sub(indent.len());
    for word in words.into_iter().flat_map(|word| pieces(word, room)) {
        let needed = line.chars().count() + word.chars().count() + usize::from(!is_bare);
        if !is_bare && needed > WIDTH {
            text += line.trim_end();
            text.push('\n');
            line.clone_from(&indent);
            is_bare = true;
        }
        if !is_bare {
            line.push(' ');
        }
        line += word;
        is_bare = false;
    }
    text += line.trim_end();
    text.push('\n');
    text
}

/// The word in pieces that fit, as far as it has places to break it.
fn pieces(word: &str, room: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), word);
    while rest.chars().count() > room {
        let end = rest.char_indices().nth(room).map_or(rest.len(), |(at, _)| at);
        let Some(at) = rest[..end].rfind(['*', ',']) else { break };
        let (piece, others) = rest.split_at(at + 1);
        pieces.push(piece);
        rest = others;
    }
    pieces.push(rest);
    pieces
}

/// A message whose lines are broken between words where they are too long. Lines of an excerpt (`12 | n = `) keep their columns, which the
/// caret below them means.
pub fn fitted(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match line.contains(" | ") || line.trim_end().ends_with(" |") {
            true => out.extend([line, "\n"]),
            false => out += &wrap(&line[..indent], line.split_whitespace()),
        }
    }
    out
}

/// A message to standard error, fitted where that is a terminal and as it stands for programs.
pub fn tell(text: &str) {
    let text = text.trim_end();
    let mut stderr = std::io::stderr().lock();
    // Whoever has closed it does not want to know; the work goes on.
    let _ = if stderr.is_terminal() { write!(stderr, "{}", fitted(text)) } else { writeln!(stderr, "{text}") };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_hang() {
        let text = wrap("  sizes: ", std::iter::repeat_n("eight888", 12));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().nth(1).unwrap().starts_with("         eight888"));
        assert_eq!(text.split_whitespace().count(), 13);
    }

    #[test]
    fn a_word_too_long_for_a_line_is_kept_whole() {
        assert_eq!(wrap("a ", ["b", &"x".repeat(100)]), format!("a b\n  {}\n", "x".repeat(100)));
        assert_eq!(wrap("none", []), "none\n");
    }

    #[test]
    fn a_long_formula_is_broken_where_it_may_be() {
        let text = wrap("  operations: ", [format!("batch*({})", "ceil(n/block)*".repeat(9)).as_str()]);
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().next().unwrap().ends_with("ceil(n/block)*"), "{text}");
    }

    #[test]
    fn a_message_is_fitted_and_an_excerpt_keeps_its_columns() {
        let excerpt = format!("  6 | {}", "x ".repeat(60).trim_end());
        let text = fitted(&format!("error: {}\n{excerpt}\n  short", "word ".repeat(30)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].len() <= WIDTH && lines[2..] == [excerpt.as_str(), "  short"], "{text}");
    }
}
