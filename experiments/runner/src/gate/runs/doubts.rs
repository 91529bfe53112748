//! What is to be known beside the verdicts of runs: what they cannot show, and what beside the code may have made their times.

use std::collections::{BTreeSet, HashMap};

use crate::commands::text::counted;
use crate::gate::stages::{Judged, Outcome};
use crate::gate::verdict::{MOST_FIGURES, least_figures};

use super::{Run, SIDES};

/// The doubts about these pairs, and about what they were judged to show.
pub fn doubts(pairs: &[[Run; 2]], judged: &[Judged]) -> Vec<String> {
    let builds = SIDES.iter().map(|(side, name)| builds(pairs.iter().map(|pair| &pair[*side as usize]), name));
    [few_pairs(judged), order(pairs)].into_iter().chain(builds).flatten().collect()
}

fn few_pairs(judged: &[Judged]) -> Option<String> {
    let pairs = |judged: &Judged| if let Outcome::Timed { evidence, .. } = &judged.outcome { Some(evidence.pairs) } else { None };
    let pairs: Vec<usize> = judged.iter().filter_map(pairs).collect();
    let (most, cells) = (pairs.iter().max()?, counted(pairs.len() as u64, "cell"));
    match least_figures(pairs.len()) {
        Some(least) if *most >= least => None,
        Some(least) => Some(format!(
            "of fewer than {least} pairs no change can be certain, however large, as the probabilities are corrected for {cells}: bring more runs of both"
        )),
        None => Some(format!(
            "no change can be certain of {MOST_FIGURES} pairs, however large, as the probabilities are corrected for {cells}: bring runs of fewer"
        )),
    }
}

fn order(pairs: &[[Run; 2]]) -> Option<String> {
    let first = |side: usize| pairs.iter().filter(|pair| pair[side].ended_unix_ms < pair[1 - side].ended_unix_ms).count();
    let ([(_, base), (_, head)], counts) = (SIDES, [first(0), first(1)]);
    // One more than of the other is what an odd number of pairs in the best order has.
    let (first, count) = match counts {
        [ours, theirs] if ours > theirs + 1 => (base, ours),
        [ours, theirs] if theirs > ours + 1 => (head, theirs),
        _ => return None,
    };
    Some(format!(
        "{first} came first in {count} of {} pairs: where the machine grew slower or faster meanwhile, that cannot be told from a change of the code; take runs in \
         the order base, head, head, base",
        pairs.len()
    ))
}

/// Where the runs of one side are not of one build.
fn builds<'r>(runs: impl Iterator<Item = &'r Run>, side: &str) -> Option<String> {
    let (mut first, mut several) = (HashMap::new(), BTreeSet::new());
    for (id, seen) in runs.flat_map(|run| &run.cells) {
        if let Some(build) = seen.build.as_deref()
            && *first.entry(id).or_insert(build) != build
        {
            several.insert(id);
        }
    }
    let cells = counted(several.len() as u64, "cell");
    (!several.is_empty())
        .then(|| format!("{side}'s runs are of more than one build, for {cells}: what differs between these builds is noise here"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::runs::{Seen, judge};
    use crate::plan::PlannedCell;
    use crate::schedule::fakes::group;

    fn run(ended_unix_ms: u64, ns: f64, cells: &[&str], build: &str) -> Run {
        let seen = |cell: PlannedCell| Seen { cell, time: Ok(ns), build: Some(build.to_owned()), print: 0 };
        let cells = group(cells).cells.into_iter().map(|cell| (cell.id.clone(), seen(cell))).collect();
        Run { machine: "m".into(), ended_unix_ms, cells, ..Run::default() }
    }

    /// Base, head, head, base, and so on, each a minute after the other.
    fn pairs(count: u64, cells: &[&str]) -> Vec<[Run; 2]> {
        let pair = |at: u64| {
            let (base, head) = if at.is_multiple_of(2) { (2 * at, 2 * at + 1) } else { (2 * at + 1, 2 * at) };
            [run(base, 100.0, cells, "b"), run(head, 120.0 + at as f64, cells, "h")]
        };
        (0..count).map(pair).collect()
    }

    fn told(pairs: &[[Run; 2]]) -> Vec<String> {
        doubts(pairs, &judge(pairs, 0.05))
    }

    #[test]
    fn too_few_pairs_for_any_verdict_are_told() {
        assert!(told(&pairs(8, &["a"])).is_empty());
        let said = told(&pairs(8, &["a", "b"]));
        assert!(
            said[0].starts_with("of fewer than 9 pairs no change can be certain, however large,") && said[0].contains("2 cells"),
            "{said:?}"
        );
        assert!(told(&pairs(9, &["a", "b"])).is_empty());
        // As they are judged: eight pairs of two cells, all of which say the same, are not enough.
        let verdicts =
            |count| judge(&pairs(count, &["a", "b"]), 0.05).iter().map(|judged| judged.outcome.verdict().name()).collect::<Vec<_>>();
        assert_eq!((verdicts(8), verdicts(9)), (vec!["inconclusive"; 2], vec!["regressed"; 2]));
    }

    #[test]
    fn an_order_that_hides_a_drift_is_told() {
        let mut pairs = pairs(8, &["a"]);
        for (at, [base, head]) in (0..).zip(&mut pairs) {
            (base.ended_unix_ms, head.ended_unix_ms) = (2 * at, 2 * at + 1);
        }
        assert!(matches!(&told(&pairs)[..], [one] if one.starts_with("base came first in 8 of 8 pairs: ")));
        pairs.iter_mut().for_each(|pair| pair.swap(0, 1));
        assert!(matches!(&told(&pairs)[..], [one] if one.starts_with("head came first in 8 of 8 pairs: ")));
        // Who was first is not known of runs that ended at once; most pairs hide a drift as well as all do.
        pairs[0][0].ended_unix_ms = pairs[0][1].ended_unix_ms;
        assert!(matches!(&told(&pairs)[..], [one] if one.starts_with("head came first in 7 of 8 pairs: ")));
        for [base, head] in &mut pairs[1..4] {
            std::mem::swap(&mut base.ended_unix_ms, &mut head.ended_unix_ms);
        }
        assert!(told(&pairs).is_empty());
    }

    #[test]
    fn several_builds_on_a_side_are_told() {
        let mut pairs = pairs(8, &["a", "b", "c"]);
        for cell in ["a", "c"] {
            pairs[3][1].cells.get_mut(cell).unwrap().build = Some("another".into());
        }
        let said = told(&pairs);
        assert!(said.iter().any(|one| one.starts_with("head's runs are of more than one build, for 2 cells: ")), "{said:?}");
        assert!(!said.iter().any(|one| one.starts_with("base's runs")), "{said:?}");
    }
}
