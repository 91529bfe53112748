//! An operation on an engine, ready to be called again and again: operands drawn, weights prepared, the output there.

mod attention;
mod products;
mod rows;

use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::tensor::Tensor;

use crate::list::{Case, INDEX, Kind};

/// One call of the operation.
pub type Call<'e> = Box<dyn FnMut() -> Result<()> + 'e>;

/// Makes everything that the calls need.
///
/// # Errors
/// As the engine answers: memory that is not there, a form of weight that it has not.
pub fn prepare<'e, B: TransformerBackend>(engine: &'e B, case: &Case) -> Result<Call<'e>> {
    let shape = [case.shape[0], case.shape[1]];
    match case.operation.kind {
        Kind::Matmul { is_transposed } => products::matmul(engine, case, is_transposed),
        Kind::Linear | Kind::LinearCsr | Kind::LinearTwoOfFour => products::linear(engine, case),
        Kind::GatedFfn => products::gated_ffn(engine, case),
        Kind::CrossEntropy => products::cross_entropy(engine, case),
        Kind::Mixture => products::mixture(engine, case),
        Kind::Attention(_) => attention::attention(engine, case),
        Kind::Buckets { is_causal } => attention::buckets(engine, case, is_causal),
        Kind::LinearAttention { is_causal } => attention::linear_attention(engine, case, is_causal),
        Kind::Rotary => attention::rotary(engine, case),
        Kind::CausalMask => attention::mask(engine, case),
        Kind::Norm(kind) => rows::norm(engine, shape, kind),
        Kind::AddNorm => rows::add_norm(engine, shape),
        Kind::GatherRows => rows::by_index(engine, shape, true),
        Kind::ScatterAddRows => rows::by_index(engine, shape, false),
        Kind::TopK => rows::largest(engine, shape, case.shape[2], false),
        Kind::SoftmaxTopK => rows::largest(engine, shape, case.shape[2], true),
        Kind::StableArgsort => rows::argsort(engine, shape),
        Kind::DepthwiseConv => rows::depthwise_conv(engine, shape, case.shape[2]),
        Kind::Reduce(op) => rows::reduce(engine, shape, op),
        Kind::Select => rows::select(engine, shape),
        Kind::Softmax(algorithm) => rows::of_one(engine, shape, move |x, out| engine.softmax(algorithm, Operand::Of(x), out)),
        Kind::LogSoftmax => rows::log_softmax(engine, shape),
        Kind::Unary(op) => rows::of_one(engine, shape, move |x, out| engine.unary(op, Operand::Of(x), out)),
        Kind::CumulativeSum => rows::of_one(engine, shape, |x, out| engine.cumulative_sum(x, out)),
        Kind::Copy => rows::of_one(engine, shape, |x, out| engine.copy(x, out)),
        Kind::Binary(op) => rows::binary(engine, shape, op),
    }
}

/// Values between -1 and 1, the same everywhere.
fn values(shape: &[usize]) -> Result<HostTensor> {
    let count: usize = shape.iter().product();
    HostTensor::new(shape, (0..count).map(|at| ((at * 37) % 101) as f64 / 50.0 - 1.0).collect())
}

/// An operand in the type in which the engine's tensors stand in memory.
fn operand<B: TransformerBackend>(engine: &B, shape: &[usize]) -> Result<Tensor<B::Buffer>> {
    engine.upload(&values(shape)?, engine.storage())
}

/// Room for a result; of the value zero, so that its memory is really there.
fn output<B: TransformerBackend>(engine: &B, dtype: DType, shape: &[usize]) -> Result<Tensor<B::Buffer>> {
    let mut out = engine.tensor(dtype, shape)?;
    engine.fill(out.view_mut(), 0.0)?;
    Ok(out)
}

/// Whole numbers below `bound`, in an order that jumps about: each once, where there are as many as the bound and that is a power of two.
fn indices<B: TransformerBackend>(engine: &B, shape: &[usize], bound: usize) -> Result<Tensor<B::Buffer>> {
    let count: usize = shape.iter().product();
    engine.upload(&HostTensor::new(shape, (0..count).map(|at| (at.wrapping_mul(2_654_435_761) % bound) as f64).collect())?, INDEX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::{OPERATIONS, Operation};
    use crossover_core::backend::EngineConfig;
    use crossover_core::dtype::PRECISION_PRESETS;
    use crossover_core::shape_only::ShapeOnly;

    #[test]
    fn a_call_is_the_operation_that_its_cost_is_of() {
        for (name, precision) in PRECISION_PRESETS {
            // Shapes are the same in all of them; the widest and two narrow ones have every form of weight.
            if !["f32", "int8", "int4"].contains(&name) {
                continue;
            }
            let engine = ShapeOnly::new(&EngineConfig::new(precision, 1)).unwrap();
            for case in OPERATIONS.iter().flat_map(Operation::cases).filter(|case| case.takes(precision)) {
                let mut call = prepare(&engine, &case).unwrap_or_else(|error| panic!("{case:?}: {error}"));
                engine.take_log();
                call().unwrap_or_else(|error| panic!("{case:?}: {error}"));
                assert_eq!(engine.take_log(), [case.spec(precision)], "{case:?}");
            }
        }
    }
}
