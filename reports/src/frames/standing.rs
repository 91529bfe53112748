//! In which order the curves of one family on one engine are told, the same in the summary, in a spliced document and on the page.
//!
//! First what computes the exact result, the largest gain first; then approximations, the smallest error first; then what computes another
//! function in the baseline's place, the largest gain first; then what is faster too, but errs more than [`super::unprofitable::WRONG`], the
//! smallest error first; at last what is not faster from anywhere on. A first screen has one curve a variant, the first by this order, and
//! so many of each standing: the same variant in another setting, precision or number of threads tells little more.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use polars::prelude::*;

use crate::columns::Typed;

/// What a curve is to somebody who looks for something that pays, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Pays, and computes the exact result.
    Exact,
    /// Pays, as an approximation.
    Approximation,
    /// Pays, with a function of its own.
    AnotherFunction,
    /// Is faster, but too far off.
    FarOff,
    /// Is not faster from anywhere on.
    Not,
}

impl Standing {
    pub(crate) const ALL: [Self; 5] = [Self::Exact, Self::Approximation, Self::AnotherFunction, Self::FarOff, Self::Not];

    /// As the page has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Approximation => "approximation",
            Self::AnotherFunction => "another-function",
            Self::FarOff => "far-off",
            Self::Not => "not",
        }
    }

    pub(crate) fn pays(self) -> bool {
        self < Self::FarOff
    }

    /// Variants of a first screen.
    pub(crate) fn listed(self) -> usize {
        match self {
            Self::Exact | Self::Approximation | Self::FarOff => 6,
            Self::AnotherFunction => 3,
            Self::Not => 0,
        }
    }
}

/// These rows of the frame of crossovers with their standing, in order; of equals, the order of the rows is kept.
pub(crate) fn ordered(frame: &DataFrame, rows: &[usize]) -> PolarsResult<Vec<(usize, Standing)>> {
    let [exact, own, pays, wins] = ["exact", "own_function", "pays", "wins"].map(|column| frame.flags(column));
    let (exact, own, pays, wins) = (exact?, own?, pays?, wins?);
    let (errors, ratios) = (frame.doubles("err_method_rel")?, frame.doubles("ratio")?);
    let standing = |row: usize| match (pays.get(row), exact.get(row), own.get(row)) {
        (Some(true), Some(true), _) => Standing::Exact,
        (Some(true), _, Some(true)) => Standing::AnotherFunction,
        (Some(true), ..) => Standing::Approximation,
        _ if wins.get(row) == Some(true) => Standing::FarOff,
        _ => Standing::Not,
    };
    let key = |(row, standing): &(usize, Standing)| {
        let by_error = matches!(standing, Standing::Approximation | Standing::FarOff);
        if by_error { errors.get(*row) } else { ratios.get(*row) }.unwrap_or(f64::INFINITY)
    };
    let mut all: Vec<(usize, Standing)> = rows.iter().map(|row| (*row, standing(*row))).collect();
    all.sort_by(|one, other| one.1.cmp(&other.1).then_with(|| key(one).total_cmp(&key(other))));
    Ok(all)
}

/// Of rows in order those of a first screen.
pub(crate) fn firsts(frame: &DataFrame, ordered: &[(usize, Standing)]) -> PolarsResult<Vec<(usize, Standing)>> {
    let variants = frame.texts("variant")?;
    let mut seen = BTreeSet::new();
    let firsts: Vec<(usize, Standing)> = ordered.iter().copied().filter(|(row, _)| seen.insert(variants.get(*row))).collect();
    let of = |standing: Standing| firsts.iter().copied().filter(move |(_, other)| *other == standing).take(standing.listed());
    Ok(Standing::ALL.into_iter().flat_map(of).collect())
}

/// The frame with `standing` and `place`, the place of each row in the order of its family on its machine and engine.
pub(crate) fn with_standing(frame: &DataFrame) -> PolarsResult<DataFrame> {
    let [families, machines, engines] = ["family", "machine", "engine"].map(|column| frame.texts(column));
    let (families, machines, engines) = (families?, machines?, engines?);
    let of = |row: &usize| (families.get(*row), machines.get(*row), engines.get(*row));
    let mut rows: Vec<usize> = (0..frame.height()).collect();
    rows.sort_by_key(of);
    let (mut standings, mut places) = (vec![""; frame.height()], vec![0i64; frame.height()]);
    for set in rows.chunk_by(|one, other| of(one).cmp(&of(other)) == Ordering::Equal) {
        for (place, (row, standing)) in (1..).zip(ordered(frame, set)?) {
            (standings[row], places[row]) = (standing.name(), place);
        }
    }
    let mut frame = frame.clone();
    frame.with_column(Column::new("standing".into(), standings))?;
    frame.with_column(Column::new("place".into(), places))?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exact, with a function of its own, pays, wins, error, ratio.
    type Curve = (&'static str, bool, bool, bool, bool, f64, f64);

    fn frame(curves: &[Curve]) -> DataFrame {
        let flags = |of: fn(&Curve) -> bool| curves.iter().map(of).collect::<Vec<_>>();
        let text = |text: &'static str| vec![text; curves.len()];
        df!(
            "variant" => curves.iter().map(|curve| curve.0).collect::<Vec<_>>(),
            "exact" => flags(|curve| curve.1), "own_function" => flags(|curve| curve.2), "pays" => flags(|curve| curve.3), "wins" => flags(|curve| curve.4),
            "err_method_rel" => curves.iter().map(|curve| curve.5).collect::<Vec<_>>(), "ratio" => curves.iter().map(|curve| curve.6).collect::<Vec<_>>(),
            "family" => text("f"), "machine" => text("m"), "engine" => text("e"),
        )
        .unwrap()
    }

    fn curves() -> Vec<Curve> {
        vec![
            ("slow", false, false, false, false, 0.0, 2.0),
            ("rough", false, false, true, true, 0.09, 0.1),
            ("fine", false, false, true, true, 0.01, 0.9),
            ("wild", false, false, false, true, 0.5, 0.1),
            ("flash", true, false, true, true, 1e-7, 0.8),
            ("flash", true, false, true, true, 1e-3, 0.4),
            ("gated", false, true, true, true, 1e-7, 0.2),
        ]
    }

    #[test]
    fn exact_by_gain_then_approximations_by_error_then_others() {
        let frame = frame(&curves());
        let all = ordered(&frame, &[0, 1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(all.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [5, 4, 2, 1, 6, 3, 0]);
        let first: Vec<_> = firsts(&frame, &all).unwrap().into_iter().map(|(row, standing)| (row, standing.name())).collect();
        assert_eq!(first, [(5, "exact"), (2, "approximation"), (1, "approximation"), (6, "another-function"), (3, "far-off")]);
    }

    #[test]
    fn a_screen_has_so_many_of_each_standing() {
        const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let frame = frame(&NAMES.map(|name| (name, false, true, true, true, 0.0, 0.5)));
        let all = ordered(&frame, &[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
        assert_eq!((all.len(), firsts(&frame, &all).unwrap().len()), (8, 3));
    }

    #[test]
    fn every_row_has_its_place_in_its_family() {
        let frame = with_standing(&frame(&curves())).unwrap();
        assert_eq!(frame.ints("place").unwrap().iter().flatten().collect::<Vec<_>>(), [7, 4, 3, 6, 2, 1, 5]);
        assert_eq!(frame.texts("standing").unwrap().get(3), Some("far-off"));
    }
}
