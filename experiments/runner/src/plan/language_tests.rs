//! What sweeps say beside plain lists: rules, shares, axes together, conditions, exclusions, bases, baselines by axes.

use crossover_core::axes::AxisValue;

use super::tests::{cells, complaint, misread, plan, plan_with, selection};
use super::*;

#[test]
fn rules_and_shares_are_written_out_at_each_point() {
    let sweep = "[[sweep]]\nvariants = ['attention/linformer', 'attention/dense']\nengines = ['naive']\nbaseline = 'attention/dense'\n\
                 [sweep.axes]\nn = 'pow2(4..64)'\nrank = 'frac(1/16..1/2, 4)'";
    let found: Vec<(i64, i64)> = cells(&plan(sweep))
        .iter()
        .filter(|cell| cell.variant == "attention/linformer")
        .map(|cell| (cell.axes["n"].as_int().unwrap(), cell.axes["rank"].as_int().unwrap()))
        .collect();
    // At n = 4 the shares 1/16, 1/8 and 1/4 are all one, and a half is two: cells are not repeated.
    let mut expected = vec![(4, 1), (4, 2), (8, 1), (8, 2), (8, 4)];
    expected.extend([16, 32, 64].into_iter().flat_map(|n| [(n, n / 16), (n, n / 8), (n, n / 4), (n, n / 2)]));
    assert_eq!(found, expected);
    let over = plan_with(sweep, selection(&["n=32", "rank=frac(1/4)"], &[])).unwrap();
    assert_eq!(cells(&over)[0].axes["rank"], AxisValue::Int(8));
    let nested =
        "[[sweep]]\nvariants = ['ffn/low-rank']\nengines = ['naive']\n[sweep.axes]\nrank2 = 'frac(1/2)'\nrank = 'frac(1/4)'\nd_model = 64";
    let cell = cells(&plan(nested)).remove(0);
    assert_eq!((&cell.axes["rank"], &cell.axes["rank2"]), (&AxisValue::Int(16), &AxisValue::Int(8)));
    let text = complaint(sweep, selection(&["heads=frac(1/2)"], &[]));
    assert!(text.contains("heads = frac(0.5) cannot be: by default the axis follows no size"), "{text}");
}

#[test]
fn axes_that_go_together_are_no_product() {
    let sweep = "[[sweep]]\nvariants = ['ffn/dense', 'norm/layer-norm']\nengines = ['naive']\n\
                 [sweep.axes]\n'd_model, d_ff' = [[64, 256], [64, 128], [32, 64]]";
    let sizes = |variant: &str, axes: &[&str]| -> Vec<Vec<i64>> {
        let all = cells(&plan(sweep));
        all.iter()
            .filter(|cell| cell.variant == variant)
            .map(|cell| axes.iter().map(|axis| cell.axes[*axis].as_int().unwrap()).collect())
            .collect()
    };
    assert_eq!(sizes("ffn/dense", &["d_model", "d_ff"]), [[64, 256], [64, 128], [32, 64]]);
    // A variant without one of them sees each point once.
    assert_eq!(sizes("norm/layer-norm", &["d_model"]), [[64], [32]]);
    let set = plan_with(sweep, selection(&["d_ff=8"], &["variant == \"ffn/dense\""])).unwrap();
    assert_eq!(cells(&set).iter().map(|cell| cell.axes["d_model"].as_int().unwrap()).collect::<Vec<_>>(), [64, 32]);
    let mixed = "[[sweep]]\nvariants = ['attention/linformer']\nengines = ['naive']\n[sweep.axes]\n'n, rank' = [[64, 8]]";
    assert!(complaint(mixed, Selection::default()).contains("rank = \"frac(1/4)\""));
    let twice = "[[sweep]]\nvariants = ['ffn/dense']\nengines = ['naive']\n[sweep.axes]\nd_ff = 8\n'd_model, d_ff' = [[64, 256]]";
    assert!(misread(twice).contains("d_ff is set twice here"));
    let several = "[defaults]\nbatch = 'pow2(1..8)'\n[[sweep]]\nvariants = ['ffn/dense']\nengines = ['naive']";
    assert!(misread(several).contains("batch under [defaults] is a list"));
    let short = "[[sweep]]\nvariants = ['ffn/dense']\nengines = ['naive']\n[sweep.axes]\n'd_model, d_ff' = [[64, 256], [64]]";
    assert!(misread(short).contains("1 values for the 2 axes d_model, d_ff"));
}

#[test]
fn conditions_concern_the_variants_that_have_their_axes() {
    let sweep = "[[sweep]]\nvariants = ['attention/linformer', 'attention/dense']\nengines = ['naive']\nbaseline = 'attention/dense'\n\
                 when = 'rank < n_kv and n != 8'\n[sweep.axes]\nn = [8, 16]\nrank = [4, 16]";
    let left: Vec<String> = cells(&plan(sweep)).iter().map(|cell| format!("{} {}", cell.variant, cell.axes["n"])).collect();
    assert_eq!(left, ["attention/dense 8", "attention/linformer 16", "attention/dense 16"]);
    let bad = misread(&sweep.replace("rank < n_kv", "rnk < n_kv"));
    assert!(bad.starts_with("x.toml:") && bad.contains("did you mean rank?"), "{bad}");
}

#[test]
fn what_is_left_out_has_a_reason() {
    let sweep = "[[sweep]]\nvariants = ['attention/dense']\nengines = ['naive']\n\
                 exclude = [{ when = 'engine == \"naive\" and n > 8', because = 'plain loops need minutes' }]\n[sweep.axes]\nn = [8, 16, 32]";
    let once = plan(sweep);
    assert_eq!((once.cell_count(), once.excluded().clone()), (1, [("plain loops need minutes".to_owned(), 2)].into()));
    let twice = format!("{sweep}\n[[sweep]]\nvariants = ['attention/dense']\nengines = ['naive']\n[sweep.axes]\nn = [8, 16]");
    let again = plan(&twice);
    assert_eq!(cells(&again).iter().map(|cell| cell.axes["n"].as_int().unwrap()).collect::<Vec<_>>(), [8, 16]);
    let silent = misread(&sweep.replace("plain loops need minutes", " "));
    assert!(silent.contains("needs a reason"), "{silent}");
}

#[test]
fn a_sweep_stands_on_its_bases() {
    let sweep = "[bases.small]\nn = [8, 16]\nheads = 2\n[bases.long]\nn = 64\n\
                 [[sweep]]\nvariants = ['attention/dense']\nengines = ['naive']\nbase = ['small', 'long']\naxes = { head_dim = [4, 8] }";
    let all = cells(&plan(sweep));
    let axis = |name: &str| all.iter().map(|cell| cell.axes[name].as_int().unwrap()).collect::<Vec<_>>();
    assert_eq!((axis("n"), axis("heads"), axis("head_dim")), (vec![64, 64], vec![2, 2], vec![4, 8]));
    let unknown = misread(&sweep.replace("'long']", "'lang']"));
    assert!(unknown.contains("did you mean \"long\"?"), "{unknown}");
}

#[test]
fn a_baseline_may_be_chosen_by_its_axes() {
    let sweep = "[[sweep]]\nvariants = ['model/encoder']\nengines = ['naive']\nbaseline = 'model/encoder'\n\
                 baseline_when = 'attention == \"dense\" and ffn == \"dense\"'\n\
                 axes = { n = [8, 16], attention = ['dense', 'linear'], ffn = ['dense', 'bottleneck'] }\n";
    let spelled = |cells: Vec<PlannedCell>| -> Vec<String> {
        cells.iter().map(|cell| format!("{} {} {}", cell.axes["n"], cell.axes["attention"], cell.axes["ffn"])).collect()
    };
    let chosen = cells(&plan(sweep)).into_iter().filter(|cell| cell.baseline).collect();
    assert_eq!(spelled(chosen), ["8 dense dense", "16 dense dense"]);
    assert_eq!(plan(sweep).group_count(), 2);
    let kept = cells(&plan_with(sweep, selection(&[], &["baseline"])).unwrap());
    assert_eq!(spelled(kept), ["8 dense dense", "16 dense dense"]);
    let nowhere = complaint(&sweep.replace("== \"dense\" and", "== \"dens\" and"), Selection::default());
    assert!(nowhere.starts_with("x.toml:2: no cell of the baseline is as baseline_when says"), "{nowhere}");
    assert!(misread(&sweep.replace("baseline = 'model/encoder'", "")).contains("the sweep names none"));
    assert!(misread(&sweep.replace("axes =", "match = 'flops'\naxes =")).contains("leave one of them out"));
    let foreign = misread(&sweep.replace("attention == \"dense\"", "rank == 4"));
    assert!(foreign.contains("baseline_when looks at rank, which model/encoder does not have"), "{foreign}");
    let several = complaint(&sweep.replace("attention == \"dense\" and ", ""), Selection::default());
    insta::assert_snapshot!(several, @"
    x.toml:2: baseline_when holds for more than one cell of a group on engine naive, for that with attention = linear, ffn = dense too
      say what sets one of them apart: it is what the others are compared with
    ");
    // One of them is enough, whatever left out the others.
    assert_eq!(
        cells(&plan_with(&sweep.replace("attention == \"dense\" and ", ""), selection(&["attention=linear"], &[])).unwrap()).len(),
        4
    );
    // Two sweeps may share their baseline's cell, options may leave it out, and so may a reason.
    let second = sweep.replace("['dense', 'bottleneck']", "['dense', 'low-rank']");
    let both = cells(&plan(&format!("{sweep}{second}")));
    assert_eq!((both.len(), both.iter().filter(|cell| cell.baseline).count()), (12, 2));
    let other = second.replace("ffn == \"dense\"", "ffn == \"low-rank\"");
    insta::assert_snapshot!(complaint(&format!("{sweep}{other}"), Selection::default()), @"
    x.toml:8: baseline_when holds on engine naive for a cell with attention = dense, ffn = low-rank, in a group whose baseline is another cell: that of x.toml:2
      let both sweeps mean the same cell, or put what is to be compared into one of them
    ");
    assert_eq!(cells(&plan_with(sweep, selection(&["attention=linear"], &[])).unwrap()).len(), 4);
    let excluded = "baseline_when = 'attention == \"dense\"'\nexclude = [{ when = 'attention == \"dense\"', because = 'too slow' }]";
    let without = sweep.replace("baseline_when = 'attention == \"dense\" and ffn == \"dense\"'", excluded);
    assert_eq!(cells(&plan(&without)).len(), 4);
}
