//! The columns of a row and what kind of value each holds.

use std::collections::BTreeMap;

use crossover_core::dtype::Precision;
use crossover_variants::descriptor::AxisKind;
use crossover_variants::registry;
use crossover_variants::resolve::closest;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// One of these names.
    Names(Vec<&'static str>),
    /// A precision; spellings of the same triple are equal.
    Precision,
    /// Whole or real.
    Number,
    /// True or false.
    Truth,
    /// An axis that is a number in one variant and a name in another.
    Mixed,
}

/// Every column, by name.
pub(super) struct Columns(BTreeMap<&'static str, Kind>);

impl Columns {
    /// The columns of all registered variants.
    pub(super) fn registered() -> Self {
        let entries = registry::entries();
        let mut names: Vec<&'static str> = entries.iter().map(|entry| entry.descriptor.name).collect();
        let mut columns: BTreeMap<&'static str, Kind> = BTreeMap::new();
        for axis in entries.iter().flat_map(|entry| entry.descriptor.axes()) {
            let kind = match axis.kind {
                AxisKind::Int { .. } | AxisKind::Float { .. } => Kind::Number,
                AxisKind::Choice { of } => Kind::Names(of.to_vec()),
                AxisKind::Precision => Kind::Precision,
                AxisKind::Component { .. } | AxisKind::Text => Kind::Text,
            };
            columns.entry(axis.name).and_modify(|known| merge(known, &kind)).or_insert(kind);
        }
        columns.insert("variant", Kind::Names(names.clone()));
        names.iter_mut().for_each(|name| *name = name.split('/').next().unwrap_or(name));
        names.dedup();
        columns.insert("family", Kind::Names(names));
        columns.insert("engine", Kind::Text);
        columns.insert("experiment", Kind::Text);
        columns.insert("baseline", Kind::Truth);
        Self(columns)
    }

    /// The column of that name, or what to write instead.
    pub(super) fn find(&self, name: &str) -> Result<(&'static str, &Kind), String> {
        if let Some((name, kind)) = self.0.get_key_value(name) {
            return Ok((name, kind));
        }
        let nearest = closest(name, self.0.keys().copied()).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        let names: Vec<&str> = self.0.keys().copied().collect();
        Err(format!("{nearest}{}; text stands in double quotes", listed("columns", &names)))
    }
}

fn merge(known: &mut Kind, other: &Kind) {
    match (&mut *known, other) {
        (Kind::Names(names), Kind::Names(more)) => {
            names.extend(more.iter().filter(|name| !names.contains(name)).copied().collect::<Vec<_>>())
        }
        (known, other) if *known == *other => {}
        _ => *known = Kind::Mixed,
    }
}

/// More names than this are looked up, not read in an error.
const MOST_LISTED: usize = 24;

fn listed(what: &str, names: &[&str]) -> String {
    if names.len() <= MOST_LISTED {
        return format!("the {what} are {}", names.join(", "));
    }
    format!("`crossover list variants` shows all {what}")
}

impl Kind {
    /// The text as cells spell it, or what to write instead.
    pub(super) fn canonical(&self, text: &str) -> Result<String, String> {
        match self {
            Self::Names(names) if !names.contains(&text) => {
                let nearest = closest(text, names.iter().copied()).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
                Err(format!("{nearest}{}", listed("values", names)))
            }
            Self::Precision => text.parse::<Precision>().map(|precision| precision.to_string()),
            _ => Ok(text.to_owned()),
        }
    }
}
