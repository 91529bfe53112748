//! Two runs of one experiment with the real worker: times differ, accuracy does not, not by a bit.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crossover_results::read_records;
use crossover_results::schema::{Accuracy, Status};

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
