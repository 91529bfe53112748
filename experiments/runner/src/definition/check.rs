//! From names to things: variants and axes are looked up in the registry, and what contradicts itself is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use crossover_core::axes::AxisValue;
use crossover_variants::descriptor::Descriptor;
use crossover_variants::matching::MatchMode;
use crossover_variants::registry;
use crossover_variants::resolve::closest;
use toml::Spanned;

use super::bases::{Bases, check_bases, find_base};
use super::error::{DefinitionError, Source};
use super::model::{AxisSetting, Definition, EngineChoice, Exclude, Matching, Measure, Rule, Sweep, WorkerCommand};
use super::reader::MAX_NAME;
use super::wire::{WireAxis, WireDefinition, WireExclude, WireSweep, WireWorker};
use crate::filter::Filter;
use crate::series::{self, Wanted};

pub(super) type Result<T> = std::result::Result<T, DefinitionError>;

pub(super) fn check(source: Source<'_>, wire: WireDefinition) -> Result<Definition> {
    check_name(source, "name", &wire.name)?;
    if let Some(control) = wire.description.get_ref().chars().find(|c| c.is_control() && *c != '\n') {
        return Err(source.error(wire.description.span(), format!("the description holds the control character {control:?}"), "remove it"));
    }
    let workers = wire.workers.into_iter().map(|worker| check_worker(source, worker)).collect::<Result<BTreeMap<_, _>>>()?;
    let all: Vec<&'static Descriptor> = registry::entries().into_iter().map(|entry| entry.descriptor).collect();
    let bases = check_bases(source, &all, wire.bases)?;
    let sweeps: Vec<Sweep> = wire.sweeps.into_iter().map(|sweep| check_sweep(source, &all, &bases, sweep)).collect::<Result<_>>()?;
    let variants: Vec<&'static Descriptor> = sweeps.iter().flat_map(|sweep| sweep.variants.iter().copied()).collect();
    let mut defaults = Vec::new();
    for default in wire.defaults {
        let (name, span, is_list) = (default.name.get_ref().clone(), default.name.span(), default.is_list);
        let setting = check_axis(source, "no sweep", &variants, &all, default)?;
        if is_list || setting.points.len() > 1 {
            let help = format!("write one value here, or the list as {name} = [..] under [sweep.axes]");
            return Err(source.error(span, format!("{name} under [defaults] is a list"), help));
        }
        defaults.push(setting);
    }
    Ok(Definition {
        file: source.file.to_owned(),
        name: wire.name.into_inner(),
        description: wire.description.into_inner(),
        seed: wire.seed,
        defaults,
        sweeps,
        measure: Measure { engine_timeouts: timeouts(&workers), ..wire.measure },
        workers,
    })
}

/// The limits of those that have one of their own.
pub(super) fn timeouts(workers: &BTreeMap<String, WorkerCommand>) -> BTreeMap<String, Duration> {
    workers.iter().filter_map(|(engine, worker)| Some((engine.clone(), worker.step_timeout?))).collect()
}

/// A filter in the file, with its complaints at their place.
pub(super) fn check_filter(source: Source<'_>, text: &Spanned<String>) -> Result<Filter> {
    Filter::parse(text.get_ref()).map_err(|error| {
        let (message, help) = error.told();
        source.error(text.span(), message, if help.is_empty() { "the language is that of --filter" } else { help })
    })
}

fn check_excludes(source: Source<'_>, wire: Vec<WireExclude>) -> Result<Vec<Exclude>> {
    let read = |exclude: WireExclude| {
        let because = exclude.because.get_ref().trim();
        if because.is_empty() || because.chars().any(char::is_control) {
            let help = r#"write for example: because = "plain loops need minutes""#;
            return Err(source.error(exclude.because.span(), "what is left out needs a reason in plain words", help));
        }
        Ok(Exclude { rule: Rule::When(check_filter(source, &exclude.when)?), because: because.to_owned() })
    };
    wire.into_iter().map(read).collect()
}

fn check_sweep(source: Source<'_>, all: &[&'static Descriptor], bases: &Bases, wire: WireSweep) -> Result<Sweep> {
    no_duplicates(source, "variant", &wire.variants)?;
    no_duplicates(source, "engine", &wire.engines)?;
    let mut variants: Vec<&'static Descriptor> = Vec::new();
    for pattern in &wire.variants {
        for variant in look_up(source, all, pattern)? {
            // "attention/*" beside "attention/dense" names the latter twice, which harms nobody.
            if !variants.iter().any(|known| known.name == variant.name) {
                variants.push(variant);
            }
        }
    }
    let engines = wire.engines.iter().map(|name| check_engine(source, name)).collect::<Result<_>>()?;
    let baselines = check_baselines(source, &variants, &wire.baselines)?;
    let baseline_when = check_baseline_when(source, all, &baselines, &wire)?;
    let matching = check_matching(source, &wire)?;
    let mut axes = Vec::new();
    for base in &wire.bases {
        axes = find_base(source, bases, base)?.iter().cloned().fold(axes, AxisSetting::over);
    }
    axes = check_axes(source, "this sweep", &variants, all, wire.axes)?.into_iter().fold(axes, AxisSetting::over);
    let when = wire.when.as_ref().map(|when| check_filter(source, when)).transpose()?;
    let excludes = check_excludes(source, wire.excludes)?;
    let place = source.place(wire.span.start);
    let place = format!("{}:{}", source.file.display(), place.line);
    Ok(Sweep { place, variants, engines, baselines, baseline_when, matching, axes, when, excludes })
}

/// Which cells of the baselines are meant, where not all are.
fn check_baseline_when(
    source: Source<'_>,
    all: &[&'static Descriptor],
    baselines: &[&'static str],
    wire: &WireSweep,
) -> Result<Option<Filter>> {
    let Some(text) = &wire.baseline_when else { return Ok(None) };
    let wrong = |message, help| Err(source.error(text.span(), message, help));
    if wire.baselines.is_empty() {
        return wrong(
            "baseline_when chooses among the cells of a baseline, and the sweep names none",
            r#"add for example: baseline = "model/encoder""#,
        );
    }
    if wire.matching.as_ref().is_some_and(|matching| matching.get_ref() != "none") {
        return wrong(
            "match takes the cost of the baseline at the first of its values, and baseline_when may mean others",
            "leave one of them out",
        );
    }
    let filter = check_filter(source, text)?;
    let (meant, others): (Vec<&Descriptor>, Vec<_>) = all.iter().copied().partition(|variant| baselines.contains(&variant.name));
    let has = |axis: &str| meant.iter().any(|baseline| baseline.axis(axis).is_some());
    let foreign = others.iter().flat_map(|variant| variant.axes()).map(|axis| axis.name).find(|axis| filter.reads(axis) && !has(axis));
    match foreign {
        Some(axis) => {
            let message = format!("baseline_when looks at {axis}, which {} does not have", baselines.join(" and "));
            Err(source.error(text.span(), message, "it chooses among the cells of the baseline, by axes that these have"))
        }
        None => Ok(Some(filter)),
    }
}

/// What is to be equal, and to what share of the baseline's.
fn check_matching(source: Source<'_>, wire: &WireSweep) -> Result<Option<Matching>> {
    let wanted = wire.matching.as_ref().filter(|wanted| wanted.get_ref() != "none");
    let Some(wanted) = wanted else {
        return match &wire.match_share {
            Some(share) => Err(source.error(
                share.span(),
                "match_share says how much of the baseline's cost, and no match says which cost",
                r#"add match = "flops" or match = "parameters" to the sweep, or remove the line"#,
            )),
            None => Ok(None),
        };
    };
    let Some(mode) = MatchMode::ALL.into_iter().find(|mode| mode.name() == wanted.get_ref()) else {
        let message = format!("unknown match {:?}", wanted.get_ref());
        return Err(source.error(wanted.span(), message, r#"write "parameters", "flops" or "none""#));
    };
    if wire.baselines.is_empty() {
        let help = r#"add for example: baseline = "attention/dense""#;
        return Err(source.error(wanted.span(), "match needs a baseline in its sweep, whose cost the others are to have", help));
    }
    let share = wire.match_share.as_ref().map_or(1.0, |share| *share.get_ref());
    Ok(Some(Matching { mode, share, place: source.place(wanted.span().start).to_string() }))
}

/// The variants that a name or `family/*` stands for.
pub(super) fn look_up(source: Source<'_>, all: &[&'static Descriptor], pattern: &Spanned<String>) -> Result<Vec<&'static Descriptor>> {
    let name = pattern.get_ref().as_str();
    let family = name.strip_suffix("/*");
    let found: Vec<_> = all
        .iter()
        .copied()
        .filter(|variant| match family {
            Some(family) => variant.family() == family,
            None => name == "*" || variant.name == name,
        })
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let nearest = match family {
        Some(family) => closest(family, all.iter().map(|variant| variant.family())).map(|near| format!("{near}/*")),
        None => registry::closest(name),
    };
    let help = nearest.map(|near| format!("did you mean {near:?}? ")).unwrap_or_default() + "`crossover list variants` prints them all";
    Err(source.error(pattern.span(), format!("unknown variant {name:?}"), help))
}

/// At most one baseline a task: each group has one variant that the others are compared with.
fn check_baselines(source: Source<'_>, variants: &[&'static Descriptor], names: &[Spanned<String>]) -> Result<Vec<&'static str>> {
    no_duplicates(source, "baseline", names)?;
    let mut found: Vec<&'static Descriptor> = Vec::new();
    for name in names {
        let baseline = check_baseline(source, variants, name)?;
        if let Some(rival) = found.iter().find(|known| known.task == baseline.task) {
            let message = format!("{} and {} are baselines of the same task, {}", rival.name, baseline.name, baseline.task);
            return Err(source.error(name.span(), message, "name one baseline for each task"));
        }
        found.push(baseline);
    }
    Ok(found.into_iter().map(|variant| variant.name).collect())
}

fn check_baseline(source: Source<'_>, variants: &[&'static Descriptor], name: &Spanned<String>) -> Result<&'static Descriptor> {
    variants.iter().copied().find(|variant| variant.name == name.get_ref().as_str()).ok_or_else(|| {
        let names: Vec<&str> = variants.iter().map(|variant| variant.name).collect();
        let help = format!("add it to variants, or name one of {}", names.join(", "));
        source.error(name.span(), format!("the baseline {:?} is not among the variants of its sweep", name.get_ref()), help)
    })
}

fn check_engine(source: Source<'_>, name: &Spanned<String>) -> Result<EngineChoice> {
    if name.get_ref() == "*" {
        return Ok(EngineChoice::Ours);
    }
    check_name(source, "an engine's name", name)?;
    Ok(EngineChoice::Named { name: name.get_ref().clone(), place: source.place(name.span().start).to_string() })
}

fn check_axis(
    source: Source<'_>,
    nobody: &str,
    variants: &[&'static Descriptor],
    all: &[&'static Descriptor],
    wire: WireAxis,
) -> Result<AxisSetting> {
    let names: Vec<&str> = wire.name.get_ref().split(',').map(str::trim).collect();
    for (at, name) in names.iter().enumerate() {
        if !variants.iter().any(|variant| variant.axis(name).is_some()) {
            return Err(unknown_axis(source, nobody, variants, all, &Spanned::new(wire.name.span(), (*name).to_owned())));
        }
        if names[..at].contains(name) {
            return Err(source.error(wire.name.span(), format!("{name} stands twice among axes that go together"), "name each axis once"));
        }
    }
    let places: Vec<Range<usize>> = wire.points.iter().map(|point| point[0].span()).collect();
    let points = expanded(source, wire.points)?;
    // 1 and 1.0 are told apart by the plan, which knows the axis' kind; equal spellings are caught here, with their place.
    let mut sorted: Vec<(String, usize)> = points.iter().enumerate().map(|(at, point)| (spelled(point), at)).collect();
    sorted.sort();
    if let Some([(text, _), (_, again)]) = sorted.array_windows().find(|[first, second]| first.0 == second.0) {
        // A rule makes several values of one place; its own last one stands for those.
        let span = places.get(*again).or(places.last()).cloned().unwrap_or_default();
        return Err(source.error(span, format!("{} has the value {text} twice", wire.name.get_ref()), "remove one of them"));
    }
    let place = source.place(wire.name.span().start).to_string();
    Ok(AxisSetting { names: names.into_iter().map(str::to_owned).collect(), points, place })
}

/// The settings of one table, in which no axis may stand twice.
pub(super) fn check_axes(
    source: Source<'_>,
    nobody: &str,
    variants: &[&'static Descriptor],
    all: &[&'static Descriptor],
    wire: Vec<WireAxis>,
) -> Result<Vec<AxisSetting>> {
    let mut settings: Vec<AxisSetting> = Vec::with_capacity(wire.len());
    for axis in wire {
        let span = axis.name.span();
        let setting = check_axis(source, nobody, variants, all, axis)?;
        let known = |name: &&String| settings.iter().any(|earlier| earlier.names.contains(name));
        if let Some(name) = setting.names.iter().find(known) {
            return Err(source.error(span, format!("{name} is set twice here"), "let it stand alone or go with others, not both"));
        }
        settings.push(setting);
    }
    Ok(settings)
}

fn spelled(point: &[Wanted]) -> String {
    point.iter().map(Wanted::to_string).collect::<Vec<_>>().join(", ")
}

/// The points with the rules among their values written out: several values where the axis stands alone, one where it goes with others.
fn expanded(source: Source<'_>, points: Vec<Vec<Spanned<AxisValue>>>) -> Result<Vec<Vec<Wanted>>> {
    let mut out = Vec::with_capacity(points.len());
    for point in points {
        let alone = point.len() == 1;
        let mut together = Vec::with_capacity(point.len());
        for value in point {
            let values = match value.get_ref().as_text().and_then(series::expand) {
                Some(values) => values.map_err(|problem| source.error(value.span(), problem, ""))?,
                None => vec![Wanted::Exact(value.get_ref().clone())],
            };
            match (&values[..], alone) {
                (_, true) => out.extend(values.into_iter().map(|value| vec![value])),
                ([one], false) => together.push(one.clone()),
                _ => {
                    let help = "give each of them as a point of its own, or let the axis stand alone";
                    return Err(source.error(value.span(), "this makes several values, and goes with one of another axis", help));
                }
            }
        }
        if !alone {
            out.push(together);
        }
    }
    Ok(out)
}

fn unknown_axis(
    source: Source<'_>,
    nobody: &str,
    variants: &[&'static Descriptor],
    all: &[&'static Descriptor],
    axis: &Spanned<String>,
) -> DefinitionError {
    let name = axis.get_ref();
    if let Some(owner) = all.iter().find(|variant| variant.axis(name).is_some()) {
        let message = format!("no variant of {nobody} has the axis {name:?}").replace("of no sweep", "of any sweep");
        return source.error(axis.span(), message, format!("{} has it; add such a variant, or remove the line", owner.name));
    }
    let mut names: Vec<&str> = variants.iter().flat_map(|variant| variant.axes()).map(|axis| axis.name).collect();
    names.sort_unstable();
    names.dedup();
    let nearest = closest(name, names.iter().copied()).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
    // Of a sweep over many variants the names would be a page.
    let all = if names.len() > 40 {
        "`crossover list variants` prints the axes of each".to_owned()
    } else {
        format!("the axes here are {}", names.join(", "))
    };
    source.error(axis.span(), format!("unknown axis {name:?}"), format!("{nearest}{all}"))
}

pub(super) fn check_worker(source: Source<'_>, wire: WireWorker) -> Result<(String, WorkerCommand)> {
    check_name(source, "an engine's name", &wire.engine)?;
    if let Some(program) = wire.command.first().filter(|program| program.get_ref().is_empty()) {
        return Err(source.error(program.span(), "the command is empty", "write the program first, then its arguments"));
    }
    let mut texts = wire.command.iter().chain(wire.env.iter().map(|(_, value)| value));
    if let Some(text) = texts.find(|text| text.get_ref().contains('\0')) {
        return Err(source.error(text.span(), "a zero character cannot be passed to a process", "remove it"));
    }
    if let Some((name, _)) = wire.env.iter().find(|(name, _)| name.get_ref().is_empty() || name.get_ref().contains(['=', '\0'])) {
        return Err(source.error(
            name.span(),
            format!("{:?} is no name of an environment variable", name.get_ref()),
            "write for example: OMP_NUM_THREADS",
        ));
    }
    let command = wire.command.into_iter().map(Spanned::into_inner).collect();
    let env = wire.env.into_iter().map(|(name, value)| (name.into_inner(), value.into_inner())).collect();
    let place = source.place(wire.engine.span().start).to_string();
    Ok((wire.engine.into_inner(), WorkerCommand { command, env, folder: None, step_timeout: wire.step_timeout, place }))
}

/// Letters, digits, '-' and '_': names become folders and columns.
pub(super) fn check_name(source: Source<'_>, called: &str, name: &Spanned<String>) -> Result<()> {
    let text = name.get_ref();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if plain && (1..=MAX_NAME).contains(&text.len()) {
        return Ok(());
    }
    let message =
        if plain { format!("{called} has {} characters", text.len()) } else { format!("{called} holds a character that it must not") };
    Err(source.error(name.span(), message, format!("use 1 to {MAX_NAME} letters, digits, '-' and '_'")))
}

pub(super) fn no_duplicates(source: Source<'_>, called: &str, names: &[Spanned<String>]) -> Result<()> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.get_ref())) {
        None => Ok(()),
        Some(again) => Err(source.error(again.span(), format!("the {called} {:?} is listed twice", again.get_ref()), "remove one of them")),
    }
}
