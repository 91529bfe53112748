//! `apply` on every PyTorch float64 golden, through the real worker process.
//!
//! Three parties meet here: PyTorch, our engine, and our f64 reference. The reference must agree with PyTorch within the bound that it
//! states for itself, and the engine with PyTorch within twice that (each may be off by the bound, in opposite directions).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::dtype::Precision;
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;
use crossover_protocol::{Cell, ReadLine, Request, Response, read_message, write_message};
use crossover_variants::registry;
use crossover_variants::variant::Reference;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

struct Golden {
    name: String,
    variant: String,
    params: Axes,
    inputs: HostInputs,
    out: HostTensor,
}

fn goldens() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines/core/goldens");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    paths.iter().map(|path| read_golden(path)).collect()
}

fn read_golden(path: &Path) -> Golden {
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata: &HashMap<String, String> = header.metadata().as_ref().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut inputs: HostInputs = file.iter().map(|(name, view)| (name.to_owned(), host(&view))).collect();
    Golden {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        variant: metadata["variant"].clone(),
        params: serde_json::from_str(&metadata["params"]).unwrap(),
        out: inputs.remove("out").unwrap(),
        inputs,
    }
}

fn host(view: &TensorView<'_>) -> HostTensor {
    assert_eq!(view.dtype(), Dtype::F64);
    let values = view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    HostTensor::new(view.shape(), values).unwrap()
}

fn write(path: &Path, tensors: &HostInputs) {
    let encoded: Vec<(&String, Vec<u8>, Vec<usize>)> = tensors
        .iter()
        .map(|(name, tensor)| (name, tensor.values().iter().flat_map(|value| value.to_le_bytes()).collect(), tensor.shape().to_vec()))
        .collect();
    let views = encoded.iter().map(|(name, bytes, shape)| (name.as_str(), TensorView::new(Dtype::F64, shape.clone(), bytes).unwrap()));
    fs::write(path, safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()).unwrap();
}

struct Worker {
    child: Child,
    replies: BufReader<std::process::ChildStdout>,
}

impl Worker {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_crossover-worker")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        Self { child, replies }
    }

    fn ask(&mut self, request: &Request) -> Response {
        let stdin = self.child.stdin.as_mut().unwrap();
        write_message(stdin, request).unwrap();
        stdin.flush().unwrap();
        match read_message(&mut self.replies).unwrap() {
            ReadLine::Message(response) => response,
            ReadLine::End => panic!("the worker ended"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn engine_reference_and_pytorch_agree_on_every_golden() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    let mut worker = Worker::start();
    let goldens = goldens();
    assert!(goldens.len() > 100, "only {} goldens found", goldens.len());
    let complaints: Vec<String> = goldens.iter().filter_map(|golden| disagreement(golden, &mut worker, &input, &output)).collect();
    assert!(complaints.is_empty(), "{} of {} goldens:\n{}", complaints.len(), goldens.len(), complaints.join("\n"));
}

/// Variants that PyTorch cannot be asked about here, by the start of their names, and why.
const WITHOUT_GOLDENS: [(&str, &str); 2] = [
    ("attention/bigbird", "its random blocks are drawn by this project"),
    ("model/", "whole checkpoints are held against transformers (experiments/variants/tests)"),
];

#[test]
fn every_variant_has_a_golden_or_a_reason() {
    let held: HashSet<String> = goldens().into_iter().map(|golden| golden.variant).collect();
    let names: Vec<&str> = registry::entries().iter().map(|entry| entry.descriptor.name).collect();
    let excused = |name: &str| WITHOUT_GOLDENS.iter().any(|(start, _)| name.starts_with(start));
    let forgotten: Vec<&&str> = names.iter().filter(|name| !held.contains(**name) && !excused(name)).collect();
    assert!(forgotten.is_empty(), "neither a golden nor a reason: {forgotten:?}");
    let needless: Vec<&String> = held.iter().filter(|name| excused(name) || !names.contains(&name.as_str())).collect();
    assert!(needless.is_empty(), "goldens of variants that have none, or do not exist: {needless:?}");
    for (start, reason) in WITHOUT_GOLDENS {
        assert!(names.iter().any(|name| name.starts_with(start)), "no variant starts with {start} ({reason})");
    }
}

/// Where no operation states a bound: sums of a few dozen terms at f64.
fn agree(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-11 * (1.0 + theirs.abs())
}

/// Runs a golden; the first place where the parties disagree, if any.
fn disagreement(golden: &Golden, worker: &mut Worker, input: &Path, output: &Path) -> Option<String> {
    let name = &golden.name;
    write(input, &golden.inputs);
    let cell = Cell { id: name.clone(), variant: golden.variant.clone(), engine: "naive".into(), axes: golden.params.clone() };
    let applied = match worker.ask(&Request::Apply { cell, input: input.to_owned(), output: output.to_owned() }) {
        Response::Applied(applied) if applied.nonfinite == 0 => applied,
        other => return Some(format!("{name}: {other:?}")),
    };
    let bytes = fs::read(output).unwrap();
    let out = host(&SafeTensors::deserialize(&bytes).unwrap().tensor("out").unwrap());
    assert_eq!(out.shape(), golden.out.shape(), "{name}");

    let width = *out.shape().last().unwrap();
    let entry = registry::find(&golden.variant).unwrap();
    let operation = match entry.reference(&applied.axes) {
        // Over the given tensors: where host transforms make others of them (pooled heads, a pruned weight), PyTorch made its own.
        Reference::Operation(operation) if entry.derived(&applied.axes).is_empty() => operation,
        _ => {
            let mut pairs = out.values().iter().zip(golden.out.values()).enumerate();
            let (at, (ours, theirs)) = pairs.find(|(_, (ours, theirs))| !agree(**ours, **theirs))?;
            return Some(format!("{name} [{at}]: {ours:e}, PyTorch {theirs:e}"));
        }
    };
    let rows = operation.rows(&golden.inputs).unwrap();
    assert_eq!(rows * width, out.len(), "{name}");
    for row in 0..rows {
        let reference = operation.bounded_row(&golden.inputs, row, Precision::F64).unwrap();
        for column in 0..width {
            let (ours, theirs) = (out.values()[row * width + column], golden.out.values()[row * width + column]);
            let (exact, bound) = (reference.values[column], reference.bounds[column]);
            let close = (theirs - exact).abs() <= bound && (ours - theirs).abs() <= 2.0 * bound;
            if !close {
                return Some(format!("{name} [{row}, {column}]: {ours:e}, PyTorch {theirs:e}, reference {exact:e}, bound {bound:e}"));
            }
        }
    }
    None
}

fn refusal(worker: &mut Worker, variant: &str, tensors: &HostInputs, params: &[(&str, AxisValue)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    write(&input, tensors);
    let axes = params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let cell = Cell { id: "refused".into(), variant: variant.into(), engine: "naive".into(), axes };
    match worker.ask(&Request::Apply { cell, input, output: output.clone() }) {
        Response::Failed(fault) => {
            assert!(!output.exists());
            fault.message
        }
        other => panic!("{other:?}"),
    }
}

fn tensors(list: &[(&str, &[usize])]) -> HostInputs {
    let tensor = |shape: &[usize]| HostTensor::new(shape, vec![0.5; shape.iter().product()]).unwrap();
    list.iter().map(|(name, shape)| ((*name).to_owned(), tensor(shape))).collect()
}

#[test]
fn what_apply_refuses_it_refuses_with_the_way_out() {
    let mut worker = Worker::start();
    let mut refuse =
        |variant: &str, list: &[(&str, &[usize])], params: &[(&str, AxisValue)]| refusal(&mut worker, variant, &tensors(list), params);
    let q: (&str, &[usize]) = ("q", &[1, 2, 3, 4]);
    let cases = [
        (refuse("attention/dense", &[q, ("k", &[1, 2, 3, 4])], &[]), "\"v\" is missing"),
        (
            refuse("attention/dense", &[q, ("k", &[1, 2, 3, 5]), ("v", &[1, 2, 3, 4])], &[]),
            "head_dim is 4 in the tensor \"q\" but 5 in \"k\"",
        ),
        (
            refuse("attention/dense", &[("q", &[2, 3, 4]), ("k", &[2, 3, 4]), ("v", &[2, 3, 4])], &[]),
            "expected [batch, heads, n, head_dim]",
        ),
        (refuse("attention/causal", &[q, ("k", &[1, 2, 5, 4]), ("v", &[1, 2, 5, 4])], &[]), "n_kv = n"),
        (refuse("attention/dense", &[("q", &[1, 3, 3, 4]), ("k", &[1, 2, 3, 4]), ("v", &[1, 2, 3, 4])], &[]), "kv_heads must divide heads"),
        (refuse("softmax/stable", &[("logits", &[2, 0])], &[]), "is empty"),
        (refuse("softmax/stable", &[("logits", &[2, 4]), ("x", &[1])], &[]), "\"x\" is not used"),
        (refuse("softmax/stable", &[("logits", &[2, 4])], &[("classes", AxisValue::Int(5))]), "classes = 5 was given"),
        (refuse("softmax/stable", &[("logits", &[2, 4])], &[("rank", AxisValue::Int(5))]), "has no axis \"rank\""),
        (refuse("softmax/stabel", &[("logits", &[2, 4])], &[]), "did you mean \"softmax/stable\"?"),
        (
            refuse("norm/layer-norm", &[("x", &[2, 4]), ("gamma", &[4]), ("beta", &[4]), ("residual", &[2, 4])], &[]),
            "position = post or pre",
        ),
        (
            refuse(
                "norm/layer-norm",
                &[("x", &[2, 4]), ("gamma", &[4]), ("beta", &[4]), ("residual", &[8, 1, 4])],
                &[("position", "post".into())],
            ),
            "leading dimensions",
        ),
        (
            refuse(
                "norm/rms-norm",
                &[("x", &[2, 4]), ("gamma", &[4]), ("residual", &[2, 4]), ("gamma_out", &[4]), ("beta_out", &[4])],
                &[("position", "sandwich".into()), ("shift", "no".into())],
            ),
            "beta_out goes with shift = yes and position = sandwich",
        ),
        (
            refuse("linear/dense", &[("x", &[2, 4]), ("w", &[3, 4]), ("b", &[3])], &[("activation", "swish".into())]),
            "must be one of none, relu",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
    let mut poisoned = tensors(&[("logits", &[1, 3])]);
    poisoned.insert("logits".into(), HostTensor::new(&[1, 3], vec![0.0, 1.0, f64::NAN]).unwrap());
    let message = refusal(&mut worker, "softmax/stable", &poisoned, &[]);
    assert!(message.contains("NaN (first at flat index 2)"), "{message}");
}
