//! The inputs of a cell: drawn or brought in f64, then rounded once, so that every engine gets the same bits.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use crossover_compression::Saving;
use crossover_core::axes::Axes;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::inputs::{Distribution, Draw, draw};
use crossover_core::reference::HostInputs;
use crossover_core::weights::HostWeight;

use crate::descriptor::{DrawRule, Placed, Role};
use crate::registry::Entry;
use crate::resolve::{expect_resolved, name, precision, size};
use crate::variant::{Derived, matrices};

/// The inputs of one cell in their forms.
#[derive(Debug, Clone)]
pub struct CellInputs {
    /// As drawn or brought: f64.
    pub drawn: HostInputs,
    /// The drawn tensors as a dense implementation at this precision sees them.
    pub dense: HostInputs,
    /// As a perfect engine sees this variant's inputs: rounded to the storage type, weights to what their codes stand for.
    pub rounded: HostInputs,
    /// What engines upload, in the order of the description; activations first come first in a call.
    pub tensors: Vec<(Cow<'static, str>, Role, DType, HostTensor)>,
    /// What engines pack.
    pub weights: BTreeMap<Cow<'static, str>, Vec<HostWeight>>,
    /// What the variant's host transforms took and saved, where it has any.
    pub transform: Option<Transform>,
}

/// What host transforms took and saved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transform {
    /// Their time.
    pub derive_ns: u64,
    /// What they saved over all weights, where they compress any.
    pub saved: Option<Saving>,
}

/// Draws tensors from a cell's seed and distribution.
pub fn draw_tensors(tensors: &[Placed], axes: &Axes) -> Result<HostInputs> {
    let distribution = name(axes, "distribution");
    let distribution = Distribution::from_name(distribution)
        .ok_or_else(|| shape_error("inputs", format!("there is no distribution {distribution:?}: the axes are not resolved")))?;
    let seed = size(axes, "seed") as u64;
    tensors
        .iter()
        .map(|tensor| {
            let drawn = draw(&tensor.name, &tensor.shape, rule(tensor, axes), distribution, seed)?;
            Ok((tensor.name.clone().into_owned(), drawn))
        })
        .collect()
}

fn rule(tensor: &Placed, axes: &Axes) -> Draw {
    match tensor.draw {
        DrawRule::Distribution => Draw::Activation,
        DrawRule::FanIn => Draw::Normal { deviation: 1.0 / (tensor.shape.last().copied().unwrap_or(1).max(1) as f64).sqrt() },
        DrawRule::Around(mean, deviation) => Draw::Around { mean, deviation },
        DrawRule::Below(bound) => Draw::Below { bound: bound(axes) },
    }
}

impl CellInputs {
    /// Rounds tensors to a cell's precision, and runs the variant's host transforms on them as drawn.
    pub fn new(entry: &Entry, axes: &Axes, drawn: HostInputs) -> Result<Self> {
        Self::at(entry, axes, precision(axes), drawn)
    }

    /// The same at f64: what the variant computes if nothing is rounded.
    pub fn unrounded(entry: &Entry, axes: &Axes, drawn: HostInputs) -> Result<Self> {
        let mut exact = axes.clone();
        exact.insert("precision".into(), "f64".into());
        Self::at(entry, &exact, Precision::F64, drawn)
    }

    fn at(entry: &Entry, axes: &Axes, precision: Precision, drawn: HostInputs) -> Result<Self> {
        expect_resolved(entry.descriptor, axes).map_err(|error| shape_error(entry.descriptor.name, error.to_string()))?;
        let (mut derived, transform) = transformed(entry, axes, &drawn)?;
        let (mut dense, mut tensors, mut weights) = (HostInputs::new(), Vec::new(), BTreeMap::new());
        for tensor in entry.drawn(axes) {
            let missing = || shape_error(entry.descriptor.name, format!("the tensor {:?} is missing", tensor.name));
            let values = drawn.get(tensor.name.as_ref()).ok_or_else(missing)?;
            let dtype = if tensor.is_index() { DType::I32 } else { precision.storage() };
            let replaced = derived.weights.iter().map(|(name, _)| name).chain(derived.tensors.iter().map(|(name, _)| name));
            let replaced = replaced.into_iter().any(|name| *name == tensor.name);
            let seen = match tensor.role {
                // A source may also be an activation of more dimensions, of which a cache or pooled heads are made.
                Role::Weight | Role::Source if matches!(values.shape().len(), 2 | 3) && !tensor.is_index() => {
                    let packed =
                        matrices(values)?.iter().map(|matrix| HostWeight::for_precision(matrix, precision)).collect::<Result<Vec<_>>>()?;
                    let seen = dequantized(&packed, values.shape())?;
                    if tensor.role == Role::Weight && !replaced {
                        weights.insert(tensor.name.clone(), packed);
                    }
                    seen
                }
                role => {
                    let seen = if dtype == DType::I32 { values.clone() } else { values.rounded(dtype) };
                    if role != Role::Source && !replaced {
                        tensors.push((tensor.name.clone(), role, dtype, seen.clone()));
                    }
                    seen
                }
            };
            dense.insert(tensor.name.into_owned(), seen);
        }
        let mut rounded = dense.clone();
        for tensor in entry.derived(axes) {
            if let Some(at) = derived.tensors.iter().position(|(name, _)| *name == tensor.name) {
                let (name, values) = derived.tensors.swap_remove(at);
                let dtype = if tensor.is_index() { DType::I32 } else { precision.storage() };
                let seen = if dtype == DType::I32 { values } else { values.rounded(dtype) };
                expect_shape(&tensor, seen.shape())?;
                rounded.insert(name.clone().into_owned(), seen.clone());
                tensors.push((name, tensor.role, dtype, seen));
            } else if let Some(at) = derived.weights.iter().position(|(name, _)| *name == tensor.name) {
                let (name, packed) = derived.weights.swap_remove(at);
                rounded.insert(name.clone().into_owned(), dequantized(&packed, &tensor.shape)?);
                weights.insert(name, packed);
            } else {
                return Err(shape_error("derive", format!("{} promises {:?} and does not make it", entry.descriptor.name, tensor.name)));
            }
        }
        Ok(Self { drawn, dense, rounded, tensors, weights, transform })
    }

    /// Bytes of weights, activations, vectors and state, once each.
    pub fn bytes(&self) -> usize {
        let tensors = self.tensors.iter().map(|(_, _, dtype, values)| dtype.bytes(values.len()).unwrap_or(usize::MAX));
        let weights = self.weights.values().flatten().map(HostWeight::ideal_bytes);
        tensors.chain(weights).fold(0, usize::saturating_add)
    }
}

/// Runs the host transforms, and tells what they took and saved.
fn transformed(entry: &Entry, axes: &Axes, drawn: &HostInputs) -> Result<(Derived, Option<Transform>)> {
    let start = Instant::now();
    let derived = entry.derive(axes, drawn)?;
    let derive_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let makes_any = !derived.tensors.is_empty() || !derived.weights.is_empty();
    let transform = makes_any.then(|| Transform { derive_ns, saved: Saving::total(&derived.savings) });
    Ok((derived, transform))
}

/// What weights stand for, one after the other, in a shape of as many values.
fn dequantized(weights: &[HostWeight], shape: &[usize]) -> Result<HostTensor> {
    let values = weights.iter().flat_map(|weight| weight.dequantized().values().to_vec()).collect();
    HostTensor::new(shape, values)
}

fn expect_shape(tensor: &Placed, found: &[usize]) -> Result<()> {
    if found == tensor.shape {
        return Ok(());
    }
    Err(shape_error("derive", format!("{} is {found:?}, promised {:?}", tensor.name, tensor.shape)))
}
