//! The body of every engine's benches: what criterion times, and how.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, Throughput};
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::cost::Cost;
use crossover_core::dtype::Precision;
use crossover_core::error::Result;
use crossover_core::support::Support;

use crate::Plan;
use crate::calls::{Call, prepare};
use crate::id::Id;
use crate::list::{Case, OPERATIONS, Operation};

/// From so many operations a byte on, the throughput is in operations, below in bytes: what a machine does meanwhile with one byte of memory.
const RIDGE: u64 = 8;
/// Resamples for criterion's own intervals, which `crossover import` does not use.
const RESAMPLES: usize = 2_000;

/// Times what the plan says; the whole `main` of an engine's benches.
pub fn run<B: TransformerBackend>(plan: &Plan) {
    let criterion = Criterion::default().sample_size(20).nresamples(RESAMPLES);
    let mut criterion =
        criterion.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600)).configure_from_args();
    bench::<B>(&mut criterion, plan);
    criterion.final_summary();
}

/// An engine at one precision, on so many threads.
struct Built<B> {
    engine: B,
    precision: Precision,
    threads: usize,
}

fn bench<B: TransformerBackend>(criterion: &mut Criterion, plan: &Plan) {
    let engines = built::<B>(plan);
    let mut left_out = LeftOut::default();
    for operation in &OPERATIONS {
        let mut group = criterion.benchmark_group(operation.name);
        for built in &engines {
            for case in cases(operation, built.precision, plan.most_flops) {
                if let Support::Emulated(why) | Support::Unsupported(why) = built.engine.supports(&case.spec(built.precision)) {
                    left_out.note(built.precision, operation.name, why);
                    continue;
                }
                let id = Id { case, engine: B::describe().name.to_owned(), precision: built.precision, threads: built.threads };
                group.throughput(throughput(case.cost(built.precision)));
                // Prepared at the first call: of what a filter leaves out, there is none.
                let mut call = None;
                group.bench_function(BenchmarkId::new(id.function(), id.value()), |bencher| time(bencher, &built.engine, &case, &mut call));
            }
        }
        group.finish();
    }
    left_out.tell(B::describe().name);
}

fn cases(operation: &'static Operation, precision: Precision, most_flops: u64) -> impl Iterator<Item = Case> {
    operation.cases().filter(move |case| case.takes(precision) && case.cost(precision).flops <= most_flops)
}

/// Those that can be had.
fn built<B: TransformerBackend>(plan: &Plan) -> Vec<Built<B>> {
    let name = B::describe().name;
    let mut engines = Vec::new();
    for precision in plan.precisions {
        let precision: Precision = precision.parse().unwrap_or_else(|error| panic!("{error}"));
        for &threads in plan.threads {
            match B::new(&EngineConfig::new(precision, threads)) {
                Ok(engine) if engine.threads_used() == threads => engines.push(Built { engine, precision, threads }),
                Ok(engine) => {
                    eprintln!("left out: {name} at {precision} on {threads} threads (it uses {})", engine.threads_used());
                }
                Err(error) => eprintln!("left out: {name} at {precision} on {threads} threads ({error})"),
            }
        }
    }
    engines
}

/// The clock is around the calls, and each ends when the device is done, as in the worker.
fn time<'e, B: TransformerBackend>(bencher: &mut Bencher<'_>, engine: &'e B, case: &Case, call: &mut Option<Call<'e>>) {
    let complain = |error| -> ! { panic!("{} {:?} on {}: {error}", case.operation.name, case.shape, B::describe().name) };
    let call = call.get_or_insert_with(|| prepare(engine, case).unwrap_or_else(|error| complain(error)));
    bencher.iter_custom(|calls| timed(engine, call, calls).unwrap_or_else(|error| complain(error)));
}

fn timed<B: TransformerBackend>(engine: &B, call: &mut Call<'_>, calls: u64) -> Result<Duration> {
    engine.synchronize()?;
    let start = Instant::now();
    for _ in 0..calls {
        call()?;
        engine.synchronize()?;
    }
    Ok(start.elapsed())
}

fn throughput(cost: Cost) -> Throughput {
    let bytes = cost.bytes_read.saturating_add(cost.bytes_written);
    if cost.flops >= bytes.saturating_mul(RIDGE) { Throughput::Elements(cost.flops) } else { Throughput::Bytes(bytes) }
}

/// What an engine has no kernel of its precision for: a line for each reason.
#[derive(Default)]
struct LeftOut {
    reasons: BTreeMap<(String, String), Vec<&'static str>>,
}

impl LeftOut {
    fn note(&mut self, precision: Precision, operation: &'static str, why: String) {
        let operations = self.reasons.entry((precision.to_string(), why)).or_default();
        if !operations.contains(&operation) {
            operations.push(operation);
        }
    }

    fn tell(&self, engine: &str) {
        for ((precision, why), operations) in &self.reasons {
            eprintln!("left out: {} on {engine} at {precision} ({why})", operations.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_counted_in_operations_and_passes_over_memory_in_bytes() {
        let cost = |flops, bytes_read| Cost { flops, bytes_read, bytes_written: 0 };
        assert!(matches!(throughput(cost(800, 100)), Throughput::Elements(800)));
        assert!(matches!(throughput(cost(799, 100)), Throughput::Bytes(100)));
    }
}
