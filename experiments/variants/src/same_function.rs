//! Which exact function a variant computes, where no dense operation is at hand to say so.
//!
//! Most variants are held against a dense operation, and their errors can be compared across variants. Some are their own reference: their
//! error is the distance from themselves in f64, which says nothing about a baseline, unless that computes the same function in another
//! way. These pairs do; a test holds their outputs against each other.

/// A variant, and the one that it computes the same function as.
const SAME: [(&str, &str); 3] = [
    ("model/decode", "model/decode-recompute"),
    ("softmax/cross-entropy-tiled", "softmax/cross-entropy"),
    ("softmax/top-k-fused", "softmax/top-k-unfused"),
];

/// A name for the function that a variant which is its own reference computes.
pub fn own_function(variant: &str) -> &str {
    SAME.iter().find(|(name, _)| *name == variant).map_or(variant, |(_, of)| of)
}

/// The variants whose function goes by the name of another one.
pub fn renamed() -> impl Iterator<Item = (&'static str, &'static str)> {
    SAME.into_iter()
}

#[cfg(test)]
mod tests {
    use crossover_core::axes::Axes;

    use super::*;
    use crate::inputs::CellInputs;
    use crate::registry::find;
    use crate::resolve::resolve;

    #[test]
    fn pairs_give_the_same_numbers() {
        let given = Axes::from([("precision".to_owned(), "f64".into()), ("n".to_owned(), 8.into())]);
        for pair in SAME {
            let [one, other] = [pair.0, pair.1].map(|name| {
                let entry = find(name).unwrap();
                let axes = resolve(entry.descriptor, &given).unwrap();
                let inputs = CellInputs::unrounded(&entry, &axes, entry.draw(&axes).unwrap()).unwrap();
                (entry.descriptor.task, entry.run_reference(&axes, &inputs).unwrap().0)
            });
            assert_eq!((one.0, one.1.shape()), (other.0, other.1.shape()), "{pair:?}");
            assert!(one.1.values().iter().any(|value| *value != 0.0), "{pair:?}");
            for (one, other) in one.1.values().iter().zip(other.1.values()) {
                assert!((one - other).abs() <= 1e-9 * (1.0 + other.abs()), "{pair:?}: {one} and {other}");
            }
        }
    }
}
