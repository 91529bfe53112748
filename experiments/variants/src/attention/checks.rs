//! Properties that several attention variants are tested for.

use crossover_core::axes::AxisValue;
use crossover_core::host::HostTensor;

use crate::testing::{axes, distance, drawn, run};
use crate::variant::Variant;

/// Axes as tests write them.
pub(super) type Given<'a> = &'a [(&'a str, AxisValue)];

/// Small sizes with these axes besides; two sequences, so that batches cannot be mixed up.
pub(super) fn small(more: &[(&'static str, AxisValue)]) -> Vec<(&'static str, AxisValue)> {
    let mut all =
        vec![("batch", AxisValue::Int(2)), ("heads", AxisValue::Int(2)), ("n", AxisValue::Int(16)), ("head_dim", AxisValue::Int(8))];
    all.retain(|(name, _)| !more.iter().any(|(own, _)| own == name));
    all.extend_from_slice(more);
    all
}

/// The output on what the axes draw.
pub(super) fn output<V: Variant>(given: Given<'_>) -> HostTensor {
    let axes = axes::<V>(given);
    run::<V>(&axes, &drawn::<V>(&axes))
}

/// Two variants that draw the same tensors agree in f64.
pub(super) fn assert_agree<A: Variant, B: Variant>(a: Given<'_>, b: Given<'_>) {
    let difference = distance(&output::<A>(a), &output::<B>(b));
    assert!(difference < 1e-12, "{} and {} differ by {difference:e}", A::DESCRIPTOR.name, B::DESCRIPTOR.name);
}

/// A tensor [batch, heads, rows, width] with these rows of every head changed.
pub(super) fn changed(tensor: &HostTensor, rows: std::ops::Range<usize>, change: impl Fn(f64) -> f64) -> HostTensor {
    let &[_, _, n, width] = tensor.shape() else { panic!("{:?} is not [batch, heads, rows, width]", tensor.shape()) };
    let value = |(at, value): (usize, &f64)| if rows.contains(&(at / width % n)) { change(*value) } else { *value };
    HostTensor::new(tensor.shape(), tensor.values().iter().enumerate().map(value).collect()).unwrap()
}

/// The values of these rows of every head.
pub(super) fn rows_of(tensor: &HostTensor, rows: std::ops::Range<usize>) -> Vec<f64> {
    let &[_, _, n, width] = tensor.shape() else { panic!("{:?} is not [batch, heads, rows, width]", tensor.shape()) };
    tensor.values().iter().enumerate().filter(|(at, _)| rows.contains(&(at / width % n))).map(|(_, value)| *value).collect()
}

/// Which keys change the output of this query when their values change.
pub(super) fn seen<V: Variant>(given: Given<'_>, query: usize) -> Vec<usize> {
    seen_above::<V>(given, query, 0.0)
}

/// The same by more than this, where host transforms mix all values.
pub(super) fn seen_above<V: Variant>(given: Given<'_>, query: usize, threshold: f64) -> Vec<usize> {
    let axes = axes::<V>(given);
    let tensors = drawn::<V>(&axes);
    let before = rows_of(&run::<V>(&axes, &tensors), query..query + 1);
    let keys = tensors["v"].shape()[2];
    let matters = |key: &usize| {
        let mut tensors = tensors.clone();
        tensors.insert("v".into(), changed(&tensors["v"], *key..*key + 1, |value| value + 8.0));
        let after = rows_of(&run::<V>(&axes, &tensors), query..query + 1);
        after.iter().zip(&before).any(|(after, before)| (after - before).abs() > threshold)
    };
    (0..keys).filter(matters).collect()
}

/// Changing later tokens leaves the outputs of earlier ones bit-identical.
pub(super) fn assert_causal<V: Variant>(given: Given<'_>) {
    let axes = axes::<V>(given);
    let mut tensors = drawn::<V>(&axes);
    let before = run::<V>(&axes, &tensors);
    let n = tensors["q"].shape()[2];
    for name in ["q", "k", "v"] {
        tensors.insert(name.into(), changed(&tensors[name], n / 2..n, |value| 3.0 - value));
    }
    let after = run::<V>(&axes, &tensors);
    assert_eq!(rows_of(&before, 0..n / 2), rows_of(&after, 0..n / 2), "{}", V::DESCRIPTOR.name);
    assert_ne!(rows_of(&before, n / 2..n), rows_of(&after, n / 2..n), "{}", V::DESCRIPTOR.name);
}

mod tests {
    use crossover_core::axes::Axes;
    use crossover_core::dtype::DType;
    use crossover_naive::NaiveBackend;

    use super::*;
    use crate::cell::prepare;
    use crate::formula::evaluate;
    use crate::inputs::CellInputs;
    use crate::registry::{VariantVisitor, find, visit};
    use crate::resolve::resolve;
    use crate::verify::judge;

    /// Away from the defaults: shared heads, lengths that no tile or block divides, parameters at and beyond their ends.
    const ODD: &[(&str, &[(&str, i64)])] = &[
        ("attention/window", &[("window", 3)]),
        ("attention/window", &[("window", 100)]),
        ("attention/window-causal", &[("window", 1)]),
        ("attention/window-causal", &[("window", 77)]),
        ("attention/dilated-window", &[("window", 9), ("dilation", 7)]),
        ("attention/dilated-window-causal", &[("window", 9), ("dilation", 7)]),
        ("attention/dilated-window-causal", &[("window", 40), ("dilation", 3)]),
        ("attention/sparse-strided", &[("stride", 9)]),
        ("attention/sparse-strided", &[("stride", 100)]),
        ("attention/sparse-fixed", &[("block", 9), ("summary", 4)]),
        ("attention/longformer", &[("window", 5), ("global", 4)]),
        ("attention/longformer", &[("window", 5), ("global", 70)]),
        ("attention/longformer", &[("window", 5), ("global", 4), ("dilation", 3)]),
        ("attention/longformer", &[("window", 40), ("global", 7), ("dilation", 5)]),
        ("attention/longformer-causal", &[("window", 5), ("global", 4)]),
        ("attention/longformer-causal", &[("window", 5), ("global", 4), ("dilation", 3)]),
        ("attention/longformer-causal", &[("window", 40), ("global", 7), ("dilation", 5)]),
        ("attention/longformer-causal", &[("window", 90), ("global", 70)]),
        ("attention/bigbird", &[("block", 5), ("window_blocks", 2), ("random_blocks", 2)]),
        ("attention/bigbird-causal", &[("block", 5), ("window_blocks", 2), ("random_blocks", 2)]),
        ("attention/block-sparse", &[("block", 7)]),
        ("attention/block-sparse-causal", &[("block", 7)]),
        ("attention/gqa", &[("groups", 2)]),
        ("attention/gqa-causal", &[("groups", 1)]),
        ("attention/mqa", &[]),
        ("attention/mqa-causal", &[]),
        ("attention/mla", &[("rank", 3)]),
        ("attention/mla-causal", &[("rank", 20)]),
        ("attention/prefill", &[("capacity", 90)]),
        ("attention/cross", &[("n_kv", 33)]),
        ("attention/cross-flash", &[("n_kv", 33)]),
        ("attention/padding-mask", &[("n_kv", 100)]),
        ("attention/arbitrary-mask", &[("n_kv", 100)]),
        ("attention/sigmoid", &[("chunk", 17), ("n_kv", 33)]),
        ("attention/talking-heads", &[("chunk", 17), ("n_kv", 33)]),
        ("attention/head-pruning", &[("keep", 3), ("n_kv", 33)]),
        ("attention/sigmoid-causal", &[("chunk", 17)]),
        ("attention/talking-heads-causal", &[("chunk", 17)]),
        ("attention/head-pruning-causal", &[("keep", 3)]),
        ("attention/soft-cap", &[("cap", 2), ("n_kv", 33)]),
        ("attention/soft-cap-causal", &[("cap", 2)]),
        ("attention/top-k", &[("k", 5), ("chunk", 17), ("n_kv", 33)]),
        ("attention/top-k-causal", &[("k", 5), ("chunk", 17)]),
    ];

    /// A step has no query length.
    const ODD_STEPS: &[(&str, &[(&str, i64)])] = &[
        ("attention/decode", &[]),
        ("attention/decode-gqa", &[("groups", 2)]),
        ("attention/decode-mla", &[("rank", 20)]),
        ("attention/decode-window", &[("window", 13)]),
        ("attention/decode-int8", &[]),
    ];

    struct Odd<'a> {
        wanted: &'a str,
        axes: Axes,
    }

    impl VariantVisitor for Odd<'_> {
        fn visit<V: Variant>(&mut self) {
            if V::DESCRIPTOR.name != self.wanted {
                return;
            }
            let entry = find(self.wanted).unwrap();
            let axes = resolve(entry.descriptor, &self.axes).unwrap_or_else(|error| panic!("{error}"));
            let inputs = CellInputs::new(&entry, &axes, entry.draw(&axes).unwrap()).unwrap();
            let mut cell = prepare::<NaiveBackend, V>(&axes, &inputs).unwrap();
            cell.call_poisoned().unwrap_or_else(|error| panic!("{axes:?}: {error}"));
            let judgement = judge(&entry, &axes, &inputs, &cell.output().unwrap()).unwrap();
            assert_eq!(judgement.complaint, None, "{axes:?}");
            let metered = entry.cost(&axes).unwrap().flops as f64;
            let closed = evaluate(entry.descriptor.model.flops, &axes).unwrap();
            // Formulas count whole blocks, also where the last one is cut.
            let room = if axes.contains_key("block") { 0.25 } else { 0.02 };
            assert!((closed - metered).abs() <= room * metered, "{axes:?}: flops {closed}, metered {metered}");
            let scratch = entry.dry_run(&axes).unwrap().scratch_bytes as f64 / DType::F32.bytes(1).unwrap() as f64;
            let closed = evaluate(entry.descriptor.model.scratch, &axes).unwrap();
            // In f16, scratch in the storage type is half as large and weights are copied to it.
            let narrow = axes["precision"].as_text() == Some("f16");
            assert!(narrow || (closed - scratch).abs() <= 0.02 * scratch, "{axes:?}: scratch {closed}, metered {scratch}");
        }
    }

    fn check(cases: &[(&str, &[(&str, i64)])], sizes: &[(&str, i64)]) {
        for (wanted, odd) in cases {
            assert!(find(wanted).is_some(), "{wanted}");
            for precision in ["f32", "f16"] {
                let mut axes: Axes = sizes.iter().chain(*odd).map(|(name, value)| ((*name).to_owned(), AxisValue::Int(*value))).collect();
                axes.insert("precision".into(), precision.into());
                visit(&mut Odd { wanted, axes });
            }
        }
    }

    #[test]
    fn all_is_right_away_from_the_defaults() {
        check(ODD, &[("batch", 2), ("heads", 4), ("kv_heads", 2), ("n", 77), ("head_dim", 12)]);
    }

    #[test]
    fn steps_are_right_away_from_the_defaults() {
        check(ODD_STEPS, &[("batch", 2), ("heads", 4), ("kv_heads", 2), ("n_kv", 77), ("head_dim", 12)]);
    }
}
