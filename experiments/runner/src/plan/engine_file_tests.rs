//! Plans with an engine from a file: which cells it gets, and what is said of the others.

use std::path::Path;

use crate::definition::{self, EngineFile};

use super::{Plan, Selection};

const EXPERIMENT: &str = "name = 'x'\n[[sweep]]\nvariants = ['softmax/stable', 'softmax/online']\nengines = ['*']\n\
                          baseline = 'softmax/stable'\n[sweep.axes]\nn = [2, 4]\nprecision = ['f32', 'bf16']\n\
                          [[sweep]]\nvariants = ['norm/none', 'linear/low-rank']\nengines = ['naive']\n[sweep.axes]\nrank = [3, 5]\n";

fn plan_with(lines: &str, filters: &[&str]) -> Plan {
    let definition = definition::parse(Path::new("x.toml"), EXPERIMENT).unwrap();
    let engine = EngineFile::parse(Path::new("mine.toml"), format!("name = 'mine'\ncommand = ['x']\n{lines}\n")).unwrap();
    let filters = filters.iter().map(|text| crate::filter::Filter::parse(text).unwrap()).collect();
    let selection = Selection { filters, ..Selection::default() };
    Plan::new(&definition.with_engine(&engine).unwrap(), &["naive".to_owned(), "simd".to_owned()], selection).unwrap()
}

/// The cells of the engine as `variant n precision`, without what a variant lacks.
fn of_mine(plan: &Plan) -> Vec<String> {
    let cells = plan.groups().flat_map(|group| group.cells).filter(|cell| cell.engine == "mine");
    let axes = ["n", "precision", "rank"];
    cells
        .map(|cell| {
            let values = axes.iter().filter_map(|axis| cell.axes.get(*axis)).map(|value| format!(" {value}"));
            cell.variant.clone() + &values.collect::<String>()
        })
        .collect()
}

#[test]
fn it_gets_what_it_supports_and_the_others_keep_theirs() {
    // Eight of softmax on either engine of ours, three of the second sweep.
    assert_eq!((plan_with("", &[]).cell_count(), of_mine(&plan_with("", &[])).len()), (2 * 8 + 3 + 8 + 3, 8 + 3));
    let plan = plan_with("variants = ['softmax/stable']\nprecisions = ['f32']", &[]);
    assert_eq!(of_mine(&plan), ["softmax/stable 2 f32", "softmax/stable 4 f32"]);
    assert_eq!(plan.cell_count(), 2 * 8 + 3 + 2);
    let excluded: Vec<(&str, u64)> = plan.excluded().iter().map(|(because, cells)| (because.as_str(), *cells)).collect();
    let expected = [("mine does not support it (`precisions` in mine.toml)", 2), ("mine does not support it (`variants` in mine.toml)", 7)];
    assert_eq!(excluded, expected);
}

#[test]
fn a_condition_is_none_of_the_business_of_variants_that_lack_its_axis() {
    let plan = plan_with("when = 'rank == 3'\nprecisions = ['f32']\nvariants = ['softmax/stable', 'linear/*']", &[]);
    assert_eq!(of_mine(&plan), ["softmax/stable 2 f32", "softmax/stable 4 f32", "linear/low-rank 128 f32 3"]);
}

#[test]
fn its_cells_can_be_filtered_and_nothing_left_says_what_took_them() {
    let plan = plan_with("variants = ['softmax/online']", &["engine == \"mine\" and n == 2"]);
    assert_eq!(of_mine(&plan).len() as u64, plan.cell_count());
    let none = plan_with("variants = ['ffn/dense']", &["engine == \"mine\""]);
    assert_eq!(none.why_empty().unwrap(), "no cell is left: --filter takes 19, `exclude` and the engine files take 11");
}

#[test]
fn an_engine_of_ours_has_its_worker() {
    let definition = definition::parse(Path::new("x.toml"), EXPERIMENT).unwrap();
    let engine = EngineFile::parse(Path::new("mine.toml"), "name = 'simd'\ncommand = ['x']\n".to_owned()).unwrap();
    let error = Plan::new(&definition.with_engine(&engine).unwrap(), &["simd".to_owned()], Selection::default()).unwrap_err();
    let told = "mine.toml:1:8: \"simd\" is given a worker here, and is an engine of crossover-worker already: choose another name";
    assert_eq!(error.to_string(), told);
}
