//! Faults of attention inside the chunks of a sorted sequence, on the host.

use crate::arena::Arena;
use crate::backend::{AttentionOutputs, BucketOperands, TransformerBackend};
use crate::check::{self, BucketSizes};
use crate::error::Result;
use crate::operands::Types;
use crate::ops::BucketSpec;

use super::{Fault, Mutant};

pub(super) fn bucket_attention<B: TransformerBackend>(
    m: &Mutant<B>,
    spec: BucketSpec,
    operands: BucketOperands<'_, B::Buffer>,
    outputs: AttentionOutputs<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let Some(fault) = m.fault_of_products().filter(|fault| fault.operation() == "bucket-attention") else {
        return m.inner.bucket_attention(spec, operands, outputs, scratch);
    };
    let sizes = check::bucket_attention(spec, &operands, &outputs)?;
    Types::of(m.inner.config().precision).bucket_attention(&operands, &outputs)?;
    let query_order = order(fault, sizes, m.get(operands.query_order)?)?;
    let own = operands.key_order.filter(|_| fault != Fault::BucketsShareTheOrder);
    let of_keys = if fault == Fault::BucketsTakeAnyOrderOfKeys { Fault::BucketsTakeAnyOrder } else { fault };
    let key_order = own.map(|own| order(of_keys, sizes, m.get(own)?)).transpose()?.unwrap_or_else(|| query_order.clone());
    let [q, k, v] = [operands.q, operands.k, operands.v].map(|rows| m.get(rows));
    let host = Host { fault, spec, sizes, q: q?, k: k?, v: v?, query_order, key_order };
    let (mut out, mut logs) = (vec![0.0; host.q.len()], vec![0.0; sizes.batch * sizes.heads * sizes.n]);
    for at in 0..logs.len() {
        let (values, log) = host.row(at);
        let token = host.token(&host.query_order, at);
        let to = if fault == Fault::BucketsStaySorted { at } else { token };
        out[to * sizes.width..][..sizes.width].copy_from_slice(&values);
        logs[if fault == Fault::BucketsLogsStaySorted { at } else { token }] = log;
    }
    m.put(out, outputs.out)?;
    outputs.log_sum_exp.map_or(Ok(()), |target| m.put(logs, target))
}

/// The tokens of an order, if it is one.
fn order(fault: Fault, sizes: BucketSizes, given: Vec<f64>) -> Result<Vec<usize>> {
    let mut order = Vec::with_capacity(given.len());
    for (position, token) in given.into_iter().enumerate() {
        let found = check::index("bucket attention", position, token as i32, sizes.n);
        order.push(if fault == Fault::BucketsIgnoreWrongTokens { found.unwrap_or(sizes.n - 1) } else { found? });
    }
    let twice = order.chunks(sizes.n.max(1)).any(|tokens| (0..sizes.n).any(|token| !tokens.contains(&token)));
    let any = [Fault::BucketsTakeAnyOrder, Fault::BucketsIgnoreWrongTokens].contains(&fault);
    if twice && !any { Err(check::named_twice("bucket attention")) } else { Ok(order) }
}

struct Host {
    fault: Fault,
    spec: BucketSpec,
    sizes: BucketSizes,
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    query_order: Vec<usize>,
    key_order: Vec<usize>,
}

impl Host {
    /// The row of the token at a place of an order; places count on from head to head, as rows do.
    fn token(&self, order: &[usize], at: usize) -> usize {
        let (n, shared) = (self.sizes.n, self.fault == Fault::BucketsShareHeads);
        at / n * n + order[if shared { at % n } else { at }]
    }

    /// Output and log-sum-exp of the query at a place.
    fn row(&self, at: usize) -> (Vec<f64>, f64) {
        let BucketSizes { n, width, .. } = self.sizes;
        let first = at / n * n;
        let keys = (first..first + n).filter(|&key| self.sees(at, key));
        let scored: Vec<(usize, f64)> = keys.map(|key| (self.token(&self.key_order, key), self.score(at, key))).collect();
        let largest = scored.iter().map(|(_, score)| *score).fold(f64::MIN, f64::max);
        let (mut sum, mut output) = (0.0, vec![0.0; width]);
        for (key, score) in scored {
            let weight = (score - largest).exp();
            sum += weight;
            output.iter_mut().zip(&self.v[key * width..]).for_each(|(out, v)| *out += weight * v);
        }
        output.iter_mut().for_each(|out| *out /= if sum == 0.0 { 1.0 } else { sum });
        (output, if sum == 0.0 { f64::NEG_INFINITY } else { largest + sum.ln() })
    }

    fn sees(&self, query: usize, key: usize) -> bool {
        let BucketSizes { n, chunk, .. } = self.sizes;
        let (own, other) = (query % n / chunk, key % n / chunk);
        let before = match self.fault {
            Fault::BucketsLookAhead => other == own + 1,
            Fault::BucketsLookAround => other == own.checked_sub(1).unwrap_or(n / chunk - 1),
            Fault::BucketsLookAtThemselvesOnly => false,
            _ => other + 1 == own,
        };
        let tokens = (self.token(&self.query_order, query), self.token(&self.key_order, key));
        let earlier = match self.fault {
            Fault::BucketsHideByPlace => key <= query,
            Fault::BucketsHideThemselves => tokens.1 < tokens.0,
            Fault::BucketsHideNothing => true,
            _ => tokens.1 <= tokens.0,
        };
        (own == other || before) && (earlier || !self.spec.causal)
    }

    fn score(&self, query: usize, key: usize) -> f64 {
        let BucketSizes { width, chunk, .. } = self.sizes;
        let q = &self.q[self.token(&self.query_order, query) * width..][..width];
        let k = &self.k[self.token(&self.key_order, key) * width..];
        let product: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum();
        let is_biased = match self.fault {
            Fault::BucketsForgetSelfBias => false,
            Fault::BucketsBiasTheSamePlace => key + chunk == query,
            _ => key == query,
        };
        let scale = if self.fault == Fault::BucketsForgetScale { 1.0 } else { self.spec.scale };
        scale * product + self.spec.self_bias.filter(|_| is_biased).unwrap_or(0.0)
    }
}
