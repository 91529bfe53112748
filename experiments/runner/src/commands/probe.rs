//! `crossover probe`: this machine's measured ceilings.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use crossover_protocol::Ceilings;

use crate::cli::ProbeArgs;
use crate::worker::steps;

use super::text::counted;
use super::{own_worker, print, print_json, processors};

/// A probe takes seconds; this is for machines under load.
const DEADLINE: Duration = Duration::from_secs(600);

/// Runs the command.
pub fn probe(args: &ProbeArgs) -> Result<ExitCode> {
    let mut worker = own_worker::start()?;
    let ceilings =
        steps::probe(worker.conversation.as_mut(), args.threads.unwrap_or_else(processors), DEADLINE).map_err(own_worker::explain)?;
    worker.conversation.quit();
    if args.json {
        print_json(&ceilings)?
    } else {
        print(|out| describe(out, &ceilings))?
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(out: &mut dyn Write, ceilings: &Ceilings) -> io::Result<()> {
    let giga = |number: u64| number as f64 / 1e9;
    writeln!(out, "{}, {}", counted(ceilings.threads.into(), "thread"), ceilings.isa)?;
    writeln!(out, "f64 {:>10.1} GFLOP/s", giga(ceilings.f64_flops_per_s))?;
    writeln!(out, "f32 {:>10.1} GFLOP/s", giga(ceilings.f32_flops_per_s))?;
    for unit in &ceilings.narrow {
        writeln!(out, "{:<4}{:>10.1} Gop/s ({})", unit.precision, giga(unit.ops_per_s), unit.isa)?;
    }
    writeln!(out, "level   working set KiB  read GB/s  copy GB/s")?;
    for row in &ceilings.bandwidth {
        let (read, copy) = (giga(row.read_bytes_per_s), giga(row.copy_bytes_per_s));
        writeln!(out, "{:<7} {:>15} {read:>10.1} {copy:>10.1}", row.level, row.working_set_bytes / 1024)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossover_protocol::{Bandwidth, NarrowCeiling};

    #[test]
    fn a_probe_reads_like_this() {
        let ceilings = Ceilings {
            threads: 2,
            isa: "avx2".into(),
            f64_flops_per_s: 61_250_000_000,
            f32_flops_per_s: 122_500_000_000,
            narrow: vec![NarrowCeiling { precision: "bf16".into(), isa: "amx_bf16".into(), ops_per_s: 1_700_000_000_000 }],
            bandwidth: vec![Bandwidth {
                level: "L1".into(),
                working_set_bytes: 16_384,
                read_bytes_per_s: 301_000_000_000,
                copy_bytes_per_s: 250_040_000_000,
            }],
        };
        let mut text = Vec::new();
        describe(&mut text, &ceilings).unwrap();
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @"
        2 threads, avx2
        f64       61.2 GFLOP/s
        f32      122.5 GFLOP/s
        bf16    1700.0 Gop/s (amx_bf16)
        level   working set KiB  read GB/s  copy GB/s
        L1                   16      301.0      250.0
        ");
    }
}
