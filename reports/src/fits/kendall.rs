//! Rank correlation: do two lists put the same things in the same order? Kendall's tau-b (Kendall 1945), which allows for ties.

use std::cmp::Ordering;

/// How two lists of figures agree in their order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kendall {
    /// 1 is the same order, -1 the opposite one.
    pub(crate) tau: f64,
    /// The probability of an order that agrees (or disagrees) at least so much, if there were no connection; two-sided.
    pub(crate) chance: f64,
    /// The same of the clearest order that there could be: where it is large, nothing can be told from chance.
    pub(crate) clearest: f64,
}

/// Over these lists of pairs, where only figures of one list are compared with each other; none where either side has but one value in each.
pub(crate) fn kendall(lists: &[Vec<(f64, f64)>]) -> Option<Kendall> {
    let (mut score, mut tied, mut all) = (0i64, [0i64; 2], 0i64);
    for pairs in lists {
        for (at, first) in pairs.iter().enumerate() {
            for second in &pairs[at + 1..] {
                let orders = [first.0.total_cmp(&second.0), first.1.total_cmp(&second.1)];
                for side in 0..2 {
                    tied[side] += i64::from(orders[side] == Ordering::Equal);
                }
                score += orders[0] as i64 * orders[1] as i64;
                all += 1;
            }
        }
    }
    if tied.contains(&all) {
        return None;
    }
    let tau = score as f64 / (((all - tied[0]) * (all - tied[1])) as f64).sqrt();
    let counts: Vec<usize> = lists.iter().map(Vec::len).collect();
    Some(Kendall { tau, chance: chance(&counts, score.unsigned_abs()), clearest: chance(&counts, all.unsigned_abs()) })
}

/// The two-sided probability of a score of at least so much among all orders without ties. Ties make a large score rarer still, so with
/// them the figure is rather too large than too small.
///
/// A score is the number of all pairs less two for each inversion, and the orders of n things with k inversions come from those of n - 1 by
/// putting the last thing at 0 to n - 1 places before the end (Kendall 1938). Inversions of several lists add up.
fn chance(counts: &[usize], score: u64) -> f64 {
    let mut shares = vec![1.0];
    for things in counts.iter().flat_map(|count| 2..=*count) {
        let mut next = vec![0.0; shares.len() + things - 1];
        for (inversions, share) in shares.iter().enumerate() {
            for more in 0..things {
                next[inversions + more] += share / things as f64;
            }
        }
        shares = next;
    }
    let all = shares.len() as u64 - 1;
    let as_far = |inversions: &(usize, &f64)| (all as i64 - 2 * inversions.0 as i64).unsigned_abs() >= score;
    shares.iter().enumerate().filter(as_far).map(|(_, share)| share).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(left: &[f64], right: &[f64]) -> Kendall {
        kendall(&[left.iter().copied().zip(right.iter().copied()).collect()]).unwrap()
    }

    #[test]
    fn the_same_and_the_opposite_order() {
        assert_eq!(of(&[1.0, 2.0, 3.0, 4.0], &[10.0, 20.0, 30.0, 40.0]).tau, 1.0);
        let opposite = of(&[1.0, 2.0, 3.0, 4.0], &[4.0, 3.0, 2.0, 1.0]);
        // Two of the 24 orders of four things are as extreme.
        assert!(opposite.tau == -1.0 && (opposite.chance - 2.0 / 24.0).abs() < 1e-12 && opposite.clearest == opposite.chance);
    }

    #[test]
    fn a_worked_example_with_ties() {
        // Pairs: 10; concordant 6, discordant 1, ties: 2 on the left, 1 on the right: tau-b = 5 / sqrt(8 * 9).
        let found = of(&[1.0, 2.0, 2.0, 2.5, 2.5], &[1.0, 2.0, 3.0, 3.0, 2.5]);
        assert!((found.tau - 5.0 / 72f64.sqrt()).abs() < 1e-12, "{}", found.tau);
    }

    #[test]
    fn chance_is_that_of_the_published_table() {
        // Kendall's table for n = 10: a score of 23 or more has the probability 0.023, 31 or more 0.0023 (one-sided).
        assert!((chance(&[10], 23) / 2.0 - 0.023).abs() < 5e-4);
        assert!((chance(&[10], 31) / 2.0 - 0.0023).abs() < 5e-5);
        assert!((chance(&[3], 0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn of_several_lists_only_pairs_within_them_count() {
        // Each falls on one side and rises on the other; between the lists both rise.
        let lists = [vec![(1.0, 2.0), (2.0, 1.0)], vec![(10.0, 20.0), (20.0, 10.0)]];
        let found = kendall(&lists).unwrap();
        // One of the four orders of two pairs, and its opposite.
        assert!(found.tau == -1.0 && (found.chance - 0.5).abs() < 1e-12, "{found:?}");
        assert_eq!(kendall(&[vec![(1.0, 1.0)], vec![(2.0, 2.0)]]), None, "one of each length");
    }

    #[test]
    fn without_two_values_there_is_no_order() {
        assert_eq!(kendall(&[]), None);
        assert_eq!(kendall(&[vec![(1.0, 2.0)]]), None);
        assert_eq!(kendall(&[vec![(1.0, 2.0), (1.0, 3.0)]]), None);
    }
}
