//! Round trips, agreement with the core's quantisers, and refusals.

use proptest::prelude::*;

use super::*;
use crate::testing::{matrix, normal, not_finite, weights};

const SHARES: [Granularity; 4] = [Granularity::Tensor, Granularity::Row, Granularity::Group(3), Granularity::Group(100)];

fn share(granularity: Granularity, inputs: usize, at: usize) -> usize {
    match granularity {
        Granularity::Tensor => 0,
        Granularity::Row => at / inputs,
        Granularity::Group(group) => at / inputs * inputs.div_ceil(group) + at % inputs / group,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_round_trip_stays_within_half_a_step(weight in weights(9), bits in 2u32..=8) {
        for granularity in SHARES {
            for scheme in [Scheme::Symmetric, Scheme::Asymmetric] {
                let made = quantise(&weight, bits, granularity, scheme, DType::F32).unwrap();
                let back = made.dequantised().unwrap();
                for (at, (before, after)) in weight.values().iter().zip(back.values()).enumerate() {
                    // The scale is rounded to f32, which the end of the range feels up to 255 times.
                    let step = f64::from(made.scales[share(granularity, made.inputs, at)]);
                    prop_assert!((before - after).abs() <= step * (0.5 + 2e-5), "{before} became {after}, step {step}");
                    prop_assert!(*before != 0.0 || *after == 0.0, "zero became {after}");
                }
            }
        }
    }

    #[test]
    fn forms_of_engines_stand_for_the_same_values(weight in weights(9), bits in 2u32..=8) {
        for granularity in SHARES {
            let made = quantise(&weight, bits, granularity, Scheme::Symmetric, DType::F32).unwrap();
            match made.host_weight() {
                Some(held) => prop_assert_eq!(held.dequantized(), made.dequantised().unwrap()),
                None => prop_assert!(bits > 4 && matches!(granularity, Granularity::Group(_))),
            }
        }
    }
}

#[test]
fn the_forms_of_the_core_are_reproduced() {
    let weight = normal(6, 10, 1);
    let int8 = quantise(&weight, 8, Granularity::Row, Scheme::Symmetric, DType::F32).unwrap();
    assert_eq!(int8.host_weight(), Some(HostWeight::Int8(int8_rows(&weight).unwrap())));
    let int4 = quantise(&weight, 4, Granularity::Group(4), Scheme::Symmetric, DType::F32).unwrap();
    assert_eq!(int4.host_weight(), Some(HostWeight::Int4(int4_groups(&weight, 4).unwrap())));
    // The general path and the core's agree where they meet: a group of all inputs is a row.
    let row = quantise(&weight, 4, Granularity::Row, Scheme::Symmetric, DType::F32).unwrap();
    let group = quantise(&weight, 4, Granularity::Group(10), Scheme::Symmetric, DType::F32).unwrap();
    assert_eq!((row.codes, row.scales), (group.codes, group.scales));
    assert_eq!(int8.saving.bytes_after, HostWeight::Int8(int8_rows(&weight).unwrap()).ideal_bytes());
}

#[test]
fn a_worked_example() {
    // Steps of 1, from -1 to 2: the zero point is code 1.
    let weight = matrix(1, 4, vec![-1.0, 0.0, 0.8, 2.0]);
    let made = quantise(&weight, 2, Granularity::Tensor, Scheme::Asymmetric, DType::F32).unwrap();
    assert_eq!((&made.codes[..], &made.scales[..], made.zeros.as_deref()), (&[0, 1, 2, 3][..], &[1.0][..], Some(&[1][..])));
    assert_eq!((made.saving.bytes_before, made.saving.bytes_after, made.host_weight()), (16, 1 + 4 + 1, None));
    // Three symmetric codes, steps of 2.
    let made = quantise(&weight, 2, Granularity::Tensor, Scheme::Symmetric, DType::F32).unwrap();
    assert_eq!((&made.codes[..], &made.scales[..]), (&[0, 0, 0, 1][..], &[2.0][..]));
}

#[test]
fn values_on_the_grid_come_back_exactly() {
    let weight = matrix(2, 8, (0..16).map(|at| f64::from(at) * 0.25 - 1.0).collect());
    let made = quantise(&weight, 4, Granularity::Tensor, Scheme::Asymmetric, DType::F32).unwrap();
    assert_eq!((made.dequantised().unwrap(), made.saving.relative_error), (weight, 0.0));
}

#[test]
fn more_bits_and_finer_scales_cost_less_accuracy() {
    let weight = normal(64, 64, 7);
    let error = |bits, granularity, scheme| quantise(&weight, bits, granularity, scheme, DType::F32).unwrap().saving.relative_error;
    for scheme in [Scheme::Symmetric, Scheme::Asymmetric] {
        let errors: Vec<f64> = (2..=8).map(|bits| error(bits, Granularity::Row, scheme)).collect();
        assert!(errors.windows(2).all(|pair| pair[1] < 0.7 * pair[0]), "{errors:?}");
        let scopes = [Granularity::Tensor, Granularity::Row, Granularity::Group(16)].map(|granularity| error(4, granularity, scheme));
        assert!(scopes.windows(2).all(|pair| pair[1] < pair[0]), "{scopes:?}");
    }
    let positive = matrix(64, 64, weight.values().iter().map(|value| value.abs()).collect());
    let skewed = |scheme| quantise(&positive, 4, Granularity::Row, scheme, DType::F32).unwrap().saving.relative_error;
    assert!(skewed(Scheme::Asymmetric) < 0.7 * skewed(Scheme::Symmetric));
}

#[test]
fn zero_tiny_and_huge_weights_work() {
    for scheme in [Scheme::Symmetric, Scheme::Asymmetric] {
        for granularity in SHARES {
            let zero = matrix(2, 5, vec![0.0; 10]);
            assert_eq!(quantise(&zero, 3, granularity, scheme, DType::F32).unwrap().dequantised().unwrap(), zero);
            let tiny = quantise(&matrix(1, 2, vec![1e-300, 0.0]), 8, granularity, scheme, DType::F32).unwrap();
            assert_eq!(tiny.saving.relative_error, 1.0);
            let huge =
                quantise(&matrix(1, 2, vec![f64::from(f32::MAX), -f64::from(f32::MAX)]), 8, granularity, scheme, DType::F32).unwrap();
            assert!(huge.saving.relative_error < 0.01);
        }
    }
}

#[test]
fn impossible_requests_are_errors() {
    let weight = normal(2, 3, 1);
    for (bits, granularity) in [(1, Granularity::Row), (9, Granularity::Row), (4, Granularity::Group(0))] {
        let message = quantise(&weight, bits, granularity, Scheme::Symmetric, DType::F32).unwrap_err().to_string();
        assert!(message.contains("[2, 3]") && message.contains("expected"), "{message}");
    }
    let beyond = matrix(1, 1, vec![1e39]);
    for bad in not_finite().iter().chain([&beyond]) {
        assert!(quantise(bad, 4, Granularity::Tensor, Scheme::Asymmetric, DType::F32).is_err());
    }
}
