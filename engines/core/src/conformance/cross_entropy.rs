//! Losses over tiles of a vocabulary, against logits, their log-sum-exp and the target's logit in f64.

use crate::activation::Activation;
use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::error::EngineError;
use crate::host::HostTensor;
use crate::ops::OpSpec;
use crate::reference::gamma;
use crate::support::Support;
use crate::weights::HostWeight;

use super::Property;
use super::cases::Fill;
use super::compare::{Target, storing};
use super::fused::layer;
use super::trial::{Outcome, Stop, Trial, fail};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    vec![
        Property { name: "cross-entropy", operation: "cross-entropy", check: losses },
        Property { name: "cross-entropy-tiles", operation: "cross-entropy", check: tiles_do_not_matter },
        Property { name: "cross-entropy-operands", operation: "cross-entropy", check: wrong_operands },
    ]
}

/// A vocabulary in tiles of this many words; the last holds what is left.
struct Vocabulary<W> {
    hosts: Vec<HostWeight>,
    prepared: Vec<W>,
    classes: usize,
    widest: usize,
}

impl<W> Vocabulary<W> {
    fn of<B: TransformerBackend<Weight = W>>(t: &Trial<'_, B>, values: &[f64], inputs: usize, tile: usize) -> Outcome<Self> {
        let (precision, classes) = (t.engine.config().precision, values.len() / inputs);
        let host = |part: &[f64]| -> crate::error::Result<HostWeight> {
            HostWeight::for_precision(&HostTensor::new(&[part.len() / inputs, inputs], part.to_vec())?, precision)
        };
        let hosts: Vec<HostWeight> = values.chunks(tile * inputs).map(host).collect::<crate::error::Result<_>>()?;
        let prepared: crate::error::Result<Vec<W>> = hosts.iter().map(|host| t.engine.prepare_weight(host)).collect();
        let operation = OpSpec::CrossEntropy { rows: 1, inputs, classes, form: hosts[0].form() };
        match prepared {
            Ok(prepared) => Ok(Self { hosts, prepared, classes, widest: tile.min(classes) }),
            Err(_) if matches!(t.engine.supports(&operation), Support::Unsupported(_)) => Err(Stop::Refused),
            Err(error) => fail(format!("{operation:?} is said to be supported, but its weights cannot be prepared: {error}")),
        }
    }

    /// What they stand for in f64.
    fn dequantized(&self) -> Vec<HostTensor> {
        self.hosts.iter().map(HostWeight::dequantized).collect()
    }
}

/// Rows of x and their targets.
struct Given {
    shape: Vec<usize>,
    x_type: DType,
    x: Vec<f64>,
    targets: Vec<f64>,
}

/// Calls it with some more room than is needed, of this type: what it answers, and the losses.
fn call<B: TransformerBackend>(
    t: &mut Trial<'_, B>,
    given: &Given,
    vocabulary: &Vocabulary<B::Weight>,
    [room, dtype]: [DType; 2],
) -> Outcome<(crate::error::Result<()>, Vec<f64>)> {
    let lead = given.lead();
    let more = t.source.choose(&[0, 0, 5]);
    let x = t.given(given.x_type, &given.shape, &given.x)?;
    let targets = t.given(DType::I32, lead, &given.targets)?;
    let mut logits = t.output(room, &[lead, &[vocabulary.widest + more]].concat())?;
    let mut out = t.output(dtype, lead)?;
    let result = t.engine.cross_entropy(x.view(), &vocabulary.prepared, targets.view(), logits.view_mut(), out.view_mut(), &mut t.scratch);
    t.engine.synchronize()?;
    // Of the room only the surroundings are asked.
    t.read(&logits)?;
    Ok((result, t.read(&out)?))
}

/// The losses, where it is there.
fn run<B: TransformerBackend>(t: &mut Trial<'_, B>, given: &Given, vocabulary: &Vocabulary<B::Weight>, dtype: DType) -> Outcome<Vec<f64>> {
    let (result, found) = call(t, given, vocabulary, [t.compute(), dtype])?;
    t.done(&operation(given, vocabulary), result)?;
    Ok(found)
}

fn operation<W>(given: &Given, vocabulary: &Vocabulary<W>) -> OpSpec {
    let (rows, inputs) = (given.lead().iter().product(), given.shape[given.shape.len() - 1]);
    OpSpec::CrossEntropy { rows, inputs, classes: vocabulary.classes, form: vocabulary.hosts[0].form() }
}

/// A target that is no word's number is an index error that says where it stands, and logits of another type than the compute type are
/// refused: both before anything is kept.
fn wrong_operands<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (mut given, w) = draw(t);
    let (inputs, compute) = (given.shape[given.shape.len() - 1], t.compute());
    let tile = t.source.choose(&[3, 16, w.len() / inputs]);
    let vocabulary = Vocabulary::of(t, &w, inputs, tile)?;
    let operation = operation(&given, &vocabulary);
    let expect =
        |t: &mut Trial<'_, B>, given: &Given, room: DType, expected: EngineError| match call(t, given, &vocabulary, [room, compute])? {
            (Err(error), _) if error == expected => t.nothing_is_kept(),
            (refused @ Err(EngineError::Unsupported { .. }), _) => t.done(&operation, refused),
            (other, _) => fail(format!("{other:?}, expected {expected:?}")),
        };
    for found in [DType::I32, t.storage()].into_iter().filter(|&found| found != compute) {
        expect(t, &given, found, EngineError::ElementType { operation: "cross-entropy", expected: compute, found })?;
    }
    if given.targets.is_empty() {
        return Ok(());
    }
    let (position, bound) = (t.source.below(given.targets.len()), vocabulary.classes);
    let wrong = t.source.choose(&[-1.0, bound as f64, bound as f64 + 1000.0]);
    given.targets[position] = wrong;
    expect(t, &given, compute, EngineError::Index { operation: "cross-entropy", index: wrong as i64, position, bound })
}

impl Given {
    fn lead(&self) -> &[usize] {
        &self.shape[..self.shape.len() - 1]
    }
}

/// Sizes rows, inputs and words, and values for them.
fn draw<B: TransformerBackend>(t: &mut Trial<'_, B>) -> (Given, Vec<f64>) {
    let [rows, inputs, classes] = t.source.sizes_within([0, 1, 1], t.options.work / 4);
    let lead = t.source.choose(&[vec![rows], vec![1, rows], vec![2, rows.div_ceil(2)]]);
    let rows: usize = lead.iter().product();
    // Logits of some dozens, too: their exponentials overflow without a maximum.
    let spread = t.source.choose(&[0.5, 2.0, 60.0]);
    let x_type = t.storage();
    let x = t.source.values(Fill::Normal(spread), rows * inputs).into_iter().map(|x| x_type.round(x)).collect();
    let targets = (0..rows).map(|_| t.source.below(classes) as f64).collect();
    let w = t.source.values(Fill::Normal(1.0 / (inputs as f64).sqrt()), classes * inputs);
    (Given { shape: [&lead[..], &[inputs]].concat(), x_type, x, targets }, w)
}

fn losses<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (given, w) = draw(t);
    let inputs = given.shape[given.shape.len() - 1];
    let tile = t.source.choose(&[1, 3, 16, w.len() / inputs]);
    let (vocabulary, dtype) = (Vocabulary::of(t, &w, inputs, tile)?, t.float_type());
    let found = run(t, &given, &vocabulary, dtype)?;
    let weights = vocabulary.dequantized();
    let target = |(x, &target): (&[f64], &f64)| {
        let logits = |w: &HostTensor| layer(t, x, &vec![0.0; inputs], w, Activation::None, t.compute());
        let logits: Vec<Target> = weights.iter().flat_map(logits).collect();
        loss(&logits, target as usize, weights.len(), [t.compute(), dtype])
    };
    let targets: Vec<Target> = given.x.chunks(inputs).zip(&given.targets).map(target).collect();
    t.compare(dtype, &found, &targets)
}

/// -log softmax(logits)[target] from logits that may each be off.
fn loss(logits: &[Target], target: usize, tiles: usize, [compute, out]: [DType; 2]) -> Target {
    let (u, own) = (compute.unit_roundoff(), logits[target]);
    let largest = logits.iter().map(|logit| logit.value).fold(f64::MIN, f64::max);
    let power = |logit: &Target| libm::exp(logit.value - largest);
    let sum: f64 = logits.iter().map(power).sum();
    let value = libm::log(sum) + largest - own.value;
    // What errors of the logits do to the log-sum-exp: at most this, as the logarithm of a mean of exponentials.
    let carried = libm::log(logits.iter().map(|logit| power(logit) / sum * libm::exp(logit.hard.min(700.0))).sum());
    // Differences from the maximum, which add up across tiles; exponentials; the sum with its rescaling.
    let shifts: f64 = logits.iter().map(|logit| power(logit) / sum * (largest - logit.value + logit.hard)).sum();
    let relative = gamma(logits.len() + 8 * tiles + 16, u) + 2.0 * u * shifts + logits.len() as f64 * compute.smallest_normal();
    let magnitudes = libm::log(sum).abs() + largest.abs() + (value + own.value).abs() + own.value.abs() + value.abs();
    Target::within(value, carried + own.hard + 2.0 * relative + 4.0 * u * magnitudes + storing(out, value) + compute.smallest_normal())
}

/// The same weights in other tiles give the same loss, but for the order of the sum; and with tiles of one size, in one order, a word's
/// number is all that a target tells.
fn tiles_do_not_matter<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (given, w) = draw(t);
    let inputs = given.shape[given.shape.len() - 1];
    let dtype = t.compute();
    let whole = Vocabulary::of(t, &w, inputs, w.len() / inputs)?;
    let tile = t.source.choose(&[2, 7, 16, 33]);
    let tiles = Vocabulary::of(t, &w, inputs, tile)?;
    let (one, other) = (run(t, &given, &whole, dtype)?, run(t, &given, &tiles, dtype)?);
    let weights = whole.dequantized();
    let target = |(x, &target): (&[f64], &f64)| {
        let logits = layer(t, x, &vec![0.0; inputs], &weights[0], Activation::None, t.compute());
        loss(&logits, target as usize, tiles.hosts.len(), [dtype; 2])
    };
    let targets: Vec<Target> = given.x.chunks(inputs).zip(&given.targets).map(target).collect();
    t.agree("other tiles", &other, &one, &targets)
}
