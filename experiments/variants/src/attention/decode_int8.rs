//! A decode step over a cache of int8 codes.
//!
//! Keys and values are held as int8 with a scale for each key and for each channel of the values; the products dequantise on the fly, with
//! activations in floating point. In the spirit of KIVI (Liu et al. 2024, section 3), which quantises further and scales keys by channel
//! instead, since their outliers sit there; one scale a row is what engines' int8 weights have. As there (its residual),
//! the newest token stays unquantised: scales over tokens cannot grow one token at a time. A quarter of the traffic of f32, at the cost
//! of the codes' error.
//!
//! The codes are prepared weights, one pair for each sequence and key head, because that is how engines hold codes; so their bytes are
//! counted as weights and not as state.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::ops::{LinearSpec, MatmulSpec, SoftmaxAlgorithm, UnaryOp, WeightForm};
use crossover_core::pattern::AttentionPattern;
use crossover_core::quantize::int8_rows;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};
use crossover_core::weights::HostWeight;

use super::HEADS_DIVIDE;
use super::cache::{DECODE, NEW_QUERY, ONE, STEP, brought, without_last};
use super::dense::shared;
use super::patterns::attention_over;
use crate::descriptor::{Condition, DerivedSpec, Descriptor, Dim, Model, Role};
use crate::resolve::{precision, size};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct DecodeInt8;

/// The codes of all sequences and key heads.
pub struct Codes<B: TransformerBackend> {
    k: Vec<B::Weight>,
    v: Vec<B::Weight>,
}

const HEADS: Dim = Dim::Of("batch*kv_heads", |axes| size(axes, "batch") * size(axes, "kv_heads"));
const EARLIER: Dim = Dim::Of("n_kv - 1", |axes| size(axes, "n_kv").saturating_sub(1));
const NEW_KEY: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("kv_heads"), ONE, Dim::Axis("head_dim")];

const fn codes(name: &'static str, shape: &'static [Dim]) -> DerivedSpec {
    DerivedSpec { name, role: Role::Weight, shape, form: Some(|_| WeightForm::Int8PerChannel) }
}

impl Variant for DecodeInt8 {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/decode-int8",
        summary: "one new token against a cache of int8 codes",
        citation: "after Liu et al. 2024 (KIVI), section 3",
        task: "attention/decode",
        problem: DECODE,
        parameters: &[],
        tensors: STEP,
        derived: &[
            brought("k_new", NEW_KEY),
            brought("v_new", NEW_KEY),
            codes("k_codes", &[HEADS, EARLIER, Dim::Axis("head_dim")]),
            codes("v_codes", &[HEADS, Dim::Axis("head_dim"), EARLIER]),
        ],
        output: NEW_QUERY,
        conditions: &[
            HEADS_DIVIDE,
            Condition { text: "a cache needs an earlier token: n_kv >= 2", holds: |axes: &Axes| size(axes, "n_kv") >= 2 },
            Condition {
                text: "the cache is int8 and the activations are not: precision needs a floating activation type",
                holds: |axes: &Axes| precision(axes).activation.is_float(),
            },
        ],
        model: Model { flops: "batch*heads*n_kv*(4*head_dim + 6)", scratch: "batch*heads*(n_kv + head_dim)" },
    };

    type Bound<B: TransformerBackend + 'static> = Codes<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Codes<B>> {
        Ok(Codes { k: operands.weights("k_codes")?, v: operands.weights("v_codes")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(_axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let (k, v) = (source(drawn, "k")?, source(drawn, "v")?);
        let ((_, k_new), (_, v_new)) = (without_last(k)?, without_last(v)?);
        let derived = Derived::default().tensor("k_new", k_new).tensor("v_new", v_new);
        Ok(derived.forms("k_codes", quantised(k, false)?).forms("v_codes", quantised(v, true)?))
    }
}

/// All but the last row of each head, coded by row, or by column and transposed.
fn quantised(all: &HostTensor, by_channel: bool) -> Result<Vec<HostWeight>> {
    let &[_, _, tokens, width] = all.shape() else {
        return Err(shape_error("int8 cache", format!("{:?} is not [batch, heads, rows, width]", all.shape())));
    };
    let earlier = tokens.saturating_sub(1);
    let matrix = |rows: &[f64]| {
        let rows = &rows[..earlier * width];
        if !by_channel {
            return HostTensor::new(&[earlier, width], rows.to_vec());
        }
        let columns = (0..width).flat_map(|channel| rows.iter().skip(channel).step_by(width).copied());
        HostTensor::new(&[width, earlier], columns.collect())
    };
    all.values().chunks((tokens * width).max(1)).map(|head| Ok(HostWeight::Int8(int8_rows(&matrix(head)?)?))).collect()
}

impl<B: TransformerBackend> Bound<B> for Codes<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k_new, v_new] = inputs else { return Err(wrong_inputs("attention/decode-int8", inputs)) };
        let (&[batch, heads, 1, width], &[_, key_heads, _, _]) = (q.shape(), k_new.shape()) else {
            return Err(wrong_inputs("attention/decode-int8", inputs));
        };
        let Some(earlier) = self.v.first().map(crossover_core::backend::PreparedWeight::inputs) else {
            return Err(wrong_inputs("attention/decode-int8", inputs));
        };
        let group = heads / key_heads;
        let (linear, scale) = (LinearSpec { activation: Activation::None }, 1.0 / (width as f64).sqrt());
        let q = q.with(|layout| layout.split(1, key_heads, group))?;
        // Scores and sums stay in the compute type: each is made of two parts.
        let mut scores = scratch.take(backend, backend.compute(), &[batch, key_heads, group, 1, earlier + 1])?;
        let mut sums = scratch.take(backend, backend.compute(), &[batch, key_heads, group, 1, width])?;
        let places = || (0..batch).flat_map(|sequence| (0..key_heads).map(move |head| (sequence, head)));
        for ((sequence, head), codes) in places().zip(&self.k) {
            let own = q.narrow(0, sequence, 1)?.narrow(1, head, 1)?;
            let part = scores.view_mut().narrow(0, sequence, 1)?.narrow(1, head, 1)?.narrow(4, 0, earlier)?;
            backend.linear(linear, own, codes, None, part)?;
        }
        backend.unary(UnaryOp::Affine { scale, shift: 0.0 }, Operand::InPlace, scores.view_mut().narrow(4, 0, earlier)?)?;
        let newest = shared(k_new, group)?.transposed()?;
        backend.matmul(MatmulSpec::scaled(scale), q, newest, scores.view_mut().narrow(4, earlier, 1)?)?;
        backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, scores.view_mut())?;
        for ((sequence, head), codes) in places().zip(&self.v) {
            let weights = scores.view().narrow(0, sequence, 1)?.narrow(1, head, 1)?.narrow(4, 0, earlier)?;
            backend.linear(linear, weights, codes, None, sums.view_mut().narrow(0, sequence, 1)?.narrow(1, head, 1)?)?;
        }
        backend.matmul(MatmulSpec::ACCUMULATE, scores.view().narrow(4, earlier, 1)?, shared(v_new, group)?, sums.view_mut())?;
        backend.copy(sums.view(), out.with(|layout| layout.split(1, key_heads, group))?)?;
        scratch.give(sums);
        scratch.give(scores);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::Decode;
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, relative_error, run};
    use crossover_core::axes::AxisValue;

    fn given() -> Vec<(&'static str, AxisValue)> {
        [("batch", 2), ("heads", 4), ("kv_heads", 2), ("n_kv", 17), ("head_dim", 8)]
            .map(|(name, value)| (name, AxisValue::Int(value)))
            .to_vec()
    }

    #[test]
    fn whole_numbers_that_the_codes_hold_lose_nothing() {
        let (own, plain) = (axes::<DecodeInt8>(&given()), axes::<Decode>(&given()));
        let mut tensors = drawn::<Decode>(&plain);
        for name in ["k", "v"] {
            // Every row and every column has a largest value of 127, and all values are whole.
            let whole =
                |(at, value): (usize, &f64)| if (at / 8 + at) % 8 == 0 { 127.0 } else { (40.0 * value).round().clamp(-126.0, 126.0) };
            let values = tensors[name].values().iter().enumerate().map(whole).collect();
            tensors.insert(name.into(), HostTensor::new(tensors[name].shape(), values).unwrap());
        }
        tensors.insert("q".into(), HostTensor::new(&[2, 4, 1, 8], tensors["q"].values().iter().map(|q| q / 100.0).collect()).unwrap());
        assert!(distance(&run::<DecodeInt8>(&own, &tensors), &run::<Decode>(&plain, &tensors)) < 1e-10);
    }

    #[test]
    fn eight_bits_lose_little() {
        let (own, plain) = (axes::<DecodeInt8>(&given()), axes::<Decode>(&given()));
        let tensors = drawn::<Decode>(&plain);
        let error = relative_error(&run::<DecodeInt8>(&own, &tensors), &run::<Decode>(&plain, &tensors));
        assert!(error > 1e-5 && error < 0.02, "{error}");
    }

    #[test]
    fn integer_activations_and_an_empty_cache_are_refused() {
        assert!(axis_error::<DecodeInt8>(&[("precision", "int8".into())]).contains("floating activation type"));
        assert!(axis_error::<DecodeInt8>(&[("n_kv", 1.into())]).contains("n_kv >= 2"));
    }
}
