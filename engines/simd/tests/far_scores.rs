//! Attention whose scores lie far out: log2 e times as much is rounded by more than the exponents of the weights may be off, or is no
//! number at all. The answer is one.

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, EngineConfig, ScoreBias, TransformerBackend};
use crossover_core::dtype::Precision;
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_simd::SimdBackend;

/// Several segments of keys for tiles of queries, and parts for two threads where there is one query.
const KEYS: usize = 1300;

/// Output and log-sum-exp of scores that are the product of these.
fn attended(engine: &SimdBackend, queries: usize, query: f64, key: impl Fn(usize) -> f64, value: impl Fn(usize) -> f64) -> [Vec<f64>; 2] {
    let storage = engine.storage();
    let upload = |shape: &[usize], values| engine.upload(&HostTensor::new(shape, values).unwrap(), storage).unwrap();
    let q = upload(&[1, 1, queries, 1], vec![query; queries]);
    let k = upload(&[1, 1, KEYS, 1], (0..KEYS).map(key).collect());
    let v = upload(&[1, 1, KEYS, 1], (0..KEYS).map(value).collect());
    let mut out = engine.tensor(storage, &[1, 1, queries, 1]).unwrap();
    let mut log_sum_exp = engine.tensor(engine.compute(), &[1, 1, queries]).unwrap();
    let spec = AttentionSpec { pattern: AttentionPattern::Full, scale: 1.0, soft_cap: None, query_offset: 0 };
    let operands = AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias: ScoreBias::None, key_mask: None };
    let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(log_sum_exp.view_mut()) };
    engine.attention(&spec, operands, outputs, &mut Arena::new()).unwrap();
    [out.view(), log_sum_exp.view()].map(|view| engine.download(view).unwrap().values().to_vec())
}

/// Engines of all paths, with few rows of queries and with many.
fn on_all_paths(check: impl Fn(&SimdBackend, usize)) {
    let mut paths = 0;
    for isa in IsaChoice::ALL {
        for (precision, threads) in [(Precision::F32, 1), (Precision::F32, 2), (Precision::F64, 2)] {
            let Ok(engine) = SimdBackend::new(&EngineConfig { precision, threads, isa }) else { continue };
            paths += 1;
            [1, 50].into_iter().for_each(|queries| check(&engine, queries));
        }
    }
    assert!(paths >= 6, "auto and scalar are everywhere");
}

/// Scores in parts of a number. The greatest stands late, so that earlier ones have to shrink.
#[test]
fn the_greatest_of_scores_far_apart_takes_all() {
    on_all_paths(|engine, queries| {
        let largest = engine.storage().largest();
        for end in [largest, largest * 1e-8, 1e30, 1e20, 1e12, 1e10] {
            // Ever greater until the last but nine; then those of equal rank share.
            let rising = |key: usize| 0.9 * (key.min(1290) as f64 + 1.0) / 1291.0;
            let peak = |key: usize| if key == 1290 { 0.9 } else { 0.9 * (key as f64 + 1.0) / 1700.0 };
            for (what, share, expected) in [
                ("rising to ten equals", &rising as &dyn Fn(usize) -> f64, 1294.5),
                ("one above all", &peak, 1290.0),
                ("all far below zero", &|key: usize| 0.4 * peak(key) - 0.98, 1290.0),
            ] {
                let root = end.sqrt();
                let [out, log_sum_exp] = attended(engine, queries, root, |key| root * share(key), |key| key as f64);
                let place = format!("{what}, up to {end:e}: {queries} queries, {:?}", engine.config());
                assert!(out.iter().all(|value| (value - expected).abs() <= 1e-4), "{place}: {out:?}");
                let greatest = (0..KEYS).map(share).fold(f64::MIN, f64::max) * end;
                assert!(log_sum_exp.iter().all(|value| (value / greatest - 1.0).abs() <= 1e-5), "{place}: {log_sum_exp:?}");
            }
        }
    });
}

/// One, two and nothing below the greatest, wherever that lies: whole numbers are exact there, in products of scores and e as in products
/// with log2 e they are not. Side by side, and one after the other, so that weights of earlier segments are shrunk and still count.
#[test]
fn scores_next_to_each_other_share_wherever_they_lie() {
    on_all_paths(|engine, queries| {
        for (how, step) in [("side by side", &(|key: usize| key % 3) as &dyn Fn(usize) -> usize), ("one after the other", &|key| key / 434)]
        {
            let weight = |of: usize| (0..KEYS).filter(|key| step(*key) == of).count() as f64 * (of as f64 - 2.0).exp();
            let sum = weight(0) + weight(1) + weight(2);
            let expected = (weight(1) + 2.0 * weight(2)) / sum;
            for base in [-16_000_000.0, -1_048_578.0, 1000.0, 524_288.0, 1_048_575.0, 1_048_577.0, 2_097_152.0, 8_388_600.0, 16_777_210.0] {
                let [out, log_sum_exp] = attended(engine, queries, 1.0, |key| base + step(key) as f64, |key| step(key) as f64);
                let place = format!("{base}, {how}: {queries} queries, {:?}", engine.config());
                // Where nothing is fused, a product with log2 e is rounded; far out differences are taken before it.
                let rounding = if base.abs() < 1.1e6 { base.abs() * f64::from(f32::EPSILON) } else { 0.0 };
                assert!(out.iter().all(|value| (value - expected).abs() <= 1e-5 + rounding), "{place}: {out:?}, not {expected}");
                let logarithm = base + 2.0 + sum.ln();
                assert!(
                    log_sum_exp.iter().all(|value| (value / logarithm - 1.0).abs() <= 2e-7),
                    "{place}: {log_sum_exp:?}, not {logarithm}"
                );
            }
        }
    });
}
