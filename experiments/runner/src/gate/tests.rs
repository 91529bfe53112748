//! Gates over workers made of memory: two builds that differ by what their scripts say.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use crossover_core::axes::AxisValue;
use crossover_protocol::{FailureKind, Fault, Request, Response};

use super::asked::Asked;
use super::outputs;
use super::pair::{Builds, Design, Turns};
use super::sheet::Sheet;
use super::stages::{Judged, Judgement, Outcome, Stage, Watch, judge};
use super::verdict::{Evidence, Verdict};
use super::{Compared, Findings};
use crate::definition::Measure;
use crate::plan::PlannedCell;
use crate::schedule::Clock;
use crate::schedule::fakes::{FakeClock, FakeLauncher, Script, World, group};
use crate::schedule::random::Random;
use crate::worker::conversation::{Conversation, Launcher, Ready};
use crate::worker::failure::{Cause, WorkerFailure};

/// The workers of one build: the script of a cell is the world's by the name of the side and the cell's, and each process is faster than that by
/// some share of its own, up to `spread`.
struct OneBuild {
    side: &'static str,
    inner: FakeLauncher,
    spread: f64,
    random: Random,
    /// With which everything is to be asked.
    deadline: Duration,
    /// How many cores each process could use.
    cores: Vec<usize>,
    /// Where each pair's heap begins.
    heaps: Vec<u32>,
}

/// How many cores what this thread starts may use.
fn cores() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

impl OneBuild {
    fn of(&mut self, ready: Ready) -> Ready {
        let share = self.spread * self.random.below(1_000_001) as f64 / 1e6;
        let conversation =
            Box::new(OneProcess { side: self.side, inner: ready.conversation, factor: 1.0 - share, deadline: self.deadline });
        Ready { conversation, ..ready }
    }
}

impl Launcher for OneBuild {
    fn start(&mut self, engine: &str, threads: u32, deadline: Duration) -> Result<Ready, WorkerFailure> {
        assert_eq!(deadline, self.deadline);
        self.cores.push(cores());
        let ready = self.inner.start(engine, threads, deadline)?;
        Ok(self.of(ready))
    }

    fn shift_heaps(&mut self, bytes: u32) {
        self.heaps.push(bytes);
    }

    fn start_clerk(&mut self, deadline: Duration) -> Result<Ready, WorkerFailure> {
        self.inner.start_clerk(deadline)
    }
}

struct OneProcess {
    side: &'static str,
    inner: Box<dyn Conversation>,
    factor: f64,
    deadline: Duration,
}

impl Conversation for OneProcess {
    fn request(&mut self, request: &Request, deadline: Duration) -> Result<Response, WorkerFailure> {
        assert_eq!(deadline, self.deadline);
        let mut request = request.clone();
        if let Request::Prepare { cell, .. } = &mut request {
            cell.id = format!("{}/{}", self.side, cell.id);
        }
        let mut response = self.inner.request(&request, deadline)?;
        if let Response::Measured(taken) = &mut response {
            taken.samples.iter_mut().for_each(|sample| sample.ns = (sample.ns as f64 * self.factor) as u64);
        }
        Ok(response)
    }

    fn stderr_tail(&mut self) -> Option<String> {
        self.inner.stderr_tail()
    }

    fn quit(self: Box<Self>) -> Option<String> {
        self.inner.quit()
    }
}

/// Watches nothing.
struct Nobody;

impl Watch for Nobody {
    fn tell(&mut self, _: Stage, _: usize, _: usize) {}

    fn stops(&self) -> bool {
        false
    }
}

/// Cells by how much longer head takes.
fn gate(cells: &[(&str, f64)], spread: f64, asked: &Asked) -> (Rc<World>, Vec<Judged>) {
    let (world, judgement) = judgement(cells, spread, asked);
    (world, judgement.judged)
}

fn judgement(cells: &[(&str, f64)], spread: f64, asked: &Asked) -> (Rc<World>, Judgement) {
    let world = Rc::new(World::default());
    for (name, factor) in cells {
        world.script(&format!("base/{name}"), Script { call_ns: 100_000, ..Script::default() });
        world.script(&format!("head/{name}"), Script { call_ns: (100_000.0 * factor) as u64, ..Script::default() });
    }
    let judgement = judged_with(&world, &cells.iter().map(|(name, _)| *name).collect::<Vec<_>>(), spread, asked);
    (world, judgement)
}

fn judged(world: &Rc<World>, names: &[&str], spread: f64, asked: &Asked) -> Vec<Judged> {
    judged_with(world, names, spread, asked).judged
}

fn judged_with(world: &Rc<World>, names: &[&str], spread: f64, asked: &Asked) -> Judgement {
    judged_cells(world, &group(names).cells, spread, asked).0
}

/// With how many cores the workers could use.
fn judged_cells(world: &Rc<World>, cells: &[PlannedCell], spread: f64, asked: &Asked) -> (Judgement, Vec<usize>) {
    let deadline = asked.measure.deadline("fake");
    let build = |side, seed| OneBuild {
        side,
        inner: FakeLauncher(Rc::clone(world)),
        spread,
        random: Random::new(seed),
        deadline,
        cores: Vec::new(),
        heaps: Vec::new(),
    };
    let (mut base, mut head) = (build("base", 3), build("head", 4));
    let judgement = judge(&mut Builds { base: &mut base, head: &mut head }, cells, asked, &FakeClock(Rc::clone(world)), &mut Nobody);
    assert_eq!(base.heaps, head.heaps, "both heaps of a pair begin at one place");
    assert!(base.heaps.iter().all(|bytes| *bytes < 4096 && bytes % 16 == 0));
    assert!(base.heaps.len() < 5 || base.heaps.iter().any(|bytes| *bytes != base.heaps[0]), "{:?}", base.heaps);
    (judgement, [base.cores, head.cores].concat())
}

fn verdicts(judged: &[Judged]) -> Vec<&'static str> {
    judged.iter().map(|judged| judged.outcome.verdict().name()).collect()
}

#[test]
fn what_changed_is_found_and_what_did_not_passes() {
    let cells = [("same", 1.0), ("slower", 1.08), ("faster", 0.9), ("hardly", 1.01)];
    let (world, judged) = gate(&cells, 0.02, &Asked::default());
    assert_eq!(verdicts(&judged), ["pass", "regressed", "improved", "pass"]);
    let Outcome::Timed { stage, evidence, .. } = &judged[1].outcome else { panic!("{judged:?}") };
    assert!(*stage == Stage::Confirmation && (evidence.ratio() - 1.08).abs() < 0.02, "{evidence:?}");
    assert!(matches!(judged[0].outcome, Outcome::Timed { stage: Stage::Screening, .. }), "{judged:?}");
    assert_eq!((world.alive(), world.most_alive.get()), (0, 2), "two processes at a time, and none is left");
}

#[test]
fn turns_go_there_and_back_and_each_round_begins_with_the_other_side() {
    let (world, _) = gate(&[("same", 1.0)], 0.02, &Asked::default());
    // The sides that were timed, pair by pair.
    let mut pairs = vec![String::new()];
    for line in world.log.borrow().iter() {
        match line.split_once(':') {
            Some(("head/same", "quit")) => pairs.push(String::new()),
            Some((cell, step)) if step.starts_with("measure") => pairs.last_mut().unwrap().push_str(&cell[..1]),
            _ => {}
        }
    }
    pairs.retain(|pair| !pair.is_empty());
    assert_eq!(pairs.len(), Asked::default().screening);
    for pair in &pairs {
        // Both were warmed up by three samples, one after the other.
        let rounds = &pair[6..];
        let there_and_back = match &rounds[..4] {
            "bhhb" => "bhhbhbbh",
            _ => "hbbhbhhb",
        };
        assert!(rounds.len() > 64 && rounds == there_and_back.repeat(rounds.len() / 8), "{pair}");
    }
    let first: BTreeSet<&str> = pairs.iter().map(|pair| &pair[6..10]).collect();
    assert_eq!(first.len(), 2, "which side begins is drawn: {pairs:?}");
}

/// On a machine of one core this cannot fail.
#[cfg(target_os = "linux")]
#[test]
fn workers_of_one_thread_share_a_core_and_others_have_all() {
    let world = Rc::new(World::default());
    for side in ["base", "head"] {
        for name in ["one", "two"] {
            world.script(&format!("{side}/{name}"), Script { call_ns: 100_000, ..Script::default() });
        }
    }
    // Base has none, so the pair fails.
    world.script("head/lost", Script { call_ns: 100_000, ..Script::default() });
    let before = cores();
    let cores_of = |name: &str, threads: i64| {
        let mut cells = group(&[name]).cells;
        cells[0].axes.insert("threads".into(), AxisValue::Int(threads));
        judged_cells(&world, &cells, 0.01, &Asked::default()).1
    };
    for (name, threads, expected) in [("one", 1, 1), ("lost", 1, 1), ("two", 2, before)] {
        let seen = cores_of(name, threads);
        assert!(!seen.is_empty() && seen.iter().all(|cores| *cores == expected), "{name}: {seen:?}");
        assert_eq!(cores(), before, "after {name}");
    }
}

#[test]
fn noise_is_inconclusive_and_says_what_it_could_have_seen() {
    let (_, judged) = gate(&[("noisy", 1.0)], 0.5, &Asked::default());
    assert_eq!(verdicts(&judged), ["inconclusive"]);
    let Outcome::Timed { evidence, .. } = judged[0].outcome else { panic!("{judged:?}") };
    assert!(evidence.seen() > 0.05, "{evidence:?}");
}

#[test]
fn what_slows_the_machine_for_moments_meets_both() {
    let world = Rc::new(World::default());
    world.weather.set(3.0);
    for (name, factor) in [("same", 1.0), ("slower", 1.05)] {
        world.script(&format!("base/{name}"), Script { call_ns: 100_000, ..Script::default() });
        world.script(&format!("head/{name}"), Script { call_ns: (100_000.0 * factor) as u64, ..Script::default() });
    }
    let judged = judged(&world, &["same", "slower"], 0.01, &Asked::default());
    assert_eq!(verdicts(&judged), ["pass", "regressed"]);
    for one in judged {
        let Outcome::Timed { evidence, .. } = one.outcome else { panic!("{one:?}") };
        assert!(evidence.seen() < 0.01, "{evidence:?}");
    }
}

#[test]
fn both_sides_are_asked_for_as_much() {
    let turns = |base_ns, head_ns| {
        let Turns { samples, calls, rounds } = Design::default().turns([base_ns, head_ns]);
        (samples, calls, rounds)
    };
    assert_eq!(turns(1e3, 1e3), (4, 125, 128));
    assert_eq!((turns(1e6, 1e6), turns(5e5, 2e6)), ((1, 1, 40), (1, 1, 40)));
    assert_eq!(turns(1e9, 1e9), (1, 1, Design::default().least_rounds));
    assert_eq!(turns(1e6, 4e6), turns(4e6, 1e6));
}

#[test]
fn what_one_build_lacks_is_lost_or_new() {
    let absent = || failing("prepare", Cause::Fault(Fault { kind: FailureKind::Unsupported, message: "not here".into() }));
    let world = Rc::new(World::default());
    world.script("head/lost", absent());
    world.script("base/new", absent());
    world.script("base/neither", absent());
    world.script("head/neither", absent());
    world.script("head/wrong", Script { passed: false, ..Script::default() });
    let judged = judged(&world, &["lost", "new", "neither", "wrong"], 0.0, &Asked::default());
    assert_eq!(verdicts(&judged), ["regressed", "pass", "not-compared", "regressed"]);
    assert!(matches!(&judged[3].outcome, Outcome::Lost { why } if why.starts_with("its output is wrong")), "{judged:?}");
    // One pair of each was enough.
    assert_eq!(world.starts.get(), 8);
}

fn failing(step: &'static str, cause: Cause) -> Script {
    Script { call_ns: 100_000, fails: Some((step, 0, cause)), ..Script::default() }
}

fn crash() -> Cause {
    Cause::Signalled { signal: 11 }
}

#[test]
fn a_crash_is_no_answer_but_a_crash_of_head_alone_again_and_again_is() {
    let world = Rc::new(World::default());
    world.script("head/head", failing("verify", crash()));
    world.script("base/base", failing("verify", crash()));
    for side in ["base/both", "head/both"] {
        world.script(side, failing("measure", crash()));
    }
    let judged = judged(&world, &["head", "base", "both", "fine"], 0.0, &Asked::default());
    assert_eq!(verdicts(&judged), ["regressed", "inconclusive", "inconclusive", "pass"]);
    for (at, words) in [
        (0, "head fails where base does not, in 3 of 3 pairs; head: verify: the worker was ended by SIGSEGV"),
        (1, "base fails where head does not, in 3 of 3 pairs"),
        (2, "3 of 3 pairs failed; head: measure"),
    ] {
        let Outcome::Failed { why, .. } = &judged[at].outcome else { panic!("{judged:?}") };
        assert!(why.starts_with(words), "{why}");
    }
    assert_eq!(world.alive(), 0);
}

#[test]
fn outputs_are_verified_in_the_first_and_the_last_pair_of_the_screening() {
    let world = Rc::new(World::default());
    judged(&world, &["a"], 0.0, &Asked::default());
    let begins = |step: &str| ["prepare", "verify"].iter().find(|known| step.ends_with(*known)).map(|known| known[..1].to_owned());
    let begun: String = world.log.borrow().iter().filter_map(|step| begins(step)).collect();
    assert_eq!(begun, ["pvpv", "pp", "pp", "pp", "pvpv"].concat());
}

#[test]
fn a_pair_that_failed_once_is_taken_again_and_told() {
    // The lot says which side begins, and so which one's process is the broken one.
    let mut sides = [0; 2];
    for seed in 1..=8 {
        let world = Rc::new(World::default());
        world.broken_starts.set(1);
        let judged = judged(&world, &["a"], 0.0, &Asked { seed, ..Asked::default() });
        match &judged[0].outcome {
            Outcome::Timed { evidence, verdict: Verdict::Pass, .. } => {
                sides[0] += 1;
                assert_eq!(evidence.pairs, Asked::default().screening, "all pairs are there");
                let told = judged[0].failed.as_deref().unwrap();
                assert!(told.starts_with("1 pair failed, in whose place fresh ones were taken (base: hello"), "{told}");
            }
            Outcome::Failed { verdict: Verdict::Inconclusive, why } => {
                sides[1] += 1;
                assert!(why.starts_with("head fails where base does not, in 1 of 6 pairs: ") && why.contains("; head: hello"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(sides.iter().all(|&side| side > 0), "{sides:?}");
}

#[test]
fn being_late_is_no_regression_where_base_is_slow_too() {
    let late = || failing("prepare", Cause::Deadline(Duration::from_secs(60)));
    let world = Rc::new(World::default());
    world.script("head/late", late());
    world.script("head/overload", late());
    world.script("base/overload", Script { call_ns: 100_000, off_clock: Duration::from_secs(7), ..Script::default() });
    let judged = judged(&world, &["late", "overload"], 0.0, &Asked::default());
    assert_eq!(verdicts(&judged), ["regressed", "inconclusive"], "{judged:?}");
}

#[test]
fn deadlines_are_the_experiments() {
    let measure = Measure { step_timeout: Duration::from_secs(7), ..Measure::default() };
    let (_, judged) = gate(&[("a", 1.0)], 0.0, &Asked { measure, ..Asked::default() });
    assert_eq!(verdicts(&judged), ["pass"]);
}

#[test]
fn without_time_nothing_passes() {
    let asked = Asked { budget: Some(Duration::from_millis(200)), ..Asked::default() };
    let (_, judged) = gate(&[("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)], 0.01, &asked);
    assert!(judged.iter().all(|judged| judged.outcome.verdict() == Verdict::Inconclusive), "{judged:?}");
}

#[test]
fn a_screening_that_was_cut_short_clears_and_tells_but_decides_against_nobody() {
    let asked = Asked { budget: Some(Duration::from_millis(2500)), ..Asked::default() };
    let (_, Judgement { judged, spent }) = judgement(&[("same", 1.0), ("slower", 1.5)], 0.01, &asked);
    assert_eq!(verdicts(&judged), ["pass", "inconclusive"]);
    let told = spent.unwrap().told();
    assert!(told.starts_with("the time was spent after ") && told.contains(" of 10 pairs of the screening: the others need "), "{told}");
    let Outcome::Timed { evidence, stage: Stage::Screening, .. } = judged[0].outcome else { panic!("{judged:?}") };
    assert!((2..asked.screening).contains(&evidence.pairs), "{judged:?}");
    let Outcome::NoTime { screened: Some(evidence) } = judged[1].outcome else { panic!("{judged:?}") };
    assert!((evidence.ratio() - 1.5).abs() < 0.02 && evidence.pairs < asked.screening, "{judged:?}");
    let told = outputs::words(&judged[1]);
    assert!(
        told.contains("the time was spent; ") && told.contains("which decide nothing, say +") && told.contains(" could have seen "),
        "{told}"
    );
}

#[test]
fn a_confirmation_that_was_cut_short_leaves_what_the_screening_said() {
    let screening = Asked { confirmation: 0, ..Asked::default() };
    let (world, _) = gate(&[("noisy", 1.0)], 0.5, &screening);
    let screened = FakeClock(world).now();
    let in_the_next = screened + Duration::from_nanos(1);
    for (budget, words) in [
        (screened, "before the confirmation, whose 40 pairs need "),
        (in_the_next, "after 1 of 40 pairs of the confirmation: the others need "),
    ] {
        let asked = Asked { budget: Some(budget), ..Asked::default() };
        let (_, Judgement { judged, spent }) = judgement(&[("noisy", 1.0)], 0.5, &asked);
        assert!(matches!(judged[0].outcome, Outcome::NoTime { screened: Some(Evidence { pairs: 5, .. }) }), "{judged:?}");
        let told = spent.unwrap().told();
        assert!(told.starts_with(&format!("the time was spent {words}")) && told.ends_with(" s"), "{told}");
    }
}

#[test]
fn the_outputs_say_the_same_in_four_ways() {
    let (_, mut judged) = gate(&[("same", 1.0), ("slower|<b>", 1.2), ("faster", 0.8)], 0.01, &Asked::default());
    for (name, why) in [("x", "another program"), ("y", "another program"), ("z", "no such file")] {
        let cell = group(&[name]).cells.remove(0);
        judged.push(Judged { cell, outcome: Outcome::LeftOut { why: why.into() }, failed: None });
    }
    let findings = Findings {
        compared: Compared::Builds,
        base: "main (0123456789ab)".into(),
        head: "this build".into(),
        experiment: "gate".into(),
        min_effect: 0.05,
        seed: Some(7),
        judged,
        notes: vec!["a note".into()],
    };
    assert_eq!((findings.overall(), findings.overall().exit_code()), (Verdict::Regressed, 1));
    let Sheet { text, markdown, json, junit } = outputs::sheet(&findings);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(
        text.starts_with(
            "this build against main (0123456789ab), changes from 5.0 % on, seed 7\nregressed    attention/slower|<b> on fake: +"
        ),
        "{text}"
    );
    assert!(
        text.contains("\nnote: a note\n") && text.ends_with("regressed: 1 regressed, 1 improved, 1 pass of 6 cells; not compared: 3\n"),
        "{text}"
    );
    assert!(text.contains("\nnot-compared attention/x on fake and 1 other cell: another program\n"), "{text}");
    assert!(text.contains("\nnot-compared attention/z on fake: no such file\n"), "{text}");
    assert!(markdown.contains("| regressed | attention/slower\\|&lt;b> on fake | 1.") && markdown.contains("1 cell passed"), "{markdown}");
    assert!(
        markdown.contains("<summary>3 cells not compared</summary>") && markdown.contains("| not-compared | attention/x on fake |"),
        "{markdown}"
    );
    assert_eq!(
        (&json["verdict"], &json["cells"][1]["verdict"], &json["cells"][0]["stage"]),
        (&"regressed".into(), &"regressed".into(), &"screening".into())
    );
    assert_eq!((&json["not_compared"], &json["cells"][5]["verdict"]), (&3.into(), &"not-compared".into()));
    assert_eq!(json["cells"][5]["reason"], "no such file");
    assert!(junit.contains("<skipped message=\"no such file\"/>"), "{junit}");
    assert!(junit.contains("tests=\"6\" failures=\"1\" skipped=\"3\"") && junit.contains("slower|&lt;b&gt; on fake"), "{junit}");
}
