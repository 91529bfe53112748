//! Fewer key heads than query heads: what grouped-query and multi-query attention share.
//!
//! The given key and value heads are mean-pooled into groups before the timer, as a checkpoint is converted (Ainslie et al. 2023, section
//! 2.1: mean pooling of the projections pools the heads that they make). The engine reads the pooled heads only.

use crossover_core::axes::Axes;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;

use super::{KEYS, QUERIES, activation};
use crate::descriptor::{Condition, DrawRule, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::source;

/// Keys or values that only the host sees.
pub(super) const fn given(name: &'static str) -> TensorSpec {
    TensorSpec { name, role: Role::Source, shape: KEYS, draw: DrawRule::Distribution, only_with: None }
}

/// q as it is, k and v for the host only.
pub(super) const GIVEN: &[TensorSpec] = &[activation("q", QUERIES), given("k"), given("v")];

/// Groups of equal size.
pub(super) const GROUPS_DIVIDE: Condition = Condition {
    text: "groups must divide kv_heads",
    holds: |axes: &Axes| size(axes, "kv_heads").is_multiple_of(size(axes, "groups").max(1)),
};

/// A given tensor [batch, heads, rows, width] with the mean of each of `groups` runs of neighbouring heads.
pub(super) fn pooled(drawn: &HostInputs, name: &str, groups: usize) -> Result<HostTensor> {
    let given = source(drawn, name)?;
    let &[batch, heads, rows, width] = given.shape() else {
        return Err(shape_error("pooled heads", format!("{name} is {:?}, expected [batch, heads, rows, width]", given.shape())));
    };
    if groups == 0 || heads % groups != 0 {
        return Err(shape_error("pooled heads", format!("{groups} groups do not divide {heads} heads")));
    }
    let (members, area) = (heads / groups, rows * width);
    let mut values = vec![0.0; batch * groups * area];
    for (head, block) in given.values().chunks(area.max(1)).enumerate() {
        let target = &mut values[head / members * area..][..area];
        target.iter_mut().zip(block).for_each(|(sum, value)| *sum += value / members as f64);
    }
    HostTensor::new(&[batch, groups, rows, width], values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_heads_are_averaged_within_their_sequence() {
        let k = HostTensor::new(&[2, 4, 1, 1], vec![1.0, 3.0, 5.0, 9.0, 0.0, 2.0, 4.0, 4.0]).unwrap();
        let drawn: HostInputs = [("k".to_owned(), k.clone())].into();
        assert_eq!(pooled(&drawn, "k", 2).unwrap().values(), [2.0, 7.0, 1.0, 4.0]);
        assert_eq!(pooled(&drawn, "k", 4).unwrap(), k);
        assert!(pooled(&drawn, "k", 3).is_err() && pooled(&drawn, "k", 0).is_err() && pooled(&drawn, "v", 1).is_err());
    }
}
