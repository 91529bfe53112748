//! What the command line changes about a definition: values of axes, a filter, a shard.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::str::FromStr;

use crossover_core::axes::AxisValue;

use crate::filter::Filter;
use crate::series::{self, Wanted};

/// The parts of a plan that are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Axes with values other than the file's.
    pub set: Vec<Override>,
    /// All must keep a cell.
    pub filters: Vec<Filter>,
    /// One part of several.
    pub shard: Option<Shard>,
}

/// `axis=v1,v2`: these values instead of the file's.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The axis.
    pub axis: String,
    /// Its values.
    pub values: Vec<Wanted>,
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values.iter().map(Wanted::to_string).collect();
        write!(f, "{}={}", self.axis, values.join(","))
    }
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((axis, values)) = text.split_once('=') else {
            return Err("write axis=value, or axis=v1,v2 for several".into());
        };
        let (axis, values) = (axis.trim(), parts(values));
        if axis.is_empty() || values.iter().any(|value| value.is_empty()) {
            return Err("the axis and each value need at least one character: axis=v1,v2".into());
        }
        let mut all = Vec::with_capacity(values.len());
        for text in values {
            match series::expand(text) {
                Some(values) => all.extend(values?),
                None => all.push(AxisValue::parse(text).into()),
            }
        }
        Ok(Self { axis: axis.to_owned(), values: all })
    }
}

/// What stands between commas, but for those inside parentheses: `linformer(rank=16, sharing=kv)` is one value.
fn parts(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0usize, 0, Vec::new());
    for (at, symbol) in text.char_indices() {
        match symbol {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

/// How a place begins that is no line of a file.
pub(super) const ON_THE_COMMAND_LINE: &str = "--set ";

impl Override {
    /// Where its values come from, for messages.
    pub(super) fn place(&self) -> String {
        let mut values: Vec<String> = self.values.iter().take(4).map(Wanted::to_string).collect();
        if self.values.len() > 4 {
            values.push("..".into());
        }
        format!("{ON_THE_COMMAND_LINE}{}={}", self.axis, values.join(","))
    }
}

/// Part `index` of `count`, counted from 1. Whole groups go to a part: the parts are disjoint, and together they are the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// Its number, from 1.
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many parts there are.
    pub fn count(self) -> u64 {
        self.count
    }

    /// Its share of the groups, dealt out in the order of their hashes: the parts have as many groups each, but for one, and whatever
    /// grows along the plan (lengths, threads) is spread over all of them.
    pub(super) fn deal(self, groups: BTreeSet<u64>) -> HashSet<u64> {
        let places = (0..self.count).cycle();
        groups.into_iter().zip(places).filter(|(_, place)| *place == self.index - 1).map(|(group, _)| group).collect()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match numbers {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            _ => Err("write I/N with 1 <= I <= N, for example 1/4".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_keep_the_kinds_of_their_values() {
        let parsed: Override = "eps=1, 0.5,pre".parse().unwrap();
        assert_eq!(parsed.axis, "eps");
        assert_eq!(parsed.values, [AxisValue::Int(1), AxisValue::Float(0.5), AxisValue::from("pre")].map(Wanted::Exact));
        assert_eq!("n=1,2,3,4,5,6".parse::<Override>().unwrap().place(), "--set n=1,2,3,4,..");
    }

    #[test]
    fn commas_in_parentheses_are_part_of_a_value_and_rules_are_written_out() {
        let spelled = |text: &str| text.parse::<Override>().unwrap().to_string();
        assert_eq!(spelled("attention=flash, linformer(rank=16, sharing=kv)"), "attention=flash,linformer(rank=16, sharing=kv)");
        assert_eq!(spelled("n=pow2(64..256),300"), "n=64,128,256,300");
        assert_eq!(spelled("rank=frac(1/4..1/2, 2)"), "rank=frac(0.25),frac(0.5)");
        assert!("n=pow2(64..".parse::<Override>().unwrap_err().contains("not closed"));
    }

    #[test]
    fn half_an_override_is_refused() {
        for text in ["n", "=1", "n=", "n=1,,2", "n=1,"] {
            assert!(text.parse::<Override>().is_err(), "{text}");
        }
    }

    #[test]
    fn shards_count_from_one() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for text in ["0/3", "4/3", "1/0", "1", "a/b", "-1/2", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
