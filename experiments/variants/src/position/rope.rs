//! Rotary positions: pairs of channels of each query (and key) are turned by an angle in proportion to the position.
//!
//! Su et al. 2021, "RoFormer", section 3.2.2: pair i of d / 2 turns by p base^(-2 i / d), so that the score of a query and a key depends on
//! their distance only. Paired are channel i and channel i + d / 2, as most implementations do; the paper pairs neighbours, which is the
//! same up to a permutation of the channels. Measured is the rotation of one tensor: queries and keys each take one.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::reference::HostInputs;

use super::rotated::{BASE, EVEN, OFFSET, Rotated, description, tables};
use crate::descriptor::Descriptor;
use crate::resolve::number;
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct Rope;

impl Variant for Rope {
    const DESCRIPTOR: Descriptor =
        description(["position/rope", "channel pairs rotated by position", "Su et al. 2021, section 3.2.2"], &[BASE, OFFSET], &[EVEN]);

    type Bound<B: TransformerBackend> = Rotated<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Rotated<B>> {
        Rotated::bind(operands)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        let base = number(axes, "base");
        tables(axes, |position, exponent| position * base.powf(-exponent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, axis_error, drawn, run};
    use crossover_core::host::HostTensor;

    fn rotated(x: &[f64], offset: i64) -> Vec<f64> {
        let given = [("heads", 1.into()), ("n", 6.into()), ("head_dim", 8.into()), ("offset", offset.into())];
        let inputs = [("q".to_owned(), HostTensor::new(&[1, 1, 6, 8], x.to_vec()).unwrap())].into();
        run::<Rope>(&axes::<Rope>(&given), &inputs).values().to_vec()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn lengths_stay_and_position_zero_is_the_identity() {
        let x = drawn::<Rope>(&axes::<Rope>(&[("heads", 1.into()), ("n", 6.into()), ("head_dim", 8.into())]))["q"].values().to_vec();
        let turned = rotated(&x, 0);
        assert_eq!(turned[..8], x[..8]);
        for (row, original) in turned.chunks(8).zip(x.chunks(8)) {
            assert!((dot(row, row) - dot(original, original)).abs() < 1e-13);
        }
        // Pair 0 turns by one radian a position.
        let (sine, cosine) = 1f64.sin_cos();
        assert!((turned[8] - (x[8] * cosine - x[12] * sine)).abs() < 1e-15);
    }

    #[test]
    fn scores_depend_on_the_distance_only_also_at_large_positions() {
        let x = drawn::<Rope>(&axes::<Rope>(&[("heads", 1.into()), ("n", 6.into()), ("head_dim", 8.into())]))["q"].values().to_vec();
        // The same query and key in every row.
        let (query, key) = (x[..8].repeat(6), x[8..16].repeat(6));
        let (near_query, near_key) = (rotated(&query, 0), rotated(&key, 0));
        for offset in [1, 1000, 1_000_000] {
            let (far_query, far_key) = (rotated(&query, offset), rotated(&key, offset));
            for (i, j) in [(0, 0), (5, 2), (1, 4)] {
                let near = dot(&near_query[8 * i..8 * i + 8], &near_key[8 * j..8 * j + 8]);
                let far = dot(&far_query[8 * i..8 * i + 8], &far_key[8 * j..8 * j + 8]);
                assert!((near - far).abs() < 1e-8, "{offset}: {near} and {far}");
            }
        }
    }

    #[test]
    fn odd_heads_are_refused() {
        let error = axis_error::<Rope>(&[("head_dim", 7.into())]);
        assert!(error.starts_with("position/rope: channels are rotated in pairs: head_dim must be even (here"), "{error}");
    }
}
