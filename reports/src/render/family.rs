//! One document a family: where its variants start to pay, then speed, memory and accuracy of every cell, none without the others.

use std::collections::BTreeSet;

use polars::prelude::*;

use super::{Context, accuracy, crossover, memory, pareto, scaling, speed};
use crate::answers::Answers;
use crate::columns::Typed;
use crate::pictures::{Picture, embedded};
use crate::text::markdown::{counted, name};

/// The families of a report, each with the name of its document: that of the family where it will do as one.
pub(crate) fn files(cells: &DataFrame) -> PolarsResult<Vec<(String, String)>> {
    let families: BTreeSet<&str> = cells.texts("family")?.iter().flatten().collect();
    let plain = |family: &str| !family.is_empty() && family.len() <= 40 && family.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    // Names of documents that are no family's.
    let is_taken = |file: &str| ["summary.md", crate::trend::FILE, super::peers::FILE].contains(&file);
    let file = |(place, family): (usize, &str)| match plain(family) && !is_taken(&format!("{family}.md")) {
        true => (family.to_owned(), format!("{family}.md")),
        // Digits are in no plain name, so that the two kinds never meet.
        false => (family.to_owned(), format!("family-{}.md", place + 1)),
    };
    Ok(families.into_iter().enumerate().map(file).collect())
}

/// The whole file of a family.
pub(crate) fn document(answers: &Answers<'_>, context: &Context<'_>, family: &str, pictures: &[Picture]) -> PolarsResult<String> {
    let rows = answers.rows.clone().lazy().filter(col("family").eq(lit(family))).collect()?;
    let mut out = format!("# {}: {}\n\nBack to the [summary](summary.md).\n", name(family), counted(rows.height() as u64, "cell"));
    out += &crossover::section(&answers.crossovers, context, family)?;
    out += &embedded(pictures, "");
    out += &pareto::section(&rows, context)?;
    out += &scaling::section(&answers.scaling, context, family)?;
    out += &speed::section(&rows, context)?;
    out += &memory::section(&rows, context)?;
    out += &accuracy::section(&rows, context)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_is_no_file_name_gets_one() {
        let frame = df!("family" => ["attention", "../x", "summary", "a\u{202e}b", "attention", "", "peers"]).unwrap();
        let files: Vec<String> = files(&frame).unwrap().into_iter().map(|(_, file)| file).collect();
        assert_eq!(files, ["family-1.md", "family-2.md", "attention.md", "family-4.md", "family-5.md", "family-6.md"]);
    }
}
