//! Plans of small definitions, checked against what `resolve` says of each cell; and one of a million cells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crossover_core::axes::AxisValue;
use crossover_core::memory::kibibytes;
use crossover_variants::matching::NEAR;
use crossover_variants::registry;
use crossover_variants::resolve::{AxisError, resolve};
use proptest::prelude::*;

use super::*;
use crate::definition;
use crate::paths::Project;

fn define(sweeps: &str) -> Definition {
    definition::parse(Path::new("x.toml"), &format!("name = \"x\"\n{sweeps}")).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn selection(set: &[&str], filters: &[&str]) -> Selection {
    Selection {
        set: set.iter().map(|text| text.parse().unwrap()).collect(),
        filters: filters.iter().map(|text| Filter::parse(text).unwrap_or_else(|error| panic!("{error}"))).collect(),
        shard: None,
    }
}

pub(super) fn plan_with(sweeps: &str, selection: Selection) -> Result<Plan, PlanError> {
    Plan::new(&define(sweeps), &["naive".to_owned(), "other".to_owned()], selection)
}

pub(super) fn plan(sweeps: &str) -> Plan {
    plan_with(sweeps, Selection::default()).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn cells(plan: &Plan) -> Vec<PlannedCell> {
    plan.groups().flat_map(|group| group.cells).collect()
}

/// What is wrong with sweeps that are no definition.
pub(super) fn misread(sweeps: &str) -> String {
    definition::parse(Path::new("x.toml"), &format!("name = \"x\"\n{sweeps}")).unwrap_err().to_string()
}

pub(super) fn complaint(sweeps: &str, selection: Selection) -> String {
    plan_with(sweeps, selection).unwrap_err().to_string()
}

const TWO: &str = "[defaults]\nbatch = 3\n[[sweep]]\nvariants = ['attention/dense', 'attention/flash']\nengines = ['other', 'naive']\n\
                   baseline = 'attention/dense'\n[sweep.axes]\nprecision = ['f64', 'f32']\nn = [8, 4]\n";

#[test]
fn the_order_is_the_files() {
    let plan = plan(TWO);
    let rows: Vec<String> =
        cells(&plan).iter().map(|cell| format!("{} {} {} {}", cell.axes["precision"], cell.axes["n"], cell.variant, cell.engine)).collect();
    assert_eq!(
        rows[..5],
        [
            "f64 8 attention/dense other",
            "f64 8 attention/dense naive",
            "f64 8 attention/flash other",
            "f64 8 attention/flash naive",
            "f64 4 attention/dense other"
        ]
    );
    assert_eq!(rows[8], "f32 8 attention/dense other");
    assert_eq!((plan.group_count(), plan.cell_count(), rows.len()), (4, 16, 16));
}

#[test]
fn cells_are_complete_and_named_by_their_hash() {
    for group in plan(TWO).groups() {
        for cell in &group.cells {
            let descriptor = registry::find(&cell.variant).unwrap().descriptor;
            assert_eq!(resolve(descriptor, &cell.axes).unwrap(), cell.axes);
            assert_eq!(cell.id, cell_id(&cell.variant, &cell.engine, &cell.axes));
            assert_eq!(cell.group, group.id);
            assert_eq!(group.id, group_id(descriptor, &cell.axes));
            assert_eq!(cell.axes["batch"], AxisValue::Int(3));
            assert_eq!(cell.axes["n_kv"], cell.axes["n"]);
            assert_eq!(cell.baseline, cell.variant == "attention/dense");
            assert_eq!((cell.family.as_str(), cell.experiment.as_str()), ("attention", "x"));
        }
    }
}

#[test]
fn a_parameter_multiplies_only_the_variants_that_have_it() {
    let plan =
        plan("[[sweep]]\nvariants = ['norm/layer-norm', 'norm/none']\nengines = ['naive']\naxes = { eps = [1e-5, 1e-6], n = [2, 4] }");
    let groups: Vec<Group> = plan.groups().collect();
    assert_eq!(groups.len(), 2);
    for group in groups {
        let names: Vec<&str> = group.cells.iter().map(|cell| cell.variant.as_str()).collect();
        assert_eq!(names, ["norm/layer-norm", "norm/layer-norm", "norm/none"]);
    }
}

#[test]
fn families_of_one_sweep_are_groups_of_their_own() {
    let plan = plan(
        "[[sweep]]\nvariants = ['ffn/dense', 'norm/none', 'linear/dense']\nengines = ['naive']\naxes = { n = [2, 4], d_ff = [8, 16] }",
    );
    assert_eq!(plan.group_count(), 4 + 2 + 2);
    assert!(plan.groups().all(|group| group.cells.iter().all(|cell| cell.family == group.cells[0].family)));
}

#[test]
fn a_cell_of_an_earlier_sweep_is_left_out() {
    let sweep = |n: &str| format!("[[sweep]]\nvariants = ['softmax/stable']\nengines = ['naive']\naxes = {{ n = {n} }}\n");
    let plan = plan(&(sweep("[2, 4]") + &sweep("[4, 8]")));
    let ids: BTreeSet<String> = cells(&plan).into_iter().map(|cell| cell.id).collect();
    assert_eq!((plan.cell_count(), ids.len(), plan.group_count()), (3, 3, 3));
}

#[test]
fn every_engine_of_ours_is_meant_by_a_star() {
    let sweep = "[[sweep]]\nvariants = ['softmax/stable']\nengines = ['naive', '*', 'peer']\n[workers.peer]\ncommand = ['p']\n";
    let engines: Vec<String> = cells(&plan(sweep)).into_iter().map(|cell| cell.engine).collect();
    assert_eq!(engines, ["naive", "other", "peer"]);
}

#[test]
fn set_replaces_and_adds_and_filter_removes() {
    let counted = |set: &[&str], filters: &[&str]| plan_with(TWO, selection(set, filters)).unwrap().cell_count();
    assert_eq!(counted(&["n=16"], &[]), 8);
    assert_eq!(counted(&["n=1,2,3"], &[]), 24);
    assert_eq!(counted(&["threads=1,2"], &[]), 32);
    assert_eq!(counted(&[], &["n == 8 and engine == \"naive\""]), 4);
    assert_eq!(counted(&[], &["baseline", "n == 8", "precision == \"f32\""]), 2);
    assert_eq!(counted(&[], &["n > 100"]), 0);
    let added = plan_with(TWO, selection(&["batch=1"], &[])).unwrap();
    assert!(cells(&added).iter().all(|cell| cell.axes["batch"] == AxisValue::Int(1)));
}

#[test]
fn an_empty_plan_says_what_took_its_cells() {
    let why = |sweeps: &str, selection: Selection| plan_with(sweeps, selection).unwrap().why_empty();
    assert_eq!(why(TWO, Selection::default()), None);
    assert_eq!(why(TWO, selection(&[], &["n > 100"])).unwrap(), "no cell is left: --filter takes 16");
    let with = |line: &str| TWO.replace("[sweep.axes]", &format!("{line}\n[sweep.axes]"));
    assert_eq!(why(&with("when = 'n > 100'"), Selection::default()).unwrap(), "no cell is left: `when` takes 16");
    let excluded = with("exclude = [{ when = 'n > 4', because = 'slow' }]");
    assert_eq!(why(&excluded, selection(&[], &["precision == \"f32\" or n > 4"])).map(|_| ()), None);
    assert_eq!(why(&excluded, selection(&[], &["n > 4"])).unwrap(), "no cell is left: --filter takes 8, `exclude` takes 8");
    let last = Selection { shard: Some("50/50".parse().unwrap()), ..Selection::default() };
    assert_eq!(why(TWO, last).unwrap(), "no cell is left: there are fewer groups than the parts of --shard 50/50");
}

#[test]
fn set_reaches_the_sweeps_that_have_the_axis() {
    let sweeps = format!("{TWO}[[sweep]]\nvariants = ['norm/layer-norm']\nengines = ['naive']\n");
    let plan = plan_with(&sweeps, selection(&["eps=1,0.5", "n=8"], &[])).unwrap();
    assert_eq!(plan.cell_count(), 8 + 2);
    let last = cells(&plan).pop().unwrap();
    assert_eq!((&last.axes["eps"], &last.axes["n"]), (&AxisValue::Float(0.5), &AxisValue::Int(8)));
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    insta::assert_snapshot!(complaint(TWO, selection(&["hedas=2"], &[])), @r#"
    --set hedas: no variant of experiment "x" has this axis
      did you mean heads?
    "#);
    for filter in ["engine == \"niave\"", "n > 0 and not (engine != \"niave\")", "engine in [\"niave\"]"] {
        let filtered = complaint(TWO, selection(&[], &[filter]));
        assert!(filtered.starts_with("--filter: unknown engine \"niave\"\n  did you mean \"naive\"?"), "{filtered}");
    }
    // What looks like a slip is refused where cells are left, too, and in the file; an engine that is not here is none.
    let slip = complaint(TWO, selection(&[], &["engine in [\"niave\", \"naive\"]"]));
    assert!(slip.starts_with("--filter: unknown engine \"niave\"\n  did you mean \"naive\"?"), "{slip}");
    assert_eq!(plan_with(TWO, selection(&[], &["engine in [\"simd\", \"naive\"]"])).unwrap().cell_count(), 8);
    for key in ["when = 'engine != \"niave\"'", "exclude = [{ when = 'engine == \"niave\"', because = 'slow' }]"] {
        let sweep = format!("[[sweep]]\nvariants = ['norm/none']\nengines = ['*']\n{key}\n");
        let slip = complaint(&sweep, Selection::default());
        assert!(slip.starts_with("x.toml:2: unknown engine \"niave\"\n  did you mean \"naive\"?"), "{slip}");
        assert!(plan(&sweep.replace("niave", "simd")).cell_count() > 0);
    }
    let engine = complaint(TWO, selection(&["engine=other"], &[]));
    assert!(engine.ends_with("engine is not an axis: keep some of them by --filter 'engine in [\"other\"]'"), "{engine}");
    let engine = complaint(TWO, selection(&["engine=other,niave"], &[]));
    assert!(engine.starts_with("--set engine=other,niave: unknown engine \"niave\"\n  did you mean \"naive\"?"), "{engine}");
    assert!(complaint(TWO, selection(&["kv_heads=3"], &[])).starts_with("--set kv_heads=3: experiment"));
    assert!(complaint(TWO, selection(&["n=1", "n=2"], &[])).contains("n is set twice"));
    assert!(complaint(TWO, selection(&["n=1,1"], &[])).contains("--set n=1,1: n has the value 1 twice"));
    assert!(
        complaint(TWO, selection(&["n=pwo2(4..8)"], &[]))
            .contains("n = pwo2(4..8) must be a whole number in 1..=1099511627776; did you mean pow2(..)?")
    );
    assert!(complaint(TWO, selection(&["n=0"], &[])).starts_with("--set n=0: experiment \"x\" has a cell that cannot be"));
}

#[test]
fn a_cell_that_cannot_be_is_an_error_before_anything_runs() {
    insta::assert_snapshot!(complaint(&TWO.replace("n = [8, 4]", "n = [8]\nheads = [8, 4]\nkv_heads = [8]"), Selection::default()), @r#"
    x.toml:12:1: experiment "x" has a cell that cannot be
      attention/dense: kv_heads must divide heads (here heads = 4, kv_heads = 8)
      change the values, or leave the cell out by --filter
    "#);
    insta::assert_snapshot!(complaint(&TWO.replace("n = [8, 4]", "n = [8, 0]"), Selection::default()), @r#"
    x.toml:10:1: experiment "x" has a cell that cannot be
      attention/dense: n = 0 must be a whole number in 1..=1099511627776
      change the values, or leave the cell out by --filter
    "#);
    let huge = complaint(&TWO.replace("n = [8, 4]", "n = [8, 1099511627776]\nheads = 1099511627776"), Selection::default());
    assert!(huge.contains("its tensor q is larger than any machine's memory"), "{huge}");
    let name = complaint(&TWO.replace("'f64'", "'f65'"), Selection::default());
    assert!(name.contains("precision = f65 is no precision"), "{name}");
}

#[test]
fn a_filter_may_remove_the_cells_that_cannot_be() {
    let sweeps = TWO.replace("n = [8, 4]", "n = [8, 0]\nheads = [8, 4]\nkv_heads = [8]");
    assert_eq!(plan_with(&sweeps, selection(&[], &["n > 0 and heads == 8"])).unwrap().cell_count(), 8);
}

#[test]
fn two_spellings_of_one_value_are_one_value() {
    let precision = complaint(&TWO.replace("'f64', 'f32'", "'f32', 'f32/f32/f32'"), Selection::default());
    assert!(precision.starts_with("x.toml:9:1: precision has the value f32 twice"), "{precision}");
    let number =
        complaint("[[sweep]]\nvariants = ['norm/layer-norm']\nengines = ['naive']\naxes = { eps = [1, 1.0] }", Selection::default());
    assert!(number.contains("eps has the value 1.0 twice"), "{number}");
}

#[test]
fn engines_are_looked_up() {
    insta::assert_snapshot!(complaint("[[sweep]]\nvariants = ['norm/none']\nengines = ['niave']", Selection::default()), @r#"
    x.toml:4:12: unknown engine "niave"
      did you mean "naive"? the engines are naive, other; give others a worker under [workers.NAME], or name its file by --engine-file
    "#);
    let twice =
        complaint("[[sweep]]\nvariants = ['norm/none']\nengines = ['naive']\n[workers.naive]\ncommand = ['x']", Selection::default());
    assert!(twice.contains("is an engine of crossover-worker already"), "{twice}");
}

#[test]
fn the_experiments_of_the_project_can_be_planned() {
    let load_with = |engines: &[&str], name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../definitions").join(format!("{name}.toml"));
        let definition = definition::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let engines: Vec<String> = engines.iter().map(|engine| (*engine).to_owned()).collect();
        let plan = Plan::new(&definition, &engines, Selection::default()).unwrap_or_else(|error| panic!("{error}"));
        println!("{name}: {} cells in {} groups", plan.cell_count(), plan.group_count());
        plan
    };
    for experiment in Project::find().unwrap().experiments().unwrap() {
        // Some name engines that not every build has.
        assert!(load_with(&["naive", "faer", "simd", "candle"], &experiment.name).cell_count() > 0, "{}", experiment.name);
    }
    let load = |name: &str| load_with(&["naive", "simd"], name);
    let smoke = load("smoke");
    assert!((10..=15).contains(&smoke.cell_count()), "{}", smoke.cell_count());
    let quick: BTreeSet<String> = cells(&load("quick")).into_iter().map(|cell| cell.variant).collect();
    // Published models are too large for it; three small ones stand for them. Transfers are of devices.
    for entry in registry::entries().into_iter().filter(|entry| !["model", "transfer"].contains(&entry.descriptor.family())) {
        assert!(quick.contains(entry.descriptor.name), "quick lacks {}", entry.descriptor.name);
    }
    assert!(quick.iter().filter(|name| name.starts_with("model/")).count() >= 3);
    assert_eq!(load("every-variant").cell_count(), 2 * registry::entries().len() as u64);
    assert!(load("minilm").cell_count() > 20);
    let mut turned: Vec<PlannedCell> = cells(&load("matched"));
    turned.retain(|cell| !cell.baseline);
    assert!(turned.iter().all(|cell| cell.matched.is_some()), "each says what it was to cost");
    let is_off = |cell: &&PlannedCell| cell.matched.as_ref().is_some_and(|found| found.deviation().abs() > NEAR);
    let off: Vec<&str> = turned.iter().filter(is_off).map(|cell| cell.variant.as_str()).collect();
    assert!(2 * off.len() < turned.len(), "{} of {} miss their targets: {off:?}", off.len(), turned.len());
    assert!(load("standard").cell_count() > quick.len() as u64 && load("full").cell_count() > load("standard").cell_count());
    for group in ["models", "minilm"].iter().flat_map(|name| load(name).groups().collect::<Vec<_>>()) {
        one_component_at_a_time(&group.cells);
    }
}

/// Where a group holds more than one cell an engine, one of them is the unchanged model, and each other has one component of its own.
fn one_component_at_a_time(cells: &[PlannedCell]) {
    let engines: BTreeSet<&str> = cells.iter().map(|cell| cell.engine.as_str()).collect();
    for engine in engines {
        let (baselines, others): (Vec<_>, Vec<_>) = cells.iter().filter(|cell| cell.engine == engine).partition(|cell| cell.baseline);
        if baselines.len() + others.len() == 1 {
            continue;
        }
        let &[unchanged] = &baselines[..] else { panic!("{} baselines on {engine}", baselines.len()) };
        for cell in others {
            let replaced = ["attention", "ffn", "norm", "linear"].into_iter().filter(|axis| cell.axes[*axis] != unchanged.axes[*axis]);
            assert_eq!(replaced.count(), 1, "{:?}", cell.axes);
        }
    }
}

#[test]
fn defaults_give_way_to_odd_sizes_and_values_do_not() {
    let sweep = "[[sweep]]\nvariants = ['attention/dense', 'attention/reformer']\nengines = ['naive']\naxes = { n = [64, 77, 1000] }\n";
    let chunks: Vec<AxisValue> = cells(&plan(sweep)).iter().filter_map(|cell| cell.axes.get("chunk").cloned()).collect();
    assert_eq!(chunks, [AxisValue::Int(16), AxisValue::Int(11), AxisValue::Int(250)]);
    let wrong = complaint(sweep, selection(&["chunk=19"], &["n == 77"]));
    assert!(wrong.contains("chunk must divide n"), "{wrong}");
}

#[test]
fn a_cell_without_fitting_defaults_is_kept_with_the_reason() {
    let sweep = "[[sweep]]\nvariants = ['ffn/moe-top1']\nengines = ['naive']\naxes = { d_model = 1, d_ff = 1, n = [64, 67108864] }\n";
    let cells = cells(&plan(sweep));
    assert_eq!(cells.len(), 2);
    assert_eq!(cells[0].unfit, None);
    assert!(cells[1].unfit.as_ref().unwrap().contains("no default of ffn/moe-top1 fits"), "{:?}", cells[1].unfit);
}

#[test]
fn every_variant_can_be_planned_at_odd_sizes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../definitions/every-variant.toml");
    let definition = definition::load(&file).unwrap();
    for n in ["n=1000", "n=77"] {
        let plan = Plan::new(&definition, &["naive".to_owned()], selection(&[n], &[])).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(plan.cell_count(), registry::entries().len() as u64);
    }
}

#[test]
fn the_exact_gate_has_a_cell_of_every_variant_but_transfers_and_fetched_weights() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../definitions/exact.toml");
    let plan = Plan::new(&definition::load(&file).unwrap(), &["naive".to_owned()], Selection::default()).unwrap();
    let cells = cells(&plan);
    assert_eq!(cells.iter().find_map(|cell| cell.unfit.as_ref()), None);
    let planned: BTreeSet<&str> = cells.iter().map(|cell| cell.variant.as_str()).collect();
    let missing: Vec<&str> = registry::entries().iter().map(|entry| entry.descriptor.name).filter(|name| !planned.contains(name)).collect();
    assert_eq!(missing, ["model/minilm-sentences", "transfer/upload", "transfer/download"]);
}

#[test]
fn shards_are_disjoint_and_make_the_whole() {
    let sweeps = "[[sweep]]\nvariants = ['softmax/naive', 'softmax/stable']\nengines = ['naive']\naxes = { n = [1, 2, 3, 4, 5, 6, 7, 8], classes = [1, 2, 3, 4] }";
    let whole: BTreeMap<String, String> = cells(&plan(sweeps)).into_iter().map(|cell| (cell.id, cell.group)).collect();
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let part = plan_with(sweeps, Selection { shard: Some(shard.parse().unwrap()), ..Selection::default() }).unwrap();
        // 32 groups of two cells each.
        assert_eq!(part.group_count(), if shard == "3/3" { 10 } else { 11 }, "{shard}");
        assert_eq!(cells(&part).len() as u64, part.cell_count());
        for cell in cells(&part) {
            assert_eq!(parts.insert(cell.id, cell.group), None);
        }
    }
    assert_eq!(parts, whole);
}

#[test]
fn more_cells_than_anybody_waits_for_are_refused_at_once() {
    let list = format!("{:?}", (1..=10_000).collect::<Vec<u32>>());
    let sweeps = format!("[[sweep]]\nvariants = ['softmax/stable']\nengines = ['naive']\naxes = {{ n = {list}, classes = {list} }}");
    assert!(complaint(&sweeps, Selection::default()).contains("spans 100000000 cells before any filter"));
}

/// Release builds take well under the 2 s that are promised; debug builds and busy machines get a generous bound.
#[test]
fn a_million_cells_are_counted_without_holding_them() {
    let list = format!("{:?}", (1..=1_000).collect::<Vec<u32>>());
    let sweeps = format!("[[sweep]]\nvariants = ['softmax/stable']\nengines = ['naive']\naxes = {{ n = {list}, classes = {list} }}");
    let before = high_water_kib();
    let start = Instant::now();
    let plan = plan(&sweeps);
    let (passed, grown) = (start.elapsed(), high_water_kib() - before);
    println!("counted {} cells in {passed:?}; the high-water mark grew by {grown} KiB", plan.cell_count());
    assert_eq!((plan.cell_count(), plan.group_count()), (1_000_000, 1_000_000));
    assert!(passed < Duration::from_secs(60), "{passed:?}");
    assert!(grown < 200 * 1024, "{grown} KiB");
    assert_eq!(plan.groups().take(1_001).last().unwrap().cells[0].axes["n"], AxisValue::Int(2));
}

/// A million cells of one group, twice over two sweeps: the dearest way to count them.
#[test]
fn a_million_cells_in_two_sweeps_are_told_apart() {
    let list: Vec<String> = (1..=1_000).map(|number| format!("{:?}", f64::from(number) / 1e6)).collect();
    let sizes = format!("{:?}", (1..=1_000).collect::<Vec<u32>>());
    let sweep =
        format!("[[sweep]]\nvariants = ['norm/layer-norm']\nengines = ['naive']\naxes = {{ n = {sizes}, eps = [{}] }}\n", list.join(","));
    let again = "[[sweep]]\nvariants = ['norm/layer-norm']\nengines = ['naive']\naxes = { n = [1, 1001], eps = 1e-6 }\n";
    let start = Instant::now();
    let plan = plan(&(sweep + again));
    println!("told {} cells apart in {:?}", plan.cell_count(), start.elapsed());
    assert_eq!((plan.cell_count(), plan.group_count()), (1_000_001, 1_001));
}

fn high_water_kib() -> u64 {
    kibibytes(&std::fs::read_to_string("/proc/self/status").unwrap(), "VmHWM").unwrap() / 1024
}

proptest! {
    /// The walk checks cells by a short cut; it must say what `resolve` says.
    #[test]
    fn the_walk_agrees_with_resolve(
        variant in 0..registry::entries().len(),
        values in prop::collection::vec((0..12usize, prop::sample::select(vec![0i64, 1, 2, 3, 8, 1 << 20, 1 << 40])), 0..5),
    ) {
        let descriptor = registry::entries()[variant].descriptor;
        let names: Vec<&str> = descriptor.axes().map(|axis| axis.name).collect();
        let given: Axes = values.iter().map(|(axis, value)| (names[axis % names.len()].to_owned(), AxisValue::Int(*value))).collect();
        let axes: String = given.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        let planned = plan_with(&format!("[[sweep]]\nvariants = ['{}']\nengines = ['naive']\n[sweep.axes]\n{axes}", descriptor.name), Selection::default());
        match (planned, resolve(descriptor, &given)) {
            (Ok(plan), Ok(resolved)) => prop_assert_eq!((&cells(&plan)[0].axes, &cells(&plan)[0].unfit), (&resolved, &None)),
            (Ok(plan), Err(AxisError::Unfit { .. })) => prop_assert!(cells(&plan)[0].unfit.is_some()),
            // Where several values are wrong, each names the first in its own order.
            (Err(PlanError::BadCell { .. }), Err(_)) => {}
            (planned, resolved) => prop_assert!(false, "{planned:?} but {resolved:?}"),
        }
    }
}
