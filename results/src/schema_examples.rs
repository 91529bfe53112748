//! Records for the tests: one that has everything, a small one, and arbitrary ones.

use crossover_core::axes::{Axes, AxisValue};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::schema::{
    Accuracy, Batch, Beside, Conditions, Matching, Memory, Record, SCHEMA_VERSION, Sample, Saved, Speed, Status, Transform,
};

/// A measured cell with every field present and two samples.
pub(crate) fn full_record() -> Record {
    Record {
        speed: Some(Speed {
            median_ns: 1_234_567,
            ci_low_ns: Some(1_230_000),
            ci_high_ns: Some(1_240_000),
            min_ns: 1_200_000,
            p95_ns: 1_300_000,
            samples: 1,
            rejected: 1,
            warmup_calls: Some(3),
            prepare_ns: Some(77),
            stop: "converged".into(),
            flops: Some(68_719_476_736),
            bytes: Some(1_048_576),
            threads_used: Some(2),
            isa: Some("avx2".into()),
        }),
        beside: Some(Beside {
            id: "fedcba9876543210".into(),
            median_ns: 2_345_678,
            ci_low_ns: Some(2_340_000),
            ci_high_ns: None,
            samples: 5,
        }),
        memory: Some(Memory {
            weight_bytes: 1,
            activation_bytes: 2,
            scratch_bytes: 3,
            state_bytes: 4,
            allocator_peak_bytes: Some(5),
            warm_allocations: Some(0),
            high_water_bytes: 7,
            device_peak_bytes: Some(8),
        }),
        accuracy: Some(Accuracy {
            err_impl: Some(1.0e-7),
            err_impl_rel: Some(0.1),
            tolerance_used: Some(0.25),
            err_method: Some(f64::MIN_POSITIVE),
            err_method_rel: Some(-0.0),
            cosine: Some(0.999_999),
            error_ratio: Some(1.5),
            divergence: Some(0.0),
            top_1_agreement: Some(0.75),
            nonfinite: 0,
            rows_checked: 64,
            rows_total: 128,
        }),
        transform: Some(Transform {
            derive_ns: 88,
            saved: Some(Saved {
                parameters_before: 1024,
                parameters_after: 256,
                bytes_before: 4096,
                bytes_after: 1024,
                error: Some(0.125),
            }),
        }),
        matching: Some(Matching { mode: "flops".into(), share: 0.25, target: 1000, cost: 1010 }),
        conditions: Some(Conditions {
            steal_ns: Some(20_000_000),
            load_average: Some(1.25),
            involuntary_switches: Some(3),
            frequency_khz: Some(2_600_000),
            energy_j: Some(0.5),
            instructions: Some(1e6),
            cycles: Some(2e6),
            cache_misses: None,
        }),
        batches: vec![Batch {
            round: 1,
            calls: 10,
            steal_ns: Some(20_000_000),
            load_average: Some(1.25),
            involuntary_switches: Some(3),
            frequency_khz: Some(2_600_000),
            energy_uj: Some(5_000_000),
            instructions: Some(10_000_000),
            cycles: Some(20_000_000),
            cache_misses: None,
        }],
        samples: vec![
            Sample { round: 0, calls: 10, ns: 12_345_670, rejected: false },
            Sample { round: 1, calls: 10, ns: 99_999_999, rejected: true },
        ],
        status: Status::Ok,
        reason: None,
        stderr_tail: Some("warning: nothing much".into()),
        support: Some("native".into()),
        ..small_record("0123456789abcdef")
    }
}

/// A cell that failed: short, for the tests that damage every byte.
pub(crate) fn small_record(id: &str) -> Record {
    Record {
        schema: SCHEMA_VERSION,
        id: id.into(),
        group: "g".into(),
        experiment: "e".into(),
        family: "attention".into(),
        variant: "attention/causal".into(),
        engine: "naive".into(),
        baseline: false,
        axes: Axes::from([("n".to_owned(), AxisValue::Int(128)), ("precision".to_owned(), AxisValue::from("f32"))]),
        status: Status::Crashed,
        reason: Some("signal 9".into()),
        stderr_tail: None,
        support: None,
        finished_unix_ms: 1_700_000_000_000,
        elapsed_ns: 5,
        speed: None,
        beside: None,
        memory: None,
        accuracy: None,
        transform: None,
        matching: None,
        conditions: None,
        samples: vec![],
        batches: vec![],
        machine: "m".into(),
        build: "b".into(),
    }
}

/// Text as people and crashing programs write it: quotes, newlines, NUL, long names, any script.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/-]{1,20}",
        any::<String>(),
        Just("a \"quoted\"\nname\r\n\twith \0 and \u{2028}".to_owned()),
        Just("long".repeat(75)),
        Just(String::new()),
    ]
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |value| value.is_finite())
}

fn count() -> impl Strategy<Value = u64> {
    0..=i64::MAX as u64
}

fn axis_value() -> impl Strategy<Value = AxisValue> {
    prop_oneof![any::<i64>().prop_map(AxisValue::Int), finite().prop_map(AxisValue::Float), text().prop_map(AxisValue::Text)]
}

fn speed() -> impl Strategy<Value = Speed> {
    (vec(count(), 12), text(), option::of(text())).prop_map(|(n, stop, isa)| Speed {
        median_ns: n[0],
        ci_low_ns: (n[1] % 2 == 0).then_some(n[1]),
        ci_high_ns: Some(n[2]),
        min_ns: n[3],
        p95_ns: n[4],
        samples: n[5],
        rejected: n[6],
        warmup_calls: (n[7] % 2 == 0).then_some(n[7]),
        prepare_ns: Some(n[8]),
        stop,
        flops: (n[9] % 2 == 0).then_some(n[9]),
        bytes: (n[10] % 2 == 0).then_some(n[10]),
        threads_used: (n[11] % 2 == 0).then_some(n[11]),
        isa,
    })
}

fn beside() -> impl Strategy<Value = Beside> {
    (text(), vec(count(), 3), option::of(count())).prop_map(|(id, n, ci_low_ns)| Beside {
        id,
        median_ns: n[0],
        ci_low_ns,
        ci_high_ns: Some(n[1]),
        samples: n[2],
    })
}

fn memory() -> impl Strategy<Value = Memory> {
    vec(count(), 8).prop_map(|n| Memory {
        weight_bytes: n[0],
        activation_bytes: n[1],
        scratch_bytes: n[2],
        state_bytes: n[3],
        allocator_peak_bytes: Some(n[4]),
        warm_allocations: (n[5] % 2 == 0).then_some(n[5]),
        high_water_bytes: n[6],
        device_peak_bytes: (n[7] % 2 == 0).then_some(n[7]),
    })
}

fn accuracy() -> impl Strategy<Value = Accuracy> {
    (vec(option::of(finite()), 9), vec(count(), 3)).prop_map(|(e, n)| Accuracy {
        err_impl: e[0],
        err_impl_rel: e[1],
        tolerance_used: e[2],
        err_method: e[3],
        err_method_rel: e[4],
        cosine: e[5],
        error_ratio: e[6],
        divergence: e[7],
        top_1_agreement: e[8],
        nonfinite: n[0],
        rows_checked: n[1],
        rows_total: n[2],
    })
}

fn transform() -> impl Strategy<Value = Transform> {
    (count(), option::of((vec(count(), 4), option::of(finite())))).prop_map(|(derive_ns, saved)| Transform {
        derive_ns,
        saved: saved.map(|(n, error)| Saved {
            parameters_before: n[0],
            parameters_after: n[1],
            bytes_before: n[2],
            bytes_after: n[3],
            error,
        }),
    })
}

fn matching() -> impl Strategy<Value = Matching> {
    (text(), finite(), count(), count()).prop_map(|(mode, share, target, cost)| Matching { mode, share, target, cost })
}

fn sample() -> impl Strategy<Value = Sample> {
    (prop_oneof![0..4u32, any::<u32>()], any::<u32>(), count(), any::<bool>()).prop_map(|(round, calls, ns, rejected)| Sample {
        round,
        calls,
        ns,
        rejected,
    })
}

fn conditions() -> impl Strategy<Value = Conditions> {
    (vec(option::of(count()), 3), vec(option::of(finite()), 5)).prop_map(|(n, e)| Conditions {
        steal_ns: n[0],
        load_average: e[0],
        involuntary_switches: n[1],
        frequency_khz: n[2],
        energy_j: e[1],
        instructions: e[2],
        cycles: e[3],
        cache_misses: e[4],
    })
}

/// Of one of the first rounds, so that some samples belong to it.
fn batch() -> impl Strategy<Value = Batch> {
    (0..4u32, count(), vec(option::of(count()), 7), option::of(finite())).prop_map(|(round, calls, n, load_average)| Batch {
        round,
        calls,
        steal_ns: n[0],
        load_average,
        involuntary_switches: n[1],
        frequency_khz: n[2],
        energy_uj: n[3],
        instructions: n[4],
        cycles: n[5],
        cache_misses: n[6],
    })
}

/// Any record that can be stored.
pub(crate) fn any_record() -> impl Strategy<Value = Record> {
    let names = ("[!-~]{1,40}", vec(text(), 7), any::<bool>(), btree_map(text(), axis_value(), 0..6));
    let ending = (proptest::sample::select(&Status::ALL[..]), vec(option::of(text()), 3), count(), count());
    let second = (option::of(transform()), option::of(matching()), option::of(conditions()), vec(batch(), 0..4), option::of(beside()));
    let figures = (option::of(speed()), option::of(memory()), option::of(accuracy()), vec(sample(), 0..4), second);
    (names, ending, figures).prop_map(|((id, t, baseline, axes), (status, o, finished_unix_ms, elapsed_ns), figures)| Record {
        schema: SCHEMA_VERSION,
        id,
        group: t[0].clone(),
        experiment: t[1].clone(),
        family: t[2].clone(),
        variant: t[3].clone(),
        engine: t[4].clone(),
        baseline,
        axes,
        status,
        reason: o[0].clone(),
        stderr_tail: o[1].clone(),
        support: o[2].clone(),
        finished_unix_ms,
        elapsed_ns,
        speed: figures.0,
        beside: figures.4.4,
        memory: figures.1,
        accuracy: figures.2,
        transform: figures.4.0,
        matching: figures.4.1,
        conditions: figures.4.2,
        samples: figures.3,
        batches: figures.4.3,
        machine: t[5].clone(),
        build: t[6].clone(),
    })
}
