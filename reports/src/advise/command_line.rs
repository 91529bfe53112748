//! The commands that check an answer or find one.

use std::borrow::Cow;

use crossover_core::axes::{Axes, AxisValue};
use crossover_variants::registry;
use crossover_variants::resolve::resolve;

use super::points::Point;
use super::question::Question;

/// `crossover cell ..` for one cell: with the sizes of the question, and of the other axes those that would not be the same by default.
pub(crate) fn cell(point: &Point, question: &Question) -> Vec<String> {
    let mut words = vec!["crossover".to_owned(), "cell".to_owned()];
    words.push(format!("variant={}", quoted(&point.variant)));
    words.push(format!("engine={}", quoted(&point.engine)));
    words.extend(needed(point, question).iter().map(|(name, value)| format!("{}={}", quoted(name), quoted(&value.to_string()))));
    words
}

/// Time that a sweep may take without anybody having asked how long. This program cannot predict it, the planner of `crossover run` can, and leaves out
/// evenly what does not fit.
const TIME_BUDGET: &str = "30m";

/// `crossover run ..` that measures what the question is about, as far as it can in [`TIME_BUDGET`].
pub(crate) fn sweep(question: &Question) -> Vec<String> {
    let family = question.family.split('/').next().unwrap_or_default();
    let mut filter = format!("family == {family:?}");
    if let Some(engine) = &question.engine {
        filter += &format!(" and engine == {engine:?}");
    }
    let mut words = ["crossover", "run", "--filter"].map(str::to_owned).to_vec();
    words.push(quoted(&filter).into_owned());
    // The axes of the variants tell which of the sizes the family has.
    let entries = registry::entries();
    let axes = entries.iter().filter(|entry| entry.descriptor.name.starts_with(&format!("{family}/")));
    let axes: Axes = axes.flat_map(|entry| entry.descriptor.axes()).map(|axis| (axis.name.to_owned(), AxisValue::Int(0))).collect();
    for (axis, size) in question.sizes(&axes) {
        words.extend(["--set".to_owned(), format!("{axis}={size}")]);
    }
    if let Some(precision) = &question.precision {
        words.extend(["--set".to_owned(), quoted(&format!("precision={precision}")).into_owned()]);
    }
    if let Some(threads) = question.threads {
        words.extend(["--threads".to_owned(), threads.to_string()]);
    }
    words.extend(["--time-budget", TIME_BUDGET].map(str::to_owned));
    words
}

/// The fewest axes from which the others follow; all of them where the variant is not known here.
fn needed(point: &Point, question: &Question) -> Axes {
    let mut needed = point.axes.clone();
    let Some(entry) = registry::find(&point.variant) else { return needed };
    let Ok(whole) = resolve(entry.descriptor, &point.axes) else { return needed };
    let sizes = question.sizes(&point.axes);
    for name in point.axes.keys().filter(|name| sizes.iter().all(|(size, _)| size != name)) {
        let mut fewer = needed.clone();
        fewer.remove(name);
        if resolve(entry.descriptor, &fewer).is_ok_and(|resolved| resolved == whole) {
            needed = fewer;
        }
    }
    needed
}

/// As one word of a shell.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./,:+%@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_is_quoted() {
        let words = ["bf16", "a/b", "", "x y", "it's", "$(rm)", "linformer(rank=16)"].map(quoted);
        assert_eq!(words, ["bf16", "a/b", "''", "'x y'", r"'it'\''s'", "'$(rm)'", "'linformer(rank=16)'"]);
    }
}
