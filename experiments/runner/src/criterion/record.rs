//! From a benchmark to the record of a cell.

use crossover_benches::Id;
use crossover_core::axes::{Axes, AxisValue};
use crossover_results::schema::{Record, SCHEMA_VERSION, Sample, Speed, Status, Stop};

use super::files::Benchmark;
use crate::plan::cell_id;

/// What stands for the program that measured: which one it was, criterion does not tell.
pub const BUILD: &str = "criterion";
/// The engine of benchmarks that are not ours.
const UNKNOWN_ENGINE: &str = "unknown";
const REASON: &str = "imported from criterion: nobody checked what was computed";

/// Where the records come from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The run's name.
    pub experiment: String,
    /// The fingerprint of the machine.
    pub machine: String,
}

/// Which cell it is, and what is known of it by that.
struct Identity {
    family: &'static str,
    variant: String,
    engine: String,
    axes: Axes,
    threads: Option<u64>,
    flops: Option<u64>,
    bytes: Option<u64>,
}

/// The record of a benchmark.
pub fn record(benchmark: &Benchmark, origin: &Origin) -> Record {
    let Identity { family, variant, engine, axes, threads, flops, bytes } = identity(benchmark);
    let summary = &benchmark.summary;
    let whole = |ns: f64| ns.round() as u64;
    let interval = summary.interval();
    let samples = benchmark.samples.iter().zip(0..).map(|((calls, ns), round)| Sample { round, calls: *calls, ns: *ns, rejected: false });
    Record {
        schema: SCHEMA_VERSION,
        id: cell_id(&variant, &engine, &axes),
        // The same benchmark on any engine is the same problem.
        group: cell_id(&variant, "", &axes),
        experiment: origin.experiment.clone(),
        family: family.to_owned(),
        variant,
        engine,
        baseline: false,
        axes,
        status: Status::Unchecked,
        reason: Some(REASON.to_owned()),
        stderr_tail: None,
        support: None,
        finished_unix_ms: benchmark.written_unix_ms,
        elapsed_ns: benchmark.samples.iter().fold(0, |sum: u64, (_, ns)| sum.saturating_add(*ns)).min(i64::MAX as u64),
        speed: Some(Speed {
            median_ns: whole(summary.median),
            ci_low_ns: interval.map(|(low, _)| whole(low)),
            ci_high_ns: interval.map(|(_, high)| whole(high)),
            min_ns: whole(summary.min),
            p95_ns: whole(summary.p95),
            samples: summary.count as u64,
            rejected: 0,
            warmup_calls: None,
            prepare_ns: None,
            stop: Stop::Fixed.name().to_owned(),
            flops,
            bytes,
            threads_used: threads,
            isa: None,
        }),
        beside: None,
        memory: None,
        accuracy: None,
        transform: None,
        matching: None,
        conditions: None,
        samples: samples.collect(),
        batches: Vec::new(),
        machine: origin.machine.clone(),
        build: BUILD.to_owned(),
    }
}

fn identity(benchmark: &Benchmark) -> Identity {
    let (function, value) = (benchmark.function.as_deref(), benchmark.value.as_deref());
    match function.zip(value).and_then(|(function, value)| Id::parse(&benchmark.group, function, value)) {
        Some(id) => ours(&id),
        None => others(benchmark),
    }
}

fn ours(id: &Id) -> Identity {
    let size = |size: usize| AxisValue::Int(i64::try_from(size).unwrap_or(i64::MAX));
    let sizes = id.case.operation.axes.iter().zip(id.case.shape).map(|(axis, extent)| ((*axis).to_owned(), size(*extent)));
    let ways = [("precision".to_owned(), AxisValue::Text(id.precision.to_string())), ("threads".to_owned(), size(id.threads))];
    let cost = id.case.cost(id.precision);
    Identity {
        family: "kernel",
        variant: format!("kernel/{}", id.case.operation.name),
        engine: id.engine.clone(),
        axes: sizes.chain(ways).collect(),
        threads: Some(id.threads as u64),
        flops: Some(cost.flops),
        bytes: Some(cost.bytes_read.saturating_add(cost.bytes_written)),
    }
}

fn others(benchmark: &Benchmark) -> Identity {
    let name = kebab(&benchmark.group);
    let text = |text: &String| AxisValue::Text(text.clone());
    let group_id = (name != benchmark.group).then(|| ("group_id".to_owned(), text(&benchmark.group)));
    let function = benchmark.function.as_ref().map(|function| ("function".to_owned(), text(function)));
    let value = benchmark.value.as_ref().map(|value| ("value".to_owned(), number(value).unwrap_or_else(|| text(value))));
    Identity {
        family: "criterion",
        variant: format!("criterion/{name}"),
        engine: UNKNOWN_ENGINE.to_owned(),
        axes: group_id.into_iter().chain(function).chain(value).collect(),
        threads: None,
        flops: None,
        bytes: None,
    }
}

/// A whole number that is spelt as one, so that curves can be drawn over it.
fn number(text: &str) -> Option<AxisValue> {
    text.parse::<i64>().ok().filter(|number| number.to_string() == text).map(AxisValue::Int)
}

/// Letters and digits, with a hyphen for whatever stands between them.
fn kebab(group: &str) -> String {
    let words = group.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Summary;

    fn of(group: &str, function: Option<&str>, value: Option<&str>) -> Record {
        let samples: Vec<(u32, u64)> = (1..=20).map(|calls| (calls, u64::from(calls) * (1000 + u64::from(calls)))).collect();
        let benchmark = Benchmark {
            full_id: String::new(),
            group: group.into(),
            function: function.map(str::to_owned),
            value: value.map(str::to_owned),
            summary: Summary::of(samples.iter().map(|(calls, ns)| *ns as f64 / f64::from(*calls))).unwrap(),
            samples,
            written_unix_ms: 7,
        };
        record(&benchmark, &Origin { experiment: "criterion".into(), machine: "m".into() })
    }

    #[test]
    fn one_of_our_list_has_its_sizes_as_axes_and_a_cost() {
        let record = of("matmul", Some("engine=simd,precision=bf16,threads=2"), Some("m=512,n=3072,k=768"));
        assert_eq!((record.family.as_str(), record.variant.as_str(), record.engine.as_str()), ("kernel", "kernel/matmul", "simd"));
        let axes: Vec<String> = record.axes.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        assert_eq!(axes, ["k=768", "m=512", "n=3072", "precision=bf16", "threads=2"]);
        let speed = record.speed.unwrap();
        assert_eq!((speed.flops, speed.bytes), (Some(2 * 512 * 3072 * 768), Some(2 * (512 * 768 + 768 * 3072 + 512 * 3072))));
        assert_eq!((speed.threads_used, speed.isa, speed.warmup_calls, speed.prepare_ns), (Some(2), None, None, None));
        assert_eq!((speed.median_ns, speed.samples, speed.stop.as_str()), (1011, 20, "fixed"));
        assert!(speed.ci_low_ns.is_some_and(|low| low < 1011) && speed.ci_high_ns.is_some_and(|high| high > 1011));
        // Nothing is said of what nobody looked at.
        assert_eq!((record.status, record.baseline), (Status::Unchecked, false));
        assert!(record.accuracy.is_none() && record.memory.is_none() && record.conditions.is_none() && record.support.is_none());
        assert_eq!((record.samples.len(), record.samples[1]), (20, Sample { round: 1, calls: 2, ns: 2004, rejected: false }));
    }

    #[test]
    fn engines_share_the_group_and_not_the_id() {
        let on = |engine: &str| of("gelu", Some(&format!("engine={engine},precision=f32,threads=1")), Some("rows=64,width=512"));
        assert_eq!(on("simd").group, on("naive").group);
        assert_ne!(on("simd").id, on("naive").id);
        assert_ne!(on("simd").group, of("exp", Some("engine=simd,precision=f32,threads=1"), Some("rows=64,width=512")).group);
    }

    #[test]
    fn benchmarks_of_others_keep_their_names_and_have_no_cost() {
        let record = of("Fibonacci (n)", Some("recursive"), Some("20"));
        assert_eq!(
            (record.family.as_str(), record.variant.as_str(), record.engine.as_str()),
            ("criterion", "criterion/fibonacci-n", "unknown")
        );
        let axes: Vec<String> = record.axes.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        assert_eq!(axes, ["function=recursive", "group_id=Fibonacci (n)", "value=20"]);
        assert_eq!(record.axes["value"], AxisValue::Int(20));
        let speed = record.speed.unwrap();
        assert_eq!((speed.flops, speed.bytes, speed.threads_used), (None, None, None));
        assert_eq!(of("fib", None, None).axes, Axes::new());
        assert_eq!(of("fib", None, Some("020")).axes["value"], AxisValue::from("020"));
        // An id that only looks like one of ours is somebody else's.
        assert_eq!(of("matmul", Some("engine=simd,precision=f32,threads=1"), Some("m=3,n=3,k=3")).family, "criterion");
    }

    #[test]
    fn groups_that_look_alike_stay_apart() {
        let ids = [of("a b", None, None), of("a-b", None, None), of("a_b", None, None), of("", None, None), of("+", None, None)]
            .map(|record| record.id);
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
