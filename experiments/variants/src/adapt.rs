//! Defaults that give way: where a variant's usual parameters do not go with the sizes of a problem, the nearest ones that do are taken.
//!
//! A default such as "an eighth of the tokens, which must divide them" holds for round sizes and for no others. Nobody chose it, so it may
//! move: each condition that fails is mended by the integer parameter that must change least for it (by ratio; two together where one is
//! not enough), and no condition that held is given up. A number that somebody did give never moves, nor do sizes; whatever is wrong with
//! those remains an error. Names that were given (a choice, a component) are kept, as they say which conditions matter.
//!
//! Nor does a default move to where the method does nothing (`kept`).
//!
//! It trades exactness for reach: values are tried from a list (small numbers, divisors of the sizes, their neighbours), not searched for.

use std::collections::BTreeSet;

use crossover_core::axes::{Axes, AxisValue};

use crate::descriptor::{AxisKind, AxisSpec, Condition, Descriptor};
use crate::kept;
use crate::resolve::{fill, is_named};

/// All numbers up to this one are tried.
const SMALL: i64 = 256;
/// Of each of two parameters that must move together, this many values are tried.
const NEAREST: usize = 64;

/// The integer parameters that may move.
fn movable<'a>(descriptor: &'static Descriptor, given: &'a Axes) -> impl Iterator<Item = &'static AxisSpec> + use<'a> {
    let is_free = |axis: &&AxisSpec| matches!(axis.kind, AxisKind::Int { .. }) && !given.contains_key(axis.name);
    descriptor.parameters.iter().filter(is_free)
}

/// The axes that were given, with other defaults under them so that the conditions hold; or the axes nearest to that, to complain about.
pub(crate) fn adapted(descriptor: &'static Descriptor, given: &Axes) -> Result<Axes, Axes> {
    // The defaults answer to the sizes alone. What holds then and fails with the numbers given is the fault of those numbers.
    let sizes = without_numbers(descriptor, given);
    let mut chosen = sizes.clone();
    let mut axes = fill(descriptor, &chosen);
    let conditions: Vec<&Condition> = descriptor.conditions.iter().chain(kept::of(descriptor.name)).collect();
    for _ in &conditions {
        let Some(failed) = conditions.iter().position(|condition| !(condition.holds)(&axes)) else { break };
        let Some(changes) = mended(descriptor, &conditions, &sizes, &chosen, &axes, failed) else { break };
        chosen.extend(changes);
        axes = fill(descriptor, &chosen);
    }
    // With a number that was given the method may do nothing: that is as somebody wants it.
    let is_done = sizes.len() < given.len() || kept::of(descriptor.name).all(|condition| (condition.holds)(&axes));
    chosen.extend(given.clone());
    axes = fill(descriptor, &chosen);
    if is_done && first_failing(descriptor, &axes).is_none() { Ok(axes) } else { Err(axes) }
}

/// Is the condition about a parameter that was left to its default, so that nobody's choice is wrong? Conditions name their axes. A text
/// that was given (a bitmap, a list) and is named is a choice like a number, though the parameters beside it may move for it.
pub(crate) fn is_about_a_default(descriptor: &'static Descriptor, given: &Axes, condition: &str) -> bool {
    let names = |axis: &AxisSpec| is_named(axis.name, condition);
    let is_given_text = |axis: &&AxisSpec| matches!(axis.kind, AxisKind::Text) && given.contains_key(axis.name);
    let has_chosen =
        without_numbers(descriptor, given).len() < given.len() || descriptor.axes().any(|axis| is_given_text(&axis) && names(axis));
    !has_chosen && movable(descriptor, given).any(names)
}

fn without_numbers(descriptor: &'static Descriptor, given: &Axes) -> Axes {
    let is_number =
        |name: &str, value: &AxisValue| descriptor.parameters.iter().any(|axis| axis.name == name) && !matches!(value, AxisValue::Text(_));
    given.iter().filter(|(name, value)| !is_number(name, value)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The first condition that does not hold.
pub(crate) fn first_failing(descriptor: &'static Descriptor, axes: &Axes) -> Option<&'static Condition> {
    descriptor.conditions.iter().find(|condition| !(condition.holds)(axes))
}

/// Values of one parameter, or else of two, with which the failed condition holds too.
fn mended(
    descriptor: &'static Descriptor,
    conditions: &[&Condition],
    sizes: &Axes,
    chosen: &Axes,
    axes: &Axes,
    failed: usize,
) -> Option<Axes> {
    let held: Vec<usize> = (0..conditions.len()).filter(|&at| (conditions[at].holds)(axes)).collect();
    let mends = |changes: &[(&'static str, i64)]| {
        let mut trial = chosen.clone();
        trial.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), AxisValue::Int(*value))));
        let trial = fill(descriptor, &trial);
        held.iter().chain([&failed]).all(|&at| (conditions[at].holds)(&trial))
    };
    let options: Vec<(&'static str, Vec<(f64, i64)>)> = movable(descriptor, sizes).map(|axis| (axis.name, nearest(axis, axes))).collect();
    let singles = options.iter().filter_map(|(name, values)| {
        let (distance, value) = values.iter().find(|(_, value)| mends(&[(name, *value)]))?;
        Some((*distance, vec![(*name, *value)]))
    });
    let best = singles.min_by(|a, b| a.0.total_cmp(&b.0)).or_else(|| together(&options, &mends));
    best.map(|(_, changes)| changes.into_iter().map(|(name, value)| (name.to_owned(), AxisValue::Int(value))).collect())
}

type Step = (&'static str, i64);
type Change = (f64, Vec<Step>);

/// Two parameters at once: the pair that is least away in all.
fn together(options: &[(&'static str, Vec<(f64, i64)>)], mends: &dyn Fn(&[Step]) -> bool) -> Option<Change> {
    let mut pairs: Vec<Change> = Vec::new();
    for (at, (one, values)) in options.iter().enumerate() {
        for (other, others) in &options[at + 1..] {
            for (far, value) in values.iter().take(NEAREST) {
                pairs.extend(others.iter().take(NEAREST).map(|(too, second)| (far + too, vec![(*one, *value), (*other, *second)])));
            }
        }
    }
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    pairs.into_iter().find(|(_, changes)| mends(changes))
}

/// The values worth trying for a parameter, the nearest to its present one first (of equally near ones the smaller).
fn nearest(axis: &AxisSpec, axes: &Axes) -> Vec<(f64, i64)> {
    let present = axes.get(axis.name).and_then(AxisValue::as_int).unwrap_or(1).max(1) as f64;
    let mut all: Vec<(f64, i64)> =
        worth_trying(axis, axes).into_iter().map(|value| ((value.max(1) as f64 / present).ln().abs(), value)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all
}

/// Whole numbers that conditions tend to ask for: small ones, divisors of the sizes, twice those, and the sizes' neighbours.
fn worth_trying(axis: &AxisSpec, axes: &Axes) -> BTreeSet<i64> {
    let AxisKind::Int { min, max } = axis.kind else { return BTreeSet::new() };
    let mut values: BTreeSet<i64> = (1..=SMALL).collect();
    values.extend(divisors_of_sizes(axes).into_iter().flat_map(|divisor| [divisor, divisor.saturating_mul(2)]));
    values.extend(sizes(axes).flat_map(|size| [size - 1, size.saturating_add(1)]));
    values.into_iter().filter(|value| (min..=max).contains(value)).collect()
}

/// The whole numbers among the axes that say how large something is.
pub(crate) fn sizes(axes: &Axes) -> impl Iterator<Item = i64> {
    axes.iter().filter(|(name, _)| !name.ends_with("seed")).filter_map(|(_, value)| value.as_int()).filter(|&size| size > 0)
}

/// All divisors of all of them.
pub(crate) fn divisors_of_sizes(axes: &Axes) -> BTreeSet<i64> {
    sizes(axes).flat_map(divisors).collect()
}

/// Beyond this, looking for divisors would be felt; sizes that large are products of a few others anyway.
const MOST_DIVIDED: i64 = 1 << 32;

fn divisors(size: i64) -> impl Iterator<Item = i64> {
    let root = if size <= MOST_DIVIDED { size.isqrt() } else { 1 };
    (1..=root).filter(move |divisor| size % divisor == 0).flat_map(move |divisor| [divisor, size / divisor])
}

#[cfg(test)]
mod tests {
    use crossover_core::axes::{Axes, AxisValue};

    use crate::registry::{entries, find};
    use crate::resolve::{AxisError, resolve};

    fn resolved(variant: &str, given: &[(&str, AxisValue)]) -> Result<Axes, AxisError> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        resolve(find(variant).unwrap().descriptor, &given)
    }

    fn parameter(variant: &str, given: &[(&str, i64)], name: &str) -> i64 {
        let given: Vec<(&str, AxisValue)> = given.iter().map(|(name, value)| (*name, AxisValue::Int(*value))).collect();
        resolved(variant, &given).unwrap_or_else(|error| panic!("{error}"))[name].as_int().unwrap()
    }

    #[test]
    fn defaults_move_to_the_nearest_value_that_fits() {
        // A quarter of 77 is 19, and 11 is nearer to it by ratio than 7 and 77 are.
        assert_eq!(parameter("attention/reformer", &[("n", 77)], "chunk"), 11);
        // 125 buckets are no even number.
        assert_eq!(parameter("attention/reformer", &[("n", 1000)], "buckets"), 126);
        assert_eq!(parameter("attention/memory-compressed", &[("n", 77)], "compression"), 7);
        assert_eq!(parameter("linear/low-rank", &[("d_in", 64), ("d_out", 4)], "rank"), 4);
    }

    #[test]
    fn two_parameters_move_together_where_one_is_not_enough() {
        let sizes = [("d_in", 77), ("d_out", 1001)];
        assert_eq!((parameter("linear/kronecker", &sizes, "factor_in"), parameter("linear/kronecker", &sizes, "factor_out")), (7, 7));
    }

    #[test]
    fn what_fits_does_not_move() {
        assert_eq!(parameter("attention/reformer", &[("n", 128)], "chunk"), 32);
        assert_eq!(parameter("linear/kronecker", &[("d_in", 64), ("d_out", 64)], "factor_in"), 8);
    }

    #[test]
    fn numbers_that_were_given_never_move() {
        for (variant, given) in [
            ("attention/reformer", [("n", AxisValue::Int(77)), ("chunk", 19.into())]),
            ("attention/reformer", [("n", 64.into()), ("buckets", 7.into())]),
            ("linear/n-of-m", [("d_in", 64.into()), ("n_keep", 5.into())]),
            ("linear/low-rank", [("d_in", 64.into()), ("rank", 65.into())]),
            ("attention/flash", [("heads", 4.into()), ("kv_heads", 3.into())]),
        ] {
            let error = resolved(variant, &given).unwrap_err();
            let AxisError::Condition { text, .. } = error else { panic!("{error:?}") };
            // The complaint is about the number given, not about a default beside it.
            assert!(text.contains(given[1].0), "{variant}: {text}");
        }
    }

    #[test]
    fn a_name_that_was_given_says_what_must_fit() {
        let given = [("n", 77.into()), ("projection", "mean-pool".into())];
        assert_eq!(resolved("attention/linformer", &given).unwrap()["rank"], AxisValue::Int(11));
        assert_eq!(resolved("attention/linformer", &given[..1]).unwrap()["rank"], AxisValue::Int(9));
    }

    #[test]
    fn where_no_default_fits_it_is_nobodys_mistake() {
        let sizes = |n: i64| [("n", n.into()), ("d_model", AxisValue::Int(1)), ("d_ff", 1.into())];
        assert!(resolved("ffn/moe-top1", &sizes(1 << 20)).is_ok());
        let error = resolved("ffn/moe-top1", &sizes(1 << 26)).unwrap_err();
        assert!(matches!(error, AxisError::Unfit { .. }), "{error:?}");
        assert!(error.to_string().contains("no default of ffn/moe-top1 fits these sizes"), "{error}");
        let chosen: Vec<(&str, AxisValue)> = sizes(1 << 26).into_iter().chain([("experts", 8.into())]).collect();
        assert!(matches!(resolved("ffn/moe-top1", &chosen), Err(AxisError::Condition { .. })));
    }

    /// A text that somebody gave is a choice as a number is: what is wrong with it is refused, and not skipped as nobody's mistake.
    #[test]
    fn a_text_that_is_wrong_is_refused() {
        for variant in ["attention/block-sparse", "attention/block-sparse-causal"] {
            for bitmap in ["1x/11", "11/1", "1/1/1"] {
                let error = resolved(variant, &[("n", 16.into()), ("bitmap", bitmap.into())]).unwrap_err();
                assert!(matches!(error, AxisError::Condition { .. }) && error.to_string().contains("bitmap"), "{bitmap}: {error:?}");
            }
        }
        let early = resolved("attention/block-sparse-causal", &[("n", 16.into()), ("bitmap", "11/11".into())]).unwrap_err();
        assert!(matches!(early, AxisError::Condition { .. }), "{early:?}");
        // The block moves all the same to where the bitmap fits.
        assert_eq!(resolved("attention/block-sparse", &[("n", 16.into()), ("bitmap", "11/01".into())]).unwrap()["block"], 8.into());
    }

    /// At sizes that hardly anything divides: whatever is refused is nobody's mistake, and at each size most variants have defaults.
    #[test]
    fn variants_have_defaults_at_odd_sizes() {
        for n in [1, 7, 77, 1000, 1009] {
            let axes = Axes::from([("n".to_owned(), AxisValue::Int(n))]);
            let with_n = entries().into_iter().filter(|entry| entry.descriptor.axis("n").is_some() && entry.descriptor.family() != "model");
            let (mut all, mut without) = (0, Vec::new());
            for entry in with_n {
                all += 1;
                if let Err(error) = resolve(entry.descriptor, &axes) {
                    assert!(n == 1 || matches!(error, AxisError::Unfit { .. }), "{error}");
                    without.push(entry.descriptor.name);
                }
            }
            assert!(4 * without.len() < all, "n = {n}: {} of {all} have none: {without:?}", without.len());
        }
    }
}
