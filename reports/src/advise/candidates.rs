//! Points at the sizes of the question: measured, or between two measured ones of a curve.

use std::collections::BTreeMap;

use crossover_core::axes::{Axes, AxisValue};
use crossover_variants::{registry, resolve};
use polars::prelude::*;

use super::points::Point;
use super::question::Question;
use crate::frames::order::AxisRoles;
use crate::frames::series::series;

/// A cell that answers the question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) point: Point,
    /// What it lies between, where it was not measured.
    pub(crate) between: Option<Between>,
}

/// Neighbours on a curve.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Between {
    pub(crate) axis: &'static str,
    pub(crate) below: Point,
    pub(crate) above: Point,
}

impl Between {
    /// How far the neighbours are apart.
    fn span(&self) -> f64 {
        self.above.number(self.axis).unwrap_or(f64::INFINITY) / self.below.number(self.axis).unwrap_or(f64::NAN)
    }
}

/// All of them, each cell once: measured before interpolated, near neighbours before far ones.
pub(super) fn candidates(cells: &DataFrame, roles: &AxisRoles, points: &[Point], question: &Question) -> PolarsResult<Vec<Candidate>> {
    let is_at = |point: &Point, axis: &str, wanted: i64| point.axes.get(axis) == Some(&AxisValue::Int(wanted));
    let misses = |point: &Point| -> Vec<&'static str> {
        question.sizes(&point.axes).into_iter().filter(|(axis, wanted)| !is_at(point, axis, *wanted)).map(|(axis, _)| axis).collect()
    };
    let mut found: BTreeMap<(String, String, String), Candidate> = BTreeMap::new();
    let key = |point: &Point| {
        let (variant, engine, axes) = point.cell();
        (variant.to_owned(), engine.to_owned(), axes)
    };
    for point in points.iter().filter(|point| misses(point).is_empty()) {
        found.insert(key(point), Candidate { point: point.clone(), between: None });
    }
    for axis in ["n", "n_kv", "d_model", "d_in", "d_out", "heads", "head_dim"] {
        // Points that are at all sizes, or at all but this one.
        let curve: Vec<&Point> =
            points.iter().filter(|point| matches!(misses(point)[..], [] | [_]) && misses(point).iter().all(|miss| *miss == axis)).collect();
        for between in neighbours(cells, roles, &curve, axis, question)? {
            let Some(point) = interpolated(&between, question) else { continue };
            let known = found.get(&key(&point));
            let is_nearer = known.is_none_or(|known| known.between.as_ref().is_some_and(|known| between.span() < known.span()));
            if is_nearer {
                found.insert(key(&point), Candidate { point, between: Some(between) });
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The neighbours of the question on every curve of these points along which the axis moves.
fn neighbours(
    cells: &DataFrame,
    roles: &AxisRoles,
    points: &[&Point],
    axis: &'static str,
    question: &Question,
) -> PolarsResult<Vec<Between>> {
    let rows: Vec<IdxSize> = points.iter().filter_map(|point| IdxSize::try_from(point.row?).ok()).collect();
    let frame = cells.take(&IdxCa::from_vec(PlSmallStr::EMPTY, rows))?;
    let mut found = Vec::new();
    for curve in series(&frame, roles)? {
        let mut along: Vec<(f64, &Point)> =
            curve.points.iter().filter_map(|(_, row)| Some((points[*row].number(axis)?, points[*row]))).collect();
        along.sort_by(|one, other| one.0.total_cmp(&other.0));
        // Of a curve along which another axis moves, all points are at one place.
        if along.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            continue;
        }
        let Some((_, wanted)) =
            along.first().and_then(|(_, point)| question.sizes(&point.axes).into_iter().find(|(name, _)| *name == axis))
        else {
            continue;
        };
        let after = along.partition_point(|(x, _)| *x < wanted as f64);
        if let (Some((_, below)), Some((x, above))) = (after.checked_sub(1).and_then(|before| along.get(before)), along.get(after))
            && *x > wanted as f64
        {
            found.push(Between { axis, below: (*below).clone(), above: (*above).clone() });
        }
    }
    Ok(found)
}

/// The point between; none where its axes do not follow from those of the neighbours, or nobody can run it.
fn interpolated(between: &Between, question: &Question) -> Option<Point> {
    let Between { axis, below, above } = between;
    let (_, wanted) = question.sizes(&below.axes).into_iter().find(|(name, _)| name == axis)?;
    let axes = axes_between(between, wanted)?;
    if let Some(entry) = registry::find(&below.variant) {
        // Refused where the values do not go together at this size.
        resolve::resolve(entry.descriptor, &axes).ok()?;
    }
    let (low, high) = (below.number(axis)?, above.number(axis)?);
    let place = (wanted as f64 / low).ln() / (high / low).ln();
    let along = |low: Option<f64>, high: Option<f64>| match (low?, high?) {
        (low, high) if low == high => Some(low),
        (low, high) if low > 0.0 && high > 0.0 => Some((low.ln() + place * (high / low).ln()).exp()),
        _ => None,
    };
    Some(Point {
        row: None,
        id: None,
        axes,
        ns: along(Some(below.ns), Some(above.ns))?,
        interval: None,
        bytes: along(below.bytes, above.bytes),
        error: along(below.error, above.error),
        own_function: below.own_function || above.own_function,
        ..below.clone()
    })
}

/// Each axis as it is at both ends, or with the share of the moving one that it has at both ends.
fn axes_between(between: &Between, wanted: i64) -> Option<Axes> {
    let Between { axis, below, above } = between;
    let (low, high) = (below.axes.get(*axis)?.as_int()?, above.axes.get(*axis)?.as_int()?);
    let mut axes = Axes::new();
    for (name, value) in &below.axes {
        let other = above.axes.get(name)?;
        let between = if name == axis {
            AxisValue::Int(wanted)
        } else if value == other {
            value.clone()
        } else {
            let (value, other) = (value.as_int()?, other.as_int()?);
            let is_share = i128::from(value) * i128::from(high) == i128::from(other) * i128::from(low);
            let scaled = value.checked_mul(wanted)?;
            if !is_share || scaled % low != 0 {
                return None;
            }
            AxisValue::Int(scaled / low)
        };
        axes.insert(name.clone(), between);
    }
    (axes.len() == above.axes.len()).then_some(axes)
}
