//! Two runs of one experiment with the real worker: times differ, accuracy does not, not by a bit.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crossover_results::read_records;
use crossover_results::schema::{Accuracy, SCHEMA_VERSION, Status};

fn accuracy_of_a_run(out: &Path) -> BTreeMap<String, (Status, Option<Accuracy>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO_BIN_EXE_crossover")).args(["run", "smoke", "--out"]).arg(out).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records = read_records(&out.join("journal.txt")).unwrap().map(Result::unwrap);
    records.map(|record| (record.id, (record.status, record.accuracy))).collect()
}

/// The accuracy columns as bits, so that 0.0 and -0.0 differ as well.
fn bits(accuracy: &Accuracy) -> Vec<Option<u64>> {
    let columns = [
        accuracy.err_impl,
        accuracy.err_impl_rel,
        accuracy.tolerance_used,
        accuracy.err_method,
        accuracy.err_method_rel,
        accuracy.cosine,
        accuracy.error_ratio,
        accuracy.divergence,
        accuracy.top_1_agreement,
    ];
    columns.map(|value| value.map(f64::to_bits)).to_vec()
}

#[test]
fn accuracy_columns_repeat_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (accuracy_of_a_run(&folder.path().join("first")), accuracy_of_a_run(&folder.path().join("second")));
    assert!(first.len() >= 12, "{} cells", first.len());
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (id, (status, accuracy)) in &first {
        let (again, other) = &second[id];
        assert_eq!((*status, *status), (Status::Ok, *again), "{id}");
        let (accuracy, other) = (accuracy.as_ref().unwrap(), other.as_ref().unwrap());
        assert_eq!(bits(accuracy), bits(other), "{id}");
        assert_eq!(accuracy.rows_checked, other.rows_checked);
    }
}

/// `just repeat` leaves the judgement to a script: what is the same passes it, one digit of one figure does not.
#[test]
fn the_script_finds_what_does_not_repeat() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let journal = |median: u64, err_impl: &str| {
        let (speed, accuracy) = (format!(r#"{{"median_ns":{median}}}"#), format!(r#"{{"err_impl":{err_impl}}}"#));
        let cell = r#""id":"a","variant":"linear/dense","engine":"naive","status":"ok""#;
        let record = format!(r#"{{"schema":{SCHEMA_VERSION},{cell},"speed":{speed},"accuracy":{accuracy}}}"#);
        format!("crossover-journal 1\n00000000 {} a ok {record}\n", record.len())
    };
    for run in [&first, &second] {
        std::fs::create_dir(run).unwrap();
        std::fs::write(run.join("journal.txt"), journal(200_000, "0.0")).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../repeatability.py");
    let judged = || {
        let output = Command::new("python3").arg(&script).args([&first, &second]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = judged();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("1 cells of 100 us or more in both runs; 100.0 %"), "{said}");
    for other in [journal(211_000, "0.0"), journal(200_000, "-0.0"), journal(200_000, "0.0").replace("\"a\"", "\"b\"")] {
        std::fs::write(second.join("journal.txt"), &other).unwrap();
        let (code, said) = judged();
        assert_eq!(code, Some(1), "{other}: {said}");
    }
    for damaged in ["rubbish", "00000000 2 a ok {}", "00000000 2 a ok []"] {
        std::fs::write(second.join("journal.txt"), format!("crossover-journal 1\n{damaged}\n")).unwrap();
        assert_eq!(judged().0, Some(2), "{damaged}");
    }
    for journal in [journal(99_000, "0.0"), "crossover-journal 1\n".to_owned()] {
        for run in [&first, &second] {
            std::fs::write(run.join("journal.txt"), &journal).unwrap();
        }
        let (code, said) = judged();
        assert!(code == Some(1) && said.starts_with("no cell of 100 us or more"), "{said}");
    }
}
