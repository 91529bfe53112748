//! Reading a TOML tree key by key, so that each error can say where it is and what to write instead.
//!
//! Serde could fill structures by itself, but its errors cannot name a better spelling nor show an example. Every table is opened
//! with the list of its keys: what is not on the list is refused.

use std::ops::Range;

use crossover_core::axes::AxisValue;
use crossover_variants::resolve::closest;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::error::{DefinitionError, Source};

type Result<T> = std::result::Result<T, DefinitionError>;

/// A key that a table may have: its name and an example of the whole line.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) example: &'static str,
}

/// A table whose keys are all known.
pub(super) struct Table<'a> {
    source: Source<'a>,
    /// How the table is called in messages: "a [[sweep]]".
    called: &'static str,
    keys: &'static [Key],
    span: Range<usize>,
    table: &'a DeTable<'a>,
}

/// A value and what is known about it.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    source: Source<'a>,
    /// What the value is called in messages: the key, in most cases.
    called: &'a str,
    example: &'a str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Table<'a> {
    pub(super) fn open(
        source: Source<'a>,
        called: &'static str,
        keys: &'static [Key],
        span: Range<usize>,
        table: &'a DeTable<'a>,
    ) -> Result<Self> {
        for (key, _) in in_file_order(table) {
            if !keys.iter().any(|known| known.name == key.get_ref().as_ref()) {
                let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                let nearest =
                    closest(key.get_ref(), names.iter().copied()).map(|name| format!("did you mean {name:?}? ")).unwrap_or_default();
                let help = format!("{nearest}the keys of {called} are {}", names.join(", "));
                return Err(source.error(key.span(), format!("unknown key {:?} in {called}", key.get_ref()), help));
            }
        }
        Ok(Self { source, called, keys, span, table })
    }

    pub(super) fn get(&self, name: &'static str) -> Option<Value<'a>> {
        let value = self.table.get(name)?;
        let example = self.keys.iter().find(|key| key.name == name).map_or("", |key| key.example);
        Some(Value { source: self.source, called: name, example, value })
    }

    pub(super) fn require(&self, name: &'static str) -> Result<Value<'a>> {
        self.get(name).ok_or_else(|| {
            let example = self.keys.iter().find(|key| key.name == name).map_or("", |key| key.example);
            self.source.error(self.span.clone(), format!("{} needs the key {name:?}", self.called), format!("write for example: {example}"))
        })
    }
}

impl<'a> Value<'a> {
    pub(super) fn span(self) -> Range<usize> {
        self.value.span()
    }

    /// An error about this value, with the example of how to write it.
    pub(super) fn wrong(self, message: impl Into<String>) -> DefinitionError {
        let help = if self.example.is_empty() { String::new() } else { format!("write for example: {}", self.example) };
        self.source.error(self.span(), message, help)
    }

    fn wrong_kind(self, wanted: &str) -> DefinitionError {
        self.wrong(format!("{} must be {wanted}, not {}", self.called, kind(self.value.get_ref())))
    }

    pub(super) fn is_table(self) -> bool {
        matches!(self.value.get_ref(), DeValue::Table(_))
    }

    pub(super) fn text(self) -> Result<Spanned<String>> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(Spanned::new(self.span(), text.clone().into_owned())),
            _ => Err(self.wrong_kind("text in quotes")),
        }
    }

    /// One text, or a list of them.
    pub(super) fn text_or_texts(self) -> Result<Vec<Spanned<String>>> {
        match self.value.get_ref() {
            DeValue::Array(_) => self.texts(),
            _ => Ok(vec![self.text()?]),
        }
    }

    pub(super) fn whole(self, least: u64, most: u64) -> Result<u64> {
        let DeValue::Integer(number) = self.value.get_ref() else {
            return Err(self.wrong_kind("a whole number"));
        };
        let number = integer(number).and_then(|number| u64::try_from(number).ok()).filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| self.wrong(format!("{} must be a whole number from {least} to {most}", self.called)))
    }

    pub(super) fn truth(self) -> Result<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(truth) => Ok(*truth),
            _ => Err(self.wrong_kind("true or false")),
        }
    }

    /// A number in (0, most].
    pub(super) fn positive(self, most: f64) -> Result<f64> {
        let number = match self.value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().unwrap_or(f64::NAN),
            DeValue::Integer(number) => integer(number).map_or(f64::NAN, |number| number as f64),
            _ => return Err(self.wrong_kind("a number")),
        };
        if number > 0.0 && number <= most {
            return Ok(number);
        }
        Err(self.wrong(format!("{} must be a number above 0 and at most {most}", self.called)))
    }

    pub(super) fn items(self) -> Result<impl Iterator<Item = Value<'a>> + use<'a>> {
        let DeValue::Array(items) = self.value.get_ref() else {
            return Err(self.wrong_kind("a list in square brackets"));
        };
        if items.is_empty() {
            return Err(self.wrong(format!("{} is an empty list: nothing would be run", self.called)));
        }
        Ok(items.iter().map(move |value| Value { value, ..self }))
    }

    pub(super) fn texts(self) -> Result<Vec<Spanned<String>>> {
        let texts: Vec<Spanned<String>> = self.items()?.map(Value::text).collect::<Result<_>>()?;
        Ok(texts)
    }

    pub(super) fn table(self, called: &'static str, keys: &'static [Key]) -> Result<Table<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Table::open(self.source, called, keys, self.span(), table),
            _ => Err(self.wrong_kind("a table")),
        }
    }

    /// The entries of a table with free keys, in the order of the file.
    pub(super) fn entries(self) -> Result<Vec<(Spanned<String>, Value<'a>)>> {
        let DeValue::Table(table) = self.value.get_ref() else {
            return Err(self.wrong_kind("a table"));
        };
        let entries = in_file_order(table).into_iter().map(|(key, value)| {
            let name = Spanned::new(key.span(), key.get_ref().clone().into_owned());
            (name, Value { source: self.source, called: key.get_ref().as_ref(), example: self.example, value })
        });
        Ok(entries.collect())
    }

    /// The points of one axis or of several together: a value or a list of them, or a list of lists. True where it was a list.
    pub(super) fn axis_points(self, axes: usize) -> Result<(Vec<Vec<Spanned<AxisValue>>>, bool)> {
        if axes > 1 {
            return Ok((self.items()?.map(|point| point.axis_point(axes)).collect::<Result<_>>()?, true));
        }
        if let DeValue::Array(_) = self.value.get_ref() {
            return Ok((self.items()?.map(|value| Ok(vec![value.axis_value()?])).collect::<Result<_>>()?, true));
        }
        Ok((vec![vec![self.axis_value()?]], false))
    }

    fn axis_point(self, axes: usize) -> Result<Vec<Spanned<AxisValue>>> {
        let values: Vec<_> = self.items()?.map(Value::axis_value).collect::<Result<_>>()?;
        if values.len() == axes {
            return Ok(values);
        }
        let help = r#"write one for each, for example: "d_model, heads" = [[512, 8], [768, 12]]"#;
        Err(self.source.error(self.span(), format!("{} values for the {axes} axes {}", values.len(), self.called), help))
    }

    fn axis_value(self) -> Result<Spanned<AxisValue>> {
        let value = match self.value.get_ref() {
            DeValue::Integer(number) => {
                let number = integer(number).and_then(|number| i64::try_from(number).ok());
                AxisValue::Int(number.ok_or_else(|| self.wrong(format!("{}: this whole number is too large", self.called)))?)
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => AxisValue::Float(number),
                _ => return Err(self.wrong(format!("{}: an axis value must be a finite number", self.called))),
            },
            DeValue::String(text) if is_plain_name(text) => AxisValue::Text(text.clone().into_owned()),
            DeValue::String(_) => {
                return Err(self.wrong(format!("{}: a name has 1 to {MAX_NAME} characters, none of them a control character", self.called)));
            }
            _ => return Err(self.wrong_kind("a number, a name in quotes, or a list of such")),
        };
        Ok(Spanned::new(self.span(), value))
    }
}

/// The longest name of anything.
pub(super) const MAX_NAME: usize = 64;

fn is_plain_name(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_NAME && !text.chars().any(char::is_control)
}

/// The TOML crate keeps tables sorted by key; the order of the file is in the spans.
fn in_file_order<'a>(table: &'a DeTable<'a>) -> Vec<(&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
