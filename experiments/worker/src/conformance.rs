//! The conformance suite on one engine of this build, for the exact gate (`crossover gate --exact`) and for whoever wants to see it.
//!
//! Cells have ordinary inputs; what the suite tries are the others: NaN, rows that a mask hides, extents of zero, operands that overlap, what must be refused. On
//! stdout there is a line for each property that does not hold, as soon as that is known, one for each of which the engine refuses cases at a precision, and one at
//! the end which says that it came there. On stderr stands what is tried at the moment, which is all that is left of a suite that ends the process.

use std::io::{self, Write};

use anyhow::Result;
use crossover_core::backend::TransformerBackend;
use crossover_core::conformance::{Event, Options, Refusals, Report, run_telling};

use crate::dispatch::{WithEngine, with_engine};
use crate::foreground::{Outcome, Refusal};
use crate::session::unknown_engine;

/// Runs it.
pub fn run(engine: &str) -> Result<Outcome> {
    suite(engine, &mut io::stdout(), &mut io::stderr())
}

fn suite(engine: &str, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    let mut search = Search { out, err, written: Ok(()), report: None };
    with_engine(engine, &mut search);
    let Search { mut written, report, .. } = search;
    let report = report.ok_or_else(|| Refusal::from(unknown_engine(engine)))?;
    for Refusals { property, precision, held, refused } in report.refusals() {
        written = written.and_then(|()| writeln!(out, "refused: {property} at {precision}: {refused} of {}", held + refused));
    }
    written
        .and_then(|()| writeln!(out, "conformance of {}: {} cases, {} failures", report.engine, report.cases, report.failures.len()))
        // A reader that has gone (`| head`) has seen what it wanted, and takes nothing from the verdict.
        .or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })?;
    Ok(if report.failures.is_empty() { Outcome::Good } else { Outcome::Wrong })
}

struct Search<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Whether all that was told could be written.
    written: io::Result<()>,
    report: Option<Report>,
}

impl WithEngine for Search<'_> {
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
        assert!(error.to_string().contains("no engine \"nobody\"; it has naive"), "{error}");
    }

    #[test]
    fn the_oracle_conforms_and_says_what_it_refuses() {
        let (outcome, out, err) = said("naive");
        assert_eq!(outcome.unwrap(), Outcome::Good);
        assert!(out.lines().any(|line| line == "refused: linear-sparse at int8: 12 of 12"), "{out}");
        assert!(out.lines().last().unwrap().starts_with("conformance of naive: ") && out.ends_with(" cases, 0 failures\n"), "{out}");
        assert!(err.starts_with("trying ") && err.lines().all(|line| line.contains(" at ")), "{err}");
    }

    #[test]
    fn a_mistake_is_told_at_once() {
        struct Broken<'a>(Search<'a>);
        impl WithEngine for Broken<'_> {
            fn on<B: TransformerBackend>(&mut self) {
                self.0.on::<Mutant<B>>();
            }
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        plant(Fault::named("MatmulDropsNan"));
        let mut broken = Broken(Search { out: &mut out, err: &mut err, written: Ok(()), report: None });
        with_engine("naive", &mut broken);
        plant(None);
        let failures = broken.0.report.unwrap().failures.len();
        let out = String::from_utf8(out).unwrap();
        assert!(failures > 0 && out.lines().count() == failures && out.lines().all(|line| line.starts_with("failed: ")), "{out}");
    }
}
