//! Gradients through variants as they are: what the engine records is held against central differences in f64.

use std::collections::BTreeMap;

use crossover_candle::CandleBackend;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::weights::HostWeight;
use crossover_variants::cell::config;
use crossover_variants::descriptor::Role;
use crossover_variants::inputs::CellInputs;
use crossover_variants::registry::{Entry, VariantVisitor, find, visit};
use crossover_variants::resolve::{resolve, shape_of};
use crossover_variants::sizes::{SMALL, asked};
use crossover_variants::variant::{Bound, Operands, Variant};
use crossover_variants::verify::judge;

/// Variants through which the slope does not pass as the difference says, each with its reason.
const NOT_DIFFERENTIABLE: [(&str, &str); 5] = [
    (
        "attention/reformer-causal",
        "a token that sees nobody in one round of hashing has only minus infinity there, whose softmax has no slope",
    ),
    ("softmax/huffman", "the sides of its decisions are codes -1, 0 and 1, and the absolute value that skips padding has a corner at 0"),
    ("softmax/table", "a table of exponentials is constant between its entries; refused in training, so that nobody trains on no slope"),
    ("transfer/download", NO_LINK),
    ("transfer/upload", NO_LINK),
];

const NO_LINK: &str = "a copy between host and device; this engine is on the host, and refuses it";

fn axes_of(entry: &Entry) -> Axes {
    let axes = asked(entry.descriptor, &SMALL, "f64");
    resolve(entry.descriptor, &axes).unwrap_or_else(|error| panic!("{error}"))
}

/// One output and, where asked for, what it says for each variable.
struct Trained {
    output: HostTensor,
    gradients: Vec<Option<HostTensor>>,
}

/// Every element of the output counts differently, or sums that are constant (of a softmax) would have no slope.
fn importance(shape: &[usize]) -> HostTensor {
    let count: usize = shape.iter().product();
    HostTensor::new(shape, (0..count).map(|at| (1.0 + 0.7 * at as f64).sin()).collect()).unwrap()
}

fn train<V: Variant>(engine: &CandleBackend, axes: &Axes, inputs: &CellInputs, gradients: bool) -> Result<Trained> {
    engine.forget_variables();
    let (mut operands, mut activations) = (Operands::<CandleBackend>::new(), Vec::new());
    for (name, role, dtype, values) in &inputs.tensors {
        let tensor = engine.upload(values, *dtype)?;
        if *role == Role::Activation { activations.push(tensor) } else { operands.add_tensor(name.clone(), tensor) }
    }
    for (name, weights) in &inputs.weights {
        operands.add_weights(name.clone(), weights.iter().map(|weight| engine.prepare_weight(weight)).collect::<Result<_>>()?);
    }
    let mut out = engine.tensor(DType::F64, &shape_of(V::DESCRIPTOR.output, axes))?;
    let mut bound = V::bind(&mut operands, axes)?;
    let views: Vec<_> = activations.iter().map(|tensor| tensor.view()).collect();
    bound.run(engine, &views, out.view_mut(), &mut Arena::new())?;
    let weights = importance(out.shape());
    let gradients = if gradients { engine.gradients(out.view(), Some(&weights))? } else { Vec::new() };
    Ok(Trained { output: engine.download(out.view())?, gradients })
}

/// The values of the variables by name, in the order in which they are made: floating tensors, then weights. `None` for codes.
fn variables(inputs: &mut CellInputs) -> Vec<Option<(String, &mut HostTensor)>> {
    let tensors = inputs.tensors.iter_mut().filter(|(_, _, dtype, _)| dtype.is_float());
    let mut all: Vec<_> = tensors.map(|(name, _, _, values)| Some((name.to_string(), values))).collect();
    for (name, weights) in &mut inputs.weights {
        all.extend(weights.iter_mut().map(|weight| match weight {
            HostWeight::Dense { values, .. } => Some((name.to_string(), values)),
            _ => None,
        }));
    }
    all
}

/// Moves a variable; its name, or `None` where it is codes and cannot be moved.
fn moved(inputs: &mut CellInputs, variable: usize, step: impl Fn(usize) -> f64) -> Option<String> {
    let (name, values) = variables(inputs).swap_remove(variable)?;
    let elements = values.values().iter().enumerate().map(|(at, value)| value + step(at)).collect();
    *values = HostTensor::new(values.shape(), elements).unwrap();
    Some(name)
}

/// What the slopes of one variant look like.
#[derive(Default)]
struct Slopes {
    /// Variables with a gradient that is not zero.
    flowing: usize,
    /// What differs from the central difference.
    wrong: Vec<String>,
}

const STEP: f64 = 1e-6;

fn slopes<V: Variant>(directions: usize) -> Result<Slopes> {
    let entry = find(V::DESCRIPTOR.name).unwrap();
    let axes = axes_of(&entry);
    let drawn = entry.draw(&axes)?;
    let inputs = CellInputs::new(&entry, &axes, drawn)?;
    let engine = CandleBackend::for_training(&EngineConfig { threads: 1, ..config(&axes)? })?;
    let trained = train::<V>(&engine, &axes, &inputs, true)?;
    // The recorded operations are other ones than the timed ones: they must give the same.
    let judgement = judge(&entry, &axes, &inputs, &trained.output)?;
    if let Some(complaint) = judgement.complaint {
        return Ok(Slopes { flowing: 0, wrong: vec![format!("its output is wrong: {complaint}")] });
    }
    let weights = importance(trained.output.shape());
    let score = |inputs: &CellInputs| -> Result<f64> {
        let output = train::<V>(&engine, &axes, inputs, false)?.output;
        Ok(output.values().iter().zip(weights.values()).map(|(value, weight)| value * weight).sum())
    };
    let mut slopes = Slopes::default();
    for (at, gradient) in trained.gradients.iter().enumerate() {
        let count = gradient.as_ref().map_or(0, HostTensor::len);
        let is_flowing = gradient.as_ref().is_some_and(|gradient| gradient.values().iter().any(|&value| value != 0.0));
        slopes.flowing += usize::from(is_flowing);
        for turn in 0..directions {
            let direction = |element: usize| (2.0 + 1.3 * (element * (turn + 1) + turn) as f64).cos();
            let (mut forward, mut backward) = (inputs.clone(), inputs.clone());
            let Some(name) = moved(&mut forward, at, |element| STEP * direction(element)) else { continue };
            moved(&mut backward, at, |element| -STEP * direction(element));
            let (above, below) = (score(&forward)?, score(&backward)?);
            let difference = (above - below) / (2.0 * STEP);
            let along: f64 =
                gradient.iter().flat_map(|gradient| gradient.values()).enumerate().map(|(at, slope)| slope * direction(at)).sum();
            let slack = 1e-6 * (1.0 + along.abs() + difference.abs() + above.abs() + below.abs());
            let close = (along - difference).abs() <= slack;
            if !close {
                slopes.wrong.push(format!("{name} ({count} slopes): {along:e} along a direction, difference {difference:e}"));
            }
        }
    }
    Ok(slopes)
}

/// Checks the variants of a list in several directions, or all in one.
struct Check {
    only: Option<&'static [&'static str]>,
    results: BTreeMap<&'static str, Result<Slopes>>,
}

impl VariantVisitor for Check {
    fn visit<V: Variant>(&mut self) {
        let name = V::DESCRIPTOR.name;
        match self.only {
            Some(only) if !only.contains(&name) => {}
            Some(_) => drop(self.results.insert(name, slopes::<V>(4))),
            None => drop(self.results.insert(name, slopes::<V>(1))),
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    const NAMES: [&str; 11] = [
        "attention/dense",
        "attention/flash",
        "attention/linformer",
        "attention/linear",
        "ffn/dense",
        "ffn/swiglu",
        "ffn/low-rank",
        "norm/layer-norm",
        "norm/rms-norm",
        "softmax/stable",
        "linear/dense",
    ];
    let mut check = Check { only: Some(&NAMES), results: BTreeMap::new() };
    visit(&mut check);
    assert_eq!(check.results.len(), NAMES.len());
    for (name, slopes) in check.results {
        let slopes = slopes.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(slopes.wrong.is_empty(), "{name}: {}", slopes.wrong.join("; "));
        assert!(slopes.flowing > 0, "{name}: no gradient reaches anything");
    }
}

/// Of the whole zoo: what is not in the list above must have the slopes that the differences say, and what is in it must have a reason
/// to be there.
#[test]
fn every_variant_trains_or_is_listed() {
    let mut check = Check { only: None, results: BTreeMap::new() };
    visit(&mut check);
    let mut complaints = Vec::new();
    for (name, slopes) in &check.results {
        let listed = NOT_DIFFERENTIABLE.iter().any(|(own, _)| own == name);
        let problem = match slopes {
            Err(error) => Some(error.to_string()),
            Ok(slopes) if !slopes.wrong.is_empty() => Some(slopes.wrong.join("; ")),
            Ok(slopes) if slopes.flowing == 0 => Some("no gradient reaches anything".to_owned()),
            Ok(_) => None,
        };
        match (problem, listed) {
            (Some(problem), false) => complaints.push(format!("{name}: {problem}")),
            (None, true) => complaints.push(format!("{name} is listed as not differentiable, but is")),
            _ => {}
        }
    }
    let unknown = NOT_DIFFERENTIABLE.iter().filter(|(name, _)| !check.results.contains_key(name));
    complaints.extend(unknown.map(|(name, _)| format!("{name} is listed, but there is no such variant")));
    assert!(complaints.is_empty(), "{} complaints\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn int8_activations_are_refused() {
    let precision: Precision = "int8".parse().unwrap();
    let error = CandleBackend::for_training(&EngineConfig::new(precision, 1)).expect_err("rounding has no gradient");
    assert!(error.to_string().contains("train in f32 or f64"), "{error}");
}
