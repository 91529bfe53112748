//! Knobs turned by hand and by the search.

use super::*;
use crate::registry::{entries, find};

fn at(given: &[(&str, i64)]) -> Axes {
    given.iter().map(|(name, value)| ((*name).to_owned(), AxisValue::Int(*value))).collect()
}

fn cost(variant: &str, given: &[(&str, i64)], mode: MatchMode) -> u64 {
    let entry = find(variant).unwrap();
    mode.cost(&entry, &resolve(entry.descriptor, &at(given)).unwrap()).unwrap()
}

fn turned(variant: &str, given: &[(&str, i64)], mode: MatchMode, target: u64) -> Matched {
    matched(&find(variant).unwrap(), &at(given), mode, target).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn parameters_are_stored_elements_of_weights() {
    let sizes = [("d_in", 24), ("d_out", 40)];
    assert_eq!(cost("linear/dense", &sizes, MatchMode::Parameters), 24 * 40);
    assert_eq!(cost("linear/low-rank", &[("d_in", 24), ("d_out", 40), ("rank", 3)], MatchMode::Parameters), 3 * (24 + 40));
    assert_eq!(cost("linear/csr", &sizes, MatchMode::Parameters), 24 * 40 / 2);
    assert_eq!(cost("ffn/dense", &[("d_model", 8), ("d_ff", 32)], MatchMode::Parameters), 2 * 8 * 32);
    assert_eq!(cost("attention/dense", &[], MatchMode::Parameters), 0);
}

#[test]
fn tables_that_nobody_trains_are_no_parameters() {
    let encoder = |position: &str| {
        let entry = find("model/encoder").unwrap();
        let mut given = at(&[("n", 16), ("d_model", 32), ("heads", 2), ("d_ff", 48), ("layers", 2)]);
        given.insert("position".to_owned(), position.into());
        MatchMode::Parameters.cost(&entry, &resolve(entry.descriptor, &given).unwrap()).unwrap()
    };
    let none = encoder("none");
    assert!(none > 0);
    assert_eq!([encoder("sinusoidal"), encoder("rope"), encoder("alibi")], [none; 3]);
    assert_eq!(encoder("learned"), none + 16 * 32);
    // Laid out anew with empty places, 10 words in 3 clusters are still 10 words.
    let sizes = [("vocabulary", 10), ("d_model", 4), ("clusters", 3)];
    assert_eq!(cost("softmax/hierarchical", &sizes, MatchMode::Parameters), (10 + 3) * 4);
}

#[test]
fn what_cannot_be_priced_is_an_error_and_not_free() {
    let sizes = [("n", 1 << 31), ("n_kv", 1 << 31), ("heads", 1), ("head_dim", 1)];
    let error = matched(&find("attention/dense").unwrap(), &at(&sizes), MatchMode::Flops, 1).unwrap_err();
    assert!(matches!(error, MatchError::Unpriced { variant: "attention/dense", .. }), "{error}");
}

/// rank (d_in + d_out) = share d_in d_out.
#[test]
fn the_rank_of_a_low_rank_layer_is_the_one_reckoned_by_hand() {
    for (d_in, d_out, share, rank) in [(256, 256, 0.25, 32), (768, 3072, 0.25, 154), (64, 4, 0.5, 2), (100, 300, 1.0, 75)] {
        let sizes = [("d_in", d_in), ("d_out", d_out)];
        let target = (share * (d_in * d_out) as f64) as u64;
        let found = turned("linear/low-rank", &sizes, MatchMode::Parameters, target);
        assert_eq!((found.axes["rank"].clone(), found.knob), (AxisValue::Int(rank), Ok("rank")), "{d_in} x {d_out}");
        assert_eq!(found.cost, (rank * (d_in + d_out)) as u64);
    }
}

#[test]
fn a_follower_of_the_knob_follows_it() {
    let found = turned("ffn/low-rank", &[("d_model", 64), ("d_ff", 256)], MatchMode::Parameters, 64 * 256 / 2);
    assert_eq!((&found.axes["rank"], &found.axes["rank2"]), (&AxisValue::Int(13), &AxisValue::Int(13)));
}

#[test]
fn a_knob_that_lowers_the_cost_is_turned_the_other_way() {
    let found = turned("linear/csr", &[("d_in", 64), ("d_out", 64)], MatchMode::Parameters, 64 * 64 / 4);
    assert_eq!((found.axes["sparsity"].clone(), found.cost), (AxisValue::Float(0.75), 1024));
}

#[test]
fn of_values_that_must_divide_the_nearest_is_taken() {
    // blocks (d_in + d_out) is 60 blocks, and of 1, 2, 3, 5, 6, .. 5 comes nearest.
    let found = turned("linear/monarch", &[("d_in", 30), ("d_out", 30)], MatchMode::Parameters, 310);
    assert_eq!((found.axes["blocks"].clone(), found.cost, found.knob), (AxisValue::Int(5), 300, Ok("blocks")));
}

#[test]
fn what_was_given_is_left_alone_and_said() {
    let found = turned("linear/low-rank", &[("d_in", 64), ("d_out", 64), ("rank", 5)], MatchMode::Parameters, 1024);
    assert_eq!((found.axes["rank"].clone(), found.cost), (AxisValue::Int(5), 640));
    assert_eq!(found.knob, Err("rank is set by the experiment".to_owned()));
    let found = turned("attention/flash", &[("n", 64)], MatchMode::Flops, 1);
    assert_eq!(found.knob, Err("no parameter of it sets its flops".to_owned()));
}

#[test]
fn the_knob_is_one_that_moves_the_cost() {
    let sizes = [("d_model", 32), ("d_ff", 64), ("n", 64)];
    assert_eq!(turned("ffn/moe-top1", &sizes, MatchMode::Parameters, 20_000).knob, Ok("experts"));
    let flops = cost("ffn/dense", &sizes, MatchMode::Flops);
    let found = turned("ffn/moe-top1", &sizes, MatchMode::Flops, flops / 2);
    assert!(found.knob.is_ok() && found.cost.abs_diff(flops / 2) < flops / 20, "{found:?}");
}

#[test]
fn windows_ranks_and_features_come_near_a_quarter_of_dense_attention() {
    let sizes = [("heads", 4), ("n", 256), ("head_dim", 32)];
    let target = cost("attention/dense", &sizes, MatchMode::Flops) / 4;
    for variant in ["attention/window", "attention/linformer", "attention/performer", "attention/block-sparse", "attention/longformer"] {
        let found = turned(variant, &sizes, MatchMode::Flops, target);
        let off = found.cost as f64 / target as f64 - 1.0;
        assert!(found.knob.is_ok() && off.abs() < 0.05, "{variant}: {off} {found:?}");
    }
}

/// No value that the search could have reported is nearer, by more than what experts add by rounding up their capacities (their cost
/// rises and falls a little, and the search halves): checked against all values of small knobs.
#[test]
fn nothing_is_nearer_than_what_is_found() {
    let sizes = [("n", 48), ("heads", 2), ("head_dim", 8), ("d_model", 24), ("d_ff", 48), ("d_in", 24), ("d_out", 36)];
    for entry in entries().into_iter().filter(|entry| ["attention", "linear", "ffn"].contains(&entry.descriptor.family())) {
        let given: Vec<(&str, i64)> = sizes.into_iter().filter(|(name, _)| entry.descriptor.axis(name).is_some()).collect();
        let start = cost(entry.descriptor.name, &given, MatchMode::Flops);
        for target in [start / 2, start * 3 / 2] {
            let found = turned(entry.descriptor.name, &given, MatchMode::Flops, target);
            let Ok(knob) = found.knob else { continue };
            if !matches!(entry.descriptor.axis(knob).unwrap().kind, AxisKind::Int { .. }) {
                continue;
            }
            for value in 1..=96 {
                let mut other = at(&given);
                other.insert(knob.to_owned(), AxisValue::Int(value));
                let Ok(other) = resolve(entry.descriptor, &other) else { continue };
                let other = MatchMode::Flops.cost(&entry, &other).unwrap();
                let name = entry.descriptor.name;
                assert!(
                    found.cost.abs_diff(target) <= other.abs_diff(target) + if name.contains("moe") { target / 50 } else { 0 },
                    "{name}: {knob} = {value} gives {other}, found {found:?}"
                );
            }
        }
    }
}
