//! The memory pass of a real worker: allocations are counted on all threads of the process, so it must have one to itself.
//!
//! Once warm, a call on a CPU engine asks the system for no memory: every variant on every such engine, with one thread.
//! With several, rayon puts each job that it hands over into a box. candle is no such engine: its operations return new tensors.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use crossover_core::axes::Axes;
use crossover_core::memory::kibibytes;
use crossover_protocol::{Cell, FailureKind, Request, Response};
use crossover_variants::registry;
use crossover_variants::resolve::resolve;
use crossover_variants::sizes::{SMALL, asked};

/// Variants that allocate in a warm call, by engine (all where empty) and the start of the name, and why.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("faer", "norm/residual-dynamic", "faer takes memory for a product of one column that it cannot read as it lies")];

struct Worker {
    child: Child,
    replies: std::io::Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_crossover-worker")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut worker = Self { child, replies };
        assert!(matches!(worker.ask(&Request::Hello { protocol: crossover_protocol::PROTOCOL_VERSION }), Response::Hello(_)));
        worker
    }

    fn ask(&mut self, request: &Request) -> Response {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{}", serde_json::to_string(request).unwrap()).unwrap();
        serde_json::from_str(&self.replies.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // All of it: a worker that cannot say goodbye fails.
        let ended = self.child.wait();
        assert!(std::thread::panicking() || ended.is_ok_and(|status| status.success()));
    }
}

/// Allocations of a warm call; nothing where the engine does not have the variant.
fn warm_allocations(worker: &mut Worker, engine: &str, variant: &str, axes: &Axes) -> Option<u64> {
    let cell = Cell { id: variant.into(), variant: variant.into(), engine: engine.into(), axes: axes.clone() };
    match worker.ask(&Request::Prepare { cell, inputs: None }) {
        Response::Prepared(_) => {}
        // What the engine lacks, and precisions that say nothing where a variant has a form of its own for its weights.
        Response::Failed(fault) if fault.kind == FailureKind::Unsupported || fault.message.contains("a form of its own") => return None,
        other => panic!("{variant} on {engine} at {axes:?}: {other:?}"),
    }
    match worker.ask(&Request::Account {}) {
        Response::Accounted(figures) => Some(figures.warm_allocations.unwrap()),
        other => panic!("{variant} on {engine} at {axes:?}: {other:?}"),
    }
}

fn counted_on(engine: &str, precisions: &[&str]) {
    let mut complaints = Vec::new();
    let mut counted: std::collections::BTreeMap<&str, usize> = precisions.iter().map(|precision| (*precision, 0)).collect();
    let mut worker = Worker::start();
    for entry in registry::entries() {
        let (descriptor, name) = (entry.descriptor, entry.descriptor.name);
        for &precision in precisions {
            let axes = asked(descriptor, &SMALL, precision);
            let Some(allocations) = warm_allocations(&mut worker, engine, name, &axes) else { continue };
            *counted.entry(precision).or_default() += 1;
            let excused = EXCEPTIONS.iter().any(|(on, start, _)| (on.is_empty() || *on == engine) && name.starts_with(start));
            if allocations > 0 && !excused {
                complaints.push(format!("{name}, {precision}: {allocations} allocations"));
            }
        }
    }
    println!("{engine}: {counted:?} cells counted");
    assert!(complaints.is_empty(), "{engine}:\n{}", complaints.join("\n"));
    // Narrow weights are for what has weights: models, feed-forward and linear layers, a third of all.
    let least = |precision: &str| registry::entries().len() / if precision.starts_with("int") { 6 } else { 2 };
    assert!(counted.iter().all(|(precision, count)| *count >= least(precision)), "{engine}: only {counted:?}");
}

#[test]
fn warm_calls_of_naive_allocate_nothing() {
    counted_on("naive", &["f32", "bf16"]);
}

#[cfg(feature = "simd")]
#[test]
fn warm_calls_of_simd_allocate_nothing() {
    counted_on("simd", &["f32", "bf16", "f16", "int8-weight", "int4"]);
}

#[cfg(feature = "faer")]
#[test]
fn warm_calls_of_faer_allocate_nothing() {
    counted_on("faer", &["f32", "f64"]);
}

/// The high-water mark of a process that has just prepared a cell and checked its output, and what was predicted of both.
fn taken_and_predicted(variant: &str, given: &[(&str, i64)]) -> [u64; 2] {
    let entry = registry::find(variant).unwrap();
    let axes: Axes = given.iter().map(|(axis, value)| ((*axis).to_owned(), (*value).into())).collect();
    let predicted = entry.footprint(&resolve(entry.descriptor, &axes).unwrap()).unwrap().on_host("naive");
    let mut worker = Worker::start();
    let cell = Cell { id: variant.into(), variant: variant.into(), engine: "naive".into(), axes };
    assert!(matches!(worker.ask(&Request::Prepare { cell, inputs: None }), Response::Prepared(_)), "{variant}");
    assert!(matches!(worker.ask(&Request::Verify { output: None }), Response::Verified(_)), "{variant}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.child.id())).unwrap();
    [kibibytes(&status, "VmHWM").unwrap(), predicted]
}

/// Cells are let in by this prediction, so it must not be much too small, nor so large that what would fit is refused. References that are
/// run whole copy what they work on, which is most of what some of these take.
#[test]
fn cells_take_the_memory_that_is_predicted() {
    /// The program, its stacks and buffers, as the runner reckons with them.
    const PROGRAM: u64 = 32 << 20;
    let cells: [(&str, &[(&str, i64)]); 6] = [
        ("attention/flash", &[("n", 2048), ("heads", 8), ("head_dim", 64)]),
        ("attention/reformer", &[("n", 2048), ("heads", 8), ("head_dim", 64)]),
        ("attention/linformer", &[("n", 2048), ("heads", 8), ("head_dim", 64)]),
        ("softmax/sampled", &[("n", 16), ("vocabulary", 32_768), ("d_model", 64)]),
        ("softmax/stable", &[("n", 64), ("classes", 32_768)]),
        ("ffn/low-rank", &[("n", 64), ("d_model", 1024), ("d_ff", 4096)]),
    ];
    let mut complaints = Vec::new();
    for (variant, given) in cells {
        let [taken, predicted] = taken_and_predicted(variant, given);
        let ratio = taken as f64 / (predicted + PROGRAM) as f64;
        println!("{variant}: {} MiB predicted with the program, {} MiB taken ({ratio:.2})", (predicted + PROGRAM) >> 20, taken >> 20);
        if !(0.6..1.1).contains(&ratio) {
            complaints.push(format!("{variant}: {ratio:.2}"));
        }
    }
    assert!(complaints.is_empty(), "taken over predicted: {}", complaints.join(", "));
}
