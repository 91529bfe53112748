//! A column under construction: values, and which of them are absent.

use std::borrow::Cow;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::schema::types::{Type, TypePtr};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Double,
    Text,
    Flag,
}

/// One value on its way into a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Absent,
    Int(i64),
    /// An unsigned figure: stored signed, as readers reckon with differences.
    Count(u64),
    Double(f64),
    Text(Cow<'a, str>),
    Flag(bool),
}

impl<'a> Value<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// Says why this value cannot be stored, if it cannot.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Count(count) if i64::try_from(*count).is_err() => Err(format!("{count}, which is beyond the signed 64-bit range")),
            Self::Double(value) if !value.is_finite() => Err(format!("{value}: a figure that is not finite must be absent")),
            _ => Ok(()),
        }
    }
}

enum Values {
    Int(Vec<i64>),
    Double(Vec<f64>),
    Text(Vec<ByteArray>),
    Flag(Vec<bool>),
}

/// The values of one row group.
pub(super) struct Column {
    pub(super) name: String,
    kind: Kind,
    nullable: bool,
    /// 1 where a value is present, 0 where it is absent: Parquet's definition levels.
    present: Vec<i16>,
    values: Values,
}

impl Column {
    pub(super) fn new(name: &str, kind: Kind, nullable: bool) -> Self {
        let values = match kind {
            Kind::Int => Values::Int(Vec::new()),
            Kind::Double => Values::Double(Vec::new()),
            Kind::Text => Values::Text(Vec::new()),
            Kind::Flag => Values::Flag(Vec::new()),
        };
        Self { name: name.to_owned(), kind, nullable, present: Vec::new(), values }
    }

    #[cfg(test)]
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    #[cfg(test)]
    pub(super) fn nullable(&self) -> bool {
        self.nullable
    }

    /// Its entry in the file's schema.
    pub(super) fn field(&self) -> ParquetResult<TypePtr> {
        let (physical, logical) = match self.kind {
            Kind::Int => (PhysicalType::INT64, None),
            Kind::Double => (PhysicalType::DOUBLE, None),
            Kind::Text => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Flag => (PhysicalType::BOOLEAN, None),
        };
        let repetition = if self.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let field = Type::primitive_type_builder(&self.name, physical).with_repetition(repetition).with_logical_type(logical);
        Ok(Arc::new(field.build()?))
    }

    /// Adds the value of the next row; an error says what is wrong with it.
    pub(super) fn push(&mut self, value: Value<'_>) -> Result<(), String> {
        value.check().map_err(|reason| format!("`{}` is {reason}", self.name))?;
        match (&mut self.values, value) {
            (_, Value::Absent) if self.nullable => {
                self.present.push(0);
                return Ok(());
            }
            (Values::Int(values), Value::Int(value)) => values.push(value),
            (Values::Int(values), Value::Count(value)) => values.push(value as i64),
            (Values::Double(values), Value::Double(value)) => values.push(value),
            (Values::Text(values), Value::Text(value)) => values.push(ByteArray::from(value.as_bytes().to_vec())),
            (Values::Flag(values), Value::Flag(value)) => values.push(value),
            (_, value) => return Err(format!("`{}` cannot hold {value:?}", self.name)),
        }
        self.present.push(1);
        Ok(())
    }

    /// Hands the gathered values to the file and starts afresh.
    pub(super) fn flush(&mut self, writer: &mut ColumnWriter<'_>) -> ParquetResult<()> {
        let levels = self.nullable.then_some(self.present.as_slice());
        match (&mut self.values, writer) {
            (Values::Int(values), ColumnWriter::Int64ColumnWriter(writer)) => {
                writer.write_batch(values, levels, None)?;
                values.clear();
            }
            (Values::Double(values), ColumnWriter::DoubleColumnWriter(writer)) => {
                writer.write_batch(values, levels, None)?;
                values.clear();
            }
            (Values::Text(values), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                writer.write_batch(values, levels, None)?;
                values.clear();
            }
            (Values::Flag(values), ColumnWriter::BoolColumnWriter(writer)) => {
                writer.write_batch(values, levels, None)?;
                values.clear();
            }
            _ => return Err(ParquetError::General(format!("column `{}` is written as another type than declared", self.name))),
        }
        self.present.clear();
        Ok(())
    }
}
