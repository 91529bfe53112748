//! Sinusoidal positions: a fixed table of sines and cosines added to the input.
//!
//! Vaswani et al. 2017, section 3.5: channel 2 i of position p is sin(p / 10000^(2 i / d)), channel 2 i + 1 the cosine. The table is made once
//! on the host; a call costs one sum an element.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::BinaryOp;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use crate::descriptor::{AxisSpec, DerivedSpec, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::linear::{BATCH, ROWS, width};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Sinusoidal;

/// A table [positions, channels], of which as many rows are added as there are tokens.
pub struct Added<B: TransformerBackend> {
    pub(super) table: Tensor<B::Buffer>,
}

pub(super) const PROBLEM: &[AxisSpec] = &[BATCH, ROWS, width("d_model", "width of the input", 768)];

pub(super) const STREAM: &[Dim] = &[Dim::Rows, Dim::Axis("d_model")];

pub(super) const X: TensorSpec =
    TensorSpec { name: "x", role: Role::Activation, shape: STREAM, draw: DrawRule::Distribution, only_with: None };

impl Variant for Sinusoidal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "position/sinusoidal",
        summary: "a fixed table of sines and cosines added to the input",
        citation: "Vaswani et al. 2017, section 3.5",
        task: "position/embedding",
        problem: PROBLEM,
        parameters: &[],
        tensors: &[X],
        derived: &[DerivedSpec { name: "table", role: Role::Vector, shape: &[Dim::Axis("n"), Dim::Axis("d_model")], form: None }],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "batch*n*d_model", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Added<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Added<B>> {
        Ok(Added { table: operands.tensor("table")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        Ok(Derived::default().tensor("table", table(size(axes, "n"), size(axes, "d_model"))?))
    }
}

/// The sines and cosines: [n, width].
pub(crate) fn table(n: usize, width: usize) -> Result<HostTensor> {
    let entry = |(position, channel): (usize, usize)| {
        let angle = position as f64 * 10_000f64.powf(-((channel / 2 * 2) as f64) / width as f64);
        if channel.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    let entries = (0..n).flat_map(|position| (0..width).map(move |channel| (position, channel)));
    HostTensor::new(&[n, width], entries.map(entry).collect())
}

impl<B: TransformerBackend> Bound<B> for Added<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs("position/embedding", inputs)) };
        let table = self.table.view().narrow(0, 0, x.layout.dim_from_end(1))?;
        backend.binary(BinaryOp::Add, Operand::Of(x), table, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, run};

    #[test]
    fn the_first_row_is_known_and_products_of_rows_depend_on_their_distance() {
        let axes = axes::<Sinusoidal>(&[("batch", 2.into()), ("n", 30.into()), ("d_model", 16.into())]);
        let inputs = [("x".to_owned(), HostTensor::new(&[2, 30, 16], vec![0.0; 960]).unwrap())].into();
        let out = run::<Sinusoidal>(&axes, &inputs);
        let rows: Vec<&[f64]> = out.values().chunks(16).collect();
        assert_eq!(rows[0], [0.0, 1.0].repeat(8));
        assert_eq!(rows[..30], rows[30..]);
        assert_eq!((rows[1][0], rows[1][1]), (1f64.sin(), 1f64.cos()));
        assert!((rows[7][15] - (7.0 / 10_000f64.powf(14.0 / 16.0)).cos()).abs() < 1e-15);
        let dot = |a: usize, b: usize| rows[a].iter().zip(rows[b]).map(|(a, b)| a * b).sum::<f64>();
        assert!((dot(2, 7) - dot(20, 25)).abs() < 1e-12 && (dot(2, 7) - dot(2, 8)).abs() > 1e-3);
    }
}
