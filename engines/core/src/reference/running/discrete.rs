//! Choices: extremes, argmax, top-k, order.
//!
//! A choice is determined if the gap to every rival is more than [`SLACK`](super::SLACK) deviations of the difference, or if both are
//! exact (then ties go by index, as on every engine). Otherwise the index is undetermined, while the chosen *value* is still known: an
//! order statistic moves by no more than the largest error among those that may take its place.

use std::ops::Range;

use super::SLACK;
use super::buffer::Block;
use super::elementwise::apart;
use super::estimate::Estimate;
use crate::ops::ReduceOp;

/// The largest or smallest of a row that is not empty.
pub(super) fn extreme(op: ReduceOp, row: &[Estimate]) -> Estimate {
    let known = row.iter().all(|x| x.is_known());
    if row.iter().any(|x| x.value.is_nan()) {
        return Estimate::computed(f64::NAN, 0.0, known);
    }
    let better = |a: f64, b: f64| if op == ReduceOp::Min { a < b } else { a > b };
    let best = row.iter().copied().reduce(|best, x| if better(x.value, best.value) { x } else { best });
    best.map_or(Estimate::undetermined(0.0), |best| Estimate { variance: widest_rival(best, row), ..best })
}

/// The largest variance among those that may be this one in its place.
fn widest_rival(chosen: Estimate, row: &[Estimate]) -> f64 {
    let rivals = row.iter().filter(|&&x| !apart(x, chosen));
    rivals.fold(chosen.variance, |widest, x| widest.max(x.variance))
}

/// Index of the first largest value; a NaN counts as the largest.
pub(super) fn argmax(row: &[Estimate]) -> Estimate {
    let best = (0..row.len()).reduce(|best, at| if before(row, at, best) { at } else { best }).unwrap_or(0);
    chosen_index(row, best)
}

/// The index of a chosen element, undetermined if another may be in its place.
fn chosen_index(row: &[Estimate], index: usize) -> Estimate {
    let open = row.iter().enumerate().any(|(at, &x)| at != index && may_swap(x, row[index]));
    Estimate { value: index as f64, variance: if open { f64::INFINITY } else { 0.0 } }
}

fn may_swap(a: Estimate, b: Estimate) -> bool {
    let exact = a.variance == 0.0 && b.variance == 0.0;
    !exact && !apart(a, b)
}

/// The order "larger value, then lower index", NaN first.
fn before(row: &[Estimate], first: usize, second: usize) -> bool {
    let (a, b) = (row[first].value, row[second].value);
    let larger = a > b || (a.is_nan() && !b.is_nan());
    let equal = a == b || (a.is_nan() && b.is_nan());
    larger || (equal && first < second)
}

/// The k first of a row in that order: values, then indices.
pub(super) fn top_k(row: &[Estimate], k: usize) -> (Vec<Estimate>, Vec<Estimate>) {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| if before(row, a, b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater });
    let sorted: Vec<Estimate> = order.iter().map(|&at| row[at]).collect();
    let widest = row.iter().map(|x| x.variance).fold(0.0, f64::max);
    let (mut values, mut indices) = (Vec::with_capacity(k), Vec::with_capacity(k));
    for (place, &at) in order.iter().enumerate().take(k) {
        let near = within_reach(&sorted, place, widest);
        let rivals = &sorted[near.clone()];
        values.push(Estimate { variance: widest_rival(row[at], rivals), ..row[at] });
        let open = near.zip(rivals).any(|(other, &x)| other != place && may_swap(x, row[at]));
        indices.push(Estimate { value: at as f64, variance: if open { f64::INFINITY } else { 0.0 } });
    }
    (values, indices)
}

/// The places, in a row sorted from large to small, of all that may not be apart from the one at `place`: no pair errs by more than the
/// widest. Without it the choice of all of a long row would look at every pair. Where something is not finite, that is all of the row.
fn within_reach(sorted: &[Estimate], place: usize, widest: f64) -> Range<usize> {
    let value = sorted[place].value;
    let reach = SLACK * (sorted[place].variance + widest).sqrt();
    let is_finite = |x: Option<&Estimate>| x.is_some_and(|x| x.value.is_finite());
    // NaN stands first, the infinities at the ends.
    if !reach.is_finite() || !is_finite(sorted.first()) || !is_finite(sorted.last()) {
        return 0..sorted.len();
    }
    // A little more, so that rounding leaves nobody out.
    let reach = reach * (1.0 + 1e-9) + f64::MIN_POSITIVE;
    sorted.partition_point(|x| x.value > value + reach)..sorted.partition_point(|x| x.value >= value - reach)
}

/// The stable ascending order of keys. A key that is not known may stand anywhere, and moves the others.
pub(super) fn stable_argsort(keys: &Block, width: usize) -> Block {
    let mut out = Block::with_capacity(keys.values.len());
    for (values, variances) in keys.values.chunks(width.max(1)).zip(keys.variances.chunks(width.max(1))) {
        let known = variances.iter().all(|&variance| variance == 0.0);
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        order.iter().for_each(|&at| out.push(Estimate::computed(at as f64, 0.0, known)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[(f64, f64)]) -> Vec<Estimate> {
        values.iter().map(|&(value, deviation)| Estimate { value, variance: deviation * deviation }).collect()
    }

    #[test]
    fn a_close_rival_leaves_the_index_open_and_the_value_known() {
        let close = row(&[(1.0, 1e-3), (1.001, 1e-6), (0.0, 1e-3)]);
        let (values, indices) = top_k(&close, 2);
        assert!(indices.iter().all(|index| !index.is_known()));
        assert_eq!(values[0], Estimate { value: 1.001, variance: 1e-6 });
        assert_eq!(extreme(ReduceOp::Max, &close).variance, 1e-6);
        assert!(argmax(&row(&[(1.0, 1e-6), (1.001, 1e-6)])).is_known());
    }

    #[test]
    fn looking_at_the_near_ones_only_finds_the_same() {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / f64::from(1u32 << 31)
        };
        for scale in [0.0, 1e-6, 1e-3, 0.3] {
            let mut close = row(&(0..200).map(|_| (next(), scale * next())).collect::<Vec<_>>());
            for odd in [None, Some(f64::INFINITY), Some(f64::NAN)] {
                close[17].value = odd.unwrap_or(0.5);
                let (values, indices) = top_k(&close, 200);
                for (value, index) in values.iter().zip(&indices) {
                    let at = index.value as usize;
                    assert_eq!(value.variance, widest_rival(close[at], &close), "{scale} {odd:?}");
                    assert_eq!(index.is_known(), chosen_index(&close, at).is_known(), "{scale} {odd:?}");
                }
            }
        }
    }

    #[test]
    fn exact_ties_go_to_the_lower_index() {
        let ties = row(&[(1.0, 0.0), (2.0, 0.0), (2.0, 0.0)]);
        assert_eq!(argmax(&ties), Estimate::exact(1.0));
        assert_eq!(top_k(&ties, 3).1, [1.0, 2.0, 0.0].map(Estimate::exact));
    }

    #[test]
    fn an_unknown_value_leaves_every_choice_open() {
        let unknown = vec![Estimate::exact(1.0), Estimate::undetermined(-5.0)];
        assert!(!argmax(&unknown).is_known());
        assert!(!extreme(ReduceOp::Min, &unknown).is_known() && !extreme(ReduceOp::Max, &unknown).is_known());
        let keys = Block { values: vec![3.0, 1.0], variances: vec![0.0, f64::INFINITY] };
        assert!(stable_argsort(&keys, 2).iter().all(|index| !index.is_known()));
    }
}
