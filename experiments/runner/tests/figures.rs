//! A figure of size: a plan of a million cells in little memory. `CROSSOVER_SLOW=1` asks for all of it, the normal tier for a small part.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Instant;

use common::Bench;

#[test]
fn a_plan_of_a_million_cells_streams() {
    let (lengths, most) = (if common::slow_tier() { 1000 } else { 50 }, 300 << 20);
    let bench = Bench::new(&format!(
        "name = 'tiny'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['ok']\n[sweep.axes]\n\
         n = 'steps(1..{lengths}, 1)'\nclasses = 'steps(1..1000, 1)'\n"
    ));
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossover"));
    command.arg("plan").arg(bench.experiment()).arg("--json");
    let began = Instant::now();
    let mut plan = bench.marked(command).spawn().unwrap();
    let (mut cells, mut high_water, pid) = (0, 0, plan.id());
    for line in BufReader::new(plan.stdout.take().unwrap()).lines() {
        cells += usize::from(line.unwrap().contains("\"id\":"));
        if cells % 10_000 == 0 {
            high_water = high_water.max(common::high_water_bytes(pid).unwrap_or(0));
        }
    }
    assert!(plan.wait().unwrap().success());
    println!("{cells} cells planned in {:?}, high water {} MiB", began.elapsed(), high_water >> 20);
    assert_eq!(cells, lengths * 1000);
    assert!(high_water > 0 && high_water < most, "{high_water}");
}
