//! `apply` on every PyTorch float64 golden and every engine, through the real worker process.
//!
//! Three parties meet here: PyTorch, our engines, and our f64 reference. The reference must agree with PyTorch within the bound that it
//! states for itself, and an engine with PyTorch within twice that (each may be off by the bound, in opposite directions).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::dtype::Precision;
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;
use crossover_protocol::{Cell, FailureKind, PROTOCOL_VERSION, ReadLine, Request, Response, read_message, write_message};
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

/// What engines may refuse, by the reason that they give; they refuse nothing else.
const REFUSALS: [(&str, &str); 1] = [("faer", "faer multiplies dense matrices")];

/// The engines of this build that need no device.
fn engines(worker: &mut Worker) -> Vec<String> {
    match worker.ask(&Request::Hello { protocol: PROTOCOL_VERSION }) {
        Response::Hello(hello) => {
            let names = hello.engines.into_iter().map(|engine| engine.name);
            names.filter(|name| !name.ends_with("-cuda") && !name.ends_with("-metal")).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn engines_reference_and_pytorch_agree_on_every_golden() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start();
    let engines = engines(&mut worker);
    let goldens = goldens();
    assert!(goldens.len() > 100, "only {} goldens found", goldens.len());
    let (mut complaints, mut held) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for golden in &goldens {
        let mut expected = None;
        for engine in &engines {
            match apply(golden, engine, &mut worker, folder.path()) {
                Ok((out, axes)) => {
                    *held.entry(engine).or_default() += 1;
                    let expected = expected.get_or_insert_with(|| Expected::of(golden, &axes));
                    complaints.extend(expected.complaint(golden, &out).map(|complaint| format!("{engine}: {complaint}")));
                }
                Err(refusal) if REFUSALS.iter().any(|(name, reason)| name == engine && refusal.contains(reason)) => {}
                Err(refusal) => complaints.push(format!("{engine}: {}: {refusal}", golden.name)),
            }
        }
    }
    println!("goldens held: {held:?} of {}", goldens.len());
    assert!(complaints.is_empty(), "{} of {} goldens:\n{}", complaints.len(), goldens.len(), complaints.join("\n"));
    for engine in &engines {
        // A refusal is a right answer, but not to most questions.
        assert!(held.get(engine.as_str()).is_some_and(|&held| held * 4 >= goldens.len() * 3), "{engine}: {held:?} of {}", goldens.len());
    }
}

/// Variants that PyTorch cannot be asked about here, by the start of their names, and why.
const WITHOUT_GOLDENS: [(&str, &str); 3] = [
    ("attention/bigbird", "its random blocks are drawn by this project"),
    ("transfer/", "a copy computes nothing, and the engines here, which are on the host, refuse it"),
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

/// Runs a golden: its output and the axes that were used, or why not.
fn apply(golden: &Golden, engine: &str, worker: &mut Worker, folder: &Path) -> Result<(HostTensor, Axes), String> {
    let (input, output) = (folder.join("in.safetensors"), folder.join("out.safetensors"));
    write(&input, &golden.inputs);
    let cell = Cell { id: golden.name.clone(), variant: golden.variant.clone(), engine: engine.into(), axes: golden.params.clone() };
    match worker.ask(&Request::Apply { cell, input, output: output.clone() }) {
        Response::Applied(applied) if applied.nonfinite == 0 => {
            let bytes = fs::read(output).unwrap();
            let out = host(&SafeTensors::deserialize(&bytes).unwrap().tensor("out").unwrap());
            Ok((out, applied.axes))
        }
        Response::Failed(fault) if fault.kind == FailureKind::Unsupported => Err(fault.message),
        other => Err(format!("{other:?}")),
    }
}

/// What a golden's output must be.
enum Expected {
    /// PyTorch's values, and a few dozen roundings.
    Close,
    /// For each row the reference's values and bounds.
    Bounded(Vec<[Vec<f64>; 2]>),
}

impl Expected {
    fn of(golden: &Golden, axes: &Axes) -> Self {
        let entry = registry::find(&golden.variant).unwrap();
        match entry.reference(axes) {
            // Over the given tensors: where host transforms make others of them (pooled heads, a pruned weight), PyTorch made its own.
            Reference::Operation(operation) if entry.derived(axes).is_empty() => {
                let row = |row| {
                    let reference = operation.bounded_row(&golden.inputs, row, Precision::F64).unwrap();
                    [reference.values, reference.bounds]
                };
                Self::Bounded((0..operation.rows(&golden.inputs).unwrap()).map(row).collect())
            }
            _ => Self::Close,
        }
    }

    /// The first place where the parties disagree, if any.
    fn complaint(&self, golden: &Golden, out: &HostTensor) -> Option<String> {
        let name = &golden.name;
        assert_eq!(out.shape(), golden.out.shape(), "{name}");
        let mut pairs = out.values().iter().zip(golden.out.values()).enumerate();
        match self {
            Self::Close => {
                let (at, (ours, theirs)) = pairs.find(|(_, (ours, theirs))| !agree(**ours, **theirs))?;
                Some(format!("{name} [{at}]: {ours:e}, PyTorch {theirs:e}"))
            }
            Self::Bounded(rows) => {
                let width = *out.shape().last().unwrap();
                assert_eq!(rows.len() * width, out.len(), "{name}");
                let near = |at: usize, ours: f64, theirs: f64| {
                    let [values, bounds] = &rows[at / width];
                    let (exact, bound) = (values[at % width], bounds[at % width]);
                    (theirs - exact).abs() <= bound && (ours - theirs).abs() <= 2.0 * bound
                };
                let (at, (ours, theirs)) = pairs.find(|(at, (ours, theirs))| !near(*at, **ours, **theirs))?;
                let (row, column) = (at / width, at % width);
                let [exact, bound] = [rows[row][0][column], rows[row][1][column]];
                Some(format!("{name} [{row}, {column}]: {ours:e}, PyTorch {theirs:e}, reference {exact:e}, bound {bound:e}"))
            }
        }
    }
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
