//! Choices: extremes, argmax, top-k, order.
//!
//! A choice is determined if the gap to every rival is more than [`SLACK`](super::SLACK) deviations of the difference, or if both are
//! exact (then ties go by index, as on every engine). Otherwise the index is undetermined, while the chosen *value* is still known: an
//! order statistic moves by no more than the largest error among those that may take its place.

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
    order.truncate(k);
    let value = |&at: &usize| Estimate { variance: widest_rival(row[at], row), ..row[at] };
    (order.iter().map(value).collect(), order.iter().map(|&at| chosen_index(row, at)).collect())
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
