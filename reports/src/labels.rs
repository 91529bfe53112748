//! A cell in a few words: variant, engine, and those of its axes that are not the same in all cells of its family.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;

use crate::columns::{Typed, axis_columns, axis_name};

/// Writes them for the rows of one frame.
pub(crate) struct Labels<'a> {
    frame: &'a DataFrame,
    /// By family.
    varying: BTreeMap<&'a str, Vec<String>>,
}

impl<'a> Labels<'a> {
    /// Looks at all rows, once.
    pub(crate) fn of(frame: &'a DataFrame) -> PolarsResult<Self> {
        let families = frame.texts("family")?;
        let mut varying: BTreeMap<&str, Vec<String>> = families.iter().flatten().map(|family| (family, Vec::new())).collect();
        for axis in axis_columns(frame.schema()) {
            let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
            for row in 0..frame.height() {
                if let (Some(family), Some(value)) = (families.get(row), frame.shown(&axis, row)?) {
                    values.entry(family).or_default().insert(value);
                }
            }
            for (family, _) in values.into_iter().filter(|(_, values)| values.len() > 1) {
                varying.entry(family).or_default().push(axis.clone());
            }
        }
        Ok(Self { frame, varying })
    }

    /// As `attention/flash on simd: n=256, threads=2`.
    pub(crate) fn label(&self, row: usize) -> PolarsResult<String> {
        let text = |column: &str| Ok::<_, PolarsError>(self.frame.texts(column)?.get(row).unwrap_or("?"));
        let mut axes = Vec::new();
        for axis in self.varying.get(text("family")?).into_iter().flatten() {
            axes.extend(self.frame.shown(axis, row)?.map(|value| format!("{}={value}", axis_name(axis))));
        }
        let colon = if axes.is_empty() { "" } else { ": " };
        Ok(format!("{} on {}{colon}{}", text("variant")?, text("engine")?, axes.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame};

    #[test]
    fn only_what_varies_in_the_family_is_said() {
        let cells = [Cell::default(), Cell { n: 256, baseline: true, ..Cell::default() }];
        let (both, one) = (frame(&cells), frame(&cells[..1]));
        let label = |frame: &DataFrame, row| Labels::of(frame).unwrap().label(row).unwrap();
        assert_eq!(label(&both, 0), "attention/flash on naive: n=128");
        assert_eq!(label(&both, 1), "attention/dense on naive: n=256");
        assert_eq!(label(&one, 0), "attention/flash on naive");
    }
}
