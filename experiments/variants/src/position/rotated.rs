//! Rotation of channel pairs by position: what the rotary methods share. They differ in the angles only.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::{BATCH, HEAD_DIM, HEADS, LENGTH, PER_HEAD, per_head};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Dim, Model, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, wrong_inputs};

/// Wavelengths reach from 2 pi to 2 pi times this.
pub(super) const BASE: AxisSpec = AxisSpec {
    name: "base",
    doc: "growth of the wavelengths over the channels",
    kind: AxisKind::Float { min: 1.0, max: 1e9 },
    default: AxisDefault::Float(10_000.0),
};

/// Where the first row stands.
pub(super) const OFFSET: AxisSpec = AxisSpec {
    name: "offset",
    doc: "position of the first row",
    kind: AxisKind::Int { min: 0, max: 1 << 30 },
    default: AxisDefault::Int(0),
};

/// By how much longer sequences are than those of training.
pub(super) const FACTOR: AxisSpec = AxisSpec {
    name: "factor",
    doc: "length over the length of training",
    kind: AxisKind::Float { min: 1.0, max: 1e6 },
    default: AxisDefault::Float(4.0),
};

/// Channels are rotated in pairs.
pub(super) const EVEN: Condition =
    Condition { text: "channels are rotated in pairs: head_dim must be even", holds: |axes| size(axes, "head_dim").is_multiple_of(2) };

const fn table(name: &'static str) -> DerivedSpec {
    DerivedSpec {
        name,
        role: Role::Vector,
        shape: &[Dim::Axis("n"), Dim::Of("head_dim / 2", |axes| size(axes, "head_dim") / 2)],
        form: None,
    }
}

const TENSORS: &[TensorSpec] = &[per_head("q")];

const TABLES: &[DerivedSpec] = &[table("cosines"), table("sines")];

/// What the variants share.
pub(super) const fn description(
    [name, summary, citation]: [&'static str; 3],
    parameters: &'static [AxisSpec],
    conditions: &'static [Condition],
) -> Descriptor {
    Descriptor {
        name,
        summary,
        citation,
        task: "position/rotary",
        problem: &[BATCH, HEADS, LENGTH, HEAD_DIM],
        parameters,
        tensors: TENSORS,
        derived: TABLES,
        output: PER_HEAD,
        conditions,
        model: Model { flops: "3*batch*heads*n*head_dim", scratch: "0" },
    }
}

/// Cosine and sine of each angle, by position and frequency; made in f64 and rounded once to the storage type.
pub(super) fn tables(axes: &Axes, angle: impl Fn(f64, f64) -> f64) -> Result<Derived> {
    let (n, half, offset) = (size(axes, "n"), size(axes, "head_dim") / 2, size(axes, "offset"));
    // Frequency i of d / 2 has the exponent 2 i / d.
    let exponent = |pair: usize| pair as f64 / half.max(1) as f64;
    let angles: Vec<f64> = (0..n)
        .flat_map(|row| (0..half).map(move |pair| (row, pair)))
        .map(|(row, pair)| angle((offset + row) as f64, exponent(pair)))
        .collect();
    let of = |function: fn(f64) -> f64| HostTensor::new(&[n, half], angles.iter().map(|angle| function(*angle)).collect());
    Ok(Derived::default().tensor("cosines", of(f64::cos)?).tensor("sines", of(f64::sin)?))
}

/// The tables.
pub struct Rotated<B: TransformerBackend> {
    cosines: Tensor<B::Buffer>,
    sines: Tensor<B::Buffer>,
}

impl<B: TransformerBackend> Rotated<B> {
    /// Takes them.
    pub(super) fn bind(operands: &mut Operands<B>) -> Result<Self> {
        Ok(Self { cosines: operands.tensor("cosines")?, sines: operands.tensor("sines")? })
    }
}

impl<B: TransformerBackend> Bound<B> for Rotated<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q] = inputs else { return Err(wrong_inputs("position/rotary", inputs)) };
        backend.rotary(q, self.cosines.view(), self.sines.view(), out, scratch)
    }
}
