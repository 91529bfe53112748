//! One line of a text with a row of carets under the part that is meant.

/// What is shown of a line at most; a definition may be one line of four megabytes.
const WINDOW: usize = 100;

/// A line, cut to a window around the marked characters, and the carets for the line below it.
pub(crate) struct Excerpt {
    pub(crate) line: String,
    pub(crate) carets: String,
}

/// Marks `length` characters of `line` from character `start` (counted from 0).
pub(crate) fn excerpt(line: &str, start: usize, length: usize) -> Excerpt {
    let from = if start + length.min(WINDOW / 2) < WINDOW { 0 } else { start - WINDOW / 4 };
    let shown: String = line.chars().skip(from).take(WINDOW).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let width = shown.chars().count();
    let cut_before = if from > 0 { ".." } else { "" };
    let cut_after = if line.chars().nth(from + width).is_some() { ".." } else { "" };
    let at = start - from;
    let carets = length.clamp(1, (width.saturating_sub(at)).max(1));
    Excerpt {
        line: format!("{cut_before}{shown}{cut_after}").trim_end().to_owned(),
        carets: " ".repeat(cut_before.len() + at) + &"^".repeat(carets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_the_characters_and_not_the_bytes() {
        let shown = excerpt("é = wrong", 4, 5);
        assert_eq!((shown.line.as_str(), shown.carets.as_str()), ("é = wrong", "    ^^^^^"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}HERE{}", "a".repeat(5_000), "b".repeat(5_000));
        let shown = excerpt(&line, 5_000, 4);
        assert!(shown.line.len() < 110, "{}", shown.line.len());
        let at = shown.carets.find('^').unwrap();
        assert_eq!(&shown.line[at..at + 4], "HERE");
        assert!(shown.line.starts_with("..") && shown.line.ends_with(".."));
    }

    #[test]
    fn a_place_behind_the_end_still_gets_a_caret() {
        assert_eq!(excerpt("ab", 2, 0).carets, "  ^");
        assert_eq!(excerpt("", 0, 0).carets, "^");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(excerpt("a\u{1b}[31mb", 0, 1).line, "a [31mb");
    }
}
