//! The core's compositions, run on this engine.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOutputs, BucketOperands, Experts, NormWeights, Operand, Routes, TransformerBackend};
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::Result;
use crossover_core::ops::{BucketSpec, LinearAttentionSpec, LinearSpec, NormKind, NormSpec};
use crossover_core::weights::HostWeight;
use crossover_naive::NaiveBackend;
use crossover_naive::buffer::NaiveBuffer;
use crossover_naive::weight::NaiveWeight;

use crate::helpers::*;

/// An arena that hands out NaN, so that a composition that reads what it has not written is caught.
fn poisoned() -> Arena<NaiveBuffer> {
    let mut scratch = Arena::new();
    scratch.set_poison(true);
    scratch
}

/// Failing work keeps nothing, and what work that succeeds keeps, shows.
#[test]
fn an_error_keeps_no_scratch() {
    let (engine, mut scratch) = (engine("f32"), poisoned());
    let outer = scratch.take(&engine, DType::F32, &[4]).unwrap();
    let failed: Result<()> = scratch.scope(|scratch| {
        let _lost = scratch.take(&engine, DType::F32, &[8])?;
        scratch.scope(|scratch| scratch.take(&engine, DType::F64, &[usize::MAX]).map(drop))
    });
    assert!(failed.is_err());
    assert_eq!((scratch.outstanding(), scratch.peak_bytes()), (1, 4 * 12));
    scratch.scope(|scratch| scratch.take(&engine, DType::F32, &[8]).map(drop)).unwrap();
    assert_eq!((scratch.outstanding(), scratch.peak_bytes()), (2, 4 * 12));
    scratch.give(outer);
    assert_eq!(scratch.outstanding(), 1);
}

fn positive(seed: usize, count: usize) -> Vec<f64> {
    noise(seed, count).iter().map(|x| x + 1.25).collect()
}

#[test]
fn linear_attention_against_plain_loops() {
    let engine = engine("f64");
    for (heads, queries, keys, features, value_dim) in [(6, 9, 13, 4, 3), (2, 1, 1, 1, 1), (3, 21, 21, 5, 2), (1, 70, 70, 3, 3)] {
        let (q, k) = (positive(1, heads * queries * features), positive(2, heads * keys * features));
        let v = noise(3, heads * keys * value_dim);
        for causal in [false, true] {
            if causal && queries != keys {
                continue;
            }
            for chunk in [1, 8, 64] {
                let spec = LinearAttentionSpec { causal, epsilon: 1e-6, chunk };
                let mut expected = Vec::new();
                for (h, i) in (0..heads).flat_map(|h| (0..queries).map(move |i| (h, i))) {
                    let seen = 0..if causal { i + 1 } else { keys };
                    let weight = |j: usize| -> f64 {
                        (0..features).map(|f| q[(h * queries + i) * features + f] * k[(h * keys + j) * features + f]).sum()
                    };
                    let sum: f64 = seen.clone().map(weight).sum::<f64>() + spec.epsilon;
                    let row = |d: usize| seen.clone().map(|j| weight(j) * v[(h * keys + j) * value_dim + d]).sum::<f64>() / sum;
                    expected.extend((0..value_dim).map(row));
                }
                let q = tensor(&engine, &[1, heads, queries, features], &q);
                let k = tensor(&engine, &[1, heads, keys, features], &k);
                let v = tensor(&engine, &[1, heads, keys, value_dim], &v);
                let mut out = blank(&engine, &[1, heads, queries, value_dim]);
                let mut scratch = poisoned();
                engine.linear_attention(spec, q.view(), k.view(), v.view(), out.view_mut(), &mut scratch).unwrap();
                assert_close(&values(&engine, &out), &expected, 1e-12);
                assert_eq!(scratch.outstanding(), 0);
            }
        }
    }
}

/// Each query against the definition: which of its chunk's keys and of the chunk before it sees, by their tokens.
#[test]
fn attention_in_chunks_of_an_order_against_plain_loops() {
    let engine = engine("f64");
    for (heads, chunk, count, width, self_bias) in
        [(2, 4, 5, 3, None), (3, 7, 1, 4, Some(-1e4)), (1, 1, 6, 2, Some(0.5)), (2, 6, 2, 0, None)]
    {
        let n = chunk * count;
        let [q, k, v] = [1, 2, 3].map(|seed| noise(seed, heads * n * width));
        // Neither 11 nor 13 shares a divisor with any n.
        let order = |step: usize| (0..heads * n).map(|at| ((at % n * step + at / n) % n) as i32).collect::<Vec<_>>();
        let query_order = order(11);
        let key_order = if self_bias.is_some() { query_order.clone() } else { order(13) };
        for causal in [false, true] {
            let (mut expected, mut expected_logs) = (vec![0.0; heads * n * width], vec![0.0; heads * n]);
            for (head, place) in (0..heads).flat_map(|head| (0..n).map(move |place| (head, place))) {
                let token = |order: &[i32], place: usize| order[head * n + place] as usize;
                let row = |x: &[f64], token: usize, c: usize| x[(head * n + token) * width + c];
                let query = token(&query_order, place);
                let seen = (place / chunk).saturating_sub(1) * chunk..(place / chunk + 1) * chunk;
                let seen: Vec<usize> = seen.map(|at| token(&key_order, at)).filter(|&key| !causal || key <= query).collect();
                let score = |key: usize| {
                    let bias = self_bias.filter(|_| key == query).unwrap_or(0.0);
                    0.7 * (0..width).map(|c| row(&q, query, c) * row(&k, key, c)).sum::<f64>() + bias
                };
                let sum: f64 = seen.iter().map(|&key| score(key).exp()).sum();
                let mixed = |c: usize| seen.iter().map(|&key| score(key).exp() * row(&v, key, c)).sum::<f64>() / sum;
                // A token that is alone with a large negative bias sees itself.
                let alone = seen.len() == 1;
                for c in 0..width {
                    expected[(head * n + query) * width + c] = if alone {
                        row(&v, seen[0], c)
                    } else if seen.is_empty() {
                        0.0
                    } else {
                        mixed(c)
                    };
                }
                expected_logs[head * n + query] = if alone { score(seen[0]) } else { sum.ln() };
            }
            let [q, k, v] = [&q, &k, &v].map(|values| tensor(&engine, &[1, heads, n, width], values));
            let [query_order, key_order] = [&query_order, &key_order].map(|order| integers(&engine, &[1, heads, n], order));
            let (mut out, mut logs) = (blank(&engine, &[1, heads, n, width]), blank(&engine, &[1, heads, n]));
            let mut scratch = poisoned();
            let spec = BucketSpec { chunk, scale: 0.7, causal, self_bias };
            let own = self_bias.is_none().then(|| key_order.view());
            let operands = BucketOperands { q: q.view(), k: k.view(), v: v.view(), query_order: query_order.view(), key_order: own };
            let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(logs.view_mut()) };
            engine.bucket_attention(spec, operands, outputs, &mut scratch).unwrap();
            assert_close(&values(&engine, &out), &expected, 1e-12);
            assert_close(&values(&engine, &logs), &expected_logs, 1e-12);
            assert_eq!(scratch.outstanding(), 0);
        }
    }
}

#[test]
fn attention_in_chunks_whose_shapes_do_not_fit_is_refused() {
    let engine = engine("f64");
    let (rows, order) = (blank(&engine, &[1, 2, 6, 4]), integers(&engine, &[1, 2, 6], &[0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0]));
    let mut out = blank(&engine, &[1, 2, 6, 4]);
    let mut refused = |chunk: usize, v: &T, key_order: Option<&T>, logs: &mut T| {
        let spec = BucketSpec { chunk, scale: 1.0, causal: false, self_bias: Some(1.0) };
        let (query_order, key_order) = (order.view(), key_order.map(|order| order.view()));
        let operands = BucketOperands { q: rows.view(), k: rows.view(), v: v.view(), query_order, key_order };
        let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(logs.view_mut()) };
        engine.bucket_attention(spec, operands, outputs, &mut Arena::new()).unwrap_err().to_string()
    };
    let mut logs = blank(&engine, &[1, 2, 6]);
    assert!(refused(4, &rows, None, &mut logs).contains("chunks must divide the tokens"));
    assert!(refused(0, &rows, None, &mut logs).contains("chunks must divide the tokens"));
    assert!(refused(3, &blank(&engine, &[1, 2, 5, 4]), None, &mut logs).contains("the shapes do not fit together"));
    assert!(refused(3, &rows, Some(&integers(&engine, &[1, 6], &[0; 6])), &mut logs).contains("the shapes do not fit together"));
    assert!(
        refused(3, &rows, Some(&order), &mut logs).contains("a token is its own key only where keys stand in the order of the queries")
    );
    assert!(refused(3, &rows, None, &mut blank(&engine, &[1, 2, 5])).contains("log_sum_exp is [1, 2, 5]"));
    assert!(refused(3, &rows, None, &mut blank_of(&engine, DType::I32, &[1, 2, 6])).contains("an operand is i32"));
}

#[test]
fn rotary_turns_pairs_by_their_position() {
    let engine = engine("f64");
    let (heads, n, dim) = (3, 5, 6);
    let x = noise(1, heads * n * dim);
    let angle = |position: usize, pair: usize| position as f64 * 10f64.powi(-(pair as i32));
    let table = |function: fn(f64) -> f64| -> T {
        let entries: Vec<f64> = (0..n * dim / 2).map(|at| function(angle(at / (dim / 2), at % (dim / 2)))).collect();
        tensor(&engine, &[n, dim / 2], &entries)
    };
    let (cosines, sines) = (table(f64::cos), table(f64::sin));
    let mut out = blank(&engine, &[heads, n, dim]);
    let mut scratch = poisoned();
    engine.rotary(tensor(&engine, &[heads, n, dim], &x).view(), cosines.view(), sines.view(), out.view_mut(), &mut scratch).unwrap();
    let mut expected = vec![0.0; x.len()];
    for (row, pair) in (0..heads * n).flat_map(|row| (0..dim / 2).map(move |pair| (row, pair))) {
        let (sin, cos) = angle(row % n, pair).sin_cos();
        let (first, second) = (x[row * dim + pair], x[row * dim + pair + dim / 2]);
        expected[row * dim + pair] = first * cos - second * sin;
        expected[row * dim + pair + dim / 2] = second * cos + first * sin;
    }
    assert_close(&values(&engine, &out), &expected, 1e-15);
    assert_eq!(values(&engine, &out)[..dim], x[..dim], "position 0 is the identity");
    assert_eq!(scratch.outstanding(), 0);
}

fn prepared(engine: &NaiveBackend, seed: usize, outputs: usize, inputs: usize) -> (NaiveWeight, Vec<f64>) {
    let values = noise(seed, outputs * inputs);
    let weight = HostWeight::for_precision(&host(&[outputs, inputs], &values), Precision::F64).unwrap();
    (engine.prepare_weight(&weight).unwrap(), values)
}

/// x W^T, rows of x by rows of W.
fn by_rows(x: &[f64], w: &[f64], inputs: usize) -> Vec<f64> {
    x.chunks(inputs).flat_map(|row| w.chunks(inputs).map(move |w| row.iter().zip(w).map(|(x, w)| x * w).sum())).collect()
}

#[test]
fn the_gated_ffn_against_plain_loops() {
    let engine = engine("f64");
    let (width, hidden) = (7, 19);
    let x = noise(1, 2 * 3 * width);
    let ((gate, gate_w), (up, up_w), (down, down_w)) =
        (prepared(&engine, 2, hidden, width), prepared(&engine, 3, hidden, width), prepared(&engine, 4, width, hidden));
    for activation in Activation::ALL {
        let gated: Vec<f64> =
            by_rows(&x, &gate_w, width).iter().zip(by_rows(&x, &up_w, width)).map(|(g, u)| activation.apply(*g) * u).collect();
        let expected = by_rows(&gated, &down_w, hidden);
        let mut out = blank(&engine, &[2, 3, width]);
        let mut scratch = poisoned();
        let x = tensor(&engine, &[2, 3, width], &x);
        engine.gated_ffn(LinearSpec { activation }, x.view(), [&gate, &up, &down], out.view_mut(), &mut scratch).unwrap();
        assert_close(&values(&engine, &out), &expected, 1e-13);
        assert_eq!(scratch.outstanding(), 0);
    }
}

#[test]
fn add_norm_against_plain_loops() {
    let engine = engine("f64");
    let (rows, width) = (3, 70);
    let (x, residual, gamma) = (noise(1, rows * width), noise(2, rows * width), noise(3, width));
    let sums: Vec<f64> = x.iter().zip(&residual).map(|(x, r)| x + r).collect();
    let spec = NormSpec { kind: NormKind::Layer, epsilon: 1e-5 };
    let mut expected = Vec::new();
    for row in sums.chunks(width) {
        let mean = row.iter().sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width as f64;
        expected.extend(row.iter().zip(&gamma).map(|(x, gamma)| (x - mean) / (variance + spec.epsilon).sqrt() * gamma));
    }
    let (x, residual) = (tensor(&engine, &[rows, width], &x), tensor(&engine, &[rows, width], &residual));
    let gamma = tensor(&engine, &[width], &gamma);
    let weights = NormWeights { gamma: Some(gamma.view()), beta: None };
    let (mut out, mut sum) = (blank(&engine, &[rows, width]), blank(&engine, &[rows, width]));
    engine.add_norm(spec, x.view(), residual.view(), weights, None, out.view_mut()).unwrap();
    assert_close(&values(&engine, &out), &expected, 1e-14);
    engine.add_norm(spec, x.view(), residual.view(), weights, Some(sum.view_mut()), out.view_mut()).unwrap();
    assert_close(&values(&engine, &out), &expected, 1e-14);
    assert_eq!(values(&engine, &sum), sums);
}

/// In place and not, in both of the ways that outputs of the compute type and narrower ones go; one row is masked as a whole.
#[test]
fn log_softmax_against_plain_loops() {
    let (rows, classes) = (4, 100);
    let mut x: Vec<f64> = noise(1, rows * classes).iter().map(|x| 300.0 * x).collect();
    x[..classes].fill(f64::NEG_INFINITY);
    x[classes + 3] = f64::NEG_INFINITY;
    for precision in ["f64", "f32", "bf16"] {
        let (engine, mut scratch) = (engine(precision), poisoned());
        let storage = engine.storage();
        let x: Vec<f64> = x.iter().map(|&x| storage.round(x)).collect();
        let mut expected = Vec::new();
        for row in x.chunks(classes) {
            let largest = row.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = row.iter().map(|x| (x - largest).exp()).sum();
            expected.extend(row.iter().map(|x| if *x == f64::NEG_INFINITY { *x } else { x - largest - sum.ln() }));
        }
        let (logits, mut out) = (tensor(&engine, &[rows, classes], &x), blank(&engine, &[rows, classes]));
        let mut place = tensor(&engine, &[rows, classes], &x);
        engine.log_softmax(Operand::Of(logits.view()), out.view_mut(), &mut scratch).unwrap();
        engine.log_softmax(Operand::InPlace, place.view_mut(), &mut scratch).unwrap();
        assert_eq!(values(&engine, &out), values(&engine, &place), "{precision}");
        for (found, expected) in values(&engine, &out).iter().zip(&expected) {
            let close = (found - expected).abs() <= 4.0 * storage.unit_roundoff() * (1.0 + expected.abs());
            assert!(found == expected || close, "{precision}: {found}, expected {expected}");
        }
        assert_eq!(scratch.outstanding(), 0);
    }
}

#[test]
fn softmax_top_k_against_plain_loops() {
    let engine = engine("f64");
    let (rows, classes, k) = (2, 100, 5);
    let x = noise(1, rows * classes);
    let (mut probabilities, mut indices) = (blank(&engine, &[rows, k]), blank_of(&engine, DType::I32, &[rows, k]));
    let mut scratch = poisoned();
    let logits = tensor(&engine, &[rows, classes], &x);
    engine.softmax_top_k(logits.view(), probabilities.view_mut(), indices.view_mut(), &mut scratch).unwrap();
    let (mut expected, mut order) = (Vec::new(), Vec::new());
    for row in x.chunks(classes) {
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        let mut best: Vec<usize> = (0..classes).collect();
        best.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        expected.extend(best[..k].iter().map(|&at| row[at].exp() / sum));
        order.extend(best[..k].iter().map(|&at| at as f64));
    }
    assert_close(&values(&engine, &probabilities), &expected, 1e-14);
    assert_eq!(values(&engine, &indices), order);
    assert_eq!(scratch.outstanding(), 0);
}

/// The favourite expert runs out of places, and nobody asks for the last one.
#[test]
fn a_mixture_of_experts_against_plain_loops() {
    let engine = engine("f64");
    let (tokens, width, hidden, experts) = (11, 6, 9, 4);
    let x = noise(1, tokens * width);
    let up: Vec<_> = (0..experts).map(|expert| prepared(&engine, 10 + expert, hidden, width)).collect();
    let down: Vec<_> = (0..experts).map(|expert| prepared(&engine, 20 + expert, width, hidden)).collect();
    let (up_bias, down_bias) = (noise(3, experts * hidden), noise(4, experts * width));
    for (choices, places) in [(1, 3), (1, 11), (2, 4), (3, 1)] {
        let count = tokens * choices;
        let (chosen, gates) = ((0..count).map(|at| if at % 2 == 0 { 0 } else { at % (experts - 1) }).collect::<Vec<_>>(), noise(5, count));
        let (mut taken, mut expected) = (vec![0; experts], vec![0.0; tokens * width]);
        for at in (0..choices).flat_map(|choice| (0..tokens).map(move |token| token * choices + choice)) {
            let (token, expert) = (at / choices, chosen[at]);
            taken[expert] += 1;
            if taken[expert] > places {
                continue;
            }
            let layer = |x: &[f64], w: &[f64], bias: &[f64]| -> Vec<f64> {
                by_rows(x, w, x.len()).iter().zip(bias).map(|(sum, bias)| sum + bias).collect()
            };
            let middle = layer(&x[token * width..][..width], &up[expert].1, &up_bias[expert * hidden..][..hidden]);
            let middle: Vec<f64> = middle.into_iter().map(|value| Activation::Silu.apply(value)).collect();
            let output = layer(&middle, &down[expert].1, &down_bias[expert * width..][..width]);
            expected[token * width..][..width].iter_mut().zip(output).for_each(|(sum, value)| *sum += gates[at] * value);
        }
        let weights = |of: &[(NaiveWeight, Vec<f64>)], seed: usize, [outputs, inputs]: [usize; 2]| -> Vec<NaiveWeight> {
            (0..of.len()).map(|expert| prepared(&engine, seed + expert, outputs, inputs).0).collect()
        };
        let (ups, downs) = (weights(&up, 10, [hidden, width]), weights(&down, 20, [width, hidden]));
        let biases = [tensor(&engine, &[experts, hidden], &up_bias), tensor(&engine, &[experts, width], &down_bias)];
        let chosen = integers(&engine, &[tokens, choices], &chosen.iter().map(|&expert| expert as i32).collect::<Vec<_>>());
        let (gates, x) = (tensor(&engine, &[tokens, choices], &gates), tensor(&engine, &[tokens, width], &x));
        let (mut out, mut scratch) = (blank(&engine, &[tokens, width]), poisoned());
        let routes = Routes { chosen: chosen.view(), gates: gates.view(), places };
        let layers = Experts { up: &ups, up_bias: biases[0].view(), down: &downs, down_bias: biases[1].view() };
        engine.mixture(LinearSpec { activation: Activation::Silu }, x.view(), routes, layers, out.view_mut(), &mut scratch).unwrap();
        assert_close(&values(&engine, &out), &expected, 1e-13);
        assert_eq!(scratch.outstanding(), 0);
    }
}

#[test]
fn a_mixture_whose_shapes_do_not_fit_is_refused() {
    let engine = engine("f64");
    let layer = |outputs: usize, inputs: usize| vec![prepared(&engine, 1, outputs, inputs).0, prepared(&engine, 2, outputs, inputs).0];
    let (x, gates, mut out) = (blank(&engine, &[3, 4]), blank(&engine, &[3, 1]), blank(&engine, &[3, 4]));
    let (up_bias, down_bias, chosen) = (blank(&engine, &[2, 5]), blank(&engine, &[2, 4]), integers(&engine, &[3, 1], &[0; 3]));
    let mut refused = |up: &[NaiveWeight], down: &[NaiveWeight], places: usize, gates: &T| {
        let routes = Routes { chosen: chosen.view(), gates: gates.view(), places };
        let experts = Experts { up, up_bias: up_bias.view(), down, down_bias: down_bias.view() };
        let spec = LinearSpec { activation: Activation::None };
        engine.mixture(spec, x.view(), routes, experts, out.view_mut(), &mut Arena::new()).unwrap_err().to_string()
    };
    assert!(refused(&[], &[], 3, &gates).contains("there must be experts, choices and places"));
    assert!(refused(&layer(5, 4), &layer(4, 5), 0, &gates).contains("there must be experts, choices and places"));
    assert!(refused(&layer(5, 4), &layer(4, 5), 3, &blank(&engine, &[3, 2])).contains("the shapes do not fit together"));
    assert!(refused(&layer(5, 4), &layer(4, 5)[..1], 3, &gates).contains("the shapes do not fit together"));
    assert!(refused(&layer(5, 4), &layer(4, 6), 3, &gates).contains("one [width, hidden]"));
    assert!(refused(&layer(6, 4), &layer(4, 6), 3, &gates).contains("biases must be"));
    let many = refused(&layer(5, 4), &layer(4, 5), 1 << 24, &gates);
    assert!(many.contains("2 experts with 16777216 places"), "{many}");
}

/// Words in tiles of any sizes, beyond what is compared at once, too; the logits have some more room than they need.
#[test]
fn cross_entropy_against_plain_loops() {
    let engine = engine("f64");
    let (rows, inputs) = (5, 6);
    for words in [&[1][..], &[7], &[3, 3, 1], &[1, 4], &[2500], &[1500, 1100]] {
        let classes: usize = words.iter().sum();
        // Logits of some hundreds: without a maximum their exponentials overflow.
        let (x, w) = (noise(1, rows * inputs).iter().map(|x| 300.0 * x).collect::<Vec<_>>(), noise(2, classes * inputs));
        let targets: Vec<usize> = (0..rows).map(|row| (row * 977 + classes - 1) % classes).collect();
        let loss = |(logits, &target): (&[f64], &usize)| {
            let largest = logits.iter().copied().fold(f64::MIN, f64::max);
            logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln() + largest - logits[target]
        };
        let expected: Vec<f64> = by_rows(&x, &w, inputs).chunks(classes).zip(&targets).map(loss).collect();
        let mut start = 0;
        let tiles: Vec<NaiveWeight> = words
            .iter()
            .map(|&words| {
                let part = host(&[words, inputs], &w[start * inputs..(start + words) * inputs]);
                start += words;
                engine.prepare_weight(&HostWeight::for_precision(&part, Precision::F64).unwrap()).unwrap()
            })
            .collect();
        let targets = integers(&engine, &[1, rows], &targets.iter().map(|&target| target as i32).collect::<Vec<_>>());
        let mut logits = blank(&engine, &[1, rows, words.iter().max().unwrap() + 2]);
        let (x, mut out, mut scratch) = (tensor(&engine, &[1, rows, inputs], &x), blank(&engine, &[1, rows]), poisoned());
        engine.cross_entropy(x.view(), &tiles, targets.view(), logits.view_mut(), out.view_mut(), &mut scratch).unwrap();
        assert_close(&values(&engine, &out), &expected, 1e-12);
        assert_eq!(scratch.outstanding(), 0);
    }
}

/// A word whose logit is minus infinity has the probability 0, and that is all: other words' losses are as without it.
#[test]
fn a_word_of_probability_0_spoils_no_other_words_loss() {
    let engine = engine("f64");
    let weight = |values: &[f64]| {
        let host = HostWeight::for_precision(&host(&[values.len(), 1], values), Precision::F64).unwrap();
        engine.prepare_weight(&host).unwrap()
    };
    let loss = |tiles: &[NaiveWeight], target: i32| {
        let (targets, mut logits, mut out) = (integers(&engine, &[1], &[target]), blank(&engine, &[1, 3]), blank(&engine, &[1]));
        let x = tensor(&engine, &[1, 1], &[1.0]);
        engine.cross_entropy(x.view(), tiles, targets.view(), logits.view_mut(), out.view_mut(), &mut poisoned()).unwrap();
        values(&engine, &out)[0]
    };
    let expected = (1.0 + 2f64.exp()).ln() - 2.0;
    for tiles in [vec![weight(&[0.0, f64::NEG_INFINITY, 2.0])], vec![weight(&[0.0, f64::NEG_INFINITY]), weight(&[2.0])]] {
        assert!((loss(&tiles, 2) - expected).abs() < 1e-14, "{}", loss(&tiles, 2));
        assert_eq!(loss(&tiles, 1), f64::INFINITY);
    }
}

#[test]
fn a_cross_entropy_without_words_or_without_room_is_refused() {
    let engine = engine("f64");
    let (tile, _) = prepared(&engine, 1, 4, 6);
    let (x, targets, mut out) = (blank(&engine, &[3, 6]), integers(&engine, &[3], &[0; 3]), blank(&engine, &[3]));
    let mut refused = |tiles: &[NaiveWeight], room: usize| {
        let mut logits = blank(&engine, &[3, room]);
        let result = engine.cross_entropy(x.view(), tiles, targets.view(), logits.view_mut(), out.view_mut(), &mut Arena::new());
        result.unwrap_err().to_string()
    };
    assert!(refused(&[], 4).contains("there must be words"));
    let narrow = refused(std::slice::from_ref(&tile), 3);
    assert!(narrow.contains("do not fit together") && narrow.contains("logits [3, 3]"), "{narrow}");
    let (other, _) = prepared(&engine, 1, 4, 5);
    assert!(refused(&[tile, other], 4).contains("a tile of [4, 5] does not fit x"));
}
