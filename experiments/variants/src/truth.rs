//! What a cell's output is held against: the exact operation, a right implementation of the variant, and the plain dense operation.
//!
//! A dense operation gives its rows one by one, without any engine; a variant that is its own reference is run once, whole, on the engine
//! that tracks rounding errors. [`crate::verify`] compares an output with both.

use crossover_core::axes::Axes;
use crossover_core::dtype::Precision;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::reference::running::SLACK;
use crossover_core::reference::{Arithmetic, BoundedRow, ExactOperation, HostInputs};

use crate::inputs::CellInputs;
use crate::registry::Entry;
use crate::variant::Reference;

/// The references of one cell: a dense operation gives them row by row, the variant itself at once.
pub(crate) struct Truths {
    reference: Source,
    exact: Source,
    /// The exact operation is what the engine computes, on the inputs that it gets: no need to compute it twice at f64.
    same: bool,
}

enum Source {
    Operation(ExactOperation),
    /// Values and the deviation of their errors.
    Values(HostTensor, HostTensor),
}

/// The variant at f64 on inputs that nobody rounded.
fn unrounded(entry: &Entry, axes: &Axes, drawn: HostInputs) -> Result<Source> {
    let mut at_f64 = axes.clone();
    at_f64.insert("precision".into(), "f64".into());
    let (values, deviations) = entry.run_reference(&at_f64, &CellInputs::unrounded(entry, axes, drawn)?)?;
    Ok(Source::Values(values, deviations))
}

/// What one row of the output is held against.
pub(crate) struct TrueRow {
    pub(crate) reference: Vec<f64>,
    /// The bounds come from the reference engine, where an infinite one says that a discrete choice hangs on rounding.
    pub(crate) tracked: bool,
    pub(crate) bounds: Vec<f64>,
    pub(crate) exact: Vec<f64>,
    /// By the plain dense operation at the cell's precision.
    pub(crate) plain: Option<Vec<f64>>,
}

impl Truths {
    /// By the variant's own word.
    pub(crate) fn of(entry: &Entry, axes: &Axes, inputs: &CellInputs) -> Result<Self> {
        let (reference, exact) = (entry.reference(axes), entry.exact(axes));
        let same = reference == exact && entry.derived(axes).is_empty() && matches!(exact, Reference::Operation(_));
        let itself = |inputs: &CellInputs| -> Result<Source> {
            let (values, deviations) = entry.run_reference(axes, inputs)?;
            Ok(Source::Values(values, deviations))
        };
        let exact = match exact {
            Reference::Operation(operation) => Source::Operation(operation),
            Reference::Itself => unrounded(entry, axes, inputs.drawn.clone())?,
            Reference::ItselfWith(other) => unrounded(entry, &other, entry.draw(&other)?)?,
        };
        let reference = match reference {
            Reference::Operation(operation) => Source::Operation(operation),
            Reference::Itself => itself(inputs)?,
            Reference::ItselfWith(other) => itself(&CellInputs::new(entry, &other, entry.draw(&other)?)?)?,
        };
        Ok(Self { reference, exact, same })
    }

    fn operations(&self) -> impl Iterator<Item = &ExactOperation> {
        [&self.reference, &self.exact]
            .into_iter()
            .filter_map(|source| if let Source::Operation(operation) = source { Some(operation) } else { None })
    }

    /// Rows that an operation says there are.
    pub(crate) fn rows(&self, inputs: &CellInputs) -> Result<Option<usize>> {
        self.operations().next().map(|operation| operation.rows(&inputs.rounded)).transpose()
    }

    /// Multiply-adds of the dearest row.
    pub(crate) fn row_terms(&self, inputs: &CellInputs) -> Result<usize> {
        self.operations().map(|operation| operation.row_terms(&inputs.dense)).try_fold(1, |most, terms| Ok(most.max(terms?)))
    }

    /// Exact attention, and nothing else?
    pub(crate) fn is_attention(&self) -> bool {
        self.same && matches!(self.exact, Source::Operation(ExactOperation::Attention { .. }))
    }

    /// One row of each.
    pub(crate) fn row(&self, inputs: &CellInputs, row: usize, precision: Precision) -> Result<TrueRow> {
        let BoundedRow { values: reference, bounds } = match &self.reference {
            Source::Operation(operation) => operation.bounded_row(&inputs.rounded, row, precision)?,
            Source::Values(values, deviations) => tracked_row(values, deviations, row, precision),
        };
        let exact = match &self.exact {
            Source::Operation(_) if self.same && precision == Precision::F64 => reference.clone(),
            Source::Operation(operation) => operation.row(&inputs.drawn, row, Arithmetic::EXACT)?,
            Source::Values(values, _) => row_of(values, row).to_vec(),
        };
        let plain = match &self.exact {
            Source::Operation(operation) => Some(operation.row(&inputs.dense, row, Arithmetic::plain(precision))?),
            Source::Values(..) => None,
        };
        Ok(TrueRow { reference, tracked: matches!(self.reference, Source::Values(..)), bounds, exact, plain })
    }
}

/// A row of the reference engine: the bound is so many standard deviations that chance does not reach it.
///
/// A bound as large as the values themselves says nothing, whatever the output is: such a value counts as undetermined.
fn tracked_row(values: &HostTensor, deviations: &HostTensor, row: usize, precision: Precision) -> BoundedRow {
    let storage = precision.storage();
    // Half of the smallest step that storage has.
    let tiny = storage.unit_roundoff() * storage.smallest_normal();
    let values = row_of(values, row).to_vec();
    let scale = (values.iter().map(|value| value * value).sum::<f64>() / values.len().max(1) as f64).sqrt();
    let bound = |deviation: &f64| if SLACK * deviation > scale { f64::INFINITY } else { SLACK * deviation + tiny };
    let bounds = row_of(deviations, row).iter().map(bound).collect();
    BoundedRow { values, bounds }
}

fn row_of(tensor: &HostTensor, row: usize) -> &[f64] {
    let width = tensor.shape().last().copied().unwrap_or(1);
    tensor.values().get(row * width..(row + 1) * width).unwrap_or(&[])
}
