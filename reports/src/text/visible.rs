//! Characters that act instead of being seen, spelt out: control characters, and those that turn the direction of text or hide
//! between letters. Without them a name can neither reorder the line that it stands in nor look like another.

/// True for a character that is not seen as itself.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with all such characters as `\u{..}`, but for those that `keep` allows.
pub(crate) fn visible(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) && !keep(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same on one line: line ends and tabs become spaces.
pub(crate) fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect();
    visible(text.trim(), |_| false)
}

/// At most `longest` characters; what was cut off is marked.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_spelt_out() {
        assert_eq!(one_line("a\u{202e}b\u{200b}\0\n\tc é 漢 עברית"), "a\\u{202e}b\\u{200b}\\u{0}  c é 漢 עברית");
        assert_eq!(visible("a\nb\x1b[31m", |c| c == '\n'), "a\nb\\u{1b}[31m");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äö…");
    }
}
