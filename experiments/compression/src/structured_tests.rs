//! Scores, selections and what pruning leaves.

use proptest::prelude::*;

use super::*;
use crate::matrix::product;
use crate::testing::{distance, matrix, normal, not_finite};

#[test]
fn a_neuron_scores_what_it_reads_times_what_it_writes() {
    let incoming = matrix(3, 2, vec![3.0, 4.0, 1.0, 0.0, 0.0, 2.0]);
    let gate = matrix(3, 2, vec![12.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let outgoing = matrix(2, 3, vec![1.0, 3.0, 0.0, 0.0, 4.0, 0.0]);
    assert_eq!(neuron_scores(&[&incoming], &outgoing).unwrap(), [5.0, 5.0, 0.0]);
    assert_eq!(neuron_scores(&[&incoming, &gate], &outgoing).unwrap(), [13.0, 5.0, 0.0]);
    assert_eq!(keep_best(&[5.0, 5.0, 0.0], 1).unwrap(), [0]);
    assert_eq!(keep_best(&[0.0, 5.0, 7.0], 2).unwrap(), [1, 2]);
}

#[test]
fn a_head_is_scored_as_a_whole() {
    // Two heads of width two.
    let value = matrix(4, 1, vec![3.0, 4.0, 0.0, 1.0]);
    let output = matrix(1, 4, vec![1.0, 0.0, 6.0, 8.0]);
    assert_eq!(head_scores(&[&value], &output, 2).unwrap(), [5.0, 10.0]);
    let pruned = prune(&[&value], &output, 2, 1, DType::F32).unwrap();
    assert_eq!((pruned.keep, pruned.outgoing.values()), (vec![1], &[6.0, 8.0][..]));
    assert_eq!(pruned.incoming[0].values(), [0.0, 1.0]);
    assert_eq!(spread(&[0, 2], 3), [0, 1, 2, 6, 7, 8]);
}

#[test]
fn units_that_contribute_nothing_go_first_and_change_nothing() {
    let (mut incoming, outgoing) = (normal(6, 5, 1).values().to_vec(), normal(4, 6, 2));
    incoming[2 * 5..3 * 5].fill(0.0);
    incoming[4 * 5..5 * 5].fill(0.0);
    let incoming = matrix(6, 5, incoming);
    let pruned = prune(&[&incoming], &outgoing, 6, 4, DType::Bf16).unwrap();
    assert_eq!(pruned.keep, [0, 1, 3, 5]);
    let (before, after) = (product(&outgoing, &incoming).unwrap(), product(&pruned.outgoing, &pruned.incoming[0]).unwrap());
    assert!(distance(&before, &after) < 1e-14);
    assert_eq!((pruned.saving.parameters_before, pruned.saving.parameters_after), (54, 36));
    assert_eq!((pruned.saving.bytes_before, pruned.saving.bytes_after), (108, 72));
}

#[test]
fn rows_columns_and_biases_are_selected_in_the_given_order() {
    let weight = matrix(3, 2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(select_rows(&weight, &[2, 0]).unwrap(), matrix(2, 2, vec![5.0, 6.0, 1.0, 2.0]));
    assert_eq!(select_columns(&weight, &[1]).unwrap(), matrix(3, 1, vec![2.0, 4.0, 6.0]));
    let bias = HostTensor::new(&[3], vec![7.0, 8.0, 9.0]).unwrap();
    assert_eq!(select_rows(&bias, &[1, 2]).unwrap().values(), [8.0, 9.0]);
    assert!(select_rows(&weight, &[3]).is_err() && select_columns(&weight, &[2]).is_err() && select_columns(&bias, &[0]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn keeping_more_is_never_worse_and_keeping_all_is_exact(hidden in 1usize..9, seed in 0u64..1000) {
        let (up, gate, down) = (normal(hidden, 3, seed), normal(hidden, 3, seed + 1), normal(4, hidden, seed + 2));
        let prunings: Vec<Pruned> = (1..=hidden).map(|k| prune(&[&up, &gate], &down, hidden, k, DType::F32).unwrap()).collect();
        prop_assert!(prunings.windows(2).all(|pair| pair[1].saving.relative_error <= pair[0].saving.relative_error));
        let all = &prunings[hidden - 1];
        prop_assert_eq!((&all.incoming, &all.outgoing), (&vec![up, gate], &down));
        prop_assert_eq!((all.saving.relative_error, all.saving.parameters_after), (0.0, all.saving.parameters_before));
    }
}

#[test]
fn impossible_requests_are_errors() {
    let (incoming, outgoing) = (normal(6, 4, 1), normal(4, 6, 2));
    assert!(head_scores(&[&incoming], &outgoing, 4).unwrap_err().to_string().contains("a divisor of the 6 columns"));
    assert!(head_scores(&[&incoming], &outgoing, 0).is_err());
    assert!(matches!(neuron_scores(&[&outgoing], &outgoing), Err(CompressionError::Shape { .. })));
    for k in [0, 7] {
        assert!(matches!(prune(&[&incoming], &outgoing, 6, k, DType::F32), Err(CompressionError::Parameter { .. })));
    }
    assert!(keep_best(&[1.0, f64::NAN], 1).is_err());
    for bad in not_finite() {
        assert!(neuron_scores(&[&bad], &normal(4, 4, 1)).is_err() && neuron_scores(&[&normal(4, 4, 1)], &bad).is_err());
    }
    let zero = matrix(4, 4, vec![0.0; 16]);
    assert_eq!(prune(&[&zero], &zero, 4, 2, DType::F32).unwrap().saving.relative_error, 0.0);
}
