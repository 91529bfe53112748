//! Tests of LSH attention.

use super::*;
use crate::attention::approximation::{assert_closed_forms, dense, dot, row, sized, weighted, with};
use crate::testing::{axes, axis_error, distance, drawn, judged, relative_error, run};
use crossover_core::axes::AxisValue;
use crossover_core::host::HostTensor;

#[test]
fn one_chunk_is_dense_attention_whatever_the_buckets() {
    for (hashes, buckets) in [(1, 2), (1, 6), (3, 4)] {
        let parameters: [(&str, AxisValue); 3] = [("hashes", hashes.into()), ("buckets", buckets.into()), ("chunk", 10.into())];
        let axes = axes::<Reformer>(&with(&sized(2, 10, 8), &parameters));
        let drawn = drawn::<Reformer>(&axes);
        assert!(distance(&run::<Reformer>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-12, "{hashes} {buckets}");
    }
}

#[test]
fn one_chunk_of_shared_queries_sees_all_but_itself() {
    let axes = axes::<Reformer>(&with(&sized(2, 10, 8), &[("chunk", 10.into()), ("shared_qk", "yes".into()), ("buckets", 2.into())]));
    let drawn = drawn::<Reformer>(&axes);
    let expected = weighted(&axes, &drawn, 0.0, |head, i, j| {
        let (q, k) = (row(&drawn["q"], head, i), row(&drawn["q"], head, j));
        if i == j { 0.0 } else { (dot(q, k) / dot(k, k).sqrt()).exp() }
    });
    assert!(distance(&run::<Reformer>(&axes, &drawn), &expected) < 1e-10);
}

#[test]
fn a_token_that_is_alone_sees_itself() {
    let axes = axes::<Reformer>(&with(&sized(2, 1, 8), &[("chunk", 1.into()), ("shared_qk", "yes".into()), ("buckets", 2.into())]));
    let drawn = drawn::<Reformer>(&axes);
    assert!(distance(&run::<Reformer>(&axes, &drawn), &drawn["v"]) < 1e-12);
}

/// The order of a head's rows by bucket, from the definition.
fn sorted(x: &HostTensor, rotation: &[f64], head: usize, half: usize) -> Vec<usize> {
    let bucket = |at: usize| {
        let sides: Vec<f64> = (0..half).map(|b| (0..8).map(|c| row(x, head, at)[c] * rotation[c * half + b]).sum()).collect();
        let all: Vec<f64> = sides.iter().copied().chain(sides.iter().map(|x| -x)).collect();
        (0..2 * half).fold(0, |best, b| if all[b] > all[best] { b } else { best })
    };
    let mut order: Vec<usize> = (0..x.shape()[2]).collect();
    order.sort_by_key(|&at| bucket(at));
    order
}

#[test]
fn a_round_shows_the_own_chunk_and_the_one_before() {
    let parameters: [(&str, AxisValue); 3] = [("hashes", 1.into()), ("buckets", 4.into()), ("chunk", 4.into())];
    let axes = axes::<Reformer>(&with(&sized(2, 16, 8), &parameters));
    let drawn = drawn::<Reformer>(&axes);
    let rotation = drawn["rotations"].values();
    let expected = weighted(&axes, &drawn, 0.0, |head, i, j| {
        let place = |name: &str, at: usize| sorted(&drawn[name], rotation, head, 2).iter().position(|&x| x == at).unwrap() / 4;
        let (query, key) = (place("q", i), place("k", j));
        let seen = key == query || key + 1 == query;
        if seen { (dot(row(&drawn["q"], head, i), row(&drawn["k"], head, j)) / 8f64.sqrt()).exp() } else { 0.0 }
    });
    assert!(distance(&run::<Reformer>(&axes, &drawn), &expected) < 1e-10);
}

#[test]
fn more_rounds_come_closer_on_clustered_tokens() {
    let error = |hashes: i64| {
        let parameters: [(&str, AxisValue); 4] =
            [("hashes", hashes.into()), ("buckets", 4.into()), ("chunk", 8.into()), ("distribution", "clustered".into())];
        let axes = axes::<Reformer>(&with(&sized(4, 32, 8), &parameters));
        let drawn = drawn::<Reformer>(&axes);
        relative_error(&run::<Reformer>(&axes, &drawn), &dense(&axes, &drawn))
    };
    let (few, many) = (error(1), error(16));
    assert!(many < 0.8 * few, "{few} {many}");
}

#[test]
fn both_forms_are_right_and_cost_what_they_say() {
    for shared in ["no", "yes"] {
        for chunk in [4, 16] {
            let parameters: [(&str, AxisValue); 5] =
                [("batch", 2.into()), ("hashes", 3.into()), ("buckets", 4.into()), ("chunk", chunk.into()), ("shared_qk", shared.into())];
            let given = with(&sized(2, 16, 8), &parameters);
            assert_eq!(judged::<Reformer>(&given).complaint, None, "{shared} {chunk}");
            assert_closed_forms::<Reformer>(&given);
        }
    }
}

#[test]
fn odd_buckets_and_chunks_that_do_not_divide_are_refused() {
    assert!(axis_error::<Reformer>(&[("buckets", 3.into())]).contains("buckets must be even"));
    assert!(axis_error::<Reformer>(&[("n", 16.into()), ("chunk", 5.into()), ("buckets", 2.into())]).contains("chunk must divide n"));
    assert!(axis_error::<Reformer>(&[("n_kv", 7.into())]).contains("n_kv = n"));
}
