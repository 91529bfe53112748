//! What the `config.json` beside trained weights says must be what the axes say.
//!
//! The shapes of tensors tell widths and the vocabulary, but not how many heads share a width, nor the base of the rotations: with another
//! number the same file would silently be another model. What an experiment swaps on purpose is not looked at ([`originals`] says what
//! that is).

use std::io::ErrorKind;
use std::path::Path;

use crossover_core::axes::Axes;
use crossover_core::error::{EngineError, Result, shape_error};
use serde_json::Value;

use super::naming::Naming;
use super::originals;
use crate::resolve::{name, number, size};

/// Fails where the file, if there is one, contradicts the axes.
pub(super) fn check(folder: &Path, naming: Naming, axes: &Axes) -> Result<()> {
    let Some(config) = read(folder)? else { return Ok(()) };
    let all = counts(&config, axes).and_then(|()| rotations(&config, axes)).and_then(|()| window(&config, axes));
    all.and_then(|()| originals::check(&config, naming, axes)).map_err(|problem| failed(folder, &problem))
}

/// The components that the trained model has, where they are not those of these axes.
pub(super) fn original_components(folder: &Path, axes: &Axes) -> Result<Axes> {
    let Some(config) = read(folder)? else { return Ok(Axes::new()) };
    originals::own(&config, axes).map_err(|problem| failed(folder, &problem))
}

const FILE: &str = "config.json";

fn failed(folder: &Path, problem: &str) -> EngineError {
    shape_error("weights", format!("{}: {problem}", folder.join(FILE).display()))
}

/// The file, if there is one: weights may come without.
fn read(folder: &Path) -> Result<Option<Value>> {
    let bytes = match std::fs::read(folder.join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| failed(folder, &error.to_string()))?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(folder, &error.to_string()))
}

/// Names of a count in the configurations of BERT and Llama, and of GPT-2.
const COUNTS: [(&str, [&str; 2]); 3] =
    [("layers", ["num_hidden_layers", "n_layer"]), ("heads", ["num_attention_heads", "n_head"]), ("kv_heads", ["num_key_value_heads", ""])];

fn counts(config: &Value, axes: &Axes) -> std::result::Result<(), String> {
    for (axis, keys) in COUNTS {
        let said = keys.iter().find_map(|key| Some((key, config.get(key)?.as_u64()?)));
        if let Some((key, count)) = said.filter(|(_, count)| axes.contains_key(axis) && *count != size(axes, axis) as u64) {
            return Err(format!("{key} is {count}, the cell says {axis} = {}: set {axis} = {count}", size(axes, axis)));
        }
    }
    match config.get("head_dim").and_then(Value::as_u64) {
        Some(width) if axes.contains_key("heads") && width != (size(axes, "d_model") / size(axes, "heads").max(1)) as u64 => {
            Err(format!("head_dim is {width}; heads that are not d_model / heads wide are not supported"))
        }
        _ => Ok(()),
    }
}

fn rotations(config: &Value, axes: &Axes) -> std::result::Result<(), String> {
    if name(axes, "position") != "rope" {
        return Ok(());
    }
    // Newer files keep what belongs to rotations together.
    let parts = [Some(config), config.get("rope_parameters"), config.get("rope_scaling")];
    let said = |key: &str| parts.iter().flatten().find_map(|part| part.get(key));
    if let Some(base) = said("rope_theta").and_then(Value::as_f64).filter(|base| *base != number(axes, "rope_base")) {
        return Err(format!("rope_theta is {base}, the cell says rope_base = {}: set rope_base = {base}", number(axes, "rope_base")));
    }
    let kind = parts[1..].iter().flatten().find_map(|part| part.get("rope_type").or_else(|| part.get("type"))?.as_str());
    match kind {
        Some(kind) if kind != "default" => Err(format!("its rotations are scaled ({kind}), which is not supported")),
        _ => Ok(()),
    }
}

/// A model that looks back so far only is another one beyond that length.
fn window(config: &Value, axes: &Axes) -> std::result::Result<(), String> {
    let used = config.get("use_sliding_window").and_then(Value::as_bool).unwrap_or(true);
    let width = config.get("sliding_window").and_then(Value::as_u64).filter(|_| used);
    match width.filter(|width| (size(axes, "n") + size(axes, "steps")) as u64 > *width) {
        Some(width) => Err(format!("sliding_window is {width}: it attends to the last {width} tokens only, and more are not supported")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crossover_core::axes::AxisValue;

    use super::*;

    fn complaint(config: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), config).unwrap();
        let mut axes = Axes::new();
        for (axis, value) in [("layers", 2), ("heads", 4), ("kv_heads", 2), ("d_model", 32)] {
            axes.insert(axis.into(), AxisValue::Int(value));
        }
        axes.insert("position".into(), "rope".into());
        axes.insert("rope_base".into(), AxisValue::Float(10_000.0));
        axes.insert("n".into(), AxisValue::Int(128));
        check(folder.path(), Naming::Llama, &axes).err().map(|error| error.to_string())
    }

    #[test]
    fn what_shapes_do_not_tell_must_be_said_by_the_axes() {
        assert_eq!(complaint(r#"{"num_hidden_layers": 2, "num_attention_heads": 4, "rope_theta": 10000.0, "rope_scaling": null}"#), None);
        assert_eq!(complaint(r#"{"sliding_window": 64, "use_sliding_window": false}"#), None);
        assert_eq!(complaint(r#"{"sliding_window": 128}"#), None);
        for (config, wanted) in [
            (r#"{"n_head": 8}"#, "set heads = 8"),
            (r#"{"num_hidden_layers": 6}"#, "set layers = 6"),
            (r#"{"num_key_value_heads": 4}"#, "set kv_heads = 4"),
            (r#"{"head_dim": 16}"#, "head_dim is 16"),
            (r#"{"rope_theta": 500000.0}"#, "set rope_base = 500000"),
            (r#"{"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}"#, "set rope_base = 500000"),
            (r#"{"rope_scaling": {"type": "linear", "factor": 2.0}}"#, "scaled (linear)"),
            (r#"{"sliding_window": 64}"#, "sliding_window is 64"),
            ("{", "EOF"),
        ] {
            let error = complaint(config).unwrap_or_default();
            assert!(error.contains(wanted), "{config}: {error}");
        }
    }

    #[test]
    fn only_a_missing_file_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check(folder.path(), Naming::Bert, &Axes::new()).is_ok());
        fs::create_dir(folder.path().join(FILE)).unwrap();
        let error = check(folder.path(), Naming::Bert, &Axes::new()).unwrap_err().to_string();
        assert!(error.contains(FILE), "{error}");
    }
}
