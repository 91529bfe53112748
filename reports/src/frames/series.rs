//! Which cells are points of one curve: the same variant on the same engine, with one axis in motion and the others held.
//!
//! "Held" has three meanings, and a curve says which (column `setting`). An axis has one value (`rank = 64`); or one share of the moving
//! axis (`rank = n/8`), as sweeps over shares and defaults have it; or it follows the moving one in a way of its own, so that each point
//! has exactly one value (`window = 8..64`). Only sizes of the same kind follow: where a parameter moves, the problem stands. Names (a
//! precision, a distribution) and numbers that size nothing (threads, seeds) are always held to one value. Precision and threads have columns
//! of their own.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;

use super::order::AxisRoles;
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};

/// Axes that number things instead of sizing them, or that are no part of a call's shape.
const NOT_SIZES: [&str; 5] = ["axis:seed", "axis:pattern_seed", "axis:threads", "axis:eps", "axis:rope_base"];
/// Of several axes that move together, these name the curve.
const FIRST: [&str; 2] = ["axis:n", "axis:n_kv"];

/// A curve: rows of the frame it was made of, by the moving axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// The moving axis, as a column.
    pub(crate) axis: String,
    /// What is held: the parameters, and of the sizes those that are not the same in all cells of this variant and engine.
    pub(crate) setting: String,
    /// Its points, by increasing value.
    pub(crate) points: Vec<(f64, usize)>,
}

/// All curves with at least two points.
pub(crate) fn series(frame: &DataFrame, roles: &AxisRoles) -> PolarsResult<Vec<Series>> {
    let axes = Axes::of(frame, roles)?;
    let mut all = Vec::new();
    for rows in sets(frame)? {
        let varying: Vec<usize> = (0..axes.names.len()).filter(|axis| axes.distinct(*axis, &rows) > 1).collect();
        for moving in axes.moving(&varying, &rows) {
            all.extend(axes.curves(moving, &varying, &rows));
        }
    }
    Ok(all)
}

/// Rows of one run, machine, variant and engine.
fn sets(frame: &DataFrame) -> PolarsResult<Vec<Vec<usize>>> {
    let (runs, texts) = (frame.ints(RUN)?, ["machine", "variant", "engine"].map(|column| frame.texts(column)));
    let [machines, variants, engines] = texts;
    let (machines, variants, engines) = (machines?, variants?, engines?);
    let mut sets: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for row in 0..frame.height() {
        sets.entry((runs.get(row), machines.get(row), variants.get(row), engines.get(row))).or_default().push(row);
    }
    Ok(sets.into_values().collect())
}

struct Axes {
    names: Vec<String>,
    /// As people write them, by axis and row.
    texts: Vec<Vec<Option<String>>>,
    /// Of those that are numbers.
    numbers: Vec<Option<Vec<Option<f64>>>>,
    is_problem: Vec<bool>,
}

/// A whole number without a point: where a share of one variant and a count of another have the same name, a column has both as doubles.
fn plain(text: String) -> String {
    match text.strip_suffix(".0") {
        Some(whole) if whole.parse::<i64>().is_ok() => whole.to_owned(),
        _ => text,
    }
}

impl Axes {
    fn of(frame: &DataFrame, roles: &AxisRoles) -> PolarsResult<Self> {
        let mut axes = Self { names: Vec::new(), texts: Vec::new(), numbers: Vec::new(), is_problem: Vec::new() };
        let first = |name: &&String| FIRST.iter().position(|known| known == name).unwrap_or(FIRST.len());
        let mut named: Vec<(&String, bool)> = roles.problem.iter().map(|name| (name, true)).collect();
        named.extend(roles.parameters.iter().map(|name| (name, false)));
        named.sort_by_key(|(name, is_problem)| (!is_problem, first(name), (*name).clone()));
        for (name, is_problem) in named {
            let column = frame.column(name)?;
            let numeric = matches!(column.dtype(), DataType::Int64 | DataType::Float64) && !NOT_SIZES.contains(&name.as_str());
            let numbers = match numeric {
                true => Some(column.cast(&DataType::Float64)?.f64()?.iter().collect()),
                false => None,
            };
            axes.names.push(name.clone());
            axes.texts.push((0..frame.height()).map(|row| Ok(frame.shown(name, row)?.map(plain))).collect::<PolarsResult<_>>()?);
            axes.numbers.push(numbers);
            axes.is_problem.push(is_problem);
        }
        Ok(axes)
    }

    fn distinct(&self, axis: usize, rows: &[usize]) -> usize {
        rows.iter().map(|row| &self.texts[axis][*row]).collect::<BTreeSet<_>>().len()
    }

    /// True if each value of `axis` goes with one value of `other`.
    fn follows(&self, other: usize, axis: usize, rows: &[usize]) -> bool {
        let mut values = BTreeMap::new();
        rows.iter().all(|row| values.entry(&self.texts[axis][*row]).or_insert(&self.texts[other][*row]) == &&self.texts[other][*row])
    }

    /// The axes that may move: numbers, and of several sizes of the problem that move together the first.
    fn moving(&self, varying: &[usize], rows: &[usize]) -> Vec<usize> {
        let numeric = varying.iter().copied().filter(|axis| self.numbers[*axis].is_some());
        let mut moving: Vec<usize> = Vec::new();
        for axis in numeric {
            let leads = |leader: &usize| self.is_problem[*leader] && self.follows(axis, *leader, rows) && self.follows(*leader, axis, rows);
            if !moving.iter().any(leads) {
                moving.push(axis);
            }
        }
        moving
    }

    fn curves(&self, moving: usize, varying: &[usize], rows: &[usize]) -> Vec<Series> {
        let x = |row: usize| self.numbers[moving].as_ref().and_then(|numbers| numbers[row]);
        let rows: Vec<usize> = rows.iter().copied().filter(|row| x(*row).is_some()).collect();
        let (mut held, mut following) = (Vec::new(), Vec::new());
        for axis in varying.iter().copied().filter(|axis| *axis != moving) {
            let of_one_kind = self.is_problem[moving] || !self.is_problem[axis];
            let is_size = self.numbers[axis].is_some();
            match is_size && of_one_kind && self.distinct(axis, &rows) > 1 && self.follows(axis, moving, &rows) {
                true => following.push(axis),
                false => held.push((axis, self.share_is_simpler(axis, moving, &rows))),
            }
        }
        let mut curves: BTreeMap<Vec<Option<String>>, Vec<usize>> = BTreeMap::new();
        for row in rows {
            let key =
                held.iter().map(|(axis, as_share)| if *as_share { self.share(*axis, moving, row) } else { self.texts[*axis][row].clone() });
            curves.entry(key.collect()).or_default().push(row);
        }
        let several = |key: usize| curves.keys().map(|values| &values[key]).collect::<BTreeSet<_>>().len() > 1;
        let own_column = |axis: usize| [PRECISION, THREADS].contains(&self.names[axis].as_str());
        let told: Vec<bool> = (0..held.len()).map(|key| (several(key) || held[key].1) && !own_column(held[key].0)).collect();
        let mut all = Vec::new();
        for (values, rows) in &curves {
            let mut points: Vec<(f64, usize)> = rows.iter().filter_map(|row| Some((x(*row)?, *row))).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            if points.first().map(|point| point.0) == points.last().map(|point| point.0) {
                continue;
            }
            let fixed = held.iter().zip(values).zip(&told).filter(|(_, told)| **told);
            let mut setting: Vec<String> = fixed
                .filter_map(|(((axis, _), value), _)| Some(format!("{} = {}", axis_name(&self.names[*axis]), value.as_ref()?)))
                .collect();
            setting.extend(following.iter().filter_map(|axis| self.range(*axis, moving, &points)));
            let constant = (0..self.names.len()).filter(|axis| !self.is_problem[*axis] && !varying.contains(axis) && !own_column(*axis));
            setting.extend(constant.filter_map(|axis| {
                let value = self.texts[axis][points.first()?.1].as_ref().filter(|value| !value.is_empty())?;
                Some(format!("{} = {value}", axis_name(&self.names[axis])))
            }));
            all.push(Series { axis: self.names[moving].clone(), setting: setting.join(", "), points });
        }
        all
    }

    /// A share of the moving axis, as `n/8` or `1.5 n`.
    fn share(&self, axis: usize, moving: usize, row: usize) -> Option<String> {
        let (own, size) = (self.numbers[axis].as_ref()?[row]?, self.numbers[moving].as_ref()?[row]?);
        let (share, name) = (own / size, axis_name(&self.names[moving]));
        let inverse = (size / own * 1e6).round() / 1e6;
        Some(match share {
            1.0 => name.to_owned(),
            _ if share < 1.0 && inverse.fract() == 0.0 => format!("{name}/{inverse}"),
            _ => format!("{} {name}", (share * 1e6).round() / 1e6),
        })
    }

    /// True if the values of an axis are fewer when written as shares of the moving one.
    fn share_is_simpler(&self, axis: usize, moving: usize, rows: &[usize]) -> bool {
        let whole =
            |axis: usize| self.numbers[axis].as_ref().is_some_and(|numbers| rows.iter().filter_map(|row| numbers[*row]).all(|x| x >= 1.0));
        if !whole(axis) || !whole(moving) || (self.is_problem[axis] && !self.is_problem[moving]) {
            return false;
        }
        let shares: BTreeSet<Option<String>> = rows.iter().map(|row| self.share(axis, moving, *row)).collect();
        shares.len() < self.distinct(axis, rows)
    }

    fn range(&self, axis: usize, moving: usize, points: &[(f64, usize)]) -> Option<String> {
        let name = axis_name(&self.names[axis]);
        let mut shares = points.iter().map(|(_, row)| self.share(axis, moving, *row));
        if let Some(Some(share)) = shares.next()
            && shares.all(|other| other.as_ref() == Some(&share))
        {
            // The length of the keys is that of the queries everywhere but across two sequences.
            return (share != axis_name(&self.names[moving])).then(|| format!("{name} = {share}"));
        }
        let (first, last) = (&self.texts[axis][points.first()?.1], &self.texts[axis][points.last()?.1]);
        Some(match (first, last) {
            (Some(first), Some(last)) if first == last => format!("{name} = {first}"),
            (Some(first), Some(last)) => format!("{name} = {first}..{last}"),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame};

    fn curves(cells: &[(i64, Option<i64>)]) -> Vec<String> {
        let cells: Vec<Cell> = cells.iter().map(|(n, rank)| Cell { n: *n, rank: *rank, ..Cell::default() }).collect();
        let roles = AxisRoles { problem: vec!["axis:n".into(), "axis:precision".into()], parameters: vec!["axis:rank".into()] };
        let points = |series: &Series| series.points.iter().map(|(x, _)| x.to_string()).collect::<Vec<_>>().join(" ");
        let mut frame = frame(&cells);
        if !frame.schema().contains("axis:rank") {
            frame.with_column(Column::full_null("axis:rank".into(), cells.len(), &DataType::Int64)).unwrap();
        }
        series(&frame, &roles).unwrap().iter().map(|series| format!("{} [{}] {}", series.axis, series.setting, points(series))).collect()
    }

    #[test]
    fn one_value_a_share_and_a_follower() {
        assert_eq!(curves(&[(64, Some(8)), (128, Some(8)), (256, Some(8))]), ["axis:n [rank = 8] 64 128 256"]);
        assert_eq!(curves(&[(64, Some(8)), (128, Some(20)), (256, Some(32))]), ["axis:n [rank = 8..32] 64 128 256"]);
        let shares = [(64, Some(8)), (64, Some(16)), (128, Some(16)), (128, Some(32))];
        let expected = ["axis:n [rank = n/4] 64 128", "axis:n [rank = n/8] 64 128", "axis:rank [n = 128] 16 32", "axis:rank [n = 64] 8 16"];
        assert_eq!(curves(&shares), expected);
        let values = [(64, Some(8)), (64, Some(16)), (128, Some(8)), (128, Some(16)), (256, Some(8)), (256, Some(16))];
        assert!(curves(&values).contains(&"axis:n [rank = 8] 64 128 256".to_owned()), "{:?}", curves(&values));
    }

    #[test]
    fn a_parameter_does_not_carry_the_problem_with_it() {
        // The rank has one value at each length: a curve over the length, and none over the rank.
        assert_eq!(curves(&[(64, Some(8)), (256, Some(32))]), ["axis:n [rank = n/8] 64 256"]);
        assert_eq!(curves(&[(64, None)]), Vec::<String>::new());
    }

    #[test]
    fn the_order_of_cells_does_not_matter() {
        let mut cells = vec![(64, Some(8)), (64, Some(16)), (128, Some(16)), (128, Some(32))];
        let forward = curves(&cells);
        cells.reverse();
        assert_eq!(curves(&cells), forward);
    }
}
