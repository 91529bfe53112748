//! What becomes of a ratio of times along a curve: the verdict, and where it goes through 1.
//!
//! Each point is *faster* where its whole interval is below 1 and the ratio by more than the run's noise floor, *slower* where they are above,
//! else *even*:
//!
//! | from small to large | verdict |
//! |---|---|
//! | all faster | `everywhere` |
//! | all slower | `never` |
//! | slower, perhaps even, then only faster | `from` |
//! | even, then only faster | `by` |
//! | only faster, perhaps even, then slower | `up-to` |
//! | more than one change | `mixed` |
//! | whatever else has even points | `undecided` |
//!
//! The crossing lies between the last point before the change and the first one after it. It is the zero of the logarithm of the ratio,
//! linear between points in the logarithm of the axis (in the axis itself where that is a share, or begins at 0). Its interval is bounded by the
//! zeros of the two curves that the ends of the ratios' intervals make, each moved by the noise floor: within the interval nothing is shown to be
//! faster or slower. So nothing is said beyond what was measured: "never" is "never up to" the last point.

/// What becomes of a variant along a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Undecided,
    Everywhere,
    Never,
    From,
    By,
    UpTo,
    Mixed,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Undecided => "undecided",
            Self::Everywhere => "everywhere",
            Self::Never => "never",
            Self::From => "from",
            Self::By => "by",
            Self::UpTo => "up-to",
            Self::Mixed => "mixed",
        }
    }

    /// Is it faster throughout, from some size on, or up to one?
    pub(super) fn wins(self) -> bool {
        matches!(self, Self::Everywhere | Self::From | Self::By | Self::UpTo)
    }
}

/// What a ratio of times shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Faster,
    Slower,
    Even,
}

impl State {
    /// Faster or slower by its whole interval and by more than the noise floor, else even.
    pub(crate) fn of(ratio: f64, low: f64, high: f64, floor: f64) -> Self {
        if high < 1.0 && ratio < 1.0 / (1.0 + floor) {
            Self::Faster
        } else if low > 1.0 && ratio > 1.0 + floor {
            Self::Slower
        } else {
            Self::Even
        }
    }
}

/// A point of a curve that has a ratio.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) row: usize,
    pub(super) ratio: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Point {
    pub(super) fn state(&self, floor: f64) -> State {
        State::of(self.ratio, self.low, self.high, floor)
    }
}

/// What was found along one curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) verdict: Verdict,
    /// The crossing and its interval.
    pub(super) crossing: Option<[f64; 3]>,
}

/// What becomes of any curve of ratios over sizes, given as place, ratio and the ends of its interval: the verdict, and the crossing with its interval.
pub(crate) fn along(points: &[[f64; 4]], floor: f64) -> (Verdict, Option<[f64; 3]>) {
    let points: Vec<Point> =
        points.iter().map(|[x, ratio, low, high]| Point { x: *x, row: 0, ratio: *ratio, low: *low, high: *high }).collect();
    let found = find(&points, floor);
    (found.verdict, found.crossing)
}

/// The verdict over points in the order of their places, and the crossing.
pub(super) fn find(points: &[Point], floor: f64) -> Found {
    let decided: Vec<(usize, State)> =
        points.iter().enumerate().map(|(at, point)| (at, point.state(floor))).filter(|(_, state)| *state != State::Even).collect();
    let changes: Vec<(usize, usize)> =
        decided.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| (pair[0].0, pair[1].0)).collect();
    let even = |points: &[Point]| points.iter().any(|point| point.state(floor) == State::Even);
    let verdict = match (decided.first().copied(), changes.as_slice()) {
        (Some((_, State::Faster)), []) if !even(points) => Verdict::Everywhere,
        (Some((first, State::Faster)), []) if !even(&points[first..]) => Verdict::By,
        (Some((_, State::Slower)), []) if !even(points) => Verdict::Never,
        (Some((_, State::Faster)), [(before, _)]) if !even(&points[..*before]) => Verdict::UpTo,
        (Some((_, State::Slower)), [(_, after)]) if !even(&points[*after..]) => Verdict::From,
        (_, [_, _, ..]) => Verdict::Mixed,
        _ => Verdict::Undecided,
    };
    let crossing = match (verdict, changes.first()) {
        (Verdict::From | Verdict::UpTo, Some((before, after))) => Some(crossing(&points[*before..=*after], floor)),
        _ => None,
    };
    Found { verdict, crossing }
}

/// The crossing between the first and the last of these points and its interval.
fn crossing(points: &[Point], floor: f64) -> [f64; 3] {
    let ratio = |point: &Point| point.ratio;
    let lowest = |point: &Point| point.low.min(point.ratio / (1.0 + floor));
    let highest = |point: &Point| point.high.max(point.ratio * (1.0 + floor));
    let curves: [&dyn Fn(&Point) -> f64; 3] = [&ratio, &lowest, &highest];
    let zeros = curves.map(|of| zeros(points, of));
    let all = |pick: fn(f64, f64) -> f64| zeros.iter().flatten().copied().reduce(pick);
    // The last zero, from which on nothing changes again.
    let middle = zeros[0].last().copied().unwrap_or(points[0].x);
    [middle, all(f64::min).unwrap_or(middle), all(f64::max).unwrap_or(middle)]
}

/// Where the logarithm of a ratio goes through zero between these points.
fn zeros(points: &[Point], of: &dyn Fn(&Point) -> f64) -> Vec<f64> {
    let is_linear = points.iter().any(|point| point.x <= 0.0) || points.iter().all(|point| point.x <= 1.0);
    let onto = |x: f64| if is_linear { x } else { x.ln() };
    let back = |x: f64| if is_linear { x } else { x.exp() };
    let between = |pair: &[Point]| {
        // An interval may be open, where there were too few samples for one; it then says nothing of where.
        let [left, right] = [of(&pair[0]), of(&pair[1])].map(|ratio| ratio.clamp(1e-9, 1e9).ln());
        let turns = (left > 0.0) != (right > 0.0);
        let share = left / (left - right);
        turns.then(|| back(onto(pair[0].x) + share * (onto(pair[1].x) - onto(pair[0].x))))
    };
    points.windows(2).filter_map(between).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, ratio: f64) -> Point {
        Point { x, row: 0, ratio, low: ratio * 0.9, high: ratio * 1.1 }
    }

    fn verdict(points: &[(f64, f64)], floor: f64) -> Found {
        find(&points.iter().map(|(x, ratio)| point(*x, *ratio)).collect::<Vec<_>>(), floor)
    }

    #[test]
    fn verdicts_follow_the_changes_and_the_undecided_decide_nothing() {
        let cases: [(&[f64], Verdict); 12] = [
            (&[2.0, 1.0, 0.5, 0.4], Verdict::From),
            (&[1.0, 2.0, 0.5], Verdict::From),
            (&[2.0, 0.5, 1.0], Verdict::Undecided),
            (&[1.0, 0.5, 0.4], Verdict::By),
            (&[0.5, 1.05, 2.0], Verdict::UpTo),
            (&[1.0, 0.5, 2.0], Verdict::Undecided),
            (&[0.5, 0.4, 0.5], Verdict::Everywhere),
            (&[0.5, 0.99], Verdict::Undecided),
            (&[3.0, 1.2, 2.0], Verdict::Never),
            (&[3.0, 1.01], Verdict::Undecided),
            (&[2.0, 0.5, 2.0], Verdict::Mixed),
            (&[1.0, 1.05, 0.95], Verdict::Undecided),
        ];
        for (ratios, expected) in cases {
            let points: Vec<_> = (0..).zip(ratios).map(|(power, ratio)| (f64::from(64 << power), *ratio)).collect();
            assert_eq!(verdict(&points, 0.0).verdict, expected, "{ratios:?}");
        }
        // Faster by its interval, but within the noise.
        assert_eq!(verdict(&[(64.0, 0.8), (128.0, 0.7)], 0.3).verdict, Verdict::By);
        assert_eq!(verdict(&[(64.0, 0.8), (128.0, 0.85)], 0.3).verdict, Verdict::Undecided);
    }

    #[test]
    fn a_power_law_crosses_where_it_says() {
        // The ratio is 1000 / n, so it is 1 at 1000, between the points; 10 % of it move the crossing by 10 %.
        let points: Vec<_> = [250.0, 500.0, 2000.0, 4000.0].map(|n| (n, 1000.0 / n)).into();
        let [middle, low, high] = verdict(&points, 0.0).crossing.unwrap();
        assert!((middle - 1000.0).abs() < 1e-6 && (low - 900.0).abs() < 1e-6 && (high - 1100.0).abs() < 1e-6, "{middle} {low} {high}");
        // Backwards it is the other direction.
        let points: Vec<_> = [250.0, 500.0, 2000.0, 4000.0].map(|n| (n, n / 1000.0)).into();
        let found = verdict(&points, 0.0);
        assert_eq!(found.verdict, Verdict::UpTo);
        assert!((found.crossing.unwrap()[0] - 1000.0).abs() < 1e-6);
    }

    #[test]
    fn an_undecided_stretch_widens_the_interval() {
        let [middle, low, high] = verdict(&[(64.0, 2.0), (128.0, 0.98), (256.0, 1.03), (512.0, 0.5)], 0.0).crossing.unwrap();
        assert!(low < 128.0 && high > 256.0 && middle > 256.0, "{middle} {low} {high}");
    }

    #[test]
    fn the_interval_of_a_crossing_ends_where_the_noise_does() {
        // Within 5 % of 1 at 128 and 256: nothing is shown before 512.
        let points = [(64.0, 2.0), (128.0, 0.98), (256.0, 0.97), (512.0, 0.5)];
        let exact: Vec<Point> = points.map(|(x, ratio)| Point { x, row: 0, ratio, low: ratio * 0.999, high: ratio * 1.001 }).into();
        let [_, _, known] = find(&exact, 0.0).crossing.unwrap();
        let found = find(&exact, 0.05);
        let [_, low, high] = found.crossing.unwrap();
        assert!(known < 128.0 && low < 128.0 && high > 256.0 && high < 512.0, "{known} {low} {high}");
        assert_eq!(found.verdict, Verdict::From);
    }

    #[test]
    fn an_axis_that_begins_at_nothing_is_linear() {
        let [middle, ..] = verdict(&[(0.0, 2.0), (4.0, 0.5), (16.0, 0.4)], 0.0).crossing.unwrap();
        assert!((middle - 2.0).abs() < 1e-9, "{middle}");
    }
}
