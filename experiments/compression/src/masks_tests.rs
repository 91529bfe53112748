//! What masks keep, and what they refuse.

use proptest::prelude::*;

use super::*;
use crate::error::CompressionError;
use crate::testing::{matrix, normal, not_finite, weights};

fn places(kept: &[bool]) -> Vec<usize> {
    (0..kept.len()).filter(|&at| kept[at]).collect()
}

#[test]
fn each_mask_keeps_the_largest_of_its_scope() {
    let weight = matrix(2, 4, vec![1.0, -8.0, 3.0, 2.0, 0.5, 0.25, -7.0, 6.0]);
    let kept = |mask: Mask| places(&mask.kept(&weight).unwrap());
    assert_eq!(kept(Mask::Magnitude { sparsity: 0.5 }), [1, 2, 6, 7]);
    assert_eq!(kept(Mask::Magnitude { sparsity: 0.7 }), [1, 6]);
    assert_eq!(kept(Mask::MagnitudeRows { sparsity: 0.75 }), [1, 6]);
    assert_eq!(kept(Mask::NofM { n: 1, m: 2 }), [1, 2, 4, 6]);
    assert_eq!(kept(Mask::NofM { n: 2, m: 4 }), [1, 2, 6, 7]);
    // Squares of the four 1 x 2 blocks: 65, 13, 0.31, 85; of the two 2 x 2 blocks: 65.3 and 98.
    assert_eq!(kept(Mask::Blocks { rows: 1, columns: 2, density: 0.5 }), [0, 1, 6, 7]);
    assert_eq!(kept(Mask::Blocks { rows: 2, columns: 2, density: 0.01 }), [2, 3, 6, 7]);
    assert_eq!(kept(Mask::Magnitude { sparsity: 0.95 }), []);
}

#[test]
fn of_equal_entries_the_first_stay_and_the_count_is_exact() {
    let weight = matrix(3, 4, [2.0, -2.0].repeat(6));
    let kept = |mask: Mask| places(&mask.kept(&weight).unwrap());
    assert_eq!(kept(Mask::Magnitude { sparsity: 0.6 }), [0, 1, 2, 3, 4]);
    assert_eq!(kept(Mask::MagnitudeRows { sparsity: 0.5 }), [0, 1, 4, 5, 8, 9]);
    assert_eq!(kept(Mask::NofM { n: 1, m: 4 }), [0, 4, 8]);
    assert_eq!(kept(Mask::Blocks { rows: 1, columns: 4, density: 0.5 }), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn savings_count_entries_and_indices() {
    let weight = normal(8, 16, 1);
    let made = |mask: Mask| mask.apply(&weight, DType::F32).unwrap().saving;
    let two_of_four = made(Mask::NofM { n: 2, m: 4 });
    assert_eq!((two_of_four.parameters_before, two_of_four.parameters_after), (128, 64));
    assert_eq!((two_of_four.bytes_before, two_of_four.bytes_after), (512, 64 * 4 + 64 * 2 / 8));
    let scattered = made(Mask::Magnitude { sparsity: 0.75 });
    assert_eq!(scattered.bytes_after, 32 * 4 + 4 * (32 + 8 + 1));
    let blocks = made(Mask::Blocks { rows: 4, columns: 8, density: 0.5 });
    assert_eq!((blocks.parameters_after, blocks.bytes_after), (64, 64 * 4 + 4 * (2 + 2 + 1)));
    // Freedom to choose pays: same sparsity, less error.
    let free = made(Mask::Magnitude { sparsity: 0.5 }).relative_error;
    assert!(free < two_of_four.relative_error && two_of_four.relative_error < blocks.relative_error);
}

#[test]
fn the_error_is_what_was_dropped() {
    let made = Mask::Magnitude { sparsity: 0.5 }.apply(&matrix(1, 2, vec![4.0, -3.0]), DType::F64).unwrap();
    assert_eq!((made.saving.relative_error, made.weight.dequantized().values()), (0.6, &[4.0, 0.0][..]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn nothing_dropped_reproduces_exactly(weight in weights(8)) {
        let &[rows, columns] = weight.shape() else { unreachable!() };
        let all = [
            Mask::Magnitude { sparsity: 0.0 },
            Mask::MagnitudeRows { sparsity: 0.0 },
            Mask::NofM { n: columns, m: columns },
            Mask::Blocks { rows, columns, density: 1.0 },
            Mask::Blocks { rows: 1, columns: 1, density: 1.0 },
        ];
        for mask in all {
            let made = mask.apply(&weight, DType::F64).unwrap();
            prop_assert_eq!(made.weight.dequantized(), weight.clone());
            prop_assert_eq!(made.saving.relative_error, 0.0);
        }
    }

    #[test]
    fn more_sparsity_is_never_better(weight in weights(8)) {
        let sparsities = [0.0, 0.2, 0.5, 0.8, 0.99];
        for rows in [false, true] {
            let mask = |sparsity| if rows { Mask::MagnitudeRows { sparsity } } else { Mask::Magnitude { sparsity } };
            let errors = sparsities.map(|sparsity| mask(sparsity).apply(&weight, DType::F64).unwrap().saving.relative_error);
            prop_assert!(errors.is_sorted(), "{errors:?}");
            let exact = sparsities.map(|sparsity| {
                let (scope, times) = if rows { (weight.shape()[1], weight.shape()[0]) } else { (weight.len(), 1) };
                ((1.0 - sparsity) * scope as f64).round() as usize * times
            });
            prop_assert_eq!(sparsities.map(|sparsity| mask(sparsity).kept(&weight).unwrap().iter().filter(|&&kept| kept).count()), exact);
        }
    }
}

#[test]
fn impossible_requests_are_errors() {
    let weight = normal(4, 6, 1);
    for mask in [
        Mask::Magnitude { sparsity: 1.0 },
        Mask::Magnitude { sparsity: -0.1 },
        Mask::MagnitudeRows { sparsity: f64::NAN },
        Mask::NofM { n: 0, m: 3 },
        Mask::NofM { n: 4, m: 3 },
        Mask::NofM { n: 2, m: 4 },
        Mask::NofM { n: 0, m: 0 },
        Mask::Blocks { rows: 3, columns: 2, density: 0.5 },
        Mask::Blocks { rows: 2, columns: 0, density: 0.5 },
        Mask::Blocks { rows: 2, columns: 2, density: 0.0 },
        Mask::Blocks { rows: 2, columns: 2, density: 1.5 },
    ] {
        let message = mask.apply(&weight, DType::F32).unwrap_err().to_string();
        assert!(message.contains("[4, 6]") && message.contains("expected"), "{mask:?}: {message}");
    }
    let half = Mask::Magnitude { sparsity: 0.5 };
    assert!(matches!(half.apply(&weight, DType::I8), Err(CompressionError::Parameter { .. })));
    assert!(matches!(masked(&weight, vec![true; 3], Structure::Unstructured, DType::F32), Err(CompressionError::Core(_))));
    assert!(not_finite().iter().all(|bad| matches!(half.kept(bad), Err(CompressionError::Value { position: 5, .. }))));
}

#[test]
fn a_zero_weight_works() {
    let zero = matrix(4, 4, vec![0.0; 16]);
    for mask in [Mask::Magnitude { sparsity: 0.5 }, Mask::NofM { n: 2, m: 4 }, Mask::Blocks { rows: 2, columns: 2, density: 0.5 }] {
        let made = mask.apply(&zero, DType::F32).unwrap();
        assert_eq!((made.saving.parameters_after, made.saving.relative_error), (8, 0.0));
    }
}
