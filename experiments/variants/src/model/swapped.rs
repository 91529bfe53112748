//! Weight matrices as variants of the family linear: a whole model in int8, of low rank, pruned.
//!
//! `linear = low-rank(rank=64)` puts the variant in the place of every projection of attention, and of both layers of a dense feed-forward
//! layer (other feed-forward variants have forms of their own). Trained or drawn tensors keep their names and values, so that what a
//! compression costs is measured on the same weights; what the variant makes of them stands under `layers.0.q.` or `layers.0.ffn.first.`.
//! Where the model has no biases, the variant gets one of zeros.

use std::borrow::Cow;

use crossover_core::arena::Arena;
use crossover_core::axes::{Axes, AxisValue};
use crossover_core::backend::TransformerBackend;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use super::architecture::Architecture;
use super::component::{Component, parse};
use super::projection;
use crate::descriptor::{DrawRule, Placed, Role};
use crate::resolve::{name, size};
use crate::variant::{Bound, Derived, Operands, source, wrong_inputs};

/// The variant in the sizes of a model's matrices.
#[derive(Debug, Clone)]
pub(super) struct Swap {
    /// Queries and output.
    square: Component,
    /// Keys and values.
    narrow: Component,
    /// Both layers of a dense feed-forward layer.
    ffn: Option<[Component; 2]>,
}

impl Swap {
    /// What the axis `linear` asks for; nothing where it leaves the dense layers.
    pub(super) fn of(axes: &Axes, n: usize) -> Result<Option<Self>> {
        let failed = |problem: String| shape_error("model", problem);
        let [batch, d_model, d_ff, heads, kv_heads] = ["batch", "d_model", "d_ff", "heads", "kv_heads"].map(|axis| size(axes, axis));
        let chosen = parse("linear", name(axes, "linear")).map_err(failed)?;
        if chosen.parameter("activation").is_some() {
            return Err(failed("the activation of a linear layer is the model's: leave it out".into()));
        }
        if chosen.name() == "linear/dense" {
            return Ok(None);
        }
        let sized = |inputs: usize, outputs: usize, activation: &AxisValue| {
            let sizes = [("batch", batch), ("n", n), ("d_in", inputs), ("d_out", outputs)];
            chosen.clone().with("activation", activation.clone()).sized(axes, &sizes, 1)
        };
        let none = AxisValue::from("none");
        let ffn = parse("ffn", name(axes, "ffn")).map_err(failed)?;
        let ffn = match ffn.name() {
            "ffn/dense" => {
                let activation = ffn.parameter("activation").cloned().unwrap_or_else(|| "gelu".into());
                Some([sized(d_model, d_ff, &activation)?, sized(d_ff, d_model, &none)?])
            }
            _ => None,
        };
        let keys = d_model / heads.max(1) * kv_heads;
        Ok(Some(Self { square: sized(d_model, d_model, &none)?, narrow: sized(d_model, keys, &none)?, ffn }))
    }
}

/// One matrix of a model as a variant.
pub(super) struct Layer {
    component: Component,
    /// As the model has them.
    weight: Placed,
    bias: Option<Placed>,
    /// In front of what the variant makes.
    inner: String,
}

/// A projection, by the prefix of its layer and its own name.
pub(super) fn projection(model: &Architecture, prefix: &str, which: &str) -> Option<Layer> {
    let swap = model.linear.as_ref()?;
    let component = if which == "k" || which == "v" { &swap.narrow } else { &swap.square };
    let inner = format!("{prefix}{which}.");
    let own = projection::own_tensors(model, prefix);
    let named = |name: &str| own.iter().find(|tensor| tensor.name == format!("{inner}{name}")).cloned();
    Some(Layer { component: component.clone(), weight: named("weight")?, bias: named("bias"), inner })
}

/// Both layers of a dense feed-forward layer, by its prefix.
pub(super) fn ffn(model: &Architecture, prefix: &str) -> Option<[Layer; 2]> {
    let [first, second] = model.linear.as_ref()?.ffn.clone()?;
    let own = model.ffn.drawn(prefix);
    let named = |name: &str| own.iter().find(|tensor| tensor.name == format!("{prefix}{name}")).cloned();
    let layer = |component, [weight, bias]: [&str; 2], part: &str| {
        Some(Layer { component, weight: named(weight)?, bias: named(bias), inner: format!("{prefix}{part}.") })
    };
    Some([layer(first, ["w1", "b1"], "first")?, layer(second, ["w2", "b2"], "second")?])
}

/// All of a stack.
pub(super) fn layers(model: &Architecture) -> Vec<Layer> {
    let mut all = Vec::new();
    for layer in 0..model.layers {
        let prefix = format!("{}layers.{layer}.", model.prefix);
        let blocks = [Some(prefix.clone()), model.cross.is_some().then(|| format!("{prefix}cross_"))];
        for block in blocks.iter().flatten() {
            all.extend(projection::NAMES.iter().filter_map(|which| projection(model, block, which)));
        }
        all.extend(ffn(model, &format!("{prefix}ffn.")).into_iter().flatten());
    }
    all
}

impl Layer {
    /// Does the model's own tensor of this name belong to it?
    pub(super) fn owns(&self, name: &str) -> bool {
        self.weight.name == name || self.bias.as_ref().is_some_and(|bias| bias.name == name)
    }

    /// The model's name of one of the variant's tensors.
    fn outer(&self, own: &str) -> Cow<'static, str> {
        match (own, &self.bias) {
            ("w", _) => self.weight.name.clone(),
            ("b", Some(bias)) => bias.name.clone(),
            _ => format!("{}{own}", self.inner).into(),
        }
    }

    fn renamed(&self, tensor: Placed) -> Placed {
        Placed { name: self.outer(&tensor.name), ..tensor }
    }

    /// The model's tensors as the variant wants them, and those of its own.
    pub(super) fn drawn(&self) -> Vec<Placed> {
        let all = self.component.drawn("").into_iter();
        all.filter_map(|tensor| match tensor.name.as_ref() {
            "w" => Some(Placed { role: tensor.role, ..self.weight.clone() }),
            "b" => self.bias.clone(),
            _ => Some(self.renamed(tensor)),
        })
        .collect()
    }

    fn zeros(&self) -> Option<Placed> {
        let shape = vec![self.weight.shape.first().copied().unwrap_or(0)];
        self.bias.is_none().then(|| Placed { name: self.outer("b"), role: Role::Vector, shape, draw: DrawRule::FanIn, form: None })
    }

    /// What the host makes of them.
    pub(super) fn derived(&self) -> Vec<Placed> {
        self.component.derived("").into_iter().map(|tensor| self.renamed(tensor)).chain(self.zeros()).collect()
    }

    /// Makes it.
    pub(super) fn derive(&self, drawn: &HostInputs, made: &mut Derived) -> Result<()> {
        let mut own = HostInputs::new();
        if let Some(zeros) = self.zeros() {
            let values = HostTensor::new(&zeros.shape, vec![0.0; zeros.shape.iter().product()])?;
            made.tensors.push((zeros.name, values));
        }
        for tensor in self.component.drawn("") {
            let outer = self.outer(&tensor.name);
            if tensor.name != "b" || self.bias.is_some() {
                own.insert(tensor.name.into_owned(), source(drawn, &outer)?.clone());
            }
        }
        let mut parts = Derived::default();
        self.component.derive("", &own, &mut parts)?;
        made.tensors.extend(parts.tensors.into_iter().map(|(name, values)| (self.outer(&name), values)));
        made.weights.extend(parts.weights.into_iter().map(|(name, values)| (self.outer(&name), values)));
        made.savings.extend(parts.savings);
        Ok(())
    }

    /// Binds it.
    pub(super) fn bind<B: TransformerBackend>(&self, operands: &mut Operands<B>) -> Result<Box<dyn Bound<B>>> {
        for own in ["w", "b"] {
            operands.rename(&self.outer(own), &format!("{}{own}", self.inner));
        }
        self.component.bind(&self.inner, operands)
    }
}

/// Two swapped layers in a row: the activation is the first one's.
pub(super) struct TwoSwapped<B> {
    hidden: usize,
    layers: [Box<dyn Bound<B>>; 2],
}

impl<B: TransformerBackend> TwoSwapped<B> {
    pub(super) fn bind([first, second]: [Layer; 2], operands: &mut Operands<B>) -> Result<Self> {
        let hidden = first.weight.shape.first().copied().unwrap_or(0);
        Ok(Self { hidden, layers: [first.bind(operands)?, second.bind(operands)?] })
    }
}

impl<B: TransformerBackend> Bound<B> for TwoSwapped<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs("model", inputs)) };
        let &[batch, n, _] = x.shape() else { return Err(wrong_inputs("model", inputs)) };
        let [first, second] = &mut self.layers;
        let mut hidden = scratch.take(backend, backend.storage(), &[batch, n, self.hidden])?;
        first.run(backend, &[x], hidden.view_mut(), scratch)?;
        second.run(backend, &[hidden.view()], out, scratch)?;
        scratch.give(hidden);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::axes::AxisValue;

    use crate::inputs::CellInputs;
    use crate::model::presets::{Decode, Encoder, LlamaLike};
    use crate::registry::find;
    use crate::testing::{axes, axis_error, judged};

    fn given(choices: &[(&'static str, &str)]) -> Vec<(&'static str, AxisValue)> {
        let sizes = [("n", 8), ("layers", 2), ("d_model", 32), ("heads", 2), ("d_ff", 64), ("vocabulary", 32)];
        let sizes = sizes.into_iter().map(|(name, value)| (name, AxisValue::Int(value)));
        sizes.chain(choices.iter().map(|(name, value)| (*name, AxisValue::from(*value)))).collect()
    }

    /// On the same weights: nothing lost, nothing changed; something lost, something changed, and yet right for what it is.
    #[test]
    fn compressed_matrices_are_those_of_the_original() {
        let error = |linear: &str| judged::<Encoder>(&given(&[("linear", linear)])).method.relative.unwrap();
        assert!(error("low-rank(rank=32)") < 1e-12 && error("csr(sparsity=0.0)") < 1e-12);
        assert!(error("low-rank(rank=8)") > 1e-2 && error("int8-weight-only") > 1e-4);
        assert!(error("int8-weight-only") < error("int4-group"));
    }

    #[test]
    fn what_was_saved_is_told() {
        let entry = find("model/encoder").unwrap();
        let saved = |linear: &str| {
            let axes = axes::<Encoder>(&given(&[("linear", linear)]));
            let inputs = CellInputs::new(&entry, &axes, entry.draw(&axes).unwrap()).unwrap();
            inputs.transform.and_then(|transform| transform.saved)
        };
        let [eight, four] = ["int8-weight-only", "int4-group"].map(|linear| saved(linear).unwrap());
        // Four projections and two layers, in each of two blocks: 16 d_model^2 elements in all.
        let elements = 2 * (4 * 32 * 32 + 2 * 32 * 64);
        assert_eq!([eight.parameters_before, four.parameters_before], [elements; 2]);
        assert!(four.bytes_after < eight.bytes_after && eight.relative_error < four.relative_error);
        assert_eq!(saved("dense"), None);
    }

    #[test]
    fn every_linear_variant_fits_and_is_verified() {
        let linear = crate::registry::entries().into_iter().filter(|entry| entry.descriptor.family() == "linear");
        for entry in linear {
            let name = entry.descriptor.name.trim_start_matches("linear/");
            for precision in ["f64", "f32"] {
                let choices = given(&[("linear", name), ("precision", precision)]);
                let judgement = judged::<Encoder>(&choices);
                assert_eq!(judgement.complaint, None, "{name} {precision}");
                // Without biases, with grouped heads, and step by step.
                let bare = [&choices[..], &given(&[("biases", "no")])[..]].concat();
                assert_eq!(judged::<LlamaLike>(&[&bare[..], &[("kv_heads", AxisValue::Int(1))]].concat()).complaint, None, "{name}");
                assert_eq!(judged::<Decode>(&bare).complaint, None, "{name}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_says_why() {
        assert!(axis_error::<Encoder>(&given(&[("linear", "low-rank(rank=33)")])).contains("rank must be at most d_in and d_out"));
        assert!(axis_error::<Encoder>(&given(&[("linear", "csr(activation=relu)")])).contains("is the model's"));
    }
}
