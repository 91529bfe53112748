use std::sync::Arc;

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::compose;
use crossover_core::dtype::DType;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::{AttentionPattern, BlockBitmap};
use crossover_naive::NaiveBackend;

use crate::helpers::*;

/// Sizes of a case: [batch, heads, key heads, queries, keys, head dim, value dim].
type Sizes = [usize; 7];

const ODD: Sizes = [2, 4, 2, 67, 130, 5, 3];
const SQUARE: Sizes = [1, 6, 1, 130, 130, 8, 9];

#[derive(Clone, Copy, PartialEq, Debug)]
enum BiasKind {
    None,
    ByPair,
    ByHeadAndKey,
    ByDistance,
}

struct Case {
    sizes: Sizes,
    spec: AttentionSpec,
    q: T,
    k: T,
    v: T,
    bias: Option<T>,
    kind: BiasKind,
    key_mask: Option<T>,
}

impl Case {
    fn new(engine: &NaiveBackend, sizes: Sizes, pattern: AttentionPattern, kind: BiasKind) -> Self {
        let [batch, heads, key_heads, queries, keys, dim, value_dim] = sizes;
        let make = |seed, shape: &[usize]| tensor(engine, shape, &noise(seed, shape.iter().product()));
        let bias = match kind {
            BiasKind::None => None,
            BiasKind::ByPair => Some(make(4, &[batch, heads, queries, keys])),
            BiasKind::ByHeadAndKey => Some(make(4, &[heads, 1, keys])),
            BiasKind::ByDistance => Some(make(4, &[heads, 41])),
        };
        let spec = AttentionSpec { pattern, scale: 1.0 / (dim as f64).sqrt(), soft_cap: None, query_offset: 0 };
        let q = make(1, &[batch, heads, queries, dim]);
        let k = make(2, &[batch, key_heads, keys, dim]);
        let v = make(3, &[batch, key_heads, keys, value_dim]);
        Self { sizes, spec, q, k, v, bias, kind, key_mask: None }
    }

    fn operands(&self) -> AttentionOperands<'_, crossover_naive::buffer::NaiveBuffer> {
        let bias = match (&self.bias, self.kind) {
            (Some(bias), BiasKind::ByDistance) => ScoreBias::ByDistance(bias.view()),
            (Some(bias), _) => ScoreBias::ByPair(bias.view()),
            (None, _) => ScoreBias::None,
        };
        let key_mask = self.key_mask.as_ref().map(|mask| mask.view());
        AttentionOperands { q: self.q.view(), k: self.k.view(), v: self.v.view(), bias, key_mask }
    }

    /// The output and the log-sum-exp, by the override or by the composition.
    fn run(&self, engine: &NaiveBackend, composed: bool) -> [Vec<f64>; 2] {
        let [batch, heads, _, queries, _, _, value_dim] = self.sizes;
        let mut out = blank(engine, &[batch, heads, queries, value_dim]);
        let mut logs = blank_of(engine, engine.compute(), &[batch, heads, queries]);
        let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(logs.view_mut()) };
        let mut scratch = Arena::new();
        scratch.set_poison(true);
        if composed {
            compose::attention::streamed(engine, &self.spec, self.operands(), outputs, &mut scratch).unwrap();
        } else {
            engine.attention(&self.spec, self.operands(), outputs, &mut scratch).unwrap();
        }
        assert_eq!(scratch.outstanding(), 0);
        [values(engine, &out), values(engine, &logs)]
    }

    /// softmax(scores) v with all scores of a row at once, in f64 loops.
    fn by_hand(&self, engine: &NaiveBackend) -> [Vec<f64>; 2] {
        let [batch, heads, key_heads, queries, keys, dim, value_dim] = self.sizes;
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|tensor| values(engine, tensor));
        let (mut out, mut logs) = (Vec::new(), Vec::new());
        for (b, h, i) in (0..batch).flat_map(|b| (0..heads).flat_map(move |h| (0..queries).map(move |i| (b, h, i)))) {
            let key_row = |j: usize| (b * key_heads + h / (heads / key_heads)) * keys + j;
            let seen: Vec<usize> = (0..keys).filter(|&j| self.sees(engine, b, i, j)).collect();
            let scores: Vec<f64> = seen
                .iter()
                .map(|&j| {
                    let row = ((b * heads + h) * queries + i) * dim;
                    let product: f64 = (0..dim).map(|d| q[row + d] * k[key_row(j) * dim + d]).sum();
                    let scaled = self.spec.scale * product;
                    self.spec.soft_cap.map_or(scaled, |cap| cap * (scaled / cap).tanh()) + self.bias_by_hand(engine, b, h, i, j)
                })
                .collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
            logs.push(if seen.is_empty() { f64::NEG_INFINITY } else { largest + sum.ln() });
            out.extend((0..value_dim).map(|d| {
                let weighted = seen.iter().zip(&scores).map(|(&j, score)| (score - largest).exp() * v[key_row(j) * value_dim + d]);
                if seen.is_empty() { 0.0 } else { weighted.sum::<f64>() / sum }
            }));
        }
        [out, logs]
    }

    fn sees(&self, engine: &NaiveBackend, b: usize, i: usize, j: usize) -> bool {
        let keys = self.sizes[4];
        let permitted = self.key_mask.as_ref().is_none_or(|mask| values(engine, mask)[b * keys + j] != 0.0);
        permitted && self.spec.pattern.allows(self.spec.query_offset + i, j)
    }

    fn bias_by_hand(&self, engine: &NaiveBackend, b: usize, h: usize, i: usize, j: usize) -> f64 {
        let [_, heads, _, queries, keys, ..] = self.sizes;
        let Some(bias) = &self.bias else { return 0.0 };
        let buffer = values(engine, bias);
        match self.kind {
            BiasKind::ByHeadAndKey => buffer[h * keys + j],
            BiasKind::ByDistance => {
                let distance = j as i64 - (self.spec.query_offset + i) as i64;
                buffer[h * 41 + (distance.clamp(-20, 20) + 20) as usize]
            }
            _ => buffer[((b * heads + h) * queries + i) * keys + j],
        }
    }
}

fn patterns() -> Vec<AttentionPattern> {
    vec![
        AttentionPattern::Full,
        AttentionPattern::Causal,
        AttentionPattern::Window { left: 9, right: 0 },
        AttentionPattern::Window { left: 3, right: 70 },
        AttentionPattern::Dilated { left: 4, right: 2, dilation: 5 },
        AttentionPattern::Strided { stride: 7 },
        AttentionPattern::Fixed { block: 16, summary: 3 },
        AttentionPattern::GlobalWindow { global: 2, left: 4, right: 4, dilation: 3 },
        AttentionPattern::Blocks(Arc::new(BlockBitmap::new(8, 17, 17, |row, column| (row * 5 + column * 3) % 4 == 0))),
    ]
}

#[test]
fn every_pattern_agrees_with_the_composition_and_with_plain_loops() {
    let engine = engine("f64");
    for pattern in patterns() {
        for (sizes, kind) in [(ODD, BiasKind::ByDistance), (SQUARE, BiasKind::None)] {
            let mut case = Case::new(&engine, sizes, pattern.clone(), kind);
            case.spec.query_offset = sizes[4] - sizes[3];
            let found = case.run(&engine, false);
            let composed = case.run(&engine, true);
            for (found, composed) in found.iter().zip(&composed) {
                assert_close(found, composed, 1e-12);
            }
            if sizes == SQUARE {
                let exact = case.by_hand(&engine);
                assert_close(&found[0], &exact[0], 1e-12);
                assert_close(&found[1], &exact[1], 1e-12);
            }
        }
    }
}

#[test]
fn biases_caps_and_masks_agree_with_the_composition_and_with_plain_loops() {
    let engine = engine("f64");
    let small: Sizes = [2, 4, 2, 7, 70, 5, 3];
    for kind in [BiasKind::None, BiasKind::ByPair, BiasKind::ByHeadAndKey, BiasKind::ByDistance] {
        for soft_cap in [None, Some(0.7)] {
            let mut case = Case::new(&engine, small, AttentionPattern::Causal, kind);
            case.spec.query_offset = 40;
            case.spec.soft_cap = soft_cap;
            // One batch hides some keys, the other one all that are visible: rows that see nothing.
            let mask: Vec<f64> = (0..140).map(|at| f64::from(at < 70 && at % 3 != 0)).collect();
            case.key_mask = Some(tensor(&engine, &[2, 70], &mask));
            let [found, composed, exact] = [case.run(&engine, false), case.run(&engine, true), case.by_hand(&engine)];
            assert_close(&found[0], &composed[0], 1e-12);
            assert_close(&found[1], &composed[1], 1e-12);
            assert_close(&found[0], &exact[0], 1e-12);
            assert_close(&found[1], &exact[1], 1e-12);
            assert!(found[0][4 * 7 * 3..].iter().all(|&value| value == 0.0), "rows without keys are zeros");
        }
    }
}

#[test]
fn low_precision_stays_near_the_composition() {
    for precision in ["f32", "bf16", "f16"] {
        let engine = engine(precision);
        let case = Case::new(&engine, ODD, AttentionPattern::Window { left: 60, right: 60 }, BiasKind::ByDistance);
        let [found, composed, exact] = [case.run(&engine, false), case.run(&engine, true), case.by_hand(&engine)];
        let error = |values: &[f64]| values.iter().zip(&exact[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let floor = engine.storage().unit_roundoff();
        assert!(error(&found[0]) <= 2.0 * error(&composed[0]) + floor, "{precision}: {} {}", error(&found[0]), error(&composed[0]));
        assert!(error(&found[0]) <= 8.0 * floor, "{precision}: {}", error(&found[0]));
    }
}

#[test]
fn what_is_masked_cannot_matter() {
    let engine = engine("f32");
    let sizes: Sizes = [1, 2, 1, 20, 90, 4, 4];
    let mut case = Case::new(&engine, sizes, AttentionPattern::Causal, BiasKind::None);
    case.spec.query_offset = 10;
    let mask: Vec<f64> = (0..90).map(|at| f64::from(at != 3 && at != 17)).collect();
    case.key_mask = Some(tensor(&engine, &[1, 90], &mask));
    let clean = case.run(&engine, false);
    for poison in [1e3, f64::NAN, f64::INFINITY] {
        // Keys 3 and 17 are masked, keys from 30 on are after every query.
        for tensor in [&mut case.k, &mut case.v] {
            for (start, length) in [(3, 1), (17, 1), (30, 60)] {
                engine.fill(tensor.view_mut().narrow(2, start, length).unwrap(), poison).unwrap();
            }
        }
        assert_eq!(case.run(&engine, false), clean);
    }
    // A bias of minus infinity hides the values as well. (It is added, so the score must be a number to begin with.)
    case.k = Case::new(&engine, sizes, AttentionPattern::Causal, BiasKind::None).k;
    case.key_mask = None;
    let bias: Vec<f64> = mask.iter().map(|&seen| if seen == 0.0 { f64::NEG_INFINITY } else { 0.0 }).collect();
    case.bias = Some(tensor(&engine, &[90], &bias));
    case.kind = BiasKind::ByPair;
    assert_eq!(case.run(&engine, false), clean);
}

#[test]
fn a_visible_nan_reaches_its_rows_only() {
    let engine = engine("f64");
    let sizes: Sizes = [1, 1, 1, 6, 6, 2, 2];
    let mut case = Case::new(&engine, sizes, AttentionPattern::Causal, BiasKind::None);
    engine.fill(case.k.view_mut().narrow(2, 4, 1).unwrap(), f64::NAN).unwrap();
    let nan: Vec<bool> = case.run(&engine, false)[0].iter().map(|value| value.is_nan()).collect();
    assert_eq!(nan, [[false; 2], [false; 2], [false; 2], [false; 2], [true; 2], [true; 2]].concat());
}

#[test]
fn the_smallest_cases() {
    let engine = engine("f64");
    for sizes in [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 3, 2, 2],
        [1, 1, 1, 3, 0, 2, 2],
        [0, 1, 1, 3, 3, 2, 2],
        [1, 2, 1, 2, 3, 0, 2],
        [1, 1, 1, 2, 3, 2, 0],
    ] {
        let case = Case::new(&engine, sizes, AttentionPattern::Full, BiasKind::None);
        let [found, exact] = [case.run(&engine, false), case.by_hand(&engine)];
        assert_close(&found[0], &exact[0], 1e-15);
        assert_close(&found[1], &exact[1], 1e-15);
    }
}

#[test]
fn scratch_is_two_rows() {
    let engine = engine("f32");
    let case = Case::new(&engine, ODD, AttentionPattern::Full, BiasKind::None);
    let mut out = blank(&engine, &[2, 4, 67, 3]);
    let mut scratch = Arena::new();
    let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: None };
    engine.attention(&case.spec, case.operands(), outputs, &mut scratch).unwrap();
    assert_eq!(scratch.peak_bytes(), DType::F32.bytes(5 + 3).unwrap());
}
