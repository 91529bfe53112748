use crossover_core::backend::TransformerBackend;
use crossover_core::dtype::DType;
use crossover_core::error::EngineError;
use crossover_core::layout::Layout;
use proptest::prelude::*;

use crate::helpers::*;

#[test]
fn rows_are_gathered_and_scattered_in_order() {
    let engine = engine("f32");
    let table = tensor(&engine, &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let index = integers(&engine, &[4], &[2, 0, 2, 1]);
    let mut out = blank(&engine, &[4, 2]);
    engine.gather_rows(table.view(), index.view(), out.view_mut()).unwrap();
    assert_eq!(values(&engine, &out), [5.0, 6.0, 1.0, 2.0, 5.0, 6.0, 3.0, 4.0]);
    let mut sums = tensor(&engine, &[3, 2], &[100.0; 6]);
    engine.scatter_add_rows(out.view(), index.view(), sums.view_mut()).unwrap();
    assert_eq!(values(&engine, &sums), [101.0, 102.0, 103.0, 104.0, 110.0, 112.0]);
    // Rows of indices can be gathered too.
    let keys = integers(&engine, &[2, 1], &[16_777_217, -5]);
    let mut chosen = blank_of(&engine, DType::I32, &[2, 1]);
    engine.gather_rows(keys.view(), integers(&engine, &[2], &[1, 0]).view(), chosen.view_mut()).unwrap();
    assert_eq!(values(&engine, &chosen), [-5.0, 16_777_217.0]);
}

#[test]
fn scattered_sums_are_rounded_as_they_stand() {
    let engine = engine("bf16");
    let x = tensor(&engine, &[3, 1], &[256.0, 1.0, 1.0]);
    let mut sums = tensor(&engine, &[1, 1], &[0.0]);
    engine.scatter_add_rows(x.view(), integers(&engine, &[3], &[0, 0, 0]).view(), sums.view_mut()).unwrap();
    assert_eq!(values(&engine, &sums), [256.0]);
}

#[test]
fn a_wrong_index_is_named_and_nothing_is_written() {
    let engine = engine("f32");
    let table = tensor(&engine, &[3, 2], &[0.0; 6]);
    for (index, position) in [([0, 3], 1), ([-1, 0], 0)] {
        let indices = integers(&engine, &[2], &index);
        let mut out = tensor(&engine, &[2, 2], &[9.0; 4]);
        let error = engine.gather_rows(table.view(), indices.view(), out.view_mut()).unwrap_err();
        let expected = EngineError::Index { operation: "gather", index: i64::from(index[position]), position, bound: 3 };
        assert_eq!(error, expected);
        assert_eq!(values(&engine, &out), [9.0; 4]);
        let mut sums = tensor(&engine, &[3, 2], &[9.0; 6]);
        assert!(matches!(engine.scatter_add_rows(out.view(), indices.view(), sums.view_mut()), Err(EngineError::Index { .. })));
        assert_eq!(values(&engine, &sums), [9.0; 6]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn argsort_is_the_stable_order(rows in 1usize..4, width in 0usize..90, turned: bool, seed in 0usize..1000) {
        let engine = engine("f32");
        let keys: Vec<i32> = noise(seed, rows * width).iter().map(|x| (x * 5.0) as i32).collect();
        let x = integers(&engine, &[rows, width], &keys);
        let mut out = blank_of(&engine, DType::I32, &if turned { [width, rows] } else { [rows, width] });
        let target = if turned { out.view_mut().with(Layout::transposed).unwrap() } else { out.view_mut() };
        engine.stable_argsort(x.view(), target).unwrap();
        let view = if turned { out.view().transposed().unwrap() } else { out.view() };
        let found = values_of(&engine, view);
        for row in 0..rows {
            let mut expected: Vec<usize> = (0..width).collect();
            expected.sort_by_key(|&at| keys[row * width + at]);
            let expected: Vec<f64> = expected.iter().map(|&at| at as f64).collect();
            prop_assert_eq!(&found[row * width..][..width], &expected[..]);
        }
    }

    #[test]
    fn top_k_is_the_head_of_the_descending_order(width in 1usize..90, share in 0.0..1.0f64, seed in 0usize..1000, nan in 0usize..100) {
        let engine = engine("f32");
        let k = (share * (width + 1) as f64) as usize;
        // Coarse values, so that there are ties; sometimes a NaN, which comes first.
        let mut x: Vec<f64> = noise(seed, width).iter().map(|x| (x * 4.0).round()).collect();
        if nan < width {
            x[nan] = f64::NAN;
        }
        let mut order: Vec<usize> = (0..width).collect();
        let rank = |at: &usize| if x[*at].is_nan() { f64::NEG_INFINITY } else { -x[*at] };
        // Not `total_cmp`: 0 and -0 are a tie.
        order.sort_by(|a, b| rank(a).partial_cmp(&rank(b)).unwrap().then(a.cmp(b)));
        let (mut top, mut index) = (blank(&engine, &[k]), blank_of(&engine, DType::I32, &[k]));
        engine.top_k(tensor(&engine, &[width], &x).view(), top.view_mut(), index.view_mut()).unwrap();
        let expected: Vec<f64> = order[..k].iter().map(|&at| at as f64).collect();
        prop_assert_eq!(values(&engine, &index), expected);
        for (value, &at) in values(&engine, &top).iter().zip(&order) {
            prop_assert!(*value == x[at] || (value.is_nan() && x[at].is_nan()));
        }
    }
}
