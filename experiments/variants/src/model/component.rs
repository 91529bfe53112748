//! Components of a model: variants of other families, chosen by name and bound under a prefix.
//!
//! A component is written `name` or `name(parameter=value, ..)`, e.g. `linformer(rank=64)`. Whatever the variant needs beside its
//! activations (weights, projections, host transforms) becomes part of the model's own tensors, under names such as
//! `layers.0.attention.e`.

use std::borrow::Cow;

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::backend::TransformerBackend;
use crossover_core::error::{Result, shape_error};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::{ExactOperation, HostInputs};

use crate::descriptor::{AxisKind, AxisSpec, COMMON_AXES, Placed, Role};
use crate::registry::{Entry, VariantVisitor, closest, find};
use crate::resolve::resolve;
use crate::variant::{Bound, Derived, Operands, Reference, Variant};
use crate::{attention, ffn, linear, norm};

/// A component as written: a variant and its parameters.
#[derive(Debug, Clone)]
pub struct Chosen {
    entry: Entry,
    parameters: Axes,
}

/// Reads `name(parameter=value, ..)`; the error says what is wrong.
pub fn parse(family: &str, text: &str) -> std::result::Result<Chosen, String> {
    let (name, inside) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').ok_or("the parenthesis is not closed")?),
        None => (text, ""),
    };
    let full = format!("{family}/{}", name.trim().trim_start_matches(family).trim_start_matches('/'));
    let entry = find(&full).ok_or_else(|| {
        let hint = closest(&full).map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
        format!("there is no variant {full:?}{hint}")
    })?;
    let mut parameters = Axes::new();
    for assignment in inside.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = assignment.split_once('=').ok_or_else(|| format!("{assignment:?} is not parameter=value"))?;
        // Sizes are the model's; a choice that is part of the problem, such as an activation, is the component's.
        let chosen = entry.descriptor.problem.iter().filter(|axis| matches!(axis.kind, AxisKind::Choice { .. }));
        let own: Vec<&AxisSpec> = entry.descriptor.parameters.iter().chain(chosen).collect();
        if !own.iter().any(|axis| axis.name == key.trim()) {
            let known: Vec<&str> = own.iter().map(|axis| axis.name).collect();
            return Err(format!("{full} has no parameter {:?}; it has {}", key.trim(), known.join(", ")));
        }
        parameters.insert(key.trim().to_owned(), AxisValue::parse(value.trim()));
    }
    Ok(Chosen { entry, parameters })
}

impl Chosen {
    /// The canonical spelling: parameters in alphabetical order.
    pub fn spelled(&self) -> String {
        let name = self.entry.descriptor.name.split('/').next_back().unwrap_or_default();
        let parameters: Vec<String> = self.parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if parameters.is_empty() { name.to_owned() } else { format!("{name}({})", parameters.join(",")) }
    }

    /// The variant's full name.
    pub fn name(&self) -> &'static str {
        self.entry.descriptor.name
    }

    /// A parameter as written.
    pub fn parameter(&self, name: &str) -> Option<&AxisValue> {
        self.parameters.get(name)
    }

    /// With a parameter that the model decides.
    pub fn with(mut self, name: &str, value: AxisValue) -> Self {
        self.parameters.insert(name.to_owned(), value);
        self
    }

    /// Does it keep to the past?
    pub fn is_causal(&self) -> bool {
        self.entry.descriptor.task.contains("causal")
    }

    /// With the sizes that the model gives it. Fails where the variant does not fit a model, or its parameters the sizes.
    pub fn sized(self, model: &Axes, sizes: &[(&str, usize)], inputs: usize) -> Result<Component> {
        let name = self.entry.descriptor.name;
        if self.entry.descriptor.axis("layers").is_some() {
            return Err(shape_error(
                "model",
                format!("{name} cannot be a component: it is a stack of layers by itself, with norms of its own"),
            ));
        }
        let mut axes = self.parameters;
        for (axis, size) in sizes {
            if self.entry.descriptor.axis(axis).is_some() {
                axes.entry((*axis).to_owned()).or_insert(AxisValue::Int(i64::try_from(*size).unwrap_or(i64::MAX)));
            }
        }
        for axis in COMMON_AXES {
            axes.extend(model.get(axis.name).map(|value| (axis.name.to_owned(), value.clone())));
        }
        let axes = resolve(self.entry.descriptor, &axes).map_err(|error| shape_error("model", error.to_string()))?;
        let drawn = self.entry.drawn(&axes);
        let activations: Vec<&str> =
            drawn.iter().filter(|tensor| tensor.role == Role::Activation).map(|tensor| tensor.name.as_ref()).collect();
        let from_inputs = ["q", "k", "v", "x"];
        let made_of_inputs = drawn.iter().any(|tensor| tensor.role == Role::Source && from_inputs.contains(&tensor.name.as_ref()));
        let derived_inputs = self.entry.derived(&axes).iter().any(|tensor| tensor.role == Role::Activation);
        let refused = |why: String| Err(shape_error("model", format!("{name} cannot be a component: {why}")));
        if made_of_inputs || derived_inputs {
            return refused("it makes something else of its inputs before the timer, and inside a model there is no before".into());
        }
        if activations.len() != inputs {
            return refused(format!("it takes {} activations, and the model has {inputs} for it", activations.len()));
        }
        Ok(Component { entry: self.entry, axes })
    }
}

/// A component with sizes.
#[derive(Debug, Clone)]
pub struct Component {
    entry: Entry,
    axes: Axes,
}

impl Component {
    /// The variant's full name.
    pub fn name(&self) -> &'static str {
        self.entry.descriptor.name
    }

    /// The pattern, where the variant is the engine's streaming attention over one and nothing else: without tensors of its own, and
    /// without scratch (the materialised form of the same attention is another schedule).
    pub fn streamed_pattern(&self) -> Option<AttentionPattern> {
        let bare = self.drawn("").is_empty() && self.derived("").is_empty() && self.entry.descriptor.model.scratch == "0";
        match self.entry.reference(&self.axes) {
            Reference::Operation(ExactOperation::Attention { pattern }) if bare => Some(pattern),
            _ => None,
        }
    }

    /// Does a row of the output depend on later rows of the input, in a family that works row by row?
    pub fn looks_ahead(&self) -> bool {
        self.entry.descriptor.task == "ffn/conv" && self.axes.get("causal").and_then(AxisValue::as_text) != Some("yes")
    }

    /// Does a row of the output depend on other rows of the input, in a family that works row by row?
    pub fn mixes_rows(&self) -> bool {
        ["ffn/conv", "ffn/moe"].contains(&self.entry.descriptor.task)
    }

    /// Its tensors, beside the activations, under the prefix.
    pub fn drawn(&self, prefix: &str) -> Vec<Placed> {
        let all = self.entry.drawn(&self.axes);
        all.into_iter().filter(|tensor| tensor.role != Role::Activation).map(|tensor| prefixed(tensor, prefix)).collect()
    }

    /// What its host transforms make.
    pub fn derived(&self, prefix: &str) -> Vec<Placed> {
        self.entry.derived(&self.axes).into_iter().map(|tensor| prefixed(tensor, prefix)).collect()
    }

    /// Runs its host transforms.
    pub fn derive(&self, prefix: &str, drawn: &HostInputs, into: &mut Derived) -> Result<()> {
        let own: HostInputs =
            drawn.iter().filter_map(|(name, values)| Some((name.strip_prefix(prefix)?.to_owned(), values.clone()))).collect();
        let Derived { tensors, weights, savings } = self.entry.derive(&self.axes, &own)?;
        let rename = |name: Cow<'static, str>| Cow::from(format!("{prefix}{name}"));
        into.tensors.extend(tensors.into_iter().map(|(name, values)| (rename(name), values)));
        into.weights.extend(weights.into_iter().map(|(name, values)| (rename(name), values)));
        into.savings.extend(savings);
        Ok(())
    }

    /// Binds it to the operands under the prefix.
    pub fn bind<B: TransformerBackend>(&self, prefix: &str, operands: &mut Operands<B>) -> Result<Box<dyn Bound<B>>> {
        operands.within(prefix, |operands| {
            let mut search = Bind { component: self, operands, bound: None };
            attention::visit(&mut search);
            ffn::visit(&mut search);
            norm::visit(&mut search);
            linear::visit(&mut search);
            search.bound.unwrap_or_else(|| Err(shape_error("model", format!("{} is no component", self.entry.descriptor.name))))
        })
    }
}

fn prefixed(tensor: Placed, prefix: &str) -> Placed {
    Placed { name: Cow::from(format!("{prefix}{}", tensor.name)), ..tensor }
}

struct Bind<'a, B: TransformerBackend> {
    component: &'a Component,
    operands: &'a mut Operands<B>,
    bound: Option<Result<Box<dyn Bound<B>>>>,
}

impl<B: TransformerBackend> VariantVisitor for Bind<'_, B> {
    fn visit<V: Variant>(&mut self) {
        if V::DESCRIPTOR.name == self.component.entry.descriptor.name {
            let bound = V::bind(self.operands, &self.component.axes);
            self.bound = Some(bound.map(|bound| Box::new(bound) as Box<dyn Bound<B>>));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_read_and_spelled_canonically() {
        assert_eq!(parse("ffn", "dense( activation = relu )").unwrap().spelled(), "dense(activation=relu)");
        assert_eq!(parse("attention", "attention/flash").unwrap().spelled(), "flash");
        for (family, text, complaint) in [
            ("attention", "flush", "there is no variant \"attention/flush\" (did you mean \"attention/flash\"?)"),
            ("ffn", "dense(width=3)", "ffn/dense has no parameter \"width\""),
            ("ffn", "dense(activation)", "\"activation\" is not parameter=value"),
            ("ffn", "dense(activation=relu", "the parenthesis is not closed"),
        ] {
            let error = parse(family, text).unwrap_err();
            assert!(error.starts_with(complaint), "{error}");
        }
    }
}
