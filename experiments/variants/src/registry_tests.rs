//! What every variant must hold, whatever it computes.

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::caches::eviction_bytes;
use crossover_core::dtype::Precision;
use crossover_naive::NaiveBackend;

use crate::cell::prepare;
use crate::descriptor::{AxisKind, CACHE, COLD, Descriptor};
use crate::formula::evaluate;
use crate::inputs::CellInputs;
use crate::registry::{Entry, VariantVisitor, entries, find, visit};
use crate::resolve::resolve;
use crate::sizes::{SMALL, Sizes, asked};
use crate::variant::Variant;
use crate::verify::{Judgement, judge};

/// Three sizes of everything.
const SIZES: [&Sizes; 3] = [
    &SMALL,
    &[
        ("batch", 2),
        ("heads", 4),
        ("n", 64),
        ("head_dim", 16),
        ("d_model", 64),
        ("d_ff", 128),
        ("d_in", 64),
        ("d_out", 128),
        ("classes", 256),
        ("vocabulary", 256),
        ("layers", 2),
        ("d_hidden", 64),
    ],
    &[
        ("batch", 1),
        ("heads", 2),
        ("n", 128),
        ("head_dim", 32),
        ("d_model", 128),
        ("d_ff", 256),
        ("d_in", 128),
        ("d_out", 64),
        ("classes", 512),
        ("vocabulary", 512),
        ("layers", 2),
        ("d_hidden", 128),
    ],
];

fn at_size(descriptor: &'static Descriptor, size: &Sizes, precision: &str) -> Axes {
    resolve(descriptor, &asked(descriptor, size, precision)).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs and judges each variant on the naive engine.
struct Judge<'a> {
    size: &'a Sizes,
    precision: &'a str,
    seen: Vec<(&'static str, Judgement)>,
}

impl VariantVisitor for Judge<'_> {
    fn visit<V: Variant>(&mut self) {
        let name = V::DESCRIPTOR.name;
        let entry = find(name).unwrap();
        let axes = at_size(entry.descriptor, self.size, self.precision);
        // Those alone the plain engine refuses: there is no device.
        if entry.descriptor.family() == "transfer" {
            return;
        }
        let drawn = entry.draw(&axes).unwrap();
        let inputs = CellInputs::new(&entry, &axes, drawn).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut cell = prepare::<NaiveBackend, V>(&axes, &inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
        cell.call_poisoned().unwrap_or_else(|error| panic!("{name}: {error}"));
        let first = cell.output().unwrap();
        cell.call().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(first, cell.output().unwrap(), "{name} gives something else when it is called again");
        let judgement = judge(&entry, &axes, &inputs, &first).unwrap_or_else(|error| panic!("{name}: {error}"));
        self.seen.push((name, judgement));
    }
}

fn judge_all(precision: &str) {
    let mut complaints = Vec::new();
    for size in SIZES {
        let mut judge = Judge { size, precision, seen: Vec::new() };
        visit(&mut judge);
        for (name, judgement) in judge.seen {
            println!(
                "{name} {precision} used {:?} method {:?} checked {}/{}",
                judgement.tolerance_used, judgement.method.relative, judgement.rows_checked, judgement.rows_total
            );
            if let Some(complaint) = judgement.complaint {
                complaints.push(format!("{name} at {size:?}: {complaint}"));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_variant_is_right_at_three_sizes_in_f32() {
    judge_all("f32");
}

#[test]
fn every_variant_is_right_at_three_sizes_in_f64() {
    judge_all("f64");
}

#[test]
fn every_variant_is_right_at_three_sizes_in_bf16() {
    judge_all("bf16");
}

/// Within two in a hundred: the formulas may leave out what is small.
#[test]
fn closed_forms_agree_with_the_metered_operations() {
    let mut complaints = Vec::new();
    for entry in entries() {
        for size in SIZES {
            let axes = at_size(entry.descriptor, size, "f32");
            let metered = entry.cost(&axes).unwrap().flops as f64;
            compare(&entry, "flops", entry.descriptor.model.flops, &axes, metered, &mut complaints);
            let scratch = entry.dry_run(&axes).unwrap().scratch_bytes as f64 / Precision::F32.storage().bytes(1).unwrap() as f64;
            compare(&entry, "scratch", entry.descriptor.model.scratch, &axes, scratch, &mut complaints);
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn compare(entry: &Entry, what: &str, formula: &str, axes: &Axes, metered: f64, complaints: &mut Vec<String>) {
    let name = entry.descriptor.name;
    match evaluate(formula, axes) {
        Ok(closed) if (closed - metered).abs() <= 0.02 * metered => {}
        Ok(closed) => complaints.push(format!("{name}: {what} {formula} = {closed}, metered {metered} ({axes:?})")),
        Err(error) => complaints.push(format!("{name}: {what}: {error}")),
    }
}

#[test]
fn descriptions_are_complete_and_names_are_unique() {
    let mut names: Vec<&str> = entries().iter().map(|entry| entry.descriptor.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for entry in entries() {
        let Descriptor { name, summary, citation, problem, parameters, .. } = *entry.descriptor;
        assert!(name.split('/').count() == 2 && !summary.is_empty() && !citation.is_empty(), "{name}");
        for axis in problem.iter().chain(parameters) {
            assert!(!axis.doc.is_empty(), "{name}: {}", axis.name);
            // A default that follows another axis must find it before itself.
            if let Some(other) = axis.default.followed() {
                let order: Vec<&str> = entry.descriptor.axes().map(|axis| axis.name).collect();
                let place = |wanted: &str| order.iter().position(|name| *name == wanted);
                assert!(place(other) < place(axis.name), "{name}: {} follows {other}", axis.name);
            }
        }
    }
}

/// A value just outside its range is an error that names the axis, before anything runs.
#[test]
fn every_range_is_enforced() {
    for entry in entries() {
        for axis in entry.descriptor.problem.iter().chain(entry.descriptor.parameters) {
            let outside = match axis.kind {
                AxisKind::Int { min, .. } => AxisValue::Int(min - 1),
                AxisKind::Float { min, .. } => AxisValue::Float(min - 1.0),
                AxisKind::Choice { .. } => "no such name".into(),
                AxisKind::Precision => "f31".into(),
                AxisKind::Component { .. } => "no-such-variant".into(),
                AxisKind::Text => AxisValue::Float(0.5),
            };
            let axes: Axes = [(axis.name.to_owned(), outside)].into();
            let error = resolve(entry.descriptor, &axes).expect_err(axis.name).to_string();
            assert!(error.contains(axis.name) && error.contains(entry.descriptor.name), "{error}");
        }
    }
}

#[test]
fn a_footprint_counts_the_reference_where_it_is_run_whole() {
    let of = |name| {
        let entry = find(name).unwrap();
        let axes = at_size(entry.descriptor, SIZES[1], "f32");
        (entry.footprint(&axes).unwrap(), entry.dry_run(&axes).unwrap())
    };
    let (flash, dry) = of("attention/flash");
    assert_eq!((flash.engine, flash.harness), (dry.bytes, 16 * dry.elements));
    assert_eq!((flash.on_host("simd"), flash.on_host("candle-cuda")), (flash.engine + flash.harness, flash.harness));
    let entry = find("attention/flash").unwrap();
    let mut cold = at_size(entry.descriptor, SIZES[1], "f32");
    cold.insert(CACHE.to_owned(), COLD.into());
    let cold = entry.footprint(&cold).unwrap();
    assert_eq!((cold.engine, cold.harness), (flash.engine, flash.harness + eviction_bytes() as u64), "what empties the caches");
    // A value and a variance in f64 for what takes four bytes on the engine.
    let (nystrom, dry) = of("attention/nystrom");
    assert!(nystrom.harness > 3 * dry.bytes + 16 * dry.elements, "{nystrom:?} {dry:?}");
    for entry in entries() {
        let footprint = entry.footprint(&at_size(entry.descriptor, SIZES[0], "f32"));
        assert!(footprint.is_ok_and(|footprint| footprint.harness > 0), "{}", entry.descriptor.name);
    }
}
