//! Values of an axis written as a rule instead of a list.
//!
//! | written | means |
//! |---|---|
//! | `pow2(128..16384)` | each power of two from 128 to 16384 |
//! | `steps(64..512, 64)` | 64, 128, 192, .. up to 512 |
//! | `geometric(10..1000, 5)` | five whole numbers from 10 to 1000, each about the same multiple of the one before it |
//! | `frac(1/16..1/2, 4)` | four shares from 1/16 to 1/2, each the same multiple of the one before it |
//! | `frac(1/4)` | one share |
//!
//! A share is taken of the size that the axis follows by default (the rank of Linformer follows `n_kv`, that of a low-rank layer its
//! width), at each point of the sweep anew; an axis that is a share by itself, such as a density, takes it as it is. Other words before a
//! parenthesis are no rules: `linformer(rank=16)` is the name of a component.

use crossover_core::axes::AxisValue;
use crossover_variants::resolve::closest;

/// One value that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// As it stands.
    Exact(AxisValue),
    /// This share of a size, above 0 and at most 1.
    Share(f64),
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(value) => value.fmt(f),
            Self::Share(share) => write!(f, "frac({share})"),
        }
    }
}

impl From<AxisValue> for Wanted {
    fn from(value: AxisValue) -> Self {
        Self::Exact(value)
    }
}

/// More values than this are a slip of the pen.
const MOST: usize = 10_000;

/// The values of a text; `None` where it is no rule. Errors say what to write.
pub fn expand(text: &str) -> Option<Result<Vec<Wanted>, String>> {
    let (word, rest) = text.split_once('(')?;
    let values: fn(&str) -> Result<Vec<Wanted>, String> = match word.trim() {
        "pow2" => powers,
        "steps" => steps,
        "geometric" => geometric,
        "frac" => fractions,
        _ => return None,
    };
    Some(match rest.trim_end().strip_suffix(')') {
        Some(inside) => values(inside).map_err(|problem| format!("{text}: {problem}")),
        None => Err(format!("{text}: the parenthesis is not closed")),
    })
}

/// The rule that somebody may have meant by a text which is none, for an axis that takes numbers.
pub fn meant(text: &str) -> Option<String> {
    const RULES: [&str; 4] = ["pow2", "steps", "geometric", "frac"];
    let (word, _) = text.split_once('(')?;
    Some(match closest(word.trim(), RULES.into_iter()) {
        Some(rule) => format!("did you mean {rule}(..)?"),
        None => format!("the rules are {}", RULES.join(", ")),
    })
}

fn powers(inside: &str) -> Result<Vec<Wanted>, String> {
    let (first, last) = ends(inside, "pow2(128..16384)")?;
    let powers = (0..63).map(|power| 1i64 << power).filter(|power| (first..=last).contains(power));
    let found: Vec<Wanted> = powers.map(|power| AxisValue::Int(power).into()).collect();
    if found.is_empty() { Err(format!("no power of two lies from {first} to {last}")) } else { Ok(found) }
}

fn steps(inside: &str) -> Result<Vec<Wanted>, String> {
    let example = "steps(64..512, 64)";
    let (range, step) = inside.rsplit_once(',').ok_or_else(|| format!("the step is missing; write for example {example}"))?;
    let (first, last) = ends(range, example)?;
    let step: i64 =
        step.trim().parse().ok().filter(|step| *step > 0).ok_or_else(|| format!("the step must be a whole number above 0; {example}"))?;
    let steps = (last - first) / step;
    if steps >= MOST as i64 {
        return Err(format!("that makes more than {MOST} values"));
    }
    Ok((0..=steps).map(|at| AxisValue::Int(first + at * step).into()).collect())
}

fn geometric(inside: &str) -> Result<Vec<Wanted>, String> {
    let example = "geometric(10..1000, 5)";
    let (range, count) = inside.rsplit_once(',').ok_or_else(|| format!("the count is missing; write for example {example}"))?;
    let (first, last) = ends(range, example)?;
    let count = counted(count)?;
    if first < 1 || (count == 1 && first != last) {
        return Err(format!("multiples begin above 0, and one number is no range; write for example {example}"));
    }
    let inner = between(first as f64, last as f64, count).take(count - 1).map(|value| value.round() as i64);
    let mut numbers: Vec<i64> = inner.chain([last]).collect();
    // Small numbers round to one another.
    numbers.dedup();
    Ok(numbers.into_iter().map(|number| AxisValue::Int(number).into()).collect())
}

fn fractions(inside: &str) -> Result<Vec<Wanted>, String> {
    let example = "frac(1/16..1/2, 4) or frac(1/4)";
    let (range, count) = match inside.rsplit_once(',') {
        Some((range, count)) => (range, counted(count)?),
        None => (inside, 1),
    };
    let (first, last) = match range.split_once("..") {
        Some((first, last)) => (share(first)?, share(last)?),
        None => (share(range)?, share(range)?),
    };
    match (first < last, first == last, count) {
        (_, true, 1) => Ok(vec![Wanted::Share(first)]),
        (true, _, 2..) => Ok(between(first, last, count).map(Wanted::Share).collect()),
        _ => Err(format!("shares rise, and several need their number; write for example {example}")),
    }
}

/// `count` numbers with a constant quotient, the ends exact.
fn between(first: f64, last: f64, count: usize) -> impl Iterator<Item = f64> {
    let step = (last / first).powf(1.0 / count.saturating_sub(1).max(1) as f64);
    (0..count).map(move |at| if at + 1 == count { last } else { first * step.powi(at as i32) })
}

fn ends(range: &str, example: &str) -> Result<(i64, i64), String> {
    let whole = |text: &str| text.trim().parse::<i64>().ok();
    let ends = range.split_once("..").and_then(|(first, last)| Some((whole(first)?, whole(last)?)));
    ends.filter(|(first, last)| first <= last && *first >= 0)
        .ok_or_else(|| format!("two rising whole numbers are wanted; write for example {example}"))
}

fn counted(count: &str) -> Result<usize, String> {
    let problem = || format!("the number of values must be a whole number from 1 to {MOST}");
    count.trim().parse().ok().filter(|count| (1..=MOST).contains(count)).ok_or_else(problem)
}

/// `1/16` or `0.25`.
fn share(text: &str) -> Result<f64, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let value = match text.split_once('/') {
        Some((part, whole)) => number(part).zip(number(whole)).map(|(part, whole)| part / whole),
        None => number(text),
    };
    value
        .filter(|value| *value > 0.0 && *value <= 1.0)
        .ok_or_else(|| format!("{:?} is no share: write for example 1/16 or 0.25", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<String> {
        expand(text).unwrap().unwrap().iter().map(Wanted::to_string).collect()
    }

    #[test]
    fn rules_become_lists() {
        assert_eq!(numbers("pow2(128..1024)"), ["128", "256", "512", "1024"]);
        assert_eq!(numbers("pow2(100..600)"), ["128", "256", "512"]);
        assert_eq!(numbers("steps(64..250, 64)"), ["64", "128", "192"]);
        assert_eq!(numbers("steps(7..7, 1)"), ["7"]);
        assert_eq!(numbers("geometric(10..1000, 3)"), ["10", "100", "1000"]);
        assert_eq!(numbers("geometric(1..3, 6)"), ["1", "2", "3"]);
        assert_eq!(numbers("frac(1/16..1/2, 4)"), ["frac(0.0625)", "frac(0.125)", "frac(0.25)", "frac(0.5)"]);
        assert_eq!(numbers("frac( 1/4 )"), ["frac(0.25)"]);
    }

    #[test]
    fn other_texts_are_themselves() {
        for text in ["linformer(rank=16)", "f32", "", "110/011", "mean-pool"] {
            assert!(expand(text).is_none(), "{text}");
        }
    }

    #[test]
    fn half_a_rule_is_refused_with_an_example() {
        for text in [
            "pow2(",
            "pow2()",
            "pow2(3..3)",
            "pow2(8..4)",
            "pow2(-4..4)",
            "steps(1..9)",
            "steps(1..9, 0)",
            "steps(0..1000000000, 1)",
            "steps(0..9223372036854775807, 1)",
            "geometric(0..9, 2)",
            "geometric(1..9, 0)",
            "geometric(1..9)",
            "geometric(1..9, 1)",
            "frac(0..1, 3)",
            "frac(1/2..1/4, 2)",
            "frac(1/4..1/2)",
            "frac(2)",
            "frac(x)",
            "frac(1/0)",
        ] {
            let error = expand(text).unwrap().unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
