//! What decoding step by step must hold: a cache changes nothing, and steps are the whole sequence.

use crossover_core::axes::AxisValue;
use crossover_core::host::HostTensor;

use crate::model::presets::{Decode, DecodeRecompute, Decoder, Prefill};
use crate::testing::{axes, axis_error, distance, drawn, judged, run};

const SMALL: [(&str, i64); 8] =
    [("n", 9), ("steps", 5), ("layers", 2), ("d_model", 32), ("heads", 4), ("d_ff", 48), ("vocabulary", 40), ("batch", 2)];

type Given = Vec<(&'static str, AxisValue)>;

fn given(choices: &[(&'static str, &str)]) -> Given {
    let sizes = SMALL.iter().map(|(name, value)| (*name, AxisValue::Int(*value)));
    sizes.chain(choices.iter().map(|(name, value)| (*name, AxisValue::from(*value)))).collect()
}

/// Layouts with different positions, norms, heads and patterns.
fn layouts() -> [Given; 4] {
    let mut llama = given(&[("position", "rope"), ("norm", "rms-norm(shift=no)"), ("ffn", "swiglu"), ("biases", "no"), ("head", "untied")]);
    llama.push(("kv_heads", AxisValue::Int(2)));
    [
        given(&[]),
        llama,
        given(&[("attention", "window-causal(window=4)"), ("position", "sinusoidal"), ("norm_position", "post")]),
        given(&[("position", "alibi")]),
    ]
}

fn with(given: &Given, choice: &'static str) -> Given {
    given.iter().cloned().chain([("choice", choice.into())]).collect()
}

#[test]
fn a_cache_changes_nothing_token_by_token() {
    for layout in layouts() {
        for choice in ["forced", "greedy"] {
            let (cached, recomputed) = (axes::<Decode>(&with(&layout, choice)), axes::<DecodeRecompute>(&with(&layout, choice)));
            let inputs = drawn::<Decode>(&cached);
            let [own, other] = [run::<Decode>(&cached, &inputs), run::<DecodeRecompute>(&recomputed, &inputs)];
            assert!(distance(&own, &other) < 1e-11, "{choice} {layout:?}: {}", distance(&own, &other));
        }
    }
}

/// The cache comes from the same narrow weights as the steps: what quantising changed, it changed for both alike.
#[test]
fn a_cache_is_that_of_the_cells_own_weights() {
    for (precision, near) in [("int8-weight", 1e-4), ("int4", 1e-4)] {
        let narrow = [&given(&[])[..], &[("precision", precision.into())]].concat();
        let (cached, recomputed) = (axes::<Decode>(&narrow), axes::<DecodeRecompute>(&narrow));
        let inputs = drawn::<Decode>(&cached);
        let [own, other] = [run::<Decode>(&cached, &inputs), run::<DecodeRecompute>(&recomputed, &inputs)];
        let exact = run::<Decode>(&axes::<Decode>(&given(&[])), &inputs);
        assert!(distance(&own, &other) < near, "{precision}: {}", distance(&own, &other));
        assert!(distance(&own, &exact) > 10.0 * near, "{precision}: {}", distance(&own, &exact));
    }
}

/// Prefill(n) is prefill(n - m) and m steps: the logits of the whole sequence in one call, and of its last tokens in steps.
#[test]
fn prefill_and_steps_are_the_whole_sequence() {
    for layout in layouts() {
        let axes_of_steps = axes::<Decode>(&layout);
        let inputs = drawn::<Decode>(&axes_of_steps);
        let whole: Given = layout.iter().filter(|(name, _)| *name != "steps").cloned().collect();
        let whole = axes::<Decoder>(&whole.into_iter().chain([("n", AxisValue::Int(14))]).collect::<Given>());
        let mut sequence = inputs.clone();
        let rows = inputs["prompt"].values().chunks(9).zip(inputs["tokens"].values().chunks(5));
        let joined = rows.flat_map(|(prompt, tokens)| [prompt, tokens].concat()).collect();
        sequence.insert("tokens".into(), HostTensor::new(&[2, 14], joined).unwrap());
        let logits = run::<Decoder>(&whole, &sequence);
        let rows = |first: usize, count: usize| -> Vec<f64> {
            logits.values().chunks(14 * 40).flat_map(|one| one[first * 40..(first + count) * 40].to_vec()).collect()
        };
        let last_steps = HostTensor::new(&[2, 5, 40], rows(9, 5)).unwrap();
        assert!(distance(&run::<Decode>(&axes_of_steps, &inputs), &last_steps) < 1e-11, "{layout:?}");
        let prompt = HostTensor::new(&[2, 1, 40], rows(8, 1)).unwrap();
        let prefill = axes::<Prefill>(&layout);
        assert!(distance(&run::<Prefill>(&prefill, &inputs), &prompt) < 1e-11, "{layout:?}");
    }
}

/// The tokens that greedy steps choose, given to forced ones, lead to the same logits; and another token to others.
#[test]
fn greedy_steps_take_the_largest_logit() {
    let [forced, greedy] = ["forced", "greedy"].map(|choice| axes::<Decode>(&with(&given(&[]), choice)));
    let mut inputs = drawn::<Decode>(&greedy);
    let logits = run::<Decode>(&greedy, &inputs);
    let best = |row: &[f64]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as f64;
    let mut tokens = Vec::new();
    for (sequence, first) in logits.values().chunks(5 * 40).zip(inputs["tokens"].values()) {
        tokens.push(*first);
        tokens.extend(sequence.chunks(40).take(4).map(best));
    }
    inputs.insert("tokens".into(), HostTensor::new(&[2, 5], tokens.clone()).unwrap());
    assert_eq!(run::<Decode>(&forced, &inputs), logits);
    tokens[1] = 39.0 - tokens[1];
    inputs.insert("tokens".into(), HostTensor::new(&[2, 5], tokens).unwrap());
    let other = run::<Decode>(&forced, &inputs);
    assert_eq!(other.values()[..40], logits.values()[..40]);
    assert!(other.values()[40..80] != logits.values()[40..80]);
}

#[test]
fn greedy_steps_are_verified_and_groups_of_heads_too() {
    for precision in ["f64", "f32"] {
        for layout in layouts() {
            let mut axes = with(&layout, "greedy");
            axes.push(("precision", precision.into()));
            let judgement = judged::<Decode>(&axes);
            assert!(judgement.complaint.is_none() && 2 * judgement.rows_checked > judgement.rows_total, "{judgement:?}");
        }
    }
}

#[test]
fn what_cannot_go_step_by_step_is_refused() {
    for (choices, wanted) in [
        ([("attention", "linear-causal")], "attention/linear-causal cannot decode step by step"),
        ([("attention", "causal")], "attention/causal cannot decode step by step"),
        ([("attention", "flash")], "sees later tokens"),
        ([("ffn", "depthwise-separable(causal=yes)")], "ffn/depthwise-separable cannot decode step by step"),
    ] {
        let error = axis_error::<Decode>(&given(&choices));
        assert!(error.contains(wanted), "{error}");
    }
    assert!(axis_error::<Decode>(&[("steps", 0.into())]).contains("steps = 0"));
}
