//! The tables read back by another road: the library's row reader.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use crossover_core::axes::{Axes, AxisValue};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use proptest::prelude::*;

use super::column::Kind;
use super::fixed::fixed_columns;
use super::samples::sample_columns;
use super::*;
use crate::schema::{Batch, Record, SCHEMA_VERSION, Sample};
use crate::schema_examples::{any_record, full_record, small_record};

type Row = BTreeMap<String, Field>;

fn write(folder: &Path, records: &[Record]) -> BTreeMap<String, String> {
    let mut axes = AxisColumns::default();
    records.iter().for_each(|record| axes.add(&record.axes));
    let names = axes.names();
    let mut tables = TableWriter::create(
        &folder.join("cells"),
        &folder.join("samples"),
        &Origin { run: "the run", journal_bytes: 77, is_whole: false },
        axes,
    )
    .unwrap();
    records.iter().for_each(|record| tables.push(record).unwrap());
    tables.finish().unwrap();
    names
}

fn rows(path: &Path) -> Vec<Row> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    reader.get_row_iter(None).unwrap().map(|row| row.unwrap().into_columns().into_iter().collect()).collect()
}

fn text(text: &str) -> Field {
    Field::Str(text.to_owned())
}

/// What the row of a record must be, made from its JSON: a road that shares nothing with the list of columns.
fn expected(record: &Record) -> Row {
    let serde_json::Value::Object(mut object) = serde_json::to_value(record).unwrap() else { panic!("no object") };
    object.remove("axes");
    object.remove("samples");
    object.remove("batches");
    for (part, fields) in PARTS {
        let part = object.remove(*part).unwrap();
        for field in *fields {
            object.insert((*field).to_owned(), part.get(field).cloned().unwrap_or_default());
        }
    }
    // These get a prefix, and what transforms saved lies one deeper.
    let (transform, matching) = (object.remove("transform").unwrap(), object.remove("matching").unwrap());
    object.insert("derive_ns".to_owned(), transform["derive_ns"].clone());
    for field in ["parameters_before", "parameters_after", "bytes_before", "bytes_after", "error"] {
        object.insert(format!("transform_{field}"), transform["saved"][field].clone());
    }
    let beside = object.remove("beside").unwrap();
    for field in ["id", "median_ns", "ci_low_ns", "ci_high_ns", "samples"] {
        object.insert(format!("beside_{field}"), beside[field].clone());
    }
    for field in ["mode", "share", "target", "cost"] {
        object.insert(format!("match_{field}"), matching[field].clone());
    }
    object.into_iter().map(|(name, value)| (name, field(value))).collect()
}

fn field(value: serde_json::Value) -> Field {
    match value {
        serde_json::Value::Null => Field::Null,
        serde_json::Value::Bool(value) => Field::Bool(value),
        serde_json::Value::String(value) => Field::Str(value),
        serde_json::Value::Number(value) => value.as_i64().map_or_else(|| Field::Double(value.as_f64().unwrap()), Field::Long),
        other => panic!("{other} in a column"),
    }
}

const PARTS: &[(&str, &[&str])] = &[
    (
        "speed",
        &[
            "median_ns",
            "ci_low_ns",
            "ci_high_ns",
            "min_ns",
            "p95_ns",
            "samples",
            "rejected",
            "warmup_calls",
            "prepare_ns",
            "stop",
            "flops",
            "bytes",
            "threads_used",
            "isa",
        ],
    ),
    (
        "memory",
        &[
            "weight_bytes",
            "activation_bytes",
            "scratch_bytes",
            "state_bytes",
            "allocator_peak_bytes",
            "warm_allocations",
            "high_water_bytes",
            "device_peak_bytes",
        ],
    ),
    (
        "accuracy",
        &[
            "err_impl",
            "err_impl_rel",
            "tolerance_used",
            "err_method",
            "err_method_rel",
            "cosine",
            "error_ratio",
            "divergence",
            "top_1_agreement",
            "nonfinite",
            "rows_checked",
            "rows_total",
        ],
    ),
    (
        "conditions",
        &["steal_ns", "load_average", "involuntary_switches", "frequency_khz", "energy_j", "instructions", "cycles", "cache_misses"],
    ),
];

fn check_rows(records: &[Record]) {
    let folder = tempfile::tempdir().unwrap();
    let names = write(folder.path(), records);
    let read = rows(&folder.path().join("cells"));
    assert_eq!(read.len(), records.len());
    for (record, mut row) in records.iter().zip(read) {
        for (axis, column) in &names {
            let stored = row.remove(column).unwrap_or_else(|| panic!("no column for axis {axis:?}"));
            match (record.axes.get(axis), stored) {
                (None, Field::Null) => {}
                (Some(AxisValue::Int(value)), Field::Long(stored)) => assert_eq!(*value, stored),
                (Some(value @ (AxisValue::Int(_) | AxisValue::Float(_))), Field::Double(stored)) => {
                    assert_eq!(value.as_float(), Some(stored));
                }
                (Some(value), Field::Str(stored)) => assert_eq!(value.to_string(), stored),
                (value, stored) => panic!("axis {axis:?}: {value:?} is stored as {stored:?}"),
            }
        }
        assert_eq!(row, expected(record));
    }
    let samples: Vec<_> = records.iter().flat_map(|record| record.samples.iter().map(|sample| sample_row(record, sample))).collect();
    assert_eq!(rows(&folder.path().join("samples")), samples);
}

/// From JSON again, with the last batch of the sample's round.
fn sample_row(record: &Record, sample: &Sample) -> Row {
    let batch = record.batches.iter().rev().find(|batch| batch.round == sample.round);
    let serde_json::Value::Object(mut of_batch) = serde_json::to_value(batch.unwrap_or(&NO_BATCH)).unwrap() else { panic!("no object") };
    of_batch.remove("round");
    of_batch.remove("calls");
    let of_batch = of_batch.into_iter().map(|(name, value)| (format!("batch_{name}"), field(value)));
    let own = [
        ("id", text(&record.id)),
        ("round", Field::Long(sample.round.into())),
        ("calls", Field::Long(sample.calls.into())),
        ("ns", Field::Long(sample.ns as i64)),
        ("rejected", Field::Bool(sample.rejected)),
    ];
    own.into_iter().map(|(name, field)| (name.to_owned(), field)).chain(of_batch).collect()
}

const NO_BATCH: Batch = Batch {
    round: 0,
    calls: 0,
    steal_ns: None,
    load_average: None,
    involuntary_switches: None,
    frequency_khz: None,
    energy_uj: None,
    instructions: None,
    cycles: None,
    cache_misses: None,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_records_are_found_in_the_tables(records in proptest::collection::vec(any_record(), 0..8)) {
        check_rows(&records);
    }
}

#[test]
fn more_rows_than_one_group_holds() {
    let records: Vec<_> = (0..CELL_GROUP + 100)
        .map(|n| Record {
            axes: Axes::from([("n".to_owned(), AxisValue::Int(n as i64))]),
            samples: (0..5).map(|round| Sample { round, calls: 1, ns: n as u64, rejected: false }).collect(),
            ..small_record(&n.to_string())
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &records);
    let reader = SerializedFileReader::new(File::open(folder.path().join("cells")).unwrap()).unwrap();
    assert_eq!((reader.num_row_groups(), reader.metadata().file_metadata().num_rows()), (2, records.len() as i64));
    let reader = SerializedFileReader::new(File::open(folder.path().join("samples")).unwrap()).unwrap();
    assert_eq!((reader.num_row_groups(), reader.metadata().file_metadata().num_rows()), (2, 5 * records.len() as i64));
    let last = rows(&folder.path().join("cells")).pop().unwrap();
    assert_eq!(last["n"], Field::Long(CELL_GROUP as i64 + 99));
}

fn with_axis(name: &str, value: AxisValue) -> Record {
    Record { axes: Axes::from([(name.to_owned(), value)]), ..full_record() }
}

fn kind_of(values: &[AxisValue]) -> Kind {
    let mut axes = AxisColumns::default();
    values.iter().for_each(|value| axes.add(&Axes::from([("a".to_owned(), value.clone())])));
    axes.kinds().next().unwrap().1
}

#[test]
fn the_kinds_of_an_axis_decide_its_column() {
    let (int, float, name) = (AxisValue::Int(3), AxisValue::Float(0.5), AxisValue::from("k"));
    assert_eq!(kind_of(std::slice::from_ref(&int)), Kind::Int);
    assert_eq!(kind_of(std::slice::from_ref(&float)), Kind::Double);
    assert_eq!(kind_of(&[int.clone(), float.clone()]), Kind::Double);
    assert_eq!(kind_of(&[float.clone(), name.clone(), int]), Kind::Text);
    // As a double, this one would become its neighbour.
    assert_eq!(kind_of(&[AxisValue::Int((1 << 53) + 1), float]), Kind::Text);
    assert_eq!(kind_of(&[AxisValue::Int(i64::MIN)]), Kind::Int);
}

#[test]
fn an_axis_never_takes_a_fixed_columns_name() {
    let records = ["samples", "axis_samples", "bytes", "", "n"].map(|name| with_axis(name, AxisValue::Int(1)));
    let folder = tempfile::tempdir().unwrap();
    let names = write(folder.path(), &records);
    let names: Vec<_> = names.iter().map(|(axis, column)| (axis.as_str(), column.as_str())).collect();
    let expected = [("", "axis_"), ("axis_samples", "axis_samples"), ("bytes", "axis_bytes"), ("n", "n"), ("samples", "axis_axis_samples")];
    assert_eq!(names, expected);
    check_rows(&records);
}

#[test]
fn the_footer_says_version_run_and_axes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[with_axis("bytes", AxisValue::Int(1))]);
    let read = |name: &str| {
        let reader = SerializedFileReader::new(File::open(folder.path().join(name)).unwrap()).unwrap();
        let entries = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
        entries.into_iter().map(|entry| (entry.key, entry.value.unwrap())).collect::<BTreeMap<_, _>>()
    };
    let cells = read("cells");
    assert_eq!((&cells["crossover.schema"], cells["crossover.run"].as_str()), (&SCHEMA_VERSION.to_string(), "the run"));
    assert_eq!((cells["crossover.journal_bytes"].as_str(), cells["crossover.journal_whole"].as_str()), ("77", "false"));
    assert_eq!(cells["crossover.axes"], r#"{"bytes":"axis_bytes"}"#);
    assert_eq!(read("samples")["crossover.run"], "the run");
}

#[test]
fn an_axis_that_was_not_foreseen_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (cells, samples) = (folder.path().join("cells"), folder.path().join("samples"));
    let mut tables =
        TableWriter::create(&cells, &samples, &Origin { run: "run", journal_bytes: 0, is_whole: true }, AxisColumns::default()).unwrap();
    assert!(tables.push(&full_record()).is_err());
    drop(tables);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing half-written is left");
}

#[test]
fn the_documentation_names_every_column_with_its_type() {
    let text = include_str!("../../RESULTS.md");
    let (cells, samples) = text.split_once("## samples.parquet").unwrap();
    let row = |name: &str, kind: Kind, nullable: bool| {
        let kind = match kind {
            Kind::Int => "int64",
            Kind::Double => "double",
            Kind::Text => "text",
            Kind::Flag => "bool",
        };
        format!("| `{name}` | {kind}{} |", if nullable { "?" } else { "" })
    };
    for column in fixed_columns() {
        let row = row(column.name, column.kind, column.nullable);
        assert!(cells.contains(&row), "RESULTS.md lacks the row {row}");
    }
    for column in sample_columns() {
        assert!(samples.contains(&row(&column.name, column.kind(), column.nullable())), "RESULTS.md lacks `{}` of samples", column.name);
    }
}
