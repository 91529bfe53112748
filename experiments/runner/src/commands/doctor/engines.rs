//! The engines, each asked for one tiny cell: what it runs on, or why its cells would come to nothing.
//!
//! An engine can be built in and still be of no use: its driver is not installed, its device has no memory left, its instructions are
//! not this processor's. None of that prevents a run, whose rows say it again; it is better known before.

use std::collections::BTreeMap;
use std::time::Duration;

use crossover_core::axes::{Axes, AxisValue};
use crossover_protocol::{Cell, EngineInfo, PreparedReply};

use crate::commands::own_worker;
use crate::worker::failure::WorkerFailure;
use crate::worker::steps;

use super::Finding;

/// Preparing so little takes milliseconds; opening a device takes seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// Families of instructions that change what a figure means, as Linux names them and as engines do.
const FAMILIES: [(&str, &str, &str); 3] = [
    ("avx2", "avx2", "AVX2: kernels run code that is several times slower"),
    ("avx512f", "avx512", "AVX-512: kernels take the next path, with half the lanes"),
    ("amx_tile", "amx", "tiles (AMX): products of bf16 and int8 take vectors"),
];

/// Asks every engine that the worker has.
pub(super) fn examine(engines: &[EngineInfo]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = engines.iter().map(|engine| judge(engine, &try_out(engine))).collect();
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    findings.extend(engines.iter().find(|engine| engine.name == "simd").and_then(|engine| instructions(&flags, &engine.isa)));
    findings
}

/// A worker of its own for each: one that dies of a broken driver takes nothing with it.
fn try_out(engine: &EngineInfo) -> Result<PreparedReply, Trouble> {
    let mut ready = own_worker::start().map_err(|error| Trouble { status: "crashed".to_owned(), reason: error.to_string() })?;
    let axes: Axes = BTreeMap::from([("n".to_owned(), AxisValue::Int(1)), ("classes".to_owned(), AxisValue::Int(4))]);
    let cell = Cell { id: "doctor".into(), variant: "softmax/stable".into(), engine: engine.name.clone(), axes };
    let prepared = steps::prepare(ready.conversation.as_mut(), cell, None, DEADLINE);
    ready.conversation.quit();
    prepared.map_err(Trouble::from)
}

/// Why an engine cannot run a tiny cell, and the status that its rows would have.
#[derive(Debug)]
struct Trouble {
    status: String,
    reason: String,
}

impl From<WorkerFailure> for Trouble {
    fn from(failure: WorkerFailure) -> Self {
        Self { status: failure.status().name().to_owned(), reason: failure.cause.to_string() }
    }
}

fn judge(engine: &EngineInfo, answer: &Result<PreparedReply, Trouble>) -> Finding {
    match answer {
        Ok(prepared) => Finding::good("engine", format!("{}: {}", engine.name, prepared.isa)),
        Err(Trouble { status, reason }) => Finding::note(
            "engine",
            format!("{} cannot run: {reason}", engine.name),
            format!("its rows will have the status {status}; mend it, or leave the engine out of the experiment"),
        ),
    }
}

/// What the processor has and the vector engine does not use, or what the processor lacks; nothing where Linux does not tell.
fn instructions(cpuinfo: &str, isa: &str) -> Option<Finding> {
    let flags: Vec<&str> = cpuinfo.lines().find(|line| line.starts_with("flags"))?.split_whitespace().collect();
    let (mut unused, mut missing) = (Vec::new(), Vec::new());
    for (flag, name, loss) in FAMILIES {
        let used = isa.split('+').any(|part| part.starts_with(name)) || (name == "avx2" && isa.starts_with("avx512"));
        match (flags.contains(&flag), used) {
            (_, true) => {}
            (true, false) => unused.push(loss),
            (false, false) => missing.push(loss),
        }
    }
    let found = |what: &str, losses: &[&str]| format!("{isa}; {what} {}", losses.join("; "));
    Some(match (unused.is_empty(), missing.is_empty()) {
        (true, true) => Finding::good("instructions", isa),
        (false, _) => Finding::note(
            "instructions",
            found("the processor has, but the vector engine does not use,", &unused),
            "the system may deny them (tiles need arch_prctl, which a container's seccomp profile can forbid), or this build has no \
             kernels for them; every row names the instructions that it ran on",
        ),
        (true, false) => Finding::good("instructions", found("the processor does not have", &missing)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;
    use crate::worker::failure::Cause;
    use crossover_protocol::{FailureKind, Fault, SupportLevel};

    fn engine(name: &str) -> EngineInfo {
        EngineInfo { name: name.into(), summary: String::new(), isa: "none".into(), native: vec![] }
    }

    fn failed(cause: Cause) -> Result<PreparedReply, Trouble> {
        Err(Trouble::from(WorkerFailure { step: "prepare", cause, stderr_tail: None }))
    }

    #[test]
    fn an_engine_that_runs_names_its_instructions() {
        let prepared = PreparedReply {
            support: SupportLevel::Native,
            reason: None,
            prepare_ns: 1,
            derive_ns: None,
            transform: None,
            flops: 1,
            bytes: 1,
            threads_used: 1,
            isa: "avx2+vnni".into(),
        };
        assert_eq!(judge(&engine("simd"), &Ok(prepared)), Finding::good("engine", "simd: avx2+vnni"));
    }

    #[test]
    fn a_missing_driver_a_full_device_and_a_crash_say_what_the_rows_will_be() {
        let fault = |kind, message: &str| Cause::Fault(Fault { kind, message: message.into() });
        let driver = "candle-cuda: device is unsupported: no CUDA device could be opened: is the driver installed?";
        let cases = [
            (failed(fault(FailureKind::Unsupported, driver)), "is the driver installed?", "the status unsupported"),
            (failed(fault(FailureKind::OutOfMemory, "no room for 4 elements on the device")), "no room", "the status oom"),
            (failed(Cause::Signalled { signal: 4 }), "SIGILL", "the status crashed"),
        ];
        for (answer, found, advice) in cases {
            let finding = judge(&engine("candle-cuda"), &answer);
            assert_eq!(finding.verdict, Verdict::Note);
            assert!(finding.found.starts_with("candle-cuda cannot run") && finding.found.contains(found), "{finding:?}");
            assert!(finding.advice.contains(advice), "{finding:?}");
        }
    }

    #[test]
    fn instructions_that_lie_idle_or_are_not_there_are_told_apart() {
        let flags = |names: &str| format!("processor\t: 0\nflags\t\t: fpu {names} sse2\n");
        assert_eq!(instructions(&flags("avx2 avx512f amx_tile"), "avx512+bf16+vnni+amx").unwrap().verdict, Verdict::Good);
        let denied = instructions(&flags("avx2 avx512f amx_tile"), "avx512+bf16+vnni").unwrap();
        assert!(denied.verdict == Verdict::Note && denied.found.contains("AMX") && denied.advice.contains("arch_prctl"), "{denied:?}");
        let older = instructions(&flags("avx2"), "avx2").unwrap();
        assert!(older.verdict == Verdict::Good && older.found.contains("AVX-512: kernels take the next path"), "{older:?}");
        let oldest = instructions(&flags(""), "scalar").unwrap();
        assert!(oldest.found.contains("several times slower"), "{oldest:?}");
        assert_eq!(instructions("Hardware: another kind of processor", "neon"), None);
    }
}
