//! The inputs of a cell: drawn or brought in f64, then rounded once, so that every engine gets the same bits.

use std::collections::BTreeMap;

use crossover_core::axes::Axes;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::inputs::{Distribution, Draw, draw};
use crossover_core::reference::HostInputs;
use crossover_core::weights::HostWeight;

use crate::descriptor::{Descriptor, DrawRule, Role, TensorSpec};
use crate::resolve::{name, precision, shape_of, size};

/// The inputs of one cell in their three forms.
#[derive(Debug, Clone)]
pub struct CellInputs {
    /// As drawn or brought: f64.
    pub drawn: HostInputs,
    /// As a perfect engine sees them: rounded to the storage type, weights to what their codes stand for.
    pub rounded: HostInputs,
    /// Weights in the form in which engines pack them.
    pub weights: BTreeMap<&'static str, HostWeight>,
}

/// Draws the tensors of a cell from its seed and distribution.
pub fn draw_tensors(descriptor: &Descriptor, axes: &Axes) -> Result<HostInputs> {
    let distribution = Distribution::from_name(name(axes, "distribution")).unwrap_or(Distribution::Gaussian);
    let seed = size(axes, "seed") as u64;
    let tensors = descriptor.tensors.iter().filter(|tensor| tensor.takes_part(axes));
    tensors
        .map(|tensor| {
            let shape = shape_of(tensor.shape, axes);
            let drawn = draw(tensor.name, &shape, rule(tensor, &shape), distribution, seed)?;
            Ok((tensor.name.to_owned(), drawn))
        })
        .collect()
}

fn rule(tensor: &TensorSpec, shape: &[usize]) -> Draw {
    match tensor.draw {
        DrawRule::Distribution => Draw::Activation,
        DrawRule::FanIn => Draw::Normal { deviation: 1.0 / (shape.last().copied().unwrap_or(1).max(1) as f64).sqrt() },
        DrawRule::Around(mean, deviation) => Draw::Around { mean, deviation },
    }
}

impl CellInputs {
    /// Rounds tensors to a cell's precision.
    pub fn new(descriptor: &Descriptor, axes: &Axes, drawn: HostInputs) -> Result<Self> {
        let precision = precision(axes);
        let (mut rounded, mut weights) = (HostInputs::new(), BTreeMap::new());
        for tensor in descriptor.tensors.iter().filter(|tensor| tensor.takes_part(axes)) {
            let Some(values) = drawn.get(tensor.name) else { continue };
            let seen = match tensor.role {
                Role::Activation | Role::Vector => values.rounded(precision.storage()),
                Role::Weight => {
                    let weight = HostWeight::for_precision(values, precision)?;
                    let seen = weight.dequantized();
                    weights.insert(tensor.name, weight);
                    seen
                }
            };
            rounded.insert(tensor.name.to_owned(), seen);
        }
        Ok(Self { drawn, rounded, weights })
    }

    /// A tensor as engines upload it.
    pub fn activation(&self, name: &str) -> Option<&HostTensor> {
        self.rounded.get(name)
    }
}
