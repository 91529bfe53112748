//! Log-softmax over rows: one pass for the largest entry and the sum of exponentials shifted by it, one that subtracts both.
//!
//! The first pass is that of the online softmax (`softmax.rs`). It keeps nothing: the second needs the logits themselves and two numbers of the
//! row. They are subtracted one after the other: added first, a large maximum would round away the digits of the logarithm.
//!
//! A row of only minus infinity keeps it: its sum is 0, and counts as 1. Plus infinity and NaN make a row NaN by way of the sum.
//!
//! # What bounds it
//! Reading the input once and writing the output once, as for softmax.

use crossover_core::backend::Operand;
use crossover_core::error::Result;
use crossover_core::tensor::ViewMut;

use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::gemm::Engine;
use crate::rowwise::{Part, RowKernel, for_each_row};
use crate::softmax::online;
use crate::sweep::map_and_ask;
use crate::vector::{Function, Lanes, Scalar, Vector, log};

pub(crate) fn log_softmax<E: Lanes + Plain>(engine: &Engine, x: Operand<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
    for_each_row::<E, _, 2>(engine, &LogSoftmax, [Part::Write(out), x.into()])
}

struct LogSoftmax;

impl<E: Lanes> RowKernel<E, 2> for LogSoftmax {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, _: usize, [out, x]: [*mut E; 2], width: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let (maximum, sum) = online::<V>(x, out, width);
            let next = x.wrapping_add(width);
            map_and_ask::<V, _, true>(Minus { maximum, logarithm: logarithm(sum) }, x, out, next, width);
        }
    }
}

/// Of the sum of shifted exponentials. The largest element contributes 1 to it, so only a masked row has the sum 0.
#[inline(always)]
fn logarithm<E: Lanes>(sum: E) -> E {
    if sum == E::ZERO { E::ZERO } else { log(Scalar::splat(sum)).sum() }
}

/// x minus the one, and then the other.
#[derive(Clone, Copy)]
struct Minus<E> {
    maximum: E,
    logarithm: E,
}

impl<E: Lanes> Function<E> for Minus<E> {
    #[inline(always)]
    fn of<V: Vector<Element = E>>(self, x: V) -> V {
        x.sub(V::splat(self.maximum)).sub(V::splat(self.logarithm))
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::arena::Arena;
    use crossover_core::backend::{EngineConfig, TransformerBackend};
    use crossover_core::compose::log_softmax::composed;
    use crossover_core::dtype::DType;
    use crossover_core::host::HostTensor;
    use crossover_core::isa::IsaChoice;
    use crossover_core::tensor::Tensor;

    use super::*;
    use crate::backend::SimdBackend;

    /// An engine on each path of this machine, alone and on threads.
    fn engines(precision: &str) -> Vec<SimdBackend> {
        let mut engines = Vec::new();
        for isa in IsaChoice::ALL {
            for threads in [1, 2] {
                let config = EngineConfig { isa, ..EngineConfig::new(precision.parse().unwrap(), threads) };
                engines.extend(SimdBackend::new(&config).ok());
            }
        }
        assert!(engines.len() >= 4, "auto and scalar are everywhere");
        engines
    }

    fn tensor(engine: &SimdBackend, dtype: DType, shape: &[usize], values: Vec<f64>) -> Tensor<SimdBuffer> {
        engine.upload(&HostTensor::new(shape, values).unwrap(), dtype).unwrap()
    }

    fn noise(at: usize) -> f64 {
        f64::from((at as u32).wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 23) - 1.0
    }

    fn of_row(engine: &SimdBackend, row: &[f64]) -> Vec<f64> {
        let x = tensor(engine, engine.compute(), &[row.len()], row.to_vec());
        let mut out = engine.tensor(engine.compute(), &[row.len()]).unwrap();
        engine.log_softmax(Operand::Of(x.view()), out.view_mut(), &mut Arena::new()).unwrap();
        engine.download(out.view()).unwrap().values().to_vec()
    }

    /// Sizes beyond those of the conformance suite: rows that several threads share, and longer than a cache of the first level. The largest
    /// entry stands late in some, so that sums have to shrink.
    #[test]
    fn it_is_the_composition_also_where_threads_share_the_rows() {
        for (precision, bound) in [("f32", 2e-6), ("f64", 1e-13), ("bf16", 2e-6), ("f16", 2e-6)] {
            for engine in engines(precision) {
                for [rows, width] in [[90, 700], [3, 20_003]] {
                    let values = (0..rows * width).map(|at| 8.0 * noise(at) + (at % width) as f64 / 100.0).collect();
                    let x = tensor(&engine, engine.storage(), &[rows, width], values);
                    let [mut own, mut composition] = [0, 1].map(|_| engine.tensor(engine.compute(), &[rows, width]).unwrap());
                    let mut scratch = Arena::new();
                    engine.log_softmax(Operand::Of(x.view()), own.view_mut(), &mut scratch).unwrap();
                    composed(&engine, Operand::Of(x.view()), composition.view_mut(), &mut scratch).unwrap();
                    let mut in_place =
                        tensor(&engine, engine.storage(), &[rows, width], engine.download(x.view()).unwrap().values().to_vec());
                    engine.log_softmax(Operand::InPlace, in_place.view_mut(), &mut scratch).unwrap();
                    let [own, composition, in_place] = [own, composition, in_place].map(|out| engine.download(out.view()).unwrap());
                    let all = own.values().iter().zip(composition.values()).zip(in_place.values());
                    for (at, ((own, composition), in_place)) in all.enumerate() {
                        let place = format!("{at} of {rows} x {width}, {:?}", engine.config());
                        assert!((own - composition).abs() <= bound * (1.0 + composition.abs()), "{place}: {own} and {composition}");
                        assert_eq!(*in_place, engine.storage().round(*own), "{place}");
                    }
                }
            }
        }
    }

    /// Added to a maximum of 60, a logarithm of 8e-7 would be rounded to one of the steps of 4e-6 there.
    #[test]
    fn a_small_logarithm_beside_large_logits_keeps_its_digits() {
        for engine in engines("f32") {
            let found = of_row(&engine, &[46.0, 60.0]);
            assert!((found[1] + (-14f64).exp().ln_1p()).abs() <= 1.2e-7, "{found:?}, {:?}", engine.config());
        }
    }

    #[test]
    fn masked_rows_and_specials() {
        let masked = f64::NEG_INFINITY;
        for engine in engines("f32").into_iter().chain(engines("f64")) {
            // Of a part of a vector, of a block and of a block with a rest.
            for width in [1, 5, 128, 300] {
                assert_eq!(of_row(&engine, &vec![masked; width]), vec![masked; width], "{:?}", engine.config());
                for special in [f64::NAN, f64::INFINITY] {
                    for at in [0, width / 2, width - 1] {
                        let mut row = vec![1.0; width];
                        row[at] = special;
                        let found = of_row(&engine, &row);
                        assert!(found.iter().all(|value| value.is_nan()), "{special} at {at} of {width}: {found:?}");
                    }
                }
                let mut one = vec![masked; width];
                one[width - 1] = -7.0;
                let expected: Vec<f64> = one.iter().map(|&x| if x == masked { x } else { 0.0 }).collect();
                assert_eq!(of_row(&engine, &one), expected, "{width}, {:?}", engine.config());
            }
            assert_eq!(of_row(&engine, &[]), [0.0; 0]);
        }
    }
}
