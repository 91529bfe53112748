//! What a default may not give up where it gives way to odd sizes: that the method does something.
//!
//! A default that must divide the sizes finds little to choose from at 13 or 1009, and the nearest number may be the one that leaves the
//! exact operation: 2 of every 2 entries, one chunk for all tokens. Somebody may ask for that (it is how a variant is checked against the
//! dense one), and then gets it, also where the number that is given is only one of the method's (groups of 2 with the default of 2 kept).
//! Who leaves all of them to their defaults never gets it: the row would say that the method costs no accuracy.

use crossover_core::axes::Axes;

use crate::descriptor::Condition;
use crate::resolve::size;

/// One of one token has nothing to be shorter than.
fn below(axes: &Axes, parameter: &str, whole: &str) -> bool {
    size(axes, parameter) < size(axes, whole) || size(axes, whole) <= 1
}

/// Does a factor of a Kronecker product stand for the whole weight?
fn is_whole(axes: &Axes, factor: fn(&Axes, &str, &str) -> bool) -> bool {
    factor(axes, "factor_in", "d_in") && factor(axes, "factor_out", "d_out")
}

/// By variant; each condition names its axes, as all do.
const KEPT: &[(&[&str], Condition)] = &[
    (
        &["linear/n-of-m", "ffn/n-of-m"],
        Condition {
            text: "n_keep must be below m_group, or nothing is pruned",
            holds: |axes| size(axes, "n_keep") < size(axes, "m_group"),
        },
    ),
    (
        &["linear/monarch"],
        Condition {
            text: "blocks must be below d_in and d_out, or nothing is saved",
            holds: |axes| below(axes, "blocks", "d_in") && below(axes, "blocks", "d_out"),
        },
    ),
    (
        &["ffn/monarch"],
        Condition {
            text: "blocks must be below d_model and d_ff, or nothing is saved",
            holds: |axes| below(axes, "blocks", "d_model") && below(axes, "blocks", "d_ff"),
        },
    ),
    (
        &["linear/block-sparse"],
        Condition {
            text: "block must be below d_in or d_out, or all is kept",
            holds: |axes| below(axes, "block", "d_in") || below(axes, "block", "d_out"),
        },
    ),
    (
        &["ffn/block-sparse"],
        Condition {
            text: "block must be below d_model or d_ff, or all is kept",
            holds: |axes| below(axes, "block", "d_model") || below(axes, "block", "d_ff"),
        },
    ),
    (
        &["linear/kronecker"],
        Condition {
            text: "factor_in and factor_out must not be all of the weight, or none of it",
            holds: |axes| {
                !is_whole(axes, |axes, factor, of| size(axes, factor) == size(axes, of))
                    && !is_whole(axes, |axes, factor, _| size(axes, factor) == 1)
            },
        },
    ),
    (
        &["attention/reformer", "attention/reformer-causal"],
        Condition { text: "chunk must be below n, or every token sees all", holds: |axes| below(axes, "chunk", "n") },
    ),
    (
        &["attention/sinkhorn", "attention/sinkhorn-causal"],
        Condition { text: "block must be below n, or every token sees all", holds: |axes| below(axes, "block", "n") },
    ),
    (
        &["attention/nystrom"],
        Condition { text: "landmarks must be below n, or every token is one", holds: |axes| below(axes, "landmarks", "n") },
    ),
    (
        &["attention/linformer"],
        Condition { text: "rank must be below n_kv, or nothing is projected away", holds: |axes| below(axes, "rank", "n_kv") },
    ),
];

/// What defaults of this variant keep.
pub(crate) fn of(variant: &str) -> impl Iterator<Item = &'static Condition> + use<'_> {
    KEPT.iter().filter(move |(variants, _)| variants.contains(&variant)).map(|(_, condition)| condition)
}

#[cfg(test)]
mod tests {
    use crossover_core::axes::{Axes, AxisValue};

    use crate::inputs::CellInputs;
    use crate::registry::{Entry, entries, find};
    use crate::resolve::{AxisError, fill, resolve};
    use crate::truth::Truths;

    fn sized(entry: &Entry, sizes: &[(&str, i64)]) -> Axes {
        let known = sizes.iter().filter(|(axis, _)| entry.descriptor.problem.iter().any(|known| known.name == *axis));
        let mut axes: Axes = known.map(|(axis, size)| ((*axis).to_owned(), AxisValue::Int(*size))).collect();
        axes.insert("precision".into(), "f64".into());
        axes
    }

    /// Is the variant its exact operation at these axes?
    fn is_exact(entry: &Entry, axes: &Axes) -> bool {
        let inputs = CellInputs::new(entry, axes, entry.draw(axes).unwrap()).unwrap();
        let truths = Truths::of(entry, axes, &inputs).unwrap();
        let outputs = crate::resolve::shape_of(entry.descriptor.output, axes);
        let rows = outputs.iter().rev().skip(1).product();
        (0..rows).all(|row| {
            let truth = truths.row(&inputs, row, crate::resolve::precision(axes)).unwrap();
            let scale = truth.exact.iter().fold(1e-300, |most: f64, value| most.max(value.abs()));
            truth.reference.iter().zip(&truth.exact).all(|(one, other)| (one - other).abs() <= 1e-9 * scale)
        })
    }

    /// Where a default moves, the variant is still no exact operation, unless it always is one.
    #[test]
    fn defaults_that_give_way_leave_the_method_something_to_do() {
        const ROUND: [(&str, i64); 12] = [
            ("n", 16),
            ("n_kv", 16),
            ("heads", 2),
            ("kv_heads", 2),
            ("head_dim", 8),
            ("value_dim", 8),
            ("d_model", 64),
            ("d_ff", 128),
            ("d_in", 64),
            ("d_out", 64),
            ("classes", 16),
            ("vocabulary", 64),
        ];
        let mut undone = Vec::new();
        for entry in entries().into_iter().filter(|entry| entry.descriptor.family() != "model") {
            let Ok(round) = resolve(entry.descriptor, &sized(&entry, &ROUND)) else { continue };
            for odd in [13, 14, 15, 22, 37] {
                let sizes = ROUND
                    .map(|(axis, size)| (axis, if ["heads", "kv_heads", "head_dim", "value_dim"].contains(&axis) { size } else { odd }));
                let given = sized(&entry, &sizes);
                let Ok(axes) = resolve(entry.descriptor, &given) else { continue };
                if fill(entry.descriptor, &given) != axes && is_exact(&entry, &axes) && !is_exact(&entry, &round) {
                    undone.push(format!("{} at {odd}", entry.descriptor.name));
                }
            }
        }
        assert!(undone.is_empty(), "{undone:?}");
    }

    #[test]
    fn what_is_asked_for_is_not_refused() {
        let descriptor = find("linear/n-of-m").unwrap().descriptor;
        let resolved = |given: &[(&str, i64)]| {
            resolve(descriptor, &given.iter().map(|(name, value)| ((*name).to_owned(), AxisValue::Int(*value))).collect())
        };
        let [kept, group] = ["n_keep", "m_group"].map(|name| resolved(&[("d_in", 30)]).unwrap()[name].as_int().unwrap());
        assert!(kept < group, "{kept} of {group}");
        let [kept, group] =
            ["n_keep", "m_group"].map(|name| resolved(&[("d_in", 30), ("n_keep", 2), ("m_group", 2)]).unwrap()[name].clone());
        assert_eq!(kept, group);
        let error = resolved(&[("d_in", 1)]).unwrap_err();
        assert!(matches!(error, AxisError::Unfit { .. }), "{error:?}");
    }
}
