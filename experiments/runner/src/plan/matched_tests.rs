//! Plans at equal cost: what is turned, what is refused, what is skipped.

use crossover_variants::resolve::resolve;

use super::tests::{cells, complaint, plan, plan_with, selection};
use super::*;

const MATCHED: &str = "[[sweep]]\nvariants = ['linear/dense', 'linear/low-rank', 'linear/csr', 'linear/ternary']\nengines = ['naive', 'other']\n\
                       baseline = 'linear/dense'\nmatch = 'parameters'\nmatch_share = 0.25\n[sweep.axes]\nd_in = 256\nd_out = [256, 64]\n";

#[test]
fn knobs_are_turned_to_the_share_of_the_baseline() {
    let plan = plan(MATCHED);
    let value = |variant: &str, d_out: i64, axis: &str| {
        let all = cells(&plan);
        let cell = all.iter().find(|cell| cell.variant == variant && cell.axes["d_out"] == AxisValue::Int(d_out)).unwrap();
        cell.axes[axis].clone()
    };
    // rank (256 + 256) = 256 256 / 4, and rank (256 + 64) = 256 64 / 4 to the nearest.
    assert_eq!(value("linear/low-rank", 256, "rank"), AxisValue::Int(32));
    assert_eq!(value("linear/low-rank", 64, "rank"), AxisValue::Int(13));
    assert_eq!(value("linear/csr", 64, "sparsity"), AxisValue::Float(0.75));
    for cell in cells(&plan) {
        let descriptor = registry::find(&cell.variant).unwrap().descriptor;
        assert_eq!(resolve(descriptor, &cell.axes).unwrap(), cell.axes);
        assert_eq!(cell.id, cell_id(&cell.variant, &cell.engine, &cell.axes));
        assert_eq!(cell.matched.is_none(), cell.baseline);
    }
    assert_eq!((plan.group_count(), plan.cell_count()), (2, 16));
}

#[test]
fn whatever_has_no_baseline_to_be_matched_with_is_refused() {
    let two = "[[sweep]]\nvariants = ['attention/dense', 'attention/linformer', 'attention/window-causal']\nengines = ['naive']\n\
               baseline = 'attention/dense'\nmatch = 'flops'\n";
    insta::assert_snapshot!(complaint(two, Selection::default()), @"
    x.toml:6:9: attention/window-causal has no baseline here whose cost it could have: its task is attention/causal
      add a baseline of that task with the same problem axes, or move the variant to a sweep without match
    ");
    assert_eq!(plan_with(two, selection(&[], &["variant != \"attention/window-causal\""])).unwrap().cell_count(), 2);
}

#[test]
fn where_the_baseline_has_no_cost_the_others_are_skipped_and_say_why() {
    let sweep = "[[sweep]]\nvariants = ['attention/dense', 'attention/flash']\nengines = ['naive']\nbaseline = 'attention/dense'\n\
                 match = 'flops'\naxes = { n = 2147483648, heads = 1, head_dim = 1 }\n";
    let flash = cells(&plan(sweep)).pop().unwrap();
    let reason = flash.unfit.unwrap();
    assert!(flash.matched.is_none() && reason.starts_with("its cost cannot be matched: attention/dense cannot be priced"), "{reason}");
}

/// Searches are for cells that are kept: here the one filtered out has no baseline, and would be refused if it were looked at.
#[test]
fn conditions_on_what_is_set_come_before_any_search() {
    let of = |filter: &str| plan_with(MATCHED, selection(&[], &[filter])).unwrap();
    let searched = |plan: &Plan| plan.fits.count();
    assert_eq!(searched(&of("variant == \"linear/csr\" and d_out == 64")), 1);
    assert_eq!(searched(&of("engine != \"naive\" and engine != \"other\"")), 0);
    assert_eq!(searched(&of("rank != 13")), 6, "which rank it will be is what the search finds");
    assert_eq!(searched(&plan_with(MATCHED, selection(&["rank=3,5"], &["rank == 3"])).unwrap()), 2, "here it is set");
    let when = MATCHED.replace("match = ", "when = 'variant == \"linear/csr\" and d_out == 64'\nmatch = ");
    assert_eq!(searched(&plan(&when)), 1);
}

#[test]
fn a_knob_that_the_user_sets_stays_and_the_cell_says_so() {
    let plan = plan_with(MATCHED, selection(&["rank=3,5"], &["variant == \"linear/low-rank\""])).unwrap();
    for cell in cells(&plan) {
        let matched = cell.matched.unwrap();
        assert!(matches!(cell.axes["rank"], AxisValue::Int(3 | 5)));
        assert_eq!(matched.knob, Err("rank is set by the experiment".to_owned()));
        assert!(matched.deviation() < -0.5);
    }
    assert_eq!(plan.cell_count(), 8);
}

#[test]
fn a_matched_cell_is_that_of_an_explicit_value() {
    let matched = cells(&plan(MATCHED));
    let explicit = MATCHED.replace("match = 'parameters'\nmatch_share = 0.25\n", "");
    let explicit = cells(&plan_with(&explicit, selection(&["rank=32"], &["d_out == 256"])).unwrap());
    let id = |cells: &[PlannedCell]| cells.iter().find(|cell| cell.variant == "linear/low-rank").unwrap().id.clone();
    assert_eq!(id(&matched), id(&explicit));
}

#[test]
fn a_baseline_without_the_cost_is_refused() {
    let sweep = "[[sweep]]\nvariants = ['attention/dense', 'attention/linformer']\nengines = ['naive']\nbaseline = 'attention/dense'\n\
                 match = 'parameters'\n";
    insta::assert_snapshot!(complaint(sweep, Selection::default()), @r#"
    x.toml:6:9: the baseline attention/dense has no parameters of which the others could have a share
      name another baseline, or match something else: attention and norms are compared by "flops"
    "#);
}
