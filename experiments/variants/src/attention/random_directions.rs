//! Random directions of feature maps, made on the host from drawn normal numbers, so that every engine gets the same ones.

use crossover_compression::qr::orthonormal_rows;
use crossover_core::axes::Axes;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;

use crate::descriptor::{DerivedSpec, Dim, DrawRule, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::source;

/// Standard normal numbers, [(redraw + 1) features, head_dim]: each redraw has rows of its own.
pub(super) const NORMALS: TensorSpec = TensorSpec {
    name: "normals",
    role: Role::Source,
    shape: &[Dim::Of("(redraw + 1) * features", |axes| (size(axes, "redraw") + 1) * size(axes, "features")), Dim::Axis("head_dim")],
    draw: DrawRule::Around(0.0, 1.0),
    only_with: None,
};

/// What is made of them.
pub(super) const DIRECTIONS: DerivedSpec =
    DerivedSpec { name: "directions", role: Role::Vector, shape: &[Dim::Axis("features"), Dim::Axis("head_dim")], form: None };

/// The rows of this cell's redraw times `scale`; made orthogonal in blocks of head_dim, keeping their lengths, where asked for.
pub(super) fn directions(axes: &Axes, drawn: &HostInputs, orthogonal: bool, scale: f64) -> Result<HostTensor> {
    let (features, width) = (size(axes, "features"), size(axes, "head_dim"));
    let normals = source(drawn, "normals")?;
    let first = size(axes, "redraw") * features * width;
    let Some(rows) = normals.values().get(first..first + features * width) else {
        return Err(shape_error("derive", format!("normals is {:?}, which has no {features} rows for this redraw", normals.shape())));
    };
    let scaled = |rows: &[f64]| rows.iter().map(|x| scale * x).collect();
    if !orthogonal {
        return HostTensor::new(&[features, width], scaled(rows));
    }
    let given = HostTensor::new(&[features, width], rows.to_vec())?;
    let made = orthonormal_rows(&given).map_err(|error| shape_error("derive", error.to_string()))?;
    // A normal row's length is independent of its direction: keeping it makes each row normal again, only no longer independent.
    let pairs = made.values().chunks(width.max(1)).zip(rows.chunks(width.max(1)));
    let values = pairs.flat_map(|(unit, row)| {
        let length = scale * row.iter().map(|x| x * x).sum::<f64>().sqrt();
        unit.iter().map(move |x| length * x)
    });
    HostTensor::new(&[features, width], values.collect())
}
