//! Puts the answer of a report into another document, such as a README, between two marks, so that what it says is what was measured.

use std::path::{Component, Path, PathBuf};

/// Before the spliced text.
const BEGIN: &str = "<!-- crossover: answer -->";
/// Behind it.
const END: &str = "<!-- /crossover -->";

/// The document with `answer` between its marks, everything else untouched; an error says what is wrong with the marks.
pub(crate) fn spliced(document: &str, answer: &str) -> Result<String, String> {
    let one = |mark: &str| {
        let mut places = document.match_indices(mark).map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (None, _) => Err(format!("it has no line `{mark}`; the answer goes between `{BEGIN}` and `{END}`")),
            (Some(_), Some(_)) => Err(format!("it has `{mark}` more than once")),
        }
    };
    let (begin, end) = (one(BEGIN)? + BEGIN.len(), one(END)?);
    if end < begin {
        return Err(format!("`{END}` stands before `{BEGIN}`"));
    }
    Ok(format!("{}\n{}\n\n{}", &document[..begin], answer.trim_end(), &document[end..]))
}

/// How the folder `to` is reached from the folder `from`, both absolute; with a slash at its end where it is not empty.
pub(crate) fn link(from: &Path, to: &Path) -> String {
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[common..].iter().map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(to[common..].iter().copied()).collect();
    let text = path.to_string_lossy().replace(' ', "%20");
    if text.is_empty() { text } else { text + "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes_and_twice_is_once() {
        let document = format!("# A\n\n{BEGIN}\nold\n{END}\nrest\n");
        let once = spliced(&document, "\nnew\n").unwrap();
        assert_eq!(once, format!("# A\n\n{BEGIN}\n\nnew\n\n{END}\nrest\n"));
        assert_eq!(spliced(&once, "\nnew\n").unwrap(), once);
    }

    #[test]
    fn marks_that_do_not_fit_are_told() {
        for (document, told) in [
            ("no marks".to_owned(), "no line"),
            (format!("{BEGIN}{END}{END}"), "more than once"),
            (format!("{END}{BEGIN}"), "stands before"),
            (BEGIN.to_owned(), "no line"),
        ] {
            assert!(spliced(&document, "x").unwrap_err().contains(told), "{document}");
        }
    }

    #[test]
    fn links_lead_from_one_folder_to_another() {
        let of = |from: &str, to: &str| link(Path::new(from), Path::new(to));
        assert_eq!(of("/a", "/a/reports/latest"), "reports/latest/");
        assert_eq!(of("/a/b/c", "/a/d e"), "../../d%20e/");
        assert_eq!(of("/a", "/a"), "");
    }
}
