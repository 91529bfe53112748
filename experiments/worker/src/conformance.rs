//! The conformance suite on one engine of this build, for the exact gate (`crossover gate --exact`) and for whoever wants to see it.
//!
//! Cells have ordinary inputs; what the suite tries are the others: NaN, rows that a mask hides, extents of zero, operands that overlap, what must be refused. It
//! prints a line for each property that does not hold, and one at the end which says that it came there.

use std::io::Write;

use anyhow::Result;
use crossover_core::backend::TransformerBackend;
use crossover_core::conformance::{self, Options, Report};
use crossover_registry::{EngineVisitor, descriptions};

use crate::foreground::{Outcome, Refusal};

/// Runs it.
pub fn run(engine: &str) -> Result<Outcome> {
    let mut search = Search { engine, report: None };
    crossover_registry::visit(&mut search);
    let Some(report) = search.report else {
        let known = descriptions().iter().map(|engine| engine.name).collect::<Vec<_>>().join(", ");
        return Err(Refusal::of_request(format!("there is no engine {engine:?} in this worker: it has {known}")).into());
    };
    print(&report, &mut std::io::stdout())?;
    Ok(if report.failures.is_empty() { Outcome::Good } else { Outcome::Wrong })
}

fn print(report: &Report, out: &mut impl Write) -> Result<()> {
    for failure in &report.failures {
        writeln!(out, "{}", failure.to_string().lines().collect::<Vec<_>>().join(" "))?;
    }
    writeln!(out, "conformance of {}: {} cases, {} failures", report.engine, report.cases, report.failures.len())?;
    Ok(())
}

struct Search<'a> {
    engine: &'a str,
    report: Option<Report>,
}

impl EngineVisitor for Search<'_> {
    fn visit<B: TransformerBackend>(&mut self) {
        if B::describe().name != self.engine {
            return;
        }
        #[cfg(feature = "planted")]
        if crate::planted::is_faulty(self.engine) {
            self.report = Some(conformance::run::<crate::planted::Faulty>(&Options::brief()));
            return;
        }
        self.report = Some(conformance::run::<B>(&Options::brief()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_not_there_is_the_askers_mistake_and_the_oracle_conforms() {
        let error = run("nobody").unwrap_err();
        assert!(error.downcast_ref::<Refusal>().unwrap().is_bad_input());
        assert!(error.to_string().contains("\"nobody\" in this worker: it has naive"), "{error}");
        let mut search = Search { engine: "naive", report: None };
        crossover_registry::visit(&mut search);
        let mut out = Vec::new();
        print(&search.report.unwrap(), &mut out).unwrap();
        let said = String::from_utf8(out).unwrap();
        assert!(said.starts_with("conformance of naive: ") && said.ends_with(" cases, 0 failures\n"), "{said}");
    }
}
