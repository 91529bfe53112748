//! A test double: a worker of the protocol that misbehaves on demand, for the tests of the runner.
//!
//! In the place of `crossover-worker` it has one engine for each behaviour, so an experiment asks for a fault by naming an engine.
//! With a behaviour as its argument it is another program's worker, and may misbehave before `hello` too. `exec -- COMMAND` becomes
//! that command, as with the real one. It computes nothing; its figures are made from the cell's axes.

use std::io::{self, BufReader, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, exit};
use std::time::{Duration, Instant};

use crossover_core::axes::AxisValue;
use crossover_protocol::{
    AccuracyFigures, Capabilities, Cell, EngineInfo, FailureKind, Fault, HelloReply, MeasuredReply, MeasuredSample, MemoryFigures,
    PROTOCOL_VERSION, PreparedReply, ReadLine, Request, Response, SupportLevel, TransformFigures, read_message, write_message,
};
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, set_parent_process_death_signal, setrlimit};

/// What a cell's engine can be; each is one way to behave.
const ENGINES: &[&str] = &[
    "ok",
    "sleeps",
    "emulated",
    "disturbed",
    "unsupported",
    "says-oom",
    "wrong-numbers",
    "segv",
    "illegal",
    "abort",
    "killed",
    "hang",
    "spins",
    "hang-ignoring-term",
    "memory-hog",
    "grandchild",
    "garbage",
    "endless-line",
    "exit-zero",
    "closed-stdout",
    "closed-stdin",
    "talkative",
    "untimed-transform",
    "too-few",
    "liar",
    "beyond-integers",
];

fn main() {
    // As the real worker: die with the runner.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--memory-limit") {
        let bytes = arguments[1].parse().ok();
        let _ = setrlimit(Resource::As, Rlimit { current: bytes, maximum: bytes });
        arguments.drain(..2);
    }
    if arguments.first().is_some_and(|first| first == "exec") {
        let error = Command::new(&arguments[2]).args(&arguments[3..]).exec();
        eprintln!("{}: {error}", arguments[2]);
        exit(3);
    }
    if let Some(at) = arguments.iter().position(|argument| argument == "conformance") {
        conformance(&arguments[at + 1]);
    }
    let behaviour = arguments.first().map(String::as_str);
    match behaviour {
        Some("slow-start") => std::thread::sleep(Duration::from_millis(300)),
        Some("crash-at-start") => {
            eprintln!("no such library");
            exit(7);
        }
        Some("garbage-at-start") => println!("Welcome to the worker!"),
        _ => {}
    }
    serve(behaviour);
}

/// What the suite would say of an engine that behaves like this.
fn conformance(engine: &str) -> ! {
    let failures = i32::from(engine == "wrong-numbers");
    match engine {
        "segv" => std::process::abort(),
        "unsupported" => println!("refused: softmax at f32: 3 of 3"),
        "wrong-numbers" => println!("failed: softmax (softmax) at f32, case 0 with extents up to 129: out[0] is 1, expected 2"),
        _ => {}
    }
    println!("conformance of {engine}: 3 cases, {failures} failures");
    exit(failures);
}

fn serve(behaviour: Option<&str>) {
    let mut requests = BufReader::new(io::stdin());
    let mut worker = Worker { behaviour: behaviour.unwrap_or("ok").to_owned(), foreign: behaviour.is_some(), seed: 0 };
    while let Ok(ReadLine::Message(request)) = read_message::<Request>(&mut requests) {
        let last = request == Request::Quit {};
        let answer = worker.answer(request).unwrap_or_else(|(kind, message)| Response::Failed(Fault { kind, message }));
        let closes = worker.behaviour == "closed-stdin" && matches!(answer, Response::Verified(_));
        if closes {
            // Before the answer, so that the next request finds it closed.
            // SAFETY: nothing reads from stdin after this; the process only sleeps.
            drop(unsafe { OwnedFd::from_raw_fd(0) });
        }
        if write_message(&mut io::stdout(), &answer).is_err() || last {
            return;
        }
        if worker.behaviour == "talkative" && matches!(answer, Response::Prepared(_)) {
            let _ = write_message(&mut io::stdout(), &answer);
        }
        if closes {
            std::thread::sleep(Duration::from_secs(600));
        }
    }
}

struct Worker {
    behaviour: String,
    foreign: bool,
    seed: i64,
}

type Answer = Result<Response, (FailureKind, String)>;

impl Worker {
    fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Hello { .. } => Ok(Response::Hello(self.hello())),
            Request::Prepare { cell, inputs } => self.prepare(&cell, inputs),
            Request::Verify { output } => self.verify(output),
            Request::Measure { samples, calls } => {
                Ok(Response::Measured(MeasuredReply { samples: self.measure(samples, calls), conditions: None }))
            }
            Request::Account {} => Ok(Response::Accounted(self.account())),
            Request::Materialize { inputs, .. } => touch(&inputs),
            Request::Judge { output, .. } if output.exists() => Ok(Response::Verified(self.figures(true))),
            Request::Quit {} => Ok(Response::Bye {}),
            other => Err((FailureKind::Unsupported, format!("a fake worker cannot do {other:?}"))),
        }
    }

    fn hello(&self) -> HelloReply {
        let own = [self.behaviour.as_str()];
        let engine =
            |name: &&str| EngineInfo { name: (*name).into(), summary: "a fake".into(), isa: "none".into(), native: vec!["f32".into()] };
        HelloReply {
            protocol: if self.behaviour == "wrong-version" { 999 } else { PROTOCOL_VERSION },
            worker: "fake".into(),
            version: "1".into(),
            build: "none".into(),
            engines: if self.foreign { &own } else { ENGINES }.iter().map(engine).collect(),
            capabilities: Capabilities { draws_inputs: !self.foreign, judges: !self.foreign, empties_caches: false },
            instruments: Vec::new(),
        }
    }

    fn prepare(&mut self, cell: &Cell, inputs: Option<PathBuf>) -> Answer {
        self.behaviour.clone_from(&cell.engine);
        self.seed = cell.axes.get("seed").and_then(AxisValue::as_int).unwrap_or(0);
        if self.foreign && !inputs.is_some_and(|inputs| inputs.exists()) {
            return Err((FailureKind::BadRequest, "the file with the inputs is missing".into()));
        }
        match self.behaviour.as_str() {
            "unsupported" => return Err((FailureKind::Unsupported, "this engine cannot do that".into())),
            "says-oom" => return Err((FailureKind::OutOfMemory, "a terabyte is needed".into())),
            "memory-hog" => hog(400 << 20),
            _ => {}
        }
        let emulated = self.behaviour == "emulated";
        let saved = TransformFigures { parameters_before: 8, parameters_after: 4, bytes_before: 32, bytes_after: 16, error: None };
        Ok(Response::Prepared(PreparedReply {
            support: if emulated { SupportLevel::Emulated } else { SupportLevel::Native },
            reason: emulated.then(|| "computed in f32".to_owned()),
            prepare_ns: 1,
            derive_ns: None,
            transform: (self.behaviour == "untimed-transform").then_some(saved),
            flops: 1000,
            bytes: 100,
            threads_used: 1,
            isa: "none".into(),
        }))
    }

    fn verify(&self, output: Option<PathBuf>) -> Answer {
        self.misbehave();
        match output {
            Some(output) => touch(&output),
            None => Ok(Response::Verified(self.figures(self.behaviour != "wrong-numbers"))),
        }
    }

    /// The faults that come in the middle of a cell.
    fn misbehave(&self) {
        if !["ok", "sleeps"].contains(&self.behaviour.as_str()) {
            eprintln!("fake worker: now {}", self.behaviour);
        }
        let signal = |signal| {
            let _ = kill_process(getpid(), signal);
        };
        match self.behaviour.as_str() {
            // Twice: the first one meets the handler with which the runtime looks for stack overflows, and which takes itself away.
            "segv" => (0..2).for_each(|_| signal(Signal::SEGV)),
            "illegal" => signal(Signal::ILL),
            "killed" => signal(Signal::KILL),
            "abort" => std::process::abort(),
            "hang" => std::thread::sleep(Duration::from_secs(600)),
            "spins" => loop {
                std::hint::spin_loop();
            },
            "hang-ignoring-term" => {
                let _ = signal_hook::flag::register(signal_hook::consts::SIGTERM, std::sync::Arc::default());
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(600) {
                    std::thread::sleep(Duration::from_secs(600));
                }
            }
            "grandchild" => {
                // It inherits stdout too, so the runner sees no end of it.
                let _ = Command::new("sleep").arg("600").spawn();
                exit(5);
            }
            "garbage" => println!("Segmentation fault (core dumped)"),
            "endless-line" => endless_line(),
            "exit-zero" => exit(0),
            "closed-stdout" => {
                // SAFETY: nothing writes to stdout after this; the process only sleeps.
                drop(unsafe { OwnedFd::from_raw_fd(1) });
                std::thread::sleep(Duration::from_secs(600));
            }
            _ => {}
        }
    }

    /// Sleeps for what it claims, so that its figures are honest; except for the liar.
    fn measure(&self, samples: u32, calls: u32) -> Vec<MeasuredSample> {
        let call = if self.behaviour == "sleeps" { Duration::from_millis(2) } else { Duration::from_micros(100) };
        let sample = |_| {
            let began = Instant::now();
            std::thread::sleep(call * calls);
            let ns = began.elapsed().as_nanos() as u64;
            MeasuredSample { calls, ns: if self.behaviour == "liar" { ns * 1000 } else { ns }, disturbed: self.behaviour == "disturbed" }
        };
        (0..if self.behaviour == "too-few" { samples - 1 } else { samples }).map(sample).collect()
    }

    fn account(&self) -> MemoryFigures {
        let bytes = if self.behaviour == "beyond-integers" { u64::MAX } else { 4096 };
        MemoryFigures { weight_bytes: bytes, high_water_bytes: 1 << 20, ..MemoryFigures::default() }
    }

    fn figures(&self, passed: bool) -> AccuracyFigures {
        let error = 1e-7 / (self.seed as f64 + 3.0);
        AccuracyFigures {
            passed,
            complaint: (!passed).then(|| "out[0] is 1, expected 2".to_owned()),
            err_impl: Some(error),
            err_impl_rel: Some(error / 3.0),
            tolerance_used: Some(0.25),
            rows_checked: 1,
            rows_total: 1,
            ..AccuracyFigures::default()
        }
    }
}

fn touch(path: &std::path::Path) -> Answer {
    std::fs::write(path, b"tensors").map(|()| Response::Written {}).map_err(|error| (FailureKind::Internal, error.to_string()))
}

/// Takes that much memory and touches it; an allocation that fails aborts.
fn hog(bytes: usize) {
    let blocks: Vec<Vec<u8>> = (0..bytes >> 24).map(|_| vec![1u8; 16 << 20]).collect();
    std::hint::black_box(&blocks);
}

/// A gigabyte without a newline, or until the reader has had enough.
fn endless_line() {
    let chunk = [b'x'; 1 << 16];
    for _ in 0..1 << 14 {
        if io::stdout().write_all(&chunk).is_err() {
            exit(1);
        }
    }
}
