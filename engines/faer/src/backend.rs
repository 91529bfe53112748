//! Which operation goes where: products to faer, the rest to the vector engine, fused operations to their compositions.

use std::borrow::Cow;

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{EngineConfig, EngineDescription, NormWeights, Operand, TransformerBackend, unsupported};
use crossover_core::check;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result};
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::operands::Types;
use crossover_core::ops::{BinaryOp, LinearSpec, MatmulSpec, NormSpec, OpSpec, ReduceOp, SoftmaxAlgorithm, UnaryOp, WeightForm};
use crossover_core::pattern::AttentionPattern;
use crossover_core::support::Support;
use crossover_core::tensor::{Tensor, View, ViewMut};
use crossover_core::weights::HostWeight;
use crossover_simd::SimdBackend;
use crossover_simd::buffer::SimdBuffer;

use crate::products::{Threads, multiply};
use crate::weight::FaerWeight;

/// The name of this engine in cells and messages.
pub const NAME: &str = "faer";

/// The faer engine. See the crate's head.
#[derive(Debug)]
pub struct FaerBackend {
    /// Memory, rows, elements and indices.
    rest: SimdBackend,
    types: Types,
    threads: Threads,
}

type V<'a> = View<'a, SimdBuffer>;
type M<'a> = ViewMut<'a, SimdBuffer>;

impl TransformerBackend for FaerBackend {
    type Buffer = SimdBuffer;
    type Weight = FaerWeight;

    fn new(config: &EngineConfig) -> Result<Self> {
        let refused = |operation: String, reason: String| EngineError::Unsupported { engine: NAME, operation, reason };
        if ![Precision::F64, Precision::F32].contains(&config.precision) {
            return Err(refused(format!("precision {}", config.precision), "faer has kernels for f64 and f32".into()));
        }
        if config.isa != IsaChoice::Auto {
            return Err(refused(format!("isa {}", config.isa), "faer chooses its instructions by itself".into()));
        }
        faer::disable_global_parallelism();
        let threads = Threads::new(config.threads).map_err(|reason| refused(format!("a pool of {} threads", config.threads), reason))?;
        Ok(Self { rest: SimdBackend::new(config)?, types: Types::of(config.precision), threads })
    }

    fn describe() -> EngineDescription {
        EngineDescription {
            name: NAME,
            summary: "products by faer, a pass over memory for what is around them (rows by the vector engine)",
            isa: of_products_and_rest(),
            native: vec!["f64", "f32"],
        }
    }

    fn config(&self) -> &EngineConfig {
        self.rest.config()
    }

    fn threads_used(&self) -> usize {
        self.rest.threads_used()
    }

    fn supports(&self, operation: &OpSpec) -> Support {
        match operation {
            OpSpec::Matmul { .. } => Support::Native,
            OpSpec::Linear { form: WeightForm::Dense(dtype), .. } if *dtype == self.compute() => Support::Native,
            OpSpec::CrossEntropy { form: WeightForm::Dense(dtype), .. } | OpSpec::Mixture { form: WeightForm::Dense(dtype), .. }
                if *dtype == self.compute() =>
            {
                Support::Composed
            }
            OpSpec::Linear { form, .. } | OpSpec::CrossEntropy { form, .. } | OpSpec::Mixture { form, .. } => {
                Support::Unsupported(format!("faer multiplies dense matrices, not weights held as {form}"))
            }
            OpSpec::Attention { .. }
            | OpSpec::BucketAttention { .. }
            | OpSpec::LinearAttention { .. }
            | OpSpec::GatedFfn { .. }
            | OpSpec::AddNorm { .. } => Support::Composed,
            _ => self.rest.supports(operation),
        }
    }

    fn synchronize(&self) -> Result<()> {
        self.rest.synchronize()
    }

    fn allocate(&self, dtype: DType, elements: usize) -> Result<SimdBuffer> {
        self.rest.allocate(dtype, elements)
    }

    fn upload(&self, host: &HostTensor, dtype: DType) -> Result<Tensor<SimdBuffer>> {
        self.rest.upload(host, dtype)
    }

    fn download(&self, view: V<'_>) -> Result<HostTensor> {
        self.rest.download(view)
    }

    fn fill(&self, out: M<'_>, value: f64) -> Result<()> {
        self.rest.fill(out, value)
    }

    fn prepare_weight(&self, weight: &HostWeight) -> Result<FaerWeight> {
        FaerWeight::prepare(&self.rest, weight, self.config().precision)
    }

    fn copy(&self, x: V<'_>, out: M<'_>) -> Result<()> {
        self.rest.copy(x, out)
    }

    fn matmul(&self, spec: MatmulSpec, a: V<'_>, b: V<'_>, mut c: M<'_>) -> Result<()> {
        let sizes = check::matmul(&a.layout, &b.layout, &c.layout)?;
        if sizes.k == 0 || spec.beta != 0.0 && spec.beta != 1.0 {
            // faer knows C = and C +=, nothing between.
            self.scale(spec.beta, c.reborrow())?;
        }
        if sizes.k == 0 {
            return Ok(());
        }
        self.product("matmul", (spec.alpha, spec.beta != 0.0), (a, b), c)
    }

    fn linear(&self, spec: LinearSpec, x: V<'_>, weight: &FaerWeight, bias: Option<V<'_>>, mut out: M<'_>) -> Result<()> {
        check::linear(&x.layout, weight, bias.as_ref().map(|bias| &bias.layout), &out.layout)?;
        self.types.inputs("linear", [&x, bias.as_ref().unwrap_or(&x)])?;
        self.types.output("linear", &out)?;
        let (from, to) = x.layout.rows_together(out.layout)?;
        if from.dim_from_end(0) == 0 {
            self.fill(out.reborrow(), 0.0)?;
        } else {
            let weight = weight.values.view().transposed()?;
            let target = ViewMut { buffer: &mut *out.buffer, layout: to };
            self.product("linear", (1.0, false), (View { layout: from, ..x }, weight), target)?;
        }
        if let Some(bias) = bias {
            self.rest.binary(BinaryOp::Add, Operand::InPlace, bias, out.reborrow())?;
        }
        match spec.activation {
            Activation::None => Ok(()),
            activation => self.rest.unary(UnaryOp::Activation(activation), Operand::InPlace, out),
        }
    }

    fn softmax(&self, algorithm: SoftmaxAlgorithm, x: Operand<'_, SimdBuffer>, out: M<'_>) -> Result<()> {
        self.rest.softmax(algorithm, x, out)
    }

    fn normalize(&self, spec: NormSpec, x: Operand<'_, SimdBuffer>, weights: NormWeights<'_, SimdBuffer>, out: M<'_>) -> Result<()> {
        self.rest.normalize(spec, x, weights, out)
    }

    fn unary(&self, op: UnaryOp, x: Operand<'_, SimdBuffer>, out: M<'_>) -> Result<()> {
        self.rest.unary(op, x, out)
    }

    fn binary(&self, op: BinaryOp, a: Operand<'_, SimdBuffer>, b: V<'_>, out: M<'_>) -> Result<()> {
        self.rest.binary(op, a, b, out)
    }

    fn reduce(&self, op: ReduceOp, x: V<'_>, out: M<'_>) -> Result<()> {
        self.rest.reduce(op, x, out)
    }

    fn mask(&self, pattern: &AttentionPattern, query_offset: usize, key_offset: usize, scores: M<'_>) -> Result<()> {
        self.rest.mask(pattern, query_offset, key_offset, scores)
    }

    fn select(&self, condition: V<'_>, otherwise: f64, out: M<'_>) -> Result<()> {
        self.rest.select(condition, otherwise, out)
    }

    fn gather_rows(&self, table: V<'_>, indices: V<'_>, out: M<'_>) -> Result<()> {
        self.rest.gather_rows(table, indices, out)
    }

    fn scatter_add_rows(&self, x: V<'_>, indices: V<'_>, out: M<'_>) -> Result<()> {
        self.rest.scatter_add_rows(x, indices, out)
    }

    fn stable_argsort(&self, keys: V<'_>, out: M<'_>) -> Result<()> {
        self.rest.stable_argsort(keys, out)
    }

    fn top_k(&self, x: V<'_>, values: M<'_>, indices: M<'_>) -> Result<()> {
        self.rest.top_k(x, values, indices)
    }

    fn cumulative_sum(&self, x: V<'_>, out: M<'_>) -> Result<()> {
        self.rest.cumulative_sum(x, out)
    }

    fn depthwise_conv(&self, x: V<'_>, filter: V<'_>, causal: bool, out: M<'_>) -> Result<()> {
        self.rest.depthwise_conv(x, filter, causal, out)
    }

    fn log_softmax(&self, x: Operand<'_, SimdBuffer>, out: M<'_>, scratch: &mut Arena<SimdBuffer>) -> Result<()> {
        self.rest.log_softmax(x, out, scratch)
    }

    fn softmax_top_k(&self, x: V<'_>, values: M<'_>, indices: M<'_>, scratch: &mut Arena<SimdBuffer>) -> Result<()> {
        self.rest.softmax_top_k(x, values, indices, scratch)
    }

    fn rotary(&self, x: V<'_>, cosines: V<'_>, sines: V<'_>, out: M<'_>, scratch: &mut Arena<SimdBuffer>) -> Result<()> {
        self.rest.rotary(x, cosines, sines, out, scratch)
    }
}

impl FaerBackend {
    fn product(&self, operation: &'static str, how: (f64, bool), operands: (V<'_>, V<'_>), c: M<'_>) -> Result<()> {
        match self.compute() {
            DType::F64 => multiply::<f64>(operation, &self.threads, how, operands, c),
            DType::F32 => multiply::<f32>(operation, &self.threads, how, operands, c),
            other => Err(unsupported(NAME, &OpSpec::Matmul { batch: 1, m: 0, n: 0, k: 0 }, format!("faer has no kernel for {other}"))),
        }
    }

    /// C = beta C, where 0 overwrites C unread.
    fn scale(&self, beta: f64, c: M<'_>) -> Result<()> {
        if beta == 0.0 {
            return self.rest.fill(c, 0.0);
        }
        self.rest.unary(UnaryOp::Affine { scale: beta, shift: 0.0 }, Operand::InPlace, c)
    }
}

/// faer does not say which instructions its products take. The rest is the vector engine's, whose instructions for narrow products (`+bf16`
/// and the like) no row of f64 or f32 uses.
fn of_products_and_rest() -> Cow<'static, str> {
    let rest = SimdBackend::describe().isa;
    let family = rest.split('+').next().unwrap_or_default();
    Cow::Owned(format!("faer's choice in products, {family} elsewhere"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossover_core::sparse::Structure;

    #[test]
    fn rows_name_the_instructions_that_they_use_and_no_others() {
        let config = EngineConfig::new(Precision::F32, 1);
        let (named, rest) = (FaerBackend::new(&config).unwrap().isa(), SimdBackend::new(&config).unwrap().isa());
        assert_eq!(named, FaerBackend::describe().isa);
        let family = named.strip_prefix("faer's choice in products, ").and_then(|named| named.strip_suffix(" elsewhere")).unwrap();
        assert!(rest.starts_with(family) && !family.contains('+'), "{named}, beside {rest}");
    }

    #[test]
    fn a_form_that_is_refused_is_refused_in_the_same_words_at_every_size() {
        let backend = FaerBackend::new(&EngineConfig::new(Precision::F32, 1)).unwrap();
        let of = |outputs: usize| {
            let form = WeightForm::Sparse { dtype: DType::F32, structure: Structure::NofM { n: 2, m: 4 }, stored: 4 * outputs };
            let spec = LinearSpec { activation: Activation::None };
            backend.supports(&OpSpec::Linear { rows: 1, inputs: 8, outputs, form, spec, bias: false })
        };
        assert_eq!(of(2), Support::Unsupported("faer multiplies dense matrices, not weights held as a sparse f32 matrix".into()));
        assert_eq!(of(2), of(4));
    }
}
