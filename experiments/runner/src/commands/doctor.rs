//! `crossover doctor`: can this installation run experiments, and is this machine quiet enough to trust the times?
//!
//! What prevents a run is a problem and gives exit code 3, with what to do. What only makes times worse is a note: many machines
//! (virtual ones above all) cannot be any better.

mod engines;
mod installation;
mod limit;
mod machine;
mod quota;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::cli::DoctorArgs;

use super::print;
use super::text::wrap;

/// One thing that was looked at.
#[derive(Debug, PartialEq)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do about it; empty where all is well.
    advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Note,
    Problem,
}

impl Finding {
    fn good(subject: &'static str, found: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Good, found: found.into(), advice: String::new() }
    }

    fn note(subject: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Note, found: found.into(), advice: advice.into() }
    }

    fn problem(subject: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Problem, found: found.into(), advice: advice.into() }
    }

    /// The machine does not tell.
    fn unknown(subject: &'static str) -> Self {
        Self::good(subject, "unknown")
    }
}

/// Runs the command.
pub fn doctor(_args: &DoctorArgs) -> Result<ExitCode> {
    let mut findings = installation::examine();
    findings.extend(machine::examine(Path::new("/")));
    findings.push(limit::examine(Path::new("/")));
    let problems = findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count();
    print(|out| {
        findings.iter().try_for_each(|finding| describe(out, finding))?;
        match problems {
            0 => writeln!(out, "ready to run experiments"),
            _ => writeln!(out, "not ready: {problems} problem(s) above, each with what to do"),
        }
    })?;
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn describe(out: &mut dyn Write, finding: &Finding) -> io::Result<()> {
    let mark = match finding.verdict {
        Verdict::Good => "ok",
        Verdict::Note => "note",
        Verdict::Problem => "PROBLEM",
    };
    out.write_all(wrap(&format!("{mark:<7} {:<12} ", finding.subject), finding.found.split_whitespace()).as_bytes())?;
    if finding.advice.is_empty() {
        return Ok(());
    }
    out.write_all(wrap(&format!("{:<20} -> ", ""), finding.advice.split_whitespace()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_like_this() {
        let mut text = Vec::new();
        describe(&mut text, &Finding::good("memory", "3.1 GiB available")).unwrap();
        describe(&mut text, &Finding::problem("disk", "12 MiB free at results/runs", "remove old runs, or name another folder by --out"))
            .unwrap();
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @"
        ok      memory       3.1 GiB available
        PROBLEM disk         12 MiB free at results/runs
                             -> remove old runs, or name another folder by --out
        ");
    }
}
