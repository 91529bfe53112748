//! The conformance suite on one engine of this build, for the exact gate (`crossover gate --exact`) and for whoever wants to see it.
//!
//! Cells have ordinary inputs; what the suite tries are the others: NaN, rows that a mask hides, extents of zero, operands that overlap, what must be refused. On
//! stdout there is a line for each property that does not hold, as soon as that is known, one for each that the engine refuses at a precision, and one at the end
//! which says that it came there. On stderr stands what is tried at the moment, which is all that is left of a suite that ends the process.

use std::io::{self, Write};

use anyhow::Result;
use crossover_core::backend::TransformerBackend;
use crossover_core::conformance::{Event, Options, Report, run_telling};
use crossover_registry::{EngineVisitor, descriptions};

use crate::foreground::{Outcome, Refusal};

/// Runs it.
pub fn run(engine: &str) -> Result<Outcome> {
    match suite(engine, &mut io::stdout(), &mut io::stderr()) {
        // A reader that has gone (`| head`) has seen what it wanted.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => Ok(Outcome::Good),
        outcome => outcome,
    }
}

fn suite(engine: &str, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    let mut search = Search { engine, out, err, written: Ok(()), report: None };
    crossover_registry::visit(&mut search);
    let Search { written, report, .. } = search;
    written?;
    let Some(report) = report else {
        let known = descriptions().iter().map(|engine| engine.name).collect::<Vec<_>>().join(", ");
        return Err(Refusal::of_request(format!("there is no engine {engine:?} in this worker: it has {known}")).into());
    };
    for (property, precision) in report.left_out() {
        writeln!(out, "refused: {property} at {precision}")?;
    }
    writeln!(out, "conformance of {}: {} cases, {} failures", report.engine, report.cases, report.failures.len())?;
    Ok(if report.failures.is_empty() { Outcome::Good } else { Outcome::Wrong })
}

struct Search<'a> {
    engine: &'a str,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Whether all that was told could be written.
    written: io::Result<()>,
    report: Option<Report>,
}

impl Search<'_> {
    fn on<B: TransformerBackend>(&mut self) {
        let Self { out, err, written, .. } = self;
        let report = run_telling::<B>(&Options::brief(), &mut |event| {
            let told = match event {
                Event::Begins(property, precision) => writeln!(err, "trying {property} at {precision}"),
                Event::Failed(failure) => writeln!(out, "failed: {}", failure.to_string().lines().collect::<Vec<_>>().join(" ")),
            };
            if let Err(error) = told
                && written.is_ok()
            {
                *written = Err(error);
            }
        });
        self.report = Some(report);
    }
}

impl EngineVisitor for Search<'_> {
    fn visit<B: TransformerBackend>(&mut self) {
        if B::describe().name != self.engine {
            return;
        }
        #[cfg(feature = "planted")]
        if crate::planted::is_faulty(self.engine) {
            return self.on::<crate::planted::Faulty>();
        }
        self.on::<B>();
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::conformance::mutants::{Fault, Mutant, plant};

    use super::*;

    fn said(engine: &str) -> (Result<Outcome>, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let outcome = suite(engine, &mut out, &mut err);
        (outcome, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn an_engine_that_is_not_there_is_the_askers_mistake() {
        let (outcome, ..) = said("nobody");
        let error = outcome.err().unwrap();
        assert!(error.downcast_ref::<Refusal>().unwrap().is_bad_input());
        assert!(error.to_string().contains("\"nobody\" in this worker: it has naive"), "{error}");
    }

    #[test]
    fn the_oracle_conforms_and_says_what_it_refuses() {
        let (outcome, out, err) = said("naive");
        assert_eq!(outcome.unwrap(), Outcome::Good);
        assert!(out.lines().any(|line| line == "refused: linear-sparse at int8"), "{out}");
        assert!(out.lines().last().unwrap().starts_with("conformance of naive: ") && out.ends_with(" cases, 0 failures\n"), "{out}");
        assert!(err.starts_with("trying ") && err.lines().all(|line| line.contains(" at ")), "{err}");
    }

    #[test]
    fn a_mistake_is_told_at_once() {
        struct Broken<'a>(Search<'a>);
        impl EngineVisitor for Broken<'_> {
            fn visit<B: TransformerBackend>(&mut self) {
                if B::describe().name == "naive" {
                    self.0.on::<Mutant<B>>();
                }
            }
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        plant(Fault::named("MatmulDropsNan"));
        let mut broken = Broken(Search { engine: "naive", out: &mut out, err: &mut err, written: Ok(()), report: None });
        crossover_registry::visit(&mut broken);
        plant(None);
        let failures = broken.0.report.unwrap().failures.len();
        let out = String::from_utf8(out).unwrap();
        assert!(failures > 0 && out.lines().count() == failures && out.lines().all(|line| line.starts_with("failed: ")), "{out}");
    }
}
