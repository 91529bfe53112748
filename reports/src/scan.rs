//! One lazy frame of all cells of all runs.
//!
//! Runs differ in their axes, and older ones may lack columns. Each file's frame is brought to one shape first: the fixed columns in
//! their order and with their types (missing ones null), then the axes of all runs, each `axis:NAME`. An axis that is whole in one run and
//! has fractions in another becomes a double, as it is in a run that has both; one that is a name in one of them becomes text.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use crossover_results::StoreError;
use crossover_results::schema::SCHEMA_VERSION;
use polars::prelude::*;

use crate::columns::{AXIS, CELL_COLUMNS, RUN};
use crate::error::{ReportError, Result};
use crate::runs::Run;

/// What a table's footer tells.
struct Layout {
    /// Types by column.
    types: BTreeMap<String, DataType>,
    /// Column by axis.
    axes: BTreeMap<String, String>,
}

/// The cells of all runs; the column `run` is the run's place in `runs`.
fn cells(runs: &[Run]) -> Result<LazyFrame> {
    let mut layouts = Vec::new();
    for (index, run) in runs.iter().enumerate().filter(|(_, run)| run.has_cells) {
        layouts.push((index, run.folder.cells_path(), layout(&run.folder.cells_path())?));
    }
    let mut axes: BTreeMap<&str, DataType> = BTreeMap::new();
    for (_, _, layout) in &layouts {
        for (axis, column) in &layout.axes {
            let dtype = layout.types.get(column).cloned().unwrap_or(DataType::Null);
            let known = axes.entry(axis).or_insert_with(|| dtype.clone());
            *known = joined(known, &dtype);
        }
    }
    let mut frames = Vec::new();
    for (index, path, layout) in &layouts {
        let frame = LazyFrame::scan_parquet_sources(ScanSources::Files(vec![open(path)?].into()), plain_file());
        let mut shape = vec![lit(*index as i64).cast(DataType::Int64).alias(RUN)];
        shape.extend(CELL_COLUMNS.iter().map(|(name, kind)| match layout.types.contains_key(*name) {
            true => col(*name),
            false => lit(NULL).cast(kind.dtype()).alias(*name),
        }));
        shape.extend(axes.iter().map(|(axis, dtype)| {
            let value = layout.axes.get(*axis).map_or_else(|| lit(NULL), |column| col(column.as_str()));
            value.cast(dtype.clone()).alias(format!("{AXIS}{axis}"))
        }));
        frames.push(frame.map_err(ReportError::table(path))?.select(shape));
    }
    if frames.is_empty() {
        return Ok(no_cells().lazy());
    }
    Ok(concat(frames, UnionArgs::default())?)
}

/// The type that holds what both hold.
fn joined(one: &DataType, other: &DataType) -> DataType {
    match (one, other) {
        (one, other) if one == other => one.clone(),
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => DataType::Float64,
        _ => DataType::String,
    }
}

/// A folder's name means nothing here: no patterns, no columns from paths. (Files are opened here rather than named to polars, which
/// would take a path like `s3://...` for an address.)
fn plain_file() -> ScanArgsParquet {
    ScanArgsParquet { glob: false, hive_options: HiveOptions::new_disabled(), ..ScanArgsParquet::default() }
}

/// Collects the cells. A table that turns out to be damaged only now is named.
pub(crate) fn collect(runs: &[Run]) -> Result<DataFrame> {
    let error = match cells(runs)?.collect() {
        Ok(mut cells) => {
            cells.align_chunks();
            return Ok(cells);
        }
        Err(error) => error,
    };
    for run in runs.iter().filter(|run| run.has_cells) {
        cells(std::slice::from_ref(run))?.collect().map_err(ReportError::table(&run.folder.cells_path()))?;
    }
    Err(error.into())
}

fn open(path: &Path) -> Result<File> {
    let failure = |source| ReportError::Store(StoreError::Io { action: "open the table", path: path.to_owned(), source });
    File::open(path).map_err(failure)
}

/// How many rows a table has, by its footer.
pub(crate) fn rows(path: &Path) -> Result<u64> {
    ParquetReader::new(open(path)?).num_rows().map(|rows| rows as u64).map_err(ReportError::table(path))
}

/// The journal that a table was made of, by its footer.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// How long it was; tables of a layout before 5 do not say.
    pub(crate) bytes: Option<u64>,
    /// False where a line of it was left out; tables from before this was told do not say.
    pub(crate) is_whole: Option<bool>,
}

/// What a table's footer tells of its journal.
pub(crate) fn source(path: &Path) -> Result<Source> {
    let mut reader = ParquetReader::new(open(path)?);
    let metadata = reader.get_metadata().map_err(ReportError::table(path))?;
    let value = |key: &str| metadata.key_value_metadata.iter().flatten().find(|entry| entry.key == key)?.value.as_deref();
    let bytes = value("crossover.journal_bytes").and_then(|bytes| bytes.parse().ok());
    Ok(Source { bytes, is_whole: value("crossover.journal_whole").map(|told| told == "true") })
}

/// Reads the footer and refuses what this program would misread.
fn layout(path: &Path) -> Result<Layout> {
    let failure = ReportError::table(path);
    let mut reader = ParquetReader::new(open(path)?);
    let metadata = reader.get_metadata().map_err(&failure)?;
    let entries = metadata.key_value_metadata.iter().flatten();
    let entries: BTreeMap<String, String> = entries.filter_map(|entry| Some((entry.key.clone(), entry.value.clone()?))).collect();
    let wrong = |message: String| ReportError::Table { path: path.to_owned(), message };
    let version = entries.get("crossover.schema").ok_or_else(|| wrong("it is not a table of a run".to_owned()))?;
    match version.parse::<u64>() {
        Ok(version) if version <= u64::from(SCHEMA_VERSION) => {}
        _ => return Err(ReportError::NewerTable { path: path.to_owned(), found: version.clone(), known: SCHEMA_VERSION }),
    }
    let schema = reader.schema().map_err(&failure)?;
    let types: BTreeMap<String, DataType> =
        schema.iter().map(|(name, field)| (name.to_string(), DataType::from_arrow_field(field))).collect();
    for (name, kind) in CELL_COLUMNS {
        match types.get(*name) {
            Some(dtype) if *dtype != kind.dtype() => return Err(wrong(format!("column `{name}` is {dtype}, not {}", kind.dtype()))),
            _ => {}
        }
    }
    if !["id", "group", "family", "variant", "engine", "status", "machine"].iter().all(|name| types.contains_key(*name)) {
        return Err(wrong("it lacks the columns that say which cell a row is".to_owned()));
    }
    let named: BTreeMap<String, String> = match entries.get("crossover.axes") {
        Some(text) => serde_json::from_str(text).map_err(|error| wrong(format!("its list of axes is damaged ({error})")))?,
        None => BTreeMap::new(),
    };
    Ok(Layout { axes: axes_of(&types, named, &wrong)?, types })
}

/// Every column that is not a fixed one is an axis, whether the footer names it or not: nothing is passed over.
fn axes_of(
    types: &BTreeMap<String, DataType>,
    named: BTreeMap<String, String>,
    wrong: &dyn Fn(String) -> ReportError,
) -> Result<BTreeMap<String, String>> {
    if let Some(column) = named.values().find(|column| !types.contains_key(*column)) {
        return Err(wrong(format!("its list of axes names the column `{column}`, which it does not have")));
    }
    let mut axes = named;
    for (column, dtype) in types.iter().filter(|(name, _)| CELL_COLUMNS.iter().all(|(fixed, _)| fixed != name)) {
        if !matches!(dtype, DataType::Int64 | DataType::Float64 | DataType::String) {
            return Err(wrong(format!("column `{column}` is {dtype}, which no axis is")));
        }
        if !axes.values().any(|known| known == column) {
            axes.insert(column.clone(), column.clone());
        }
    }
    Ok(axes)
}

/// The shape of a report without a single cell.
fn no_cells() -> DataFrame {
    let fields = std::iter::once(Field::new(RUN.into(), DataType::Int64))
        .chain(CELL_COLUMNS.iter().map(|(name, kind)| Field::new((*name).into(), kind.dtype())));
    DataFrame::empty_with_schema(&Schema::from_iter(fields))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::columns::Typed;
    use crossover_core::axes::{Axes, AxisValue};
    use crossover_results::schema::{Record, Status};
    use crossover_results::{Machine, Manifest, RunFolder};

    fn folder(path: &Path) -> RunFolder {
        folder_with(path, AxisValue::Int(8))
    }

    /// A run folder with one failed cell, which has one axis.
    fn folder_with(path: &Path, rows: AxisValue) -> RunFolder {
        let folder = RunFolder::create(path).unwrap();
        let text = String::new;
        let manifest = Manifest {
            schema: SCHEMA_VERSION,
            experiment: text(),
            command: text(),
            created_unix_ms: 0,
            resumed_unix_ms: Vec::new(),
            definition_hash: text(),
            plan_hash: text(),
            cells_planned: 1,
            parts: Vec::new(),
            excluded: Default::default(),
            seed: 0,
            machine: Machine::detect(),
            builds: Vec::new(),
            ceilings: None,
            noise: None,
        };
        manifest.write(&folder.manifest_path()).unwrap();
        let record = Record {
            schema: SCHEMA_VERSION,
            id: "a".into(),
            group: "g".into(),
            experiment: text(),
            family: "norm".into(),
            variant: "norm/layer".into(),
            engine: "naive".into(),
            baseline: true,
            axes: Axes::from([("rows".to_owned(), rows)]),
            status: Status::Oom,
            reason: Some("too large".into()),
            stderr_tail: None,
            support: None,
            finished_unix_ms: 0,
            elapsed_ns: 0,
            speed: None,
            beside: None,
            memory: None,
            accuracy: None,
            transform: None,
            matching: None,
            conditions: None,
            samples: Vec::new(),
            batches: Vec::new(),
            machine: "m".into(),
            build: text(),
        };
        folder.open_journal(&folder.lock().unwrap()).unwrap().0.append(&record).unwrap();
        folder.finish().unwrap();
        folder
    }

    fn table(folder: &RunFolder) -> DataFrame {
        ParquetReader::new(File::open(folder.cells_path()).unwrap()).finish().unwrap()
    }

    #[test]
    fn the_columns_are_those_that_the_store_writes() {
        let temporary = tempfile::tempdir().unwrap();
        let written = table(&folder(temporary.path()));
        let written: Vec<(String, DataType)> = written.schema().iter().map(|(name, dtype)| (name.to_string(), dtype.clone())).collect();
        let known = CELL_COLUMNS.iter().map(|(name, kind)| ((*name).to_owned(), kind.dtype()));
        assert_eq!(written, known.chain([("rows".to_owned(), DataType::Int64)]).collect::<Vec<_>>());
    }

    #[test]
    fn a_column_that_an_older_table_lacks_is_null() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = folder(temporary.path());
        let mut older = table(&folder).drop_many(["error_ratio", "isa", "beside_median_ns"]);
        // Of the whole journal, or the table would be made anew from it.
        let journal_bytes = std::fs::metadata(folder.journal_path()).unwrap().len().to_string();
        let entries = [("crossover.schema", "1".to_owned()), ("crossover.journal_bytes", journal_bytes)];
        let metadata = KeyValueMetadata::from_static(entries.map(|(key, value)| (key.to_owned(), value)).into());
        let writer = ParquetWriter::new(File::create(folder.cells_path()).unwrap()).with_compression(ParquetCompression::Uncompressed);
        writer.with_key_value_metadata(Some(metadata)).finish(&mut older).unwrap();
        let cells = collect(&crate::runs::open(&[temporary.path().to_owned()]).unwrap()).unwrap();
        assert_eq!((cells.doubles("error_ratio").unwrap().get(0), cells.texts("isa").unwrap().get(0)), (None, None));
        assert_eq!(cells.ints("beside_median_ns").unwrap().get(0), None);
        // The footer does not list the axes, and still nothing is lost.
        assert_eq!(cells.ints("axis:rows").unwrap().get(0), Some(8));
    }

    #[test]
    fn an_axis_of_two_kinds_of_numbers_is_a_number_and_one_with_a_name_is_text() {
        let temporary = tempfile::tempdir().unwrap();
        let values = [AxisValue::Int(2), AxisValue::Float(0.25), AxisValue::from("all")];
        let [whole, fraction, name] = ["a", "b", "c"].map(|name| temporary.path().join(name));
        for (path, value) in [&whole, &fraction, &name].into_iter().zip(values) {
            folder_with(path, value);
        }
        let joined = |paths: &[&PathBuf]| {
            let paths: Vec<PathBuf> = paths.iter().map(|path| (*path).clone()).collect();
            collect(&crate::runs::open(&paths).unwrap()).unwrap()
        };
        for (paths, expected) in [([&whole, &fraction], [2.0, 0.25]), ([&fraction, &whole], [0.25, 2.0])] {
            let numbers = joined(&paths);
            assert_eq!(numbers.doubles("axis:rows").unwrap().iter().collect::<Vec<_>>(), expected.map(Some));
        }
        let texts = joined(&[&whole, &name, &fraction]);
        assert_eq!(texts.texts("axis:rows").unwrap().iter().collect::<Vec<_>>(), [Some("2"), Some("all"), Some("0.25")]);
    }

    #[test]
    fn a_column_of_another_type_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = folder(temporary.path());
        let mut other = table(&folder).lazy().with_column(lit("x").alias("median_ns")).collect().unwrap();
        // Of the whole journal, or the table would be made anew from it.
        let journal_bytes = std::fs::metadata(folder.journal_path()).unwrap().len().to_string();
        let entries = [("crossover.schema", "1".to_owned()), ("crossover.journal_bytes", journal_bytes)];
        let metadata = KeyValueMetadata::from_static(entries.map(|(key, value)| (key.to_owned(), value)).into());
        let writer = ParquetWriter::new(File::create(folder.cells_path()).unwrap()).with_compression(ParquetCompression::Uncompressed);
        writer.with_key_value_metadata(Some(metadata)).finish(&mut other).unwrap();
        let error = collect(&crate::runs::open(&[temporary.path().to_owned()]).unwrap()).unwrap_err().to_string();
        assert!(error.contains("cells.parquet") && error.contains("`median_ns`"), "{error}");
    }
}
