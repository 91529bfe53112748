//! Losses over tiles of a vocabulary: a layer makes the logits of a tile, and one pass takes them into the state of their rows.
//!
//! The state of a row is a maximum, a sum of exponentials shifted by it, and the target's logit. Inside a tile the pass is that of the online
//! softmax: every lane keeps a maximum and a sum of its own. Across tiles the states merge by the same rule (Milakov and Gimelshein 2018,
//! algorithm 3). The target's logit is read at its place, where a composition over primitives compares every word with the target.
//!
//! # What bounds it
//! The multiply-adds of the layer. For each logit, which takes as many of them as a row of x is long, the pass reads it once from where the
//! layer left it and takes some 15 instructions of an exponential for 16 of them: 2 to 3 % of a layer of 768 inputs, 7 % of one of 256. The
//! pass follows the layer's whole tile: a few rows at a time would find the logits nearer, and read the weights more often (NOTES.md).

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::check;
use crossover_core::error::{EngineError, Result};
use crossover_core::layout::Layout;
use crossover_core::ops::LinearSpec;
use crossover_core::tensor::{Buffer, View, ViewMut};

use crate::aligned::Plain;
use crate::backend::SimdBackend;
use crate::buffer::SimdBuffer;
use crate::gemm::Engine;
use crate::operands::indices;
use crate::pool::Shared;
use crate::rowwise::{Part, RowKernel, for_each_row};
use crate::softmax::online;
use crate::vector::{Lanes, Scalar, Vector, exp_of_negative, log};
use crate::weight::SimdWeight;

/// Values of a row's state.
const STATE: usize = 3;

/// The types of the operands are checked already, and the layer's support.
pub(crate) fn cross_entropy<E: Lanes + Plain>(
    backend: &SimdBackend,
    engine: &Engine,
    x: View<'_, SimdBuffer>,
    tiles: &[SimdWeight],
    targets: View<'_, SimdBuffer>,
    logits: ViewMut<'_, SimdBuffer>,
    out: ViewMut<'_, SimdBuffer>,
    scratch: &mut Arena<SimdBuffer>,
) -> Result<()> {
    let sizes = check::cross_entropy(&x.layout, tiles, [&targets.layout, &logits.layout, &out.layout])?;
    let words = indices("cross-entropy", &targets)?;
    let places = targets.layout.leading_offsets(0);
    places.enumerate().try_for_each(|(at, place)| check::index("cross-entropy", at, words[place], sizes.classes).map(drop))?;
    let mut states = scratch.take(backend, backend.compute(), &[sizes.rows, STATE])?;
    let done = states_of::<E>(backend, engine, x, tiles, (words, &targets.layout), logits, &mut states.buffer);
    let done = done.and_then(|states| {
        let column = out.with(|layout| layout.unsqueeze(layout.rank()))?;
        for_each_row::<E, _, 1>(engine, &Loss { states }, [Part::Write(column)])
    });
    scratch.give(states);
    done
}

/// The states of all rows after the last tile.
fn states_of<E: Lanes + Plain>(
    backend: &SimdBackend,
    engine: &Engine,
    x: View<'_, SimdBuffer>,
    tiles: &[SimdWeight],
    (words, layout): (&[i32], &Layout),
    mut logits: ViewMut<'_, SimdBuffer>,
    states: &mut SimdBuffer,
) -> Result<Shared<E>> {
    let found = states.dtype();
    let states = E::slice_mut(states).ok_or(EngineError::ElementType { operation: "cross-entropy", expected: E::DTYPE, found })?;
    for state in states.chunks_exact_mut(STATE) {
        state.copy_from_slice(&[E::LOWEST, E::ZERO, E::ZERO]);
    }
    let (states, last) = (Shared::new(states), logits.layout.rank() - 1);
    let mut start = 0;
    for tile in tiles {
        let mut logits = logits.reborrow().narrow(last, 0, tile.outputs())?;
        backend.linear(LinearSpec { activation: Activation::None }, x, tile, None, logits.reborrow())?;
        for_each_row::<E, _, 1>(engine, &Absorb { states, words, layout, start }, [Part::Read(logits.as_view())])?;
        start += tile.outputs();
    }
    Ok(states)
}

/// Takes a tile's logits into the states of their rows.
struct Absorb<'a, E> {
    states: Shared<E>,
    words: &'a [i32],
    layout: &'a Layout,
    /// The tile's first word.
    start: usize,
}

impl<E: Lanes> RowKernel<E, 1> for Absorb<'_, E> {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, row: usize, [logits]: [*mut E; 1], width: usize) {
        // Checked: it is the number of a word.
        let word = self.words[self.layout.leading_offset(0, row)] as usize;
        // SAFETY: a row that the caller promises. There are as many states as rows, and this task alone has this row's.
        unsafe {
            let (maximum, sum) = online::<V>(logits, logits.wrapping_add(width), width);
            let state = std::slice::from_raw_parts_mut(self.states.pointer().add(row * STATE), STATE);
            let higher = if maximum > state[0] { maximum } else { state[0] };
            let rescaled = |sum: E, maximum: E| sum * exp_of_negative(Scalar::splat(maximum - higher)).sum();
            state[1] = rescaled(state[1], state[0]) + rescaled(sum, maximum);
            state[0] = higher;
            if let Some(own) = word.checked_sub(self.start).filter(|&own| own < width) {
                state[2] = *logits.add(own);
            }
        }
    }
}

/// log(sum) + (maximum - the target's logit): where the target is the most likely word, the difference is 0 and the small loss is the logarithm's alone.
struct Loss<E> {
    states: Shared<E>,
}

impl<E: Lanes> RowKernel<E, 1> for Loss<E> {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, row: usize, [out]: [*mut E; 1], _: usize) {
        // SAFETY: an element that the caller promises, and a state of which there are as many as rows.
        unsafe {
            let state = std::slice::from_raw_parts(self.states.pointer().add(row * STATE), STATE);
            *out = log(Scalar::splat(state[1])).sum() + (state[0] - state[2]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::backend::{EngineConfig, TransformerBackend};
    use crossover_core::compose::cross_entropy::tiled;
    use crossover_core::dtype::{DType, Precision};
    use crossover_core::host::HostTensor;
    use crossover_core::tensor::Tensor;
    use crossover_core::weights::HostWeight;

    use super::*;

    fn tensor(engine: &SimdBackend, dtype: DType, shape: &[usize], value: impl Fn(usize) -> f64) -> Tensor<SimdBuffer> {
        engine.upload(&HostTensor::new(shape, (0..shape.iter().product()).map(value).collect()).unwrap(), dtype).unwrap()
    }

    fn noise(at: usize) -> f64 {
        f64::from((at as u32).wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 23) - 1.0
    }

    /// Sizes beyond those of the conformance suite: tiles and rows that several threads share.
    #[test]
    fn it_is_the_composition_also_where_threads_share_the_rows() {
        for precision in ["f32", "f64", "bf16"] {
            let engine = SimdBackend::new(&EngineConfig::new(precision.parse::<Precision>().unwrap(), 2)).unwrap();
            let (rows, inputs, words) = (300, 40, [700, 700, 133]);
            let x = tensor(&engine, engine.storage(), &[rows, inputs], |at| 4.0 * noise(at));
            let weight = |seed: usize, words: usize| {
                let values = (0..words * inputs).map(|at| noise(at * 31 + seed)).collect();
                HostWeight::for_precision(&HostTensor::new(&[words, inputs], values).unwrap(), engine.config().precision).unwrap()
            };
            let tiles: Vec<SimdWeight> =
                words.iter().enumerate().map(|(seed, &words)| engine.prepare_weight(&weight(seed, words)).unwrap()).collect();
            let targets = tensor(&engine, DType::I32, &[rows], |row| (row * 997 % 1533) as f64);
            let (mut logits, mut scratch) = (engine.tensor(engine.compute(), &[rows, 700]).unwrap(), Arena::new());
            let [mut own, mut composed] = [0, 1].map(|_| engine.tensor(engine.compute(), &[rows]).unwrap());
            engine.cross_entropy(x.view(), &tiles, targets.view(), logits.view_mut(), own.view_mut(), &mut scratch).unwrap();
            tiled(&engine, x.view(), &tiles, targets.view(), logits.view_mut(), composed.view_mut(), &mut scratch).unwrap();
            let [own, composed] = [own, composed].map(|losses| engine.download(losses.view()).unwrap());
            for (row, (own, composed)) in own.values().iter().zip(composed.values()).enumerate() {
                assert!((own - composed).abs() <= 4e-6 * (1.0 + composed.abs()), "{precision}, row {row}: {own} and {composed}");
            }
            assert_eq!(scratch.outstanding(), 0);
        }
    }

    /// Added to a maximum of 60, a logarithm of 8e-7 would be rounded to one of the steps of 4e-6 there.
    #[test]
    fn a_small_loss_beside_large_logits_keeps_its_digits() {
        let engine = SimdBackend::new(&EngineConfig::new(Precision::F32, 1)).unwrap();
        let words = HostTensor::new(&[2, 1], vec![60.0, 46.0]).unwrap();
        let tiles = [engine.prepare_weight(&HostWeight::for_precision(&words, Precision::F32).unwrap()).unwrap()];
        let (x, targets) = (tensor(&engine, DType::F32, &[1, 1], |_| 1.0), tensor(&engine, DType::I32, &[1], |_| 0.0));
        let [mut logits, mut own, mut composed] = [&[1, 2][..], &[1], &[1]].map(|shape| engine.tensor(DType::F32, shape).unwrap());
        let mut scratch = Arena::new();
        engine.cross_entropy(x.view(), &tiles, targets.view(), logits.view_mut(), own.view_mut(), &mut scratch).unwrap();
        tiled(&engine, x.view(), &tiles, targets.view(), logits.view_mut(), composed.view_mut(), &mut scratch).unwrap();
        for losses in [own, composed] {
            let loss = engine.download(losses.view()).unwrap().values()[0];
            assert!((loss - (-14f64).exp().ln_1p()).abs() <= 1.2e-7, "{loss}");
        }
    }

    #[test]
    fn a_target_that_is_no_word_is_an_index_error() {
        let engine = SimdBackend::new(&EngineConfig::new(Precision::F32, 1)).unwrap();
        let tile = HostWeight::for_precision(&HostTensor::new(&[3, 2], vec![0.5; 6]).unwrap(), Precision::F32).unwrap();
        let tiles = [engine.prepare_weight(&tile).unwrap(), engine.prepare_weight(&tile).unwrap()];
        let x = tensor(&engine, DType::F32, &[2, 2], noise);
        let [mut logits, mut out] = [&[2, 3][..], &[2]].map(|shape| engine.tensor(DType::F32, shape).unwrap());
        for (wrong, fails) in [(5.0, false), (6.0, true), (-1.0, true)] {
            let (targets, mut scratch) = (tensor(&engine, DType::I32, &[2], |row| if row == 1 { wrong } else { 0.0 }), Arena::new());
            let result = engine.cross_entropy(x.view(), &tiles, targets.view(), logits.view_mut(), out.view_mut(), &mut scratch);
            let said = result.map_err(|error| error.to_string());
            assert_eq!(said.is_err(), fails, "{wrong}: {said:?}");
            assert!(!fails || said.unwrap_err().contains("at position 1 is outside 0..6"));
            assert_eq!(scratch.outstanding(), 0);
        }
    }
}
