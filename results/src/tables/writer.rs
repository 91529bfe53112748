//! Writing the two tables side by side, a row group at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::axis_columns::{AxisColumns, as_kind};
use super::column::{Column, Kind, Value};
use super::fixed::fixed_columns;
use super::samples::{sample_columns, sample_row};
use super::{CELL_GROUP, SAMPLE_GROUP};
use crate::atomic::AtomicFile;
use crate::error::{Result, StoreError};
use crate::schema::{Batch, Record, SCHEMA_VERSION};

/// Writes `cells.parquet` and `samples.parquet`. Nothing is seen of either until [`TableWriter::finish`].
pub struct TableWriter {
    axes: AxisColumns,
    /// Axis, kind of its column: in the order of the columns behind the fixed ones.
    axis_kinds: Vec<(String, Kind)>,
    cells: Table,
    samples: Table,
}

/// What tables are made of; their footers say it.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The run's name.
    pub run: &'a str,
    /// Bytes that its journal had: where it has others, the tables are not of all of it.
    pub journal_bytes: u64,
    /// False where a line of it could not be used: torn off or damaged.
    pub is_whole: bool,
}

impl TableWriter {
    /// Starts both tables. `axes` must have seen every record that will be pushed.
    ///
    /// # Errors
    /// When a file cannot be created.
    pub fn create(cells: &Path, samples: &Path, origin: &Origin<'_>, axes: AxisColumns) -> Result<Self> {
        let names = axes.names();
        let axis_kinds: Vec<_> = axes.kinds().map(|(axis, kind)| (axis.to_owned(), kind)).collect();
        let mut columns: Vec<_> = fixed_columns().iter().map(|fixed| Column::new(fixed.name, fixed.kind, fixed.nullable)).collect();
        columns.extend(axis_kinds.iter().map(|(axis, kind)| Column::new(&names[axis], *kind, true)));
        Ok(Self {
            axes,
            axis_kinds,
            cells: Table::create(cells, "cells", columns, CELL_GROUP, metadata(origin, Some(&names)))?,
            samples: Table::create(samples, "samples", sample_columns(), SAMPLE_GROUP, metadata(origin, None))?,
        })
    }

    /// Adds one cell and its samples.
    ///
    /// # Errors
    /// When the disk fails, or the record has an axis that was not foreseen.
    pub fn push(&mut self, record: &Record) -> Result<()> {
        let refuse = |reason: String| StoreError::NotStorable { id: record.id.clone(), reason };
        if !self.axes.covers(&record.axes) {
            return Err(refuse("it has an axis that was not known when the table was begun".to_owned()));
        }
        let fixed = fixed_columns().iter().map(|column| column.value(record));
        let axes = self.axis_kinds.iter().map(|(axis, kind)| record.axes.get(axis).map_or(Value::Absent, |value| as_kind(value, *kind)));
        self.cells.push(fixed.chain(axes)).map_err(refuse)?;
        self.cells.flush_if_full()?;
        let batches: BTreeMap<u32, &Batch> = record.batches.iter().map(|batch| (batch.round, batch)).collect();
        for sample in &record.samples {
            let row = sample_row(&record.id, sample, batches.get(&sample.round).copied());
            self.samples.push(row).map_err(refuse)?;
            self.samples.flush_if_full()?;
        }
        Ok(())
    }

    /// Puts both tables in place, each whole. The cells come last: where they are, the samples are too.
    ///
    /// # Errors
    /// When the disk fails; tables from before are then still there.
    pub fn finish(self) -> Result<()> {
        self.samples.finish()?;
        self.cells.finish()
    }
}

/// What the footer says beside the schema.
fn metadata(origin: &Origin<'_>, axes: Option<&BTreeMap<String, String>>) -> Vec<KeyValue> {
    let mut entries = vec![
        KeyValue::new("crossover.schema".to_owned(), SCHEMA_VERSION.to_string()),
        KeyValue::new("crossover.run".to_owned(), origin.run.to_owned()),
        KeyValue::new("crossover.journal_bytes".to_owned(), origin.journal_bytes.to_string()),
        KeyValue::new("crossover.journal_whole".to_owned(), origin.is_whole.to_string()),
    ];
    if let Some(axes) = axes {
        entries.push(KeyValue::new("crossover.axes".to_owned(), serde_json::json!(axes).to_string()));
    }
    entries
}

/// One table on its way to the disk.
struct Table {
    path: PathBuf,
    file: AtomicFile,
    writer: SerializedFileWriter<File>,
    columns: Vec<Column>,
    rows: usize,
    group: usize,
}

impl Table {
    fn create(path: &Path, name: &str, columns: Vec<Column>, group: usize, metadata: Vec<KeyValue>) -> Result<Self> {
        let file = AtomicFile::create(path)?;
        let writer = start(name, &columns, file.handle()?, metadata).map_err(failure(path))?;
        Ok(Self { path: path.to_owned(), file, writer, columns, rows: 0, group })
    }

    fn push<'a>(&mut self, row: impl Iterator<Item = Value<'a>>) -> std::result::Result<(), String> {
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value)?;
        }
        self.rows += 1;
        Ok(())
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.rows < self.group { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        self.write_group().map_err(failure(&self.path))?;
        self.rows = 0;
        Ok(())
    }

    fn write_group(&mut self) -> ParquetResult<()> {
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            let mut writer = group.next_column()?.ok_or_else(|| ParquetError::General(format!("no place for `{}`", column.name)))?;
            column.flush(writer.untyped())?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        // An empty table still gets one empty group, so that every reader finds the columns.
        if self.rows > 0 || self.writer.flushed_row_groups().is_empty() {
            self.flush()?;
        }
        self.writer.finish().map_err(failure(&self.path))?;
        self.file.commit()
    }
}

fn start(name: &str, columns: &[Column], file: File, metadata: Vec<KeyValue>) -> ParquetResult<SerializedFileWriter<File>> {
    let fields = columns.iter().map(Column::field).collect::<ParquetResult<Vec<_>>>()?;
    let schema = Arc::new(Type::group_type_builder(name).with_fields(fields).build()?);
    let properties = WriterProperties::builder()
        .set_created_by(concat!("crossover ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(metadata))
        .build();
    SerializedFileWriter::new(file, schema, Arc::new(properties))
}

/// Brings a full disk out of the library's error, so that the message can say what to do.
fn failure(path: &Path) -> impl FnOnce(ParquetError) -> StoreError {
    let path = path.to_owned();
    move |error| match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(source) => StoreError::Io { action: "write the table", path, source: *source },
            Err(inner) => StoreError::Parquet { path, message: inner.to_string() },
        },
        other => StoreError::Parquet { path, message: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_to_be_one() {
        let error = failure(Path::new("run/cells.parquet"))(ParquetError::from(io::Error::from(io::ErrorKind::StorageFull)));
        assert!(matches!(error, StoreError::Io { .. }) && error.is_environment());
        let message = error.to_string();
        assert!(message.contains("run/cells.parquet") && message.contains("free some space"), "{message}");
    }
}
