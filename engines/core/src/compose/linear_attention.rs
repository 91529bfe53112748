//! Linear attention, composed of products.
//!
//! Unmasked: S = phi(k)^T v once, then phi(q) S over phi(q) z. Causal: rows are handled in chunks; what came before the chunk is
//! in the running state S, what is inside is a small masked product (the chunked form of Katharopoulos et al., 2020, section 3.3.1).
//! The state is one [features, value dim] matrix a key head, whatever the length; query heads that share a key head read the same one,
//! their rows one below the other.

use crate::arena::Arena;
use crate::backend::{Operand, TransformerBackend};
use crate::error::{Result, shape_error};
use crate::layout::Layout;
use crate::ops::{BinaryOp, LinearAttentionSpec, MatmulSpec, ReduceOp, UnaryOp};
use crate::pattern::AttentionPattern;
use crate::tensor::{Tensor, View, ViewMut};

/// The keys and values of the chunk that is being read out.
type KeysAndValues<'a, S> = (View<'a, S>, View<'a, S>);

/// Extents of q [batch, heads, queries, features], k [batch, key heads, keys, features], v [batch, key heads, keys, value dim].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the line above says what they are")]
pub struct Sizes {
    pub batch: usize,
    pub heads: usize,
    pub key_heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub features: usize,
    pub value_dim: usize,
}

impl Sizes {
    /// Of q, k, v and the output, if they fit together.
    pub fn checked(spec: LinearAttentionSpec, [q, k, v, out]: [&Layout; 4]) -> Result<Self> {
        let detail = || format!("q {:?}, k {:?}, v {:?}, out {:?}", q.shape(), k.shape(), v.shape(), out.shape());
        let (&[batch, heads, queries, features], &[_, key_heads, ..], &[.., keys, value_dim]) = (q.shape(), k.shape(), v.shape()) else {
            return Err(shape_error("linear attention", detail()));
        };
        let shared = key_heads > 0 && heads.is_multiple_of(key_heads);
        let fits = shared && k.shape() == [batch, key_heads, keys, features] && v.shape() == [batch, key_heads, keys, value_dim];
        if !fits || out.shape() != [batch, heads, queries, value_dim] || (spec.causal && (queries != keys || spec.chunk == 0)) {
            return Err(shape_error("linear attention", detail()));
        }
        Ok(Self { batch, heads, key_heads, queries, keys, features, value_dim })
    }
}

struct State<S> {
    /// phi(k)^T v so far: [batch, key heads, features, value dim].
    product: Tensor<S>,
    /// Sum of phi(k) so far: [batch, key heads, features, 1].
    normaliser: Tensor<S>,
}

/// See the module.
pub fn chunked<B: TransformerBackend>(
    backend: &B,
    spec: LinearAttentionSpec,
    q: View<'_, B::Buffer>,
    k: View<'_, B::Buffer>,
    v: View<'_, B::Buffer>,
    mut out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let Sizes { batch, key_heads, queries, features, value_dim, .. } =
        Sizes::checked(spec, [&q.layout, &k.layout, &v.layout, &out.layout])?;
    let compute = backend.compute();
    scratch.scope(|scratch| {
        let mut state = State {
            product: scratch.take(backend, compute, &[batch, key_heads, features, value_dim])?,
            normaliser: scratch.take(backend, compute, &[batch, key_heads, features, 1])?,
        };
        backend.fill(state.product.view_mut(), 0.0)?;
        backend.fill(state.normaliser.view_mut(), 0.0)?;
        if spec.causal {
            for start in (0..queries).step_by(spec.chunk) {
                let rows = spec.chunk.min(queries - start);
                let part = [q.narrow(2, start, rows)?, k.narrow(2, start, rows)?, v.narrow(2, start, rows)?];
                read_out(backend, spec, part[0], Some((part[1], part[2])), &state, out.reborrow().narrow(2, start, rows)?, scratch)?;
                absorb(backend, part[1], part[2], &mut state, scratch)?;
            }
        } else {
            absorb(backend, k, v, &mut state, scratch)?;
            read_out(backend, spec, q, None, &state, out, scratch)?;
        }
        scratch.give(state.normaliser);
        scratch.give(state.product);
        Ok(())
    })
}

/// Adds keys and values to the state.
fn absorb<B: TransformerBackend>(
    backend: &B,
    k: View<'_, B::Buffer>,
    v: View<'_, B::Buffer>,
    state: &mut State<B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let compute = backend.compute();
    let (k_wide, v_wide) = (widened(backend, k, scratch)?, widened(backend, v, scratch)?);
    backend.matmul(MatmulSpec::ACCUMULATE, k_wide.view().transposed()?, v_wide.view(), state.product.view_mut())?;
    let lead = &state.normaliser.shape()[..2];
    let mut sums = scratch.take(backend, compute, &[lead[0], lead[1], state.normaliser.shape()[2]])?;
    backend.reduce(ReduceOp::Sum, k_wide.view().transposed()?, sums.view_mut())?;
    let column = sums.view().with(|layout| layout.unsqueeze(3))?;
    backend.binary(BinaryOp::Add, Operand::InPlace, column, state.normaliser.view_mut())?;
    scratch.give(sums);
    scratch.give(v_wide);
    scratch.give(k_wide);
    Ok(())
}

/// out = (q S + masked(q k^T) v) / (q z + rowsum masked(q k^T) + eps), for the query heads of each key head together.
fn read_out<B: TransformerBackend>(
    backend: &B,
    spec: LinearAttentionSpec,
    q: View<'_, B::Buffer>,
    own: Option<KeysAndValues<'_, B::Buffer>>,
    state: &State<B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let compute = backend.compute();
    let (&[batch, heads, rows, _], &[_, key_heads, ..]) = (q.shape(), state.product.shape()) else {
        return Err(shape_error("linear attention", "q is not four-dimensional"));
    };
    let group = heads / key_heads;
    let in_groups = |layout: &Layout| layout.split(1, key_heads, group);
    let wide_rows = [batch, key_heads, group * rows];
    let q_wide = widened(backend, q.with(in_groups)?, scratch)?;
    let q_rows = q_wide.view().with(|layout| layout.merge(2))?;
    let mut numerator = scratch.take(backend, compute, &[batch, key_heads, group * rows, out.shape()[3]])?;
    let mut denominator = scratch.take(backend, compute, &[batch, key_heads, group * rows, 1])?;
    backend.matmul(MatmulSpec::PLAIN, q_rows, state.product.view(), numerator.view_mut())?;
    backend.matmul(MatmulSpec::PLAIN, q_rows, state.normaliser.view(), denominator.view_mut())?;
    if let Some((k, v)) = own {
        let (k_wide, v_wide) = (widened(backend, k, scratch)?, widened(backend, v, scratch)?);
        let mut scores = scratch.take(backend, compute, &[batch, key_heads, group * rows, rows])?;
        let mut sums = scratch.take(backend, compute, &wide_rows)?;
        backend.matmul(MatmulSpec::PLAIN, q_rows, k_wide.view().transposed()?, scores.view_mut())?;
        // A 0/1 triangle: zeros, masked to minus infinity, through exp.
        let mut triangle = scratch.take(backend, compute, &[rows, rows])?;
        backend.fill(triangle.view_mut(), 0.0)?;
        backend.mask(&AttentionPattern::Causal, 0, 0, triangle.view_mut())?;
        backend.unary(UnaryOp::Exp, Operand::InPlace, triangle.view_mut())?;
        let visible = View { buffer: &triangle.buffer, layout: triangle.layout.broadcast(&[batch, key_heads, group, rows, rows])? };
        let target = scores.view_mut().with(|layout| layout.split(2, group, rows))?;
        backend.binary(BinaryOp::Multiply, Operand::InPlace, visible, target)?;
        backend.matmul(MatmulSpec::ACCUMULATE, scores.view(), v_wide.view(), numerator.view_mut())?;
        backend.reduce(ReduceOp::Sum, scores.view(), sums.view_mut())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, sums.view().with(|layout| layout.unsqueeze(3))?, denominator.view_mut())?;
        for tensor in [triangle, sums, scores, v_wide, k_wide] {
            scratch.give(tensor);
        }
    }
    backend.unary(UnaryOp::Affine { scale: 1.0, shift: spec.epsilon }, Operand::InPlace, denominator.view_mut())?;
    let wide = denominator.layout.broadcast(numerator.shape())?;
    backend.binary(BinaryOp::Divide, Operand::InPlace, View { buffer: &denominator.buffer, layout: wide }, numerator.view_mut())?;
    backend.copy(numerator.view().with(|layout| layout.split(2, group, rows))?, out.with(in_groups)?)?;
    for tensor in [denominator, numerator, q_wide] {
        scratch.give(tensor);
    }
    Ok(())
}

/// A copy in the compute type.
fn widened<B: TransformerBackend>(backend: &B, x: View<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
    let mut wide = scratch.take(backend, backend.compute(), x.shape())?;
    backend.copy(x, wide.view_mut())?;
    Ok(wide)
}
