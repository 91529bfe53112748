//! What was compared at equal cost, and which cells are not: part of the summary.

use std::collections::BTreeMap;

use polars::prelude::*;

use crate::columns::Typed;
use crate::text::markdown::{Align, Table, counted, name};
use crate::text::units::figure;

/// A cell farther from its target than this is no comparison at equal cost.
const OFF: f64 = 0.05;
/// Cells that are spelt out.
const LISTED: usize = 50;

/// The section; empty where nothing was matched. `cells` has the fixed columns.
pub(crate) fn section(cells: &DataFrame) -> PolarsResult<String> {
    let (families, modes, shares) = (cells.texts("family")?, cells.texts("match_mode")?, cells.doubles("match_share")?);
    let mut groups: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut off = Vec::new();
    for row in 0..cells.height() {
        let (Some(mode), Some(share), Some(deviation)) = (modes.get(row), shares.get(row), deviation(cells, row)?) else { continue };
        let family = name(families.get(row).unwrap_or_default());
        let (all, beyond) = groups.entry(format!("{family}: matched at equal {} (share {share})", spelled(mode))).or_default();
        *all += 1;
        if deviation.abs() > OFF {
            *beyond += 1;
            off.push((row, deviation));
        }
    }
    if groups.is_empty() {
        return Ok(String::new());
    }
    let mut out = "\n## Equal cost\n\nThe share is of the baseline's cost at the same problem.\n\n".to_owned();
    for (group, (all, beyond)) in groups {
        out += &format!(
            "* {group}: {}, {}.\n",
            counted(all, "cell"),
            if beyond == 0 { "all within 5 %".into() } else { format!("**{beyond} more than 5 % off**") }
        );
    }
    if off.is_empty() {
        return Ok(out);
    }
    out += "\nThese are not compared at equal cost: they have nothing to turn, or it moves in large steps.\n\n";
    Ok(out + &listed(cells, &off)?)
}

fn listed(cells: &DataFrame, off: &[(usize, f64)]) -> PolarsResult<String> {
    let headings = [("variant", Align::Left), ("engine", Align::Left), ("id", Align::Left), ("off by", Align::Right)];
    let mut table = Table::new(headings.map(|(heading, align)| (heading.to_owned(), align)).into());
    for (row, deviation) in off.iter().take(LISTED) {
        let text = |column: &str| -> PolarsResult<String> { Ok(name(cells.texts(column)?.get(*row).unwrap_or_default())) };
        let sign = if *deviation > 0.0 { "+" } else { "" };
        table.push(vec![text("variant")?, text("engine")?, text("id")?, format!("{sign}{} %", figure(100.0 * deviation))]);
    }
    let more = if off.len() > LISTED { format!("\nAnd {}.\n", counted((off.len() - LISTED) as u64, "more cell")) } else { String::new() };
    Ok(table.render() + &more)
}

/// How far a cell's cost is from the wanted one, as a share of that.
fn deviation(cells: &DataFrame, row: usize) -> PolarsResult<Option<f64>> {
    let (target, cost) = (cells.ints("match_target")?.get(row), cells.ints("match_cost")?.get(row));
    Ok(target.zip(cost).filter(|(target, _)| *target > 0).map(|(target, cost)| (cost - target) as f64 / target as f64))
}

fn spelled(mode: &str) -> String {
    if mode == "flops" { "FLOPs".to_owned() } else { name(mode) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(modes: [Option<&str>; 4], costs: [i64; 4]) -> String {
        let some = |value: i64| modes.map(|mode| mode.map(|_| value)).to_vec();
        let costs: Vec<Option<i64>> = modes.iter().zip(costs).map(|(mode, cost)| mode.map(|_| cost)).collect();
        let frame = df!(
            "family" => ["attention"; 4], "variant" => ["attention/dense", "attention/window", "attention/linear", "attention/bigbird"],
            "engine" => ["naive"; 4], "id" => ["a", "b", "c", "d"], "match_mode" => modes.to_vec(),
            "match_share" => modes.map(|mode| mode.map(|_| 0.25)).to_vec(), "match_target" => some(1000), "match_cost" => costs,
        );
        section(&frame.unwrap()).unwrap()
    }

    #[test]
    fn what_is_off_is_listed_and_the_baseline_is_not_counted() {
        insta::assert_snapshot!(rendered([None, Some("flops"), Some("flops"), Some("flops")], [0, 1010, 436, 1051]).trim(), @r"
        ## Equal cost

        The share is of the baseline's cost at the same problem.

        * attention: matched at equal FLOPs (share 0.25): 3 cells, **2 more than 5 % off**.

        These are not compared at equal cost: they have nothing to turn, or it moves in large steps.

        | variant           | engine | id  |  off by |
        | ----------------- | ------ | --- | ------: |
        | attention/linear  | naive  | c   | -56.4 % |
        | attention/bigbird | naive  | d   | +5.10 % |
        ");
    }

    #[test]
    fn where_all_are_near_or_nothing_was_matched_there_is_no_list() {
        assert!(
            rendered([None, Some("parameters"), Some("parameters"), None], [0, 950, 1050, 0])
                .ends_with("* attention: matched at equal parameters (share 0.25): 2 cells, all within 5 %.\n")
        );
        assert_eq!(rendered([None; 4], [0; 4]), "");
    }
}
