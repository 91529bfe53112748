//! The memory pass of a real worker: allocations are counted on all threads of the process, so it must have one to itself.
//!
//! Once warm, a call on a CPU engine asks the system for no memory: every variant on every such engine, with one thread.
//! With several, rayon puts each job that it hands over into a box. candle is no such engine: its operations return new tensors.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use crossover_core::axes::Axes;
use crossover_protocol::{Cell, FailureKind, Request, Response};
use crossover_variants::registry;
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
