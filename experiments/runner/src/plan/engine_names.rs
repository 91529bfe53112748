//! Names of engines: those that a definition and the command line speak of, held against those that there are.

use crossover_variants::resolve::closest;
use strsim::osa_distance;

use crate::definition::{Definition, EngineChoice, Exclude, Sweep};
use crate::filter::Filter;

use super::error::PlanError;
use super::grid::Grid;

/// The engines of our own worker, and those that the definition gives a worker.
pub(super) fn known<'d>(definition: &'d Definition, ours: &'d [String]) -> Vec<&'d str> {
    ours.iter().chain(definition.workers.keys()).map(String::as_str).collect()
}

/// The engines of a sweep.
pub(super) fn of_sweep(definition: &Definition, sweep: &Sweep, ours: &[String]) -> Result<Vec<String>, PlanError> {
    let known = known(definition, ours);
    let mut engines: Vec<String> = Vec::new();
    for choice in &sweep.engines {
        let names = match choice {
            EngineChoice::Ours => ours.to_vec(),
            EngineChoice::Named { name, .. } if known.contains(&name.as_str()) => vec![name.clone()],
            EngineChoice::Named { name, place } => return Err(unknown(place, name, &known)),
        };
        let new: Vec<String> = names.into_iter().filter(|name| !engines.contains(name)).collect();
        engines.extend(new);
    }
    Ok(engines)
}

/// An engine that is none of those known.
pub(super) fn unknown(place: &str, name: &str, known: &[&str]) -> PlanError {
    let nearest = closest(name, known.iter().copied()).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
    let help = format!(
        "{nearest}the engines are {}; give others a worker under [workers.NAME], or name its file by --engine-file",
        known.join(", ")
    );
    PlanError::UnknownEngine { place: place.to_owned(), name: name.to_owned(), help }
}

/// Refuses conditions with a name that is a slip of the pen: there is no such engine, and a letter or two make it one that there is. Other
/// names that are not there do no harm where cells are left, as not every experiment and not every build of the worker has all engines.
pub(super) fn check_spelling(grids: &[Grid], filters: &[Filter], known: &[&str]) -> Result<(), PlanError> {
    let given = filters.iter().map(|filter| (FILTER, filter));
    for (place, condition) in given.chain(grids.iter().flat_map(conditions)) {
        if let Some(name) = condition.engines().into_iter().find(|name| is_misspelt(name, known)) {
            return Err(unknown(place, name, known));
        }
    }
    Ok(())
}

/// The conditions of a sweep, each with its place.
fn conditions(grid: &Grid) -> impl Iterator<Item = (&str, &Filter)> {
    let all = grid.when.iter().chain(&grid.baseline_when).chain(grid.excludes.iter().filter_map(Exclude::condition));
    all.map(|condition| (grid.place.as_str(), condition))
}

/// Refuses a filter that names an engine which is not there: for plans of which nothing is left.
pub(super) fn check_filters(filters: &[Filter], known: &[&str]) -> Result<(), PlanError> {
    match filters.iter().flat_map(Filter::engines).find(|name| !known.contains(name)) {
        Some(name) => Err(unknown(FILTER, name, known)),
        None => Ok(()),
    }
}

const FILTER: &str = "--filter";

fn is_misspelt(name: &str, known: &[&str]) -> bool {
    // In a short name two letters would make anything of anything.
    let slips = if name.len() < 6 { 1 } else { 2 };
    let nearest = known.iter().filter(|known| !is_sibling(name, known) && !is_sibling(known, name));
    (1..=slips).contains(&nearest.map(|known| osa_distance(name, known)).min().unwrap_or(usize::MAX))
}

/// Is this the other name with a number or a part of its own behind it, as nobody types it by accident?
fn is_sibling(name: &str, other: &str) -> bool {
    let is_own = |rest: &str| rest.starts_with('-') || !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix(other).is_some_and(is_own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_or_two_make_a_slip_and_more_another_name() {
        let known = ["naive", "simd", "candle"];
        for (name, expected) in [
            ("naive", false),
            ("niave", true),
            ("smd", true),
            ("simdd", true),
            ("kandel", true),
            ("cendll", true),
            ("candle-cuda", false),
            ("naive2", false),
            ("simd-b", false),
            ("faer", false),
            ("numpy", false),
            ("", false),
        ] {
            assert_eq!(is_misspelt(name, &known), expected, "{name}");
        }
        assert!(!is_misspelt("naive", &[]));
        assert!(!is_misspelt("naive", &["naive2"]) && !is_misspelt("naive2", &["naive2", "naive1"]));
        // It may still be a slip in another name.
        assert!(is_misspelt("simd2", &["simd", "simd-2"]));
    }
}
