//! The components that a trained model has by its `config.json`: the activation of its feed-forward layers and the epsilon of its norms.
//!
//! Shapes tell neither. A preset's own component must be the file's, and an epsilon belongs to the weights whoever wrote it; another
//! activation, or another kind of component, is what an experiment swaps on purpose. The original that it is compared with has the
//! components that the file says.

use crossover_core::axes::{Axes, AxisValue};
use serde_json::Value;

use super::component::parse;
use super::naming::Naming;
use crate::resolve::name;

/// Families whose components a configuration tells about; their axes have the same names.
const FAMILIES: [&str; 2] = ["ffn", "norm"];

/// The components of these axes as the configuration has them, where it says something else.
pub(super) fn own(config: &Value, axes: &Axes) -> Result<Axes, String> {
    let told = FAMILIES.iter().filter(|family| axes.contains_key(**family));
    told.filter_map(|family| {
        let component = told_component(config, family, name(axes, family)).transpose()?;
        Some(component.map(|(_, component)| ((*family).to_owned(), component.as_str().into())))
    })
    .collect()
}

/// Fails where the configuration contradicts a component that is the architecture's own.
pub(super) fn check(config: &Value, naming: Naming, axes: &Axes) -> Result<(), String> {
    for family in FAMILIES {
        let written = name(axes, family);
        if !axes.contains_key(family) || (family == "ffn" && parse(family, written)?.spelled() != own_ffn(naming)) {
            continue;
        }
        if let Some((said, own)) = told_component(config, family, written)? {
            return Err(format!("{said}, the cell says {family} = {written}: set {family} = {own}"));
        }
    }
    Ok(())
}

/// The feed-forward layer of an architecture's presets.
fn own_ffn(naming: Naming) -> &'static str {
    match naming {
        Naming::Bert => "dense(activation=gelu)",
        Naming::Gpt2 => "dense(activation=gelu-tanh)",
        Naming::Llama => "swiglu",
    }
}

/// What the configuration says, and the component that fits it; nothing where the written one does.
fn told_component(config: &Value, family: &str, written: &str) -> Result<Option<(String, String)>, String> {
    let chosen = parse(family, written)?;
    let said = |keys: &[&'static str]| keys.iter().find_map(|key| Some((*key, config.get(key)?)));
    let epsilon = |keys: &[&'static str]| said(keys).and_then(|(key, value)| Some((key, value.as_f64()?)));
    let told = match chosen.name() {
        "norm/layer-norm" | "norm/rms-norm" => {
            let keys: &[&str] =
                if chosen.name() == "norm/rms-norm" { &["rms_norm_eps"] } else { &["layer_norm_eps", "layer_norm_epsilon"] };
            let Some((key, value)) = epsilon(keys) else { return Ok(None) };
            let fits = chosen.parameter("eps").and_then(AxisValue::as_float).unwrap_or(1e-5) == value;
            (!fits).then(|| (format!("{key} is {}", AxisValue::Float(value)), chosen.with("eps", AxisValue::Float(value)).spelled()))
        }
        "ffn/dense" | "ffn/swiglu" | "ffn/geglu" | "ffn/reglu" => {
            let found = said(&["hidden_act", "activation_function", "hidden_activation"]);
            let Some((key, value)) = found.and_then(|(key, value)| Some((key, value.as_str()?))) else { return Ok(None) };
            let unsupported = || format!("{key} is {value:?}, which is not supported in {}", chosen.name());
            let activation = activation(value).ok_or_else(unsupported)?;
            let own = if chosen.name() == "ffn/dense" {
                chosen.clone().with("activation", activation.into()).spelled()
            } else {
                gated(activation).ok_or_else(unsupported)?.to_owned()
            };
            let given = match chosen.name() {
                "ffn/dense" if chosen.parameter("activation").is_none() => chosen.with("activation", "gelu".into()).spelled(),
                _ => chosen.spelled(),
            };
            (given != own).then(|| (format!("{key} is {value}"), own))
        }
        _ => None,
    };
    Ok(told)
}

/// Our name of an activation, by theirs.
fn activation(theirs: &str) -> Option<&'static str> {
    match theirs {
        "gelu" | "gelu_python" => Some("gelu"),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Some("gelu-tanh"),
        "silu" | "swish" => Some("silu"),
        "relu" => Some("relu"),
        "relu2" => Some("relu-squared"),
        _ => None,
    }
}

/// The gated layer with such a gate.
fn gated(activation: &str) -> Option<&'static str> {
    match activation {
        "silu" => Some("swiglu"),
        "gelu" => Some("geglu"),
        "relu" => Some("reglu"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(ffn: &str, norm: &str) -> Axes {
        [("ffn", ffn), ("norm", norm)].into_iter().map(|(axis, value)| (axis.to_owned(), value.into())).collect()
    }

    fn config(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_the_architectures_own_must_be_the_files() {
        let bert = axes("dense(activation=gelu)", "layer-norm(eps=1e-12)");
        let llama = axes("swiglu", "rms-norm(shift=no)");
        for (naming, axes, text) in [
            (Naming::Bert, &bert, r#"{"hidden_act": "gelu", "layer_norm_eps": 1e-12}"#),
            (Naming::Llama, &llama, r#"{"hidden_act": "silu", "rms_norm_eps": 1e-05}"#),
            // Swapped on purpose: another activation, and another kind of norm.
            (Naming::Bert, &axes("dense(activation=relu)", "rms-norm"), r#"{"hidden_act": "gelu", "layer_norm_eps": 1e-12}"#),
            (Naming::Bert, &bert, "{}"),
        ] {
            assert_eq!(check(&config(text), naming, axes), Ok(()), "{text}");
        }
        for (naming, axes, text, wanted) in [
            (
                Naming::Bert,
                &bert,
                r#"{"hidden_act": "relu"}"#,
                "hidden_act is relu, the cell says ffn = dense(activation=gelu): set ffn = dense(activation=relu)",
            ),
            (Naming::Bert, &bert, r#"{"layer_norm_eps": 1e-5}"#, "set norm = layer-norm(eps=1e-5)"),
            (Naming::Llama, &llama, r#"{"rms_norm_eps": 1e-6}"#, "set norm = rms-norm(eps=1e-6,shift=no)"),
            (Naming::Llama, &llama, r#"{"hidden_act": "gelu"}"#, "set ffn = geglu"),
            (Naming::Llama, &llama, r#"{"hidden_act": "gelu_pytorch_tanh"}"#, "not supported in ffn/swiglu"),
            (Naming::Bert, &bert, r#"{"hidden_act": "mish"}"#, "\"mish\", which is not supported in ffn/dense"),
        ] {
            let error = check(&config(text), naming, axes).unwrap_err();
            assert!(error.ends_with(wanted), "{error}");
        }
    }

    #[test]
    fn the_original_has_what_the_file_says() {
        let preset = axes("dense(activation=gelu-tanh)", "layer-norm");
        let own = own(&config(r#"{"activation_function": "relu", "layer_norm_epsilon": 1e-6}"#), &preset).unwrap();
        assert_eq!(own["ffn"].as_text(), Some("dense(activation=relu)"));
        assert_eq!(parse("norm", own["norm"].as_text().unwrap()).unwrap().parameter("eps").and_then(AxisValue::as_float), Some(1e-6));
        assert!(super::own(&config(r#"{"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}"#), &preset).unwrap().is_empty());
    }
}
