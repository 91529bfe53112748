//! What a gate tells, in the four forms that it is asked for in, and what those forms have in common for every kind of gate.

use std::fmt::Write as _;

use serde_json::Value;

use crate::commands::text::counted;

use super::verdict::Verdict;

/// What a gate tells.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// For a terminal of 80 columns.
    pub text: String,
    /// For a comment on a pull request.
    pub markdown: String,
    /// For a program; `JSON.md` beside the crate describes it.
    pub json: Value,
    /// For what reads test reports.
    pub junit: String,
}

/// One thing that was judged.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its family: a variant, an engine.
    pub class: String,
    /// In words.
    pub name: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What there is to say of it; nothing of what simply passed.
    pub words: String,
}

/// As test runners have it: a regression is a failure; what could not be told, or was not compared, is skipped.
pub fn junit(suite: &str, entries: &[Entry]) -> String {
    let count = |verdict: Verdict| entries.iter().filter(|entry| entry.verdict == verdict).count();
    let (failures, skipped) = (count(Verdict::Regressed), count(Verdict::Inconclusive) + count(Verdict::NotCompared));
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\">\n",
        xml(suite),
        entries.len()
    );
    for entry in entries {
        let words = xml(&entry.words);
        let inner = match entry.verdict {
            Verdict::Regressed => format!("<failure message=\"{words}\"/>"),
            Verdict::Inconclusive | Verdict::NotCompared => format!("<skipped message=\"{words}\"/>"),
            Verdict::Pass | Verdict::Improved if words.is_empty() => String::new(),
            Verdict::Pass | Verdict::Improved => format!("<system-out>{words}</system-out>"),
        };
        let _ = writeln!(out, "  <testcase classname=\"{}\" name=\"{}\">{inner}</testcase>", xml(&entry.class), xml(&entry.name));
    }
    out + "</testsuite>\n"
}

/// Title, summary and a table of what did not simply pass, worst first, with the rest as a count.
pub fn markdown(title: &str, summary: &str, entries: &[Entry], notes: &[String]) -> String {
    let mut out = format!("### {title}\n\n{summary}\n");
    let listed = |verdict: Verdict| entries.iter().filter(move |entry| entry.verdict == verdict && !entry.words.is_empty());
    let told: Vec<&Entry> = Verdict::ALL.into_iter().flat_map(listed).collect();
    if !told.is_empty() {
        out += "\n| verdict | what | |\n|---|---|---|\n";
        out.extend(told.iter().map(|entry| table_row(&[entry.verdict.name(), &entry.name, &entry.words])));
    }
    if told.len() < entries.len() {
        let others = counted((entries.len() - told.len()) as u64, if told.is_empty() { "line" } else { "other" });
        out += &format!("\n{others}: nothing to tell.\n");
    }
    out.extend(notes.iter().map(|note| format!("\n{note}\n")));
    out
}

/// A row of a Markdown table, whatever the cells say.
pub fn table_row(cells: &[&str]) -> String {
    let escaped = |cell: &&str| cell.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;");
    format!("| {} |\n", cells.iter().map(escaped).collect::<Vec<_>>().join(" | "))
}

fn xml(text: &str) -> String {
    let escaped = |symbol: char| match symbol {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        // XML 1.0 has no way to write most of them.
        control if control.is_control() => " ".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(verdict: Verdict, words: &str) -> Entry {
        Entry { class: "a/b".into(), name: "b on simd | n=1 <x>".into(), verdict, words: words.into() }
    }

    #[test]
    fn a_test_report_counts_failures_and_what_was_skipped() {
        let entries = [
            entry(Verdict::Pass, ""),
            entry(Verdict::Improved, "less"),
            entry(Verdict::Regressed, "\"more\" & worse"),
            entry(Verdict::Inconclusive, "noise"),
            entry(Verdict::NotCompared, "no build has it"),
        ];
        let report = junit("crossover gate", &entries);
        assert!(report.contains("tests=\"5\" failures=\"1\" skipped=\"2\""), "{report}");
        assert!(report.contains("<failure message=\"&quot;more&quot; &amp; worse\"/>"), "{report}");
        assert!(report.contains("<testcase classname=\"a/b\" name=\"b on simd | n=1 &lt;x&gt;\"></testcase>"), "{report}");
    }

    #[test]
    fn a_comment_has_the_worst_first_and_counts_what_says_nothing() {
        let entries = [entry(Verdict::Pass, ""), entry(Verdict::Improved, "less"), entry(Verdict::Regressed, "more\nof it")];
        let comment = markdown("Exact gate: regressed", "3 cells.", &entries, &["a note".into()]);
        let [regressed, improved] = ["| regressed | b on simd \\| n=1 &lt;x> | more of it |", "| improved |"].map(|row| comment.find(row));
        assert!(regressed.is_some() && regressed < improved, "{comment}");
        assert!(comment.contains("\n1 other: nothing to tell.\n") && comment.ends_with("\na note\n"), "{comment}");
    }
}
