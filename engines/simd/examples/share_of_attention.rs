//! Shares of the machine's ceilings that attention reaches: of the multiply-add loop (of pairs of bf16, where that is the precision and the
//! processor has them), what a causal pattern and a window save of what they could, and of reading for a decoder's step.
//!
//! `cargo run --release -p crossover-simd --example share_of_attention -- [THREADS] [PRECISION] [FILTER]`

mod ceilings;

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, EngineConfig, ScoreBias, TransformerBackend};
use crossover_core::host::HostTensor;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::Tensor;
use crossover_simd::SimdBackend;
use crossover_simd::buffer::SimdBuffer;

use ceilings::{duel, fma_round, narrow_round, now, on_all, read_round};

const HEAD_DIM: usize = 64;

/// One call's operands.
struct Call<'a> {
    engine: &'a SimdBackend,
    spec: AttentionSpec,
    operands: [Tensor<SimdBuffer>; 3],
    out: Tensor<SimdBuffer>,
    scratch: Arena<SimdBuffer>,
}

impl<'a> Call<'a> {
    fn new(engine: &'a SimdBackend, pattern: AttentionPattern, [heads, queries, keys]: [usize; 3]) -> Self {
        let operand = |rows: usize, seed: usize| {
            let count = heads * rows * HEAD_DIM;
            let values = (0..count).map(|at| ((at * seed) % 1009) as f64 / 504.5 - 1.0).collect();
            engine.upload(&HostTensor::new(&[1, heads, rows, HEAD_DIM], values).unwrap(), engine.storage()).unwrap()
        };
        let spec = AttentionSpec { pattern, scale: 1.0 / 8.0, soft_cap: None, query_offset: keys - queries };
        let out = engine.tensor(engine.storage(), &[1, heads, queries, HEAD_DIM]).unwrap();
        Self { engine, spec, operands: [operand(queries, 37), operand(keys, 41), operand(keys, 43)], out, scratch: Arena::new() }
    }

    fn run(&mut self) {
        let [q, k, v] = &self.operands;
        let operands = AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias: ScoreBias::None, key_mask: None };
        let outputs = AttentionOutputs { out: self.out.view_mut(), log_sum_exp: None };
        self.engine.attention(&self.spec, operands, outputs, &mut self.scratch).unwrap();
    }

    fn seconds(&mut self, threads: usize) -> f64 {
        let start = now(threads);
        self.run();
        now(threads) - start
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, otherwise: &str| arguments.get(at).cloned().unwrap_or_else(|| otherwise.to_owned());
    let (threads, precision, filter) = (argument(0, "1").parse::<usize>().unwrap(), argument(1, "f32"), argument(2, ""));
    let engine = SimdBackend::new(&EngineConfig::new(precision.parse().unwrap(), threads)).unwrap();
    let ceiling = || on_all(threads, |_| narrow_round(&precision, threads).unwrap_or_else(|| fma_round(precision == "f64", threads)));
    for n in [512, 1024, 2048, 4096] {
        if format!("full{n}").contains(&filter) {
            let mut call = Call::new(&engine, AttentionPattern::Full, [12, n, n]);
            let (most, best) = duel(threads, (4 * 12 * n * n * HEAD_DIM) as f64, ceiling, || call.run());
            println!("full   {n:5}  {:7.1} of {:7.1} GFLOP/s  {:5.1} %", best / 1e9, most / 1e9, 100.0 * best / most);
        }
    }
    let window = |reach: usize| AttentionPattern::Window { left: reach, right: reach };
    let saving = [
        ("causal", AttentionPattern::Causal, 512),
        ("causal", AttentionPattern::Causal, 2048),
        ("window-256", window(256), 8192),
        ("window-causal-256", AttentionPattern::Window { left: 255, right: 0 }, 8192),
    ];
    for (name, pattern, n) in saving {
        if name.contains(&filter) {
            against_full(&engine, threads, name, pattern, n);
        }
    }
    let memory: Vec<Vec<f64>> = vec![vec![1.0; (64 << 20) / 8 / threads]; threads];
    for heads in [12, 64] {
        if "decode".contains(&filter) {
            let keys = 4096;
            let mut call = Call::new(&engine, AttentionPattern::Causal, [heads, 1, keys]);
            let bytes = engine.storage().bytes(2 * heads * keys * HEAD_DIM).unwrap() as f64;
            let (most, best) = duel(threads, bytes, || on_all(threads, |at| read_round(&memory[at], threads)), || call.run());
            println!("decode {heads:2} x {keys}  {:7.1} of {:7.1} GB/s  {:5.1} %", best / 1e9, most / 1e9, 100.0 * best / most);
        }
    }
}

/// How many times as fast as full attention, and how much that is of the ratio of visible pairs. In turns, the best of each.
fn against_full(engine: &SimdBackend, threads: usize, name: &str, pattern: AttentionPattern, n: usize) {
    // Fewer heads at the long sequence, whose full attention takes a while.
    let heads = if n > 4096 { 2 } else { 12 };
    let pairs = (n * n) as f64 / pattern.visible_pairs(0, n, n) as f64;
    let [mut full, mut part] = [AttentionPattern::Full, pattern].map(|pattern| Call::new(engine, pattern, [heads, n, n]));
    let mut best = [f64::INFINITY; 2];
    for _ in 0..10 {
        best[0] = best[0].min(full.seconds(threads));
        for _ in 0..8 {
            best[1] = best[1].min(part.seconds(threads));
        }
    }
    let ratio = best[0] / best[1];
    println!("{name:18} {n:5}  {ratio:6.2} x full, {:5.1} % of {pairs:.2}", 100.0 * ratio / pairs);
}
