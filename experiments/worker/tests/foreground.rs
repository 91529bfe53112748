//! `crossover-worker cell` as a program among others.

use std::process::Command;

use crossover_core::axes::Axes;
use crossover_variants::registry;
use crossover_variants::resolve::resolve;

#[test]
fn a_reader_that_has_gone_ends_the_command_quietly() {
    let variant = registry::find("softmax/stable").unwrap();
    let axes = resolve(variant.descriptor, &Axes::new()).unwrap();
    let cell = serde_json::json!({ "id": "a", "variant": "softmax/stable", "engine": "naive", "axes": axes });
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_crossover-worker")).arg("cell").arg(cell.to_string()).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
