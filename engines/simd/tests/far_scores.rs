//! Attention whose scores lie at the end of the numbers: log2 e times as much is none, but the answer is.

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, EngineConfig, ScoreBias, TransformerBackend};
use crossover_core::dtype::{DType, Precision};
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_simd::SimdBackend;

const KEYS: usize = 300;

/// Scores in parts of the largest number. The greatest stands late, so that earlier ones have to shrink.
fn attended(engine: &SimdBackend, queries: usize, share: impl Fn(usize) -> f64) -> [Vec<f64>; 2] {
    let (storage, root) = (engine.storage(), engine.storage().largest().sqrt());
    let upload = |shape: &[usize], values| engine.upload(&HostTensor::new(shape, values).unwrap(), storage).unwrap();
    let q = upload(&[1, 1, queries, 1], vec![root; queries]);
    let k = upload(&[1, 1, KEYS, 1], (0..KEYS).map(|key| root * share(key)).collect());
    let v = upload(&[1, 1, KEYS, 1], (0..KEYS).map(|key| key as f64).collect());
    let mut out = engine.tensor(storage, &[1, 1, queries, 1]).unwrap();
    let mut log_sum_exp = engine.tensor(engine.compute(), &[1, 1, queries]).unwrap();
    let spec = AttentionSpec { pattern: AttentionPattern::Full, scale: 1.0, soft_cap: None, query_offset: 0 };
    let operands = AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias: ScoreBias::None, key_mask: None };
    let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(log_sum_exp.view_mut()) };
    engine.attention(&spec, operands, outputs, &mut Arena::new()).unwrap();
    [out.view(), log_sum_exp.view()].map(|view| engine.download(view).unwrap().values().to_vec())
}

#[test]
fn the_greatest_of_scores_at_the_end_of_the_numbers_takes_all() {
    let mut paths = 0;
    for isa in IsaChoice::ALL {
        for (precision, threads) in [(Precision::F32, 1), (Precision::F32, 2), (Precision::F64, 2)] {
            let Ok(engine) = SimdBackend::new(&EngineConfig { precision, threads, isa }) else { continue };
            paths += 1;
            for queries in [1, 50] {
                // Ever greater until the last but nine; then those of equal rank share.
                let rising = |key: usize| 0.9 * (key.min(290) as f64 + 1.0) / 291.0;
                let peak = |key: usize| if key == 290 { 0.9 } else { 0.9 * (key as f64 + 1.0) / 400.0 };
                for (what, share, expected) in [
                    ("rising to ten equals", &rising as &dyn Fn(usize) -> f64, 294.5),
                    ("one above all", &peak, 290.0),
                    ("all far below zero", &|key: usize| 0.4 * peak(key) - 0.98, 290.0),
                ] {
                    let [out, log_sum_exp] = attended(&engine, queries, share);
                    let place = format!("{what}: {queries} queries, {:?}", engine.config());
                    assert!(out.iter().all(|value| (value - expected).abs() <= 1e-4), "{place}: {out:?}");
                    let greatest = (0..KEYS).map(share).fold(f64::MIN, f64::max) * DType::largest(engine.storage());
                    assert!(log_sum_exp.iter().all(|value| (value / greatest - 1.0).abs() <= 1e-5), "{place}: {log_sum_exp:?}");
                }
            }
        }
    }
    assert!(paths >= 6, "auto and scalar are everywhere");
}
