//! Attention over patterns, with everything that changes a score.

use std::sync::Arc;

use crossover_core::pattern::{AttentionPattern, BlockBitmap};

use super::super::Element;
use super::super::attention::{Buffers, Call, launch, program};
use super::super::host::Host;
use super::super::plan::Plan;
use super::{assert_close, bytes, numbers, read, rounded, unit};

/// One problem; q, k and v are [batch, rows, heads, width], as a projection leaves them, so that strides are not those of dense heads.
#[derive(Clone)]
struct Problem {
    call: Call,
    pattern: AttentionPattern,
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    bias: Option<Vec<f64>>,
    distance: Option<Vec<f64>>,
    key_mask: Option<Vec<f64>>,
}

impl Problem {
    fn new(
        element: Element,
        pattern: AttentionPattern,
        [heads, key_heads]: [usize; 2],
        [queries, keys]: [usize; 2],
        widths: [usize; 2],
    ) -> Self {
        let (batch, [head_dim, value_dim]) = (2, widths);
        let strides = |rows: usize, heads: usize, width: usize| [rows * heads * width, width, heads * width];
        let strides = [strides(queries, heads, head_dim), strides(keys, key_heads, head_dim), strides(keys, key_heads, value_dim)];
        let call = Call {
            element,
            batch,
            heads,
            key_heads,
            queries,
            keys,
            head_dim,
            value_dim,
            query_offset: keys.saturating_sub(queries),
            scale: 2.0 / (head_dim as f64).sqrt(),
            soft_cap: None,
            strides,
            bias_strides: [0; 4],
            reach: 0,
        };
        let make = |count, seed| rounded(element, &numbers(count, seed));
        let (q, k) = (make(batch * queries * heads * head_dim, 1), make(batch * keys * key_heads * head_dim, 2));
        let v = make(batch * keys * key_heads * value_dim, 3);
        Self { call, pattern, q, k, v, bias: None, distance: None, key_mask: None }
    }

    fn score(&self, [batch, head, query, key]: [usize; 4]) -> Option<f64> {
        let Call { query_offset, head_dim, .. } = self.call;
        if !self.pattern.allows(query + query_offset, key)
            || self.key_mask.as_ref().is_some_and(|mask| mask[batch * self.call.keys + key] == 0.0)
        {
            return None;
        }
        let key_head = head / (self.call.heads / self.call.key_heads);
        let [q, k] = [(0, query, head), (1, key, key_head)].map(|(which, row, head)| self.row(which, [batch, head, row]));
        let product: f64 = (0..head_dim).map(|d| self.q[q + d] * self.k[k + d]).sum();
        let mut score = product * self.call.scale;
        if let Some(cap) = self.call.soft_cap {
            score = cap * (score / cap).tanh();
        }
        if let Some(bias) = &self.bias {
            let [of_batch, of_head, of_query, of_key] = self.call.bias_strides;
            score += bias[batch * of_batch + head * of_head + query * of_query + key * of_key];
        }
        if let Some(table) = &self.distance {
            let reach = self.call.reach as i64;
            let entry = (key as i64 - (query + query_offset) as i64).clamp(-reach, reach) + reach;
            score += table[head * (2 * self.call.reach + 1) + entry as usize];
        }
        Some(score)
    }

    fn row(&self, which: usize, at: [usize; 3]) -> usize {
        self.call.strides[which].iter().zip(at).map(|(stride, at)| stride * at).sum()
    }

    /// Output and log-sum-exp in f64.
    fn reference(&self) -> (Vec<f64>, Vec<f64>) {
        let Call { batch, heads, key_heads, queries, keys, value_dim, .. } = self.call;
        let (mut out, mut logs) = (Vec::new(), Vec::new());
        let rows = (0..batch).flat_map(|b| (0..heads).flat_map(move |h| (0..queries).map(move |q| [b, h, q])));
        for [batch, head, query] in rows {
            let seen: Vec<(usize, f64)> = (0..keys).filter_map(|key| Some((key, self.score([batch, head, query, key])?))).collect();
            let highest = seen.iter().fold(f64::NEG_INFINITY, |highest, (_, score)| highest.max(*score));
            let sum: f64 = seen.iter().map(|(_, score)| (score - highest).exp()).sum();
            logs.push(if seen.is_empty() { f64::NEG_INFINITY } else { highest + sum.ln() });
            out.extend((0..value_dim).map(|d| {
                let value = |key| self.v[self.row(2, [batch, head / (heads / key_heads), key]) + d];
                let total: f64 = seen.iter().map(|&(key, score)| (score - highest).exp() * value(key)).sum();
                if seen.is_empty() { 0.0 } else { total / sum }
            }));
        }
        (out, logs)
    }

    fn run(&self, host: &Host) -> (Vec<f64>, Vec<f64>) {
        let Call { element, batch, heads, queries, keys, value_dim, query_offset, .. } = self.call;
        let plan = Plan::of(&self.pattern, query_offset, queries, keys);
        let words = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let rows = batch * heads * queries;
        let mut all = vec![vec![0xff; rows * value_dim * element.bytes()], vec![0xff; 4 * rows]];
        all.extend([&self.q, &self.k, &self.v].map(|values| bytes(element, values)));
        all.extend([words(&plan.offsets), words(&plan.tiles), plan.masks.iter().flat_map(|mask| mask.to_le_bytes()).collect()]);
        let mut optional = |values: &Option<Vec<f64>>| {
            let values = values.as_ref()?;
            all.push(bytes(Element::F32, values));
            Some(all.len() - 1)
        };
        let (bias, distance, key_mask) = (optional(&self.bias), optional(&self.distance), optional(&self.key_mask));
        let numbers = Buffers { out: 0, log_sum_exp: Some(1), operands: [2, 3, 4], plan: [5, 6, 7], bias, distance, key_mask };
        let written = host.run(launch(&self.call, numbers).unwrap(), &all);
        assert_eq!(written[2..], all[2..], "operands are only read");
        (read(element, &written[0]), read(Element::F32, &written[1]))
    }

    fn check(&self, host: &Host, what: &str) {
        let ((out, logs), (expected, expected_logs)) = (self.run(host), self.reference());
        let unit = unit(self.call.element);
        // Values are below 1, weights sum to 1: a rounding of each weight, one of the result, and the sums in f32.
        assert_close(&out, &expected, unit, 1.5 * unit + 3e-6, what);
        assert_close(&logs, &expected_logs, 1e-6, 1e-5, what);
    }
}

fn patterns() -> Vec<AttentionPattern> {
    vec![
        AttentionPattern::Full,
        AttentionPattern::Causal,
        AttentionPattern::Window { left: 70, right: 3 },
        AttentionPattern::Dilated { left: 9, right: 2, dilation: 5 },
        AttentionPattern::Strided { stride: 16 },
        AttentionPattern::Fixed { block: 40, summary: 3 },
        AttentionPattern::GlobalWindow { global: 2, left: 8, right: 8, dilation: 1 },
        AttentionPattern::Blocks(Arc::new(BlockBitmap::new(16, 12, 12, |row, column| (row * 7 + column * 3) % 4 == 0).causal())),
    ]
}

fn every_pattern(element: Element, widths: [usize; 2], name: &str) {
    let Some(host) = Host::compile(&program(element, widths[0], widths[1]), name) else { return };
    for pattern in patterns() {
        // Grouped heads, tails in both directions, and queries that stand at the end of the keys.
        Problem::new(element, pattern.clone(), [4, 2], [75, 133], widths).check(&host, &format!("{element:?} {pattern:?}"));
    }
    Problem::new(element, AttentionPattern::Causal, [2, 1], [1, 130], widths).check(&host, "a decode step");
    Problem::new(element, AttentionPattern::Full, [3, 3], [64, 64], widths).check(&host, "one whole tile");
}

#[test]
fn f32_patterns() {
    every_pattern(Element::F32, [32, 48], "f32");
}

#[test]
fn bf16_patterns() {
    every_pattern(Element::Bf16, [32, 48], "bf16");
}

#[test]
fn f16_patterns() {
    every_pattern(Element::F16, [64, 64], "f16");
}

/// Widths that are no multiple of anything are padded with zeros, and not read beyond.
#[test]
fn odd_and_widest_heads() {
    for (element, widths, name) in [
        (Element::F32, [13, 21], "odd-f32"),
        (Element::Bf16, [13, 21], "odd-bf16"),
        (Element::F32, [256, 256], "wide-f32"),
        (Element::Bf16, [256, 256], "wide-bf16"),
    ] {
        let Some(host) = Host::compile(&program(element, widths[0], widths[1]), name) else { return };
        Problem::new(element, AttentionPattern::Causal, [2, 1], [70, 70], widths).check(&host, name);
    }
}

/// Soft cap, bias by pair and by distance, and masked keys, of which one batch has all: zeros, and no NaN from what they hold.
#[test]
fn everything_that_changes_a_score() {
    for (element, name) in [(Element::F32, "extras-f32"), (Element::F16, "extras-f16")] {
        let Some(host) = Host::compile(&program(element, 16, 16), name) else { return };
        let plain = Problem::new(element, AttentionPattern::Causal, [4, 2], [66, 80], [16, 16]);
        let mut capped = plain.clone();
        capped.call.soft_cap = Some(0.5);
        capped.check(&host, "soft cap");
        let mut biased = plain.clone();
        // One matrix a head, for all batches.
        biased.call.bias_strides = [0, 66 * 80, 80, 1];
        biased.bias = Some(rounded(Element::F32, &numbers(4 * 66 * 80, 5)));
        biased.check(&host, "bias by pair");
        let mut distances = plain.clone();
        distances.call.reach = 20;
        distances.distance = Some(rounded(Element::F32, &numbers(4 * 41, 6)));
        distances.check(&host, "bias by distance");
        let mut masked = plain;
        let mask: Vec<f64> = (0..160).map(|at| if at < 80 && at % 3 != 1 { 1.0 } else { 0.0 }).collect();
        masked.key_mask = Some(mask.clone());
        for (at, &kept) in mask.iter().enumerate() {
            if kept == 0.0 {
                masked.k[at * 32..(at + 1) * 32].fill(f64::NAN);
                masked.v[at * 32..(at + 1) * 32].fill(f64::NAN);
            }
        }
        masked.check(&host, "key mask");
        let (out, _) = masked.run(&host);
        assert!(out[out.len() / 2..].iter().all(|&value| value == 0.0), "a batch of which nothing is seen gives zeros");
    }
}

/// The tests above would notice a wrong scale.
#[test]
fn a_wrong_scale_is_noticed() {
    let Some(host) = Host::compile(&program(Element::Bf16, 16, 16), "wrong") else { return };
    let problem = Problem::new(Element::Bf16, AttentionPattern::Full, [1, 1], [64, 64], [16, 16]);
    let mut wrong = problem.clone();
    wrong.call.scale *= 2.0;
    let ((found, _), (expected, _)) = (wrong.run(&host), problem.reference());
    let farthest = found.iter().zip(&expected).fold(0f64, |most, (found, expected)| most.max((found - expected).abs()));
    assert!(farthest > 3.0 * unit(Element::Bf16), "{farthest}");
}
