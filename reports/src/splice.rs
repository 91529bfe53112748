//! Puts parts of a report into another document, such as a README, each between two marks, so that what it says is what was measured.

use std::path::{Component, Path, PathBuf};

/// What can be put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// What pays, and from where on
    Answer,
    /// Ours beside other programs
    Peers,
}

impl Part {
    pub(crate) const ALL: [Self; 2] = [Self::Answer, Self::Peers];

    /// The lines before its text and behind it.
    fn marks(self) -> (&'static str, &'static str) {
        match self {
            Self::Answer => ("<!-- crossover: answer -->", "<!-- /crossover -->"),
            Self::Peers => ("<!-- crossover: peers -->", "<!-- /crossover: peers -->"),
        }
    }

    /// Has the document a place for it?
    pub(crate) fn is_in(self, document: &str) -> bool {
        document.contains(self.marks().0)
    }
}

/// The document with `text` between the marks of a part, everything else untouched; an error says what is wrong with the marks.
pub(crate) fn spliced(document: &str, part: Part, text: &str) -> Result<String, String> {
    let (begin_mark, end_mark) = part.marks();
    let one = |mark: &str| {
        let mut places = document.match_indices(mark).map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (None, _) => Err(format!("it has no line `{mark}`; the text goes between `{begin_mark}` and `{end_mark}`")),
            (Some(_), Some(_)) => Err(format!("it has `{mark}` more than once")),
        }
    };
    let (begin, end) = (one(begin_mark)? + begin_mark.len(), one(end_mark)?);
    if end < begin {
        return Err(format!("`{end_mark}` stands before `{begin_mark}`"));
    }
    Ok(format!("{}\n{}\n\n{}", &document[..begin], text.trim_end(), &document[end..]))
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

    const BEGIN: &str = "<!-- crossover: answer -->";
    const END: &str = "<!-- /crossover -->";

    #[test]
    fn only_what_is_between_the_marks_changes_and_twice_is_once() {
        let document = format!("# A\n\n{BEGIN}\nold\n{END}\nrest\n");
        let once = spliced(&document, Part::Answer, "\nnew\n").unwrap();
        assert_eq!(once, format!("# A\n\n{BEGIN}\n\nnew\n\n{END}\nrest\n"));
        assert_eq!(spliced(&once, Part::Answer, "\nnew\n").unwrap(), once);
    }

    #[test]
    fn marks_that_do_not_fit_are_told() {
        for (document, told) in [
            ("no marks".to_owned(), "no line"),
            (format!("{BEGIN}{END}{END}"), "more than once"),
            (format!("{END}{BEGIN}"), "stands before"),
            (BEGIN.to_owned(), "no line"),
        ] {
            assert!(spliced(&document, Part::Answer, "x").unwrap_err().contains(told), "{document}");
        }
    }

    #[test]
    fn parts_leave_each_other_alone() {
        let (begin, end) = Part::Peers.marks();
        let document = format!("{BEGIN}\na\n{END}\n\n{begin}\nb\n{end}\n");
        let new = spliced(&document, Part::Peers, "c").unwrap();
        assert_eq!(new, format!("{BEGIN}\na\n{END}\n\n{begin}\nc\n\n{end}\n"));
        let new = spliced(&new, Part::Answer, "d").unwrap();
        assert_eq!(new, format!("{BEGIN}\nd\n\n{END}\n\n{begin}\nc\n\n{end}\n"));
        assert_eq!(Part::ALL.map(|part| part.is_in(&format!("{BEGIN}{END}"))), [true, false]);
    }

    #[test]
    fn links_lead_from_one_folder_to_another() {
        let of = |from: &str, to: &str| link(Path::new(from), Path::new(to));
        assert_eq!(of("/a", "/a/reports/latest"), "reports/latest/");
        assert_eq!(of("/a/b/c", "/a/d e"), "../../d%20e/");
        assert_eq!(of("/a", "/a"), "");
    }
}
