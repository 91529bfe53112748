//! For the tests of approximations: the dense result on the same tensors, and small f64 recomputations.

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;

use super::causal::Causal;
use super::dense::Dense;
use super::{PROBLEM, QUERIES};
use crate::resolve::{shape_of, size};
use crate::testing::{axes, run};
use crate::variant::Variant;

/// Sizes of a problem with as many keys as queries.
pub(super) fn sized(heads: i64, n: i64, head_dim: i64) -> Vec<(&'static str, AxisValue)> {
    vec![("heads", heads.into()), ("n", n.into()), ("head_dim", head_dim.into())]
}

/// The same with parameters.
pub(super) fn with(sizes: &[(&'static str, AxisValue)], parameters: &[(&'static str, AxisValue)]) -> Vec<(&'static str, AxisValue)> {
    sizes.iter().chain(parameters).cloned().collect()
}

fn exact<V: Variant>(given: &Axes, drawn: &HostInputs) -> HostTensor {
    let problem = PROBLEM.iter().filter_map(|axis| given.get(axis.name).map(|value| (axis.name, value.clone())));
    run::<V>(&axes::<V>(&problem.collect::<Vec<_>>()), drawn)
}

/// Dense attention on the same tensors.
pub(super) fn dense(given: &Axes, drawn: &HostInputs) -> HostTensor {
    exact::<Dense>(given, drawn)
}

/// Dense causal attention on the same tensors.
pub(super) fn dense_causal(given: &Axes, drawn: &HostInputs) -> HostTensor {
    exact::<Causal>(given, drawn)
}

/// The same tensors with q and k times `factor`: flatter attention, where random features have converged long before the test ends.
pub(super) fn softened(mut drawn: HostInputs, factor: f64) -> HostInputs {
    for name in ["q", "k"] {
        let values = drawn[name].values().iter().map(|x| factor * x).collect();
        let softer = HostTensor::new(drawn[name].shape(), values).unwrap();
        drawn.insert(name.into(), softer);
    }
    drawn
}

/// The n x n identity.
pub(super) fn identity(size: usize) -> HostTensor {
    HostTensor::new(&[size, size], (0..size * size).map(|at| f64::from(u8::from(at / size == at % size))).collect()).unwrap()
}

/// Row `row` of matrix `head` (counted over batch and heads) of a four-dimensional tensor.
pub(super) fn row(tensor: &HostTensor, head: usize, row: usize) -> &[f64] {
    let &[_, _, rows, width] = tensor.shape() else { panic!("{:?} has not four dimensions", tensor.shape()) };
    &tensor.values()[(head * rows + row) * width..][..width]
}

/// a b.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// sum_j weight(head, i, j) v_j / (epsilon + sum_j weight(head, i, j)) in plain f64, for as many key heads as query heads.
pub(super) fn weighted(axes: &Axes, drawn: &HostInputs, epsilon: f64, weight: impl Fn(usize, usize, usize) -> f64) -> HostTensor {
    let (n, n_kv, width) = (size(axes, "n"), size(axes, "n_kv"), size(axes, "head_dim"));
    let mut values = Vec::new();
    for at in 0..size(axes, "batch") * size(axes, "heads") * n {
        let (head, i) = (at / n, at % n);
        let weights: Vec<f64> = (0..n_kv).map(|j| weight(head, i, j)).collect();
        let sum = epsilon + weights.iter().sum::<f64>();
        for channel in 0..width {
            values.push(weights.iter().enumerate().map(|(j, w)| w * row(&drawn["v"], head, j)[channel]).sum::<f64>() / sum);
        }
    }
    HostTensor::new(&shape_of(QUERIES, axes), values).unwrap()
}

/// Output rows before `token` stay bit for bit the same when q, k and v change from there on.
pub(super) fn assert_causal<V: Variant>(given: &[(&'static str, AxisValue)], token: usize) {
    let axes = axes::<V>(given);
    let drawn = crate::testing::drawn::<V>(&axes);
    let (n, width) = (size(&axes, "n"), size(&axes, "head_dim"));
    let mut changed = drawn.clone();
    for name in ["q", "k", "v"] {
        let tensor = &drawn[name];
        let values = tensor.values().iter().enumerate().map(|(at, x)| if at / width % n < token { *x } else { 3.0 - 2.0 * x });
        changed.insert(name.into(), HostTensor::new(tensor.shape(), values.collect()).unwrap());
    }
    let (before, after) = (run::<V>(&axes, &drawn), run::<V>(&axes, &changed));
    let mut later = 0;
    for (at, (a, b)) in before.values().iter().zip(after.values()).enumerate() {
        if at / width % n < token {
            assert_eq!(a.to_bits(), b.to_bits(), "element {at}");
        } else {
            later += usize::from(a != b);
        }
    }
    assert!(later > 0, "nothing depends on the later tokens");
}

/// The closed forms give what is metered, to the last operation and element (at f32).
pub(super) fn assert_closed_forms<V: Variant>(given: &[(&'static str, AxisValue)]) {
    let axes = axes::<V>(&with(given, &[("precision", "f32".into())]));
    let entry = crate::registry::find(V::DESCRIPTOR.name).unwrap();
    let scratch = entry.dry_run(&axes).unwrap().scratch_bytes as f64 / 4.0;
    for (what, formula, metered) in
        [("flops", V::DESCRIPTOR.model.flops, entry.cost(&axes).unwrap().flops as f64), ("scratch", V::DESCRIPTOR.model.scratch, scratch)]
    {
        let closed = crate::formula::evaluate(formula, &axes).unwrap();
        assert!((closed - metered).abs() <= 1e-9 * metered, "{what}: {closed}, metered {metered}");
    }
}
