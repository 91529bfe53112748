//! Mixtures of experts, against the layers of the chosen experts in f64, with places that run out.

use crate::activation::Activation;
use crate::backend::{Experts, Routes, TransformerBackend};
use crate::check::MixtureSizes;
use crate::dtype::DType;
use crate::error::EngineError;
use crate::host::HostTensor;
use crate::ops::{LinearSpec, OpSpec, WeightForm};
use crate::support::Support;
use crate::weights::HostWeight;

use super::Property;
use super::cases::Fill;
use super::compare::{Target, storing};
use super::fused::biased_layer;
use super::place::Placed;
use super::trial::{Outcome, Stop, Trial, fail};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    vec![
        Property { name: "mixture", operation: "mixture", check: mixture },
        Property { name: "mixture-index", operation: "mixture", check: no_such_expert },
    ]
}

/// One of the two layers of all experts.
struct Layer<B: TransformerBackend> {
    hosts: Vec<HostWeight>,
    prepared: Vec<B::Weight>,
    /// [experts, outputs].
    bias: Placed<B::Buffer>,
}

impl<B: TransformerBackend> Layer<B> {
    fn draw(t: &mut Trial<'_, B>, operation: &OpSpec, [experts, outputs, inputs]: [usize; 3]) -> Outcome<Self> {
        let precision = t.engine.config().precision;
        let mut hosts = Vec::new();
        for _ in 0..experts {
            let values = t.source.values(Fill::Normal(1.0 / (inputs as f64).sqrt()), outputs * inputs);
            hosts.push(HostWeight::for_precision(&HostTensor::new(&[outputs, inputs], values)?, precision)?);
        }
        let prepared: crate::error::Result<Vec<B::Weight>> = hosts.iter().map(|host| t.engine.prepare_weight(host)).collect();
        let storage = t.storage();
        match prepared {
            Ok(prepared) => Ok(Self { hosts, prepared, bias: t.input(storage, &[experts, outputs], Fill::Normal(0.5))? }),
            Err(_) if matches!(t.engine.supports(operation), Support::Unsupported(_)) => Err(Stop::Refused),
            Err(error) => fail(format!("{operation:?} is said to be supported, but its weights cannot be prepared: {error}")),
        }
    }

    /// Outputs of one expert for inputs that may each be off.
    fn target(&self, t: &Trial<'_, B>, expert: usize, (x, errors): (&[f64], &[f64]), activation: Activation) -> Vec<Target> {
        let outputs = self.bias.values.len() / self.hosts.len();
        let bias = &self.bias.values[expert * outputs..][..outputs];
        biased_layer(t, x, errors, (&self.hosts[expert].dequantized(), bias), activation, t.storage())
    }
}

/// Everything but the routes.
struct Drawn<B: TransformerBackend> {
    sizes: MixtureSizes,
    spec: LinearSpec,
    operation: OpSpec,
    x: Placed<B::Buffer>,
    layers: [Layer<B>; 2],
}

impl<B: TransformerBackend> Drawn<B> {
    fn of(t: &mut Trial<'_, B>) -> Outcome<Self> {
        let [tokens, width, hidden] = t.source.sizes_within([0, 1, 1], t.options.work / 16);
        let (experts, choices) = t.source.choose(&[(1, 1), (3, 1), (2, 2), (5, 2), (4, 3)]);
        // Room for all, for their even share, for few.
        let places = t.source.choose(&[tokens * choices, (tokens * choices).div_ceil(experts), 1 + tokens / 5]).max(1);
        let sizes = MixtureSizes { tokens, choices, places, experts, width, hidden };
        let spec = LinearSpec { activation: t.source.choose(&Activation::ALL) };
        let operation = sizes.operation(spec, WeightForm::of(t.engine.config().precision));
        if tokens == 0 && matches!(t.engine.supports(&operation), Support::Unsupported(_)) {
            // A composition of nothing asks for nothing that could be refused.
            return Err(Stop::Refused);
        }
        let storage = t.storage();
        let x = t.input(storage, &[tokens, width], Fill::Normal(1.0))?;
        let layers = [Layer::draw(t, &operation, [experts, hidden, width])?, Layer::draw(t, &operation, [experts, width, hidden])?];
        Ok(Self { sizes, spec, operation, x, layers })
    }

    fn run(&self, t: &mut Trial<'_, B>, chosen: &[f64], gates: &[f64]) -> Outcome<(crate::error::Result<()>, Placed<B::Buffer>)> {
        let (compute, storage, MixtureSizes { tokens, choices, places, width, .. }) = (t.compute(), t.storage(), self.sizes);
        let chosen = t.given(DType::I32, &[tokens, choices], chosen)?;
        let gates = t.given(compute, &[tokens, choices], gates)?;
        let mut out = t.output(storage, &[tokens, width])?;
        let [up, down] = &self.layers;
        let experts = Experts { up: &up.prepared, up_bias: up.bias.view(), down: &down.prepared, down_bias: down.bias.view() };
        let routes = Routes { chosen: chosen.view(), gates: gates.view(), places };
        let result = t.engine.mixture(self.spec, self.x.view(), routes, experts, out.view_mut(), &mut t.scratch);
        Ok((result, out))
    }
}

/// Which choices find a place: all first ones before all second ones.
fn served(chosen: &[f64], sizes: MixtureSizes) -> Vec<bool> {
    let (mut counts, mut served) = (vec![0; sizes.experts], vec![false; chosen.len()]);
    for at in (0..sizes.choices).flat_map(|choice| (0..sizes.tokens).map(move |token| token * sizes.choices + choice)) {
        let count = &mut counts[chosen[at] as usize];
        served[at] = *count < sizes.places;
        *count += 1;
    }
    served
}

fn mixture<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let drawn = Drawn::of(t)?;
    let MixtureSizes { tokens, choices, experts, width, .. } = drawn.sizes;
    // Some experts are more wanted than others.
    let favoured = t.source.below(experts);
    let expert = |t: &mut Trial<'_, B>| if t.source.one_in(3) { favoured } else { t.source.below(experts) };
    let chosen: Vec<f64> = (0..tokens * choices).map(|_| expert(t) as f64).collect();
    let compute = t.compute();
    let gates: Vec<f64> = t.source.values(Fill::Positive(1.0), tokens * choices).into_iter().map(|gate| compute.round(gate)).collect();
    let (result, out) = drawn.run(t, &chosen, &gates)?;
    t.done(&drawn.operation, result)?;
    t.nothing_is_kept()?;
    let found = t.read(&out)?;
    let (served, storage) = (served(&chosen, drawn.sizes), t.storage());
    // Products with gates and sums over choices may each be stored.
    let rounding = t.u() + storage.unit_roundoff();
    let mut targets = Vec::with_capacity(found.len());
    for (token, x) in drawn.x.values.chunks(width).enumerate() {
        let mut sums = vec![(0.0, 0.0, 0.0); width];
        for at in (token * choices..(token + 1) * choices).filter(|&at| served[at]) {
            let expert = chosen[at] as usize;
            let middle = drawn.layers[0].target(t, expert, (x, &vec![0.0; width]), drawn.spec.activation);
            let (values, errors): (Vec<f64>, Vec<f64>) = middle.iter().map(|target| (target.value, target.hard)).unzip();
            let outputs = drawn.layers[1].target(t, expert, (&values, &errors), Activation::None);
            for ((sum, error, magnitude), output) in sums.iter_mut().zip(outputs) {
                *sum += gates[at] * output.value;
                *error += gates[at] * output.hard;
                *magnitude += gates[at] * (output.value.abs() + output.hard);
            }
        }
        targets.extend(sums.into_iter().map(|(sum, error, magnitude)| {
            let small = (2 * choices) as f64 * (storage.smallest_normal() + t.compute().smallest_normal());
            Target::within(sum, error + (choices + 1) as f64 * rounding * magnitude + storing(storage, sum) + small)
        }));
    }
    t.compare(storage, &found, &targets)
}

/// A choice that is no expert's number is an index error, wherever it stands.
fn no_such_expert<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let drawn = Drawn::of(t)?;
    let MixtureSizes { tokens, choices, experts, .. } = drawn.sizes;
    if tokens == 0 {
        return Ok(());
    }
    let (at, wrong) = (t.source.below(tokens * choices), t.source.choose(&[-1.0, experts as f64, experts as f64 + 7.0]));
    let mut chosen: Vec<f64> = (0..tokens * choices).map(|_| t.source.below(experts) as f64).collect();
    chosen[at] = wrong;
    let (result, _) = drawn.run(t, &chosen, &vec![0.5; tokens * choices])?;
    let expected = EngineError::Index { operation: "mixture", index: wrong as i64, position: at, bound: experts };
    match result {
        Err(error) if error == expected => t.nothing_is_kept(),
        Err(EngineError::Unsupported { .. }) => t.done(&drawn.operation, result),
        other => fail(format!("choice {wrong} at {at} of {experts} experts: {other:?}, expected {expected:?}")),
    }
}
