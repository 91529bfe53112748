//! What cannot be done is a typed answer that says why, and never a panic; `supports` says the same.

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, EngineConfig, NormWeights, Operand, ScoreBias, TransformerBackend};
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result};
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::ops::{AttentionSpec, MatmulSpec, NormKind, NormSpec, OpSpec, ReduceOp, SoftmaxAlgorithm, UnaryOp};
use crossover_core::pattern::AttentionPattern;
use crossover_core::support::Support;
use crossover_core::tensor::{Tensor, ViewMut};
use crossover_simd::SimdBackend;
use crossover_simd::buffer::SimdBuffer;

fn engine(precision: &str) -> SimdBackend {
    SimdBackend::new(&EngineConfig::new(precision.parse().unwrap(), 2)).unwrap()
}

fn tensor(engine: &SimdBackend, shape: &[usize]) -> Tensor<SimdBuffer> {
    engine.upload(&HostTensor::new(shape, vec![0.5; shape.iter().product()]).unwrap(), engine.storage()).unwrap()
}

#[test]
fn a_path_that_the_machine_lacks_is_refused_with_those_that_it_has() {
    let foreign = if cfg!(target_arch = "x86_64") { IsaChoice::Neon } else { IsaChoice::Avx512 };
    let config = EngineConfig { isa: foreign, ..EngineConfig::new(Precision::F32, 1) };
    let Err(EngineError::Unsupported { engine: "simd", operation, reason }) = SimdBackend::new(&config) else { panic!("it was built") };
    assert!(operation.contains(foreign.name()) && reason.contains("scalar"), "{operation}: {reason}");
}

#[test]
fn every_path_names_itself() {
    for isa in IsaChoice::ALL {
        if let Ok(engine) = SimdBackend::new(&EngineConfig { isa, ..EngineConfig::new(Precision::F32, 1) }) {
            let (named, best) = (engine.isa().into_owned(), SimdBackend::describe().isa);
            assert!(if isa == IsaChoice::Auto { named == best } else { named.contains(isa.name()) }, "{isa}: {named}, best {best}");
        }
    }
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    for (weight, activation, accumulate, threads) in [
        (DType::F32, DType::F32, DType::F32, 0),
        (DType::F64, DType::F32, DType::F32, 1),
        (DType::F32, DType::F32, DType::Bf16, 1),
        (DType::I4, DType::I8, DType::I32, 1),
        (DType::F32, DType::F32, DType::I32, 1),
        (DType::Bf16, DType::Bf16, DType::F64, 1),
        (DType::I32, DType::F32, DType::F32, 1),
    ] {
        let precision = Precision::new(weight, activation, accumulate);
        match SimdBackend::new(&EngineConfig::new(precision, threads)) {
            Err(EngineError::Unsupported { reason, .. }) => assert!(!reason.is_empty()),
            other => panic!("{precision} on {threads} threads: {other:?}"),
        }
    }
}

#[test]
fn products_of_activations_in_int8_are_refused_as_supports_says() {
    let engine = engine("int8");
    let Support::Unsupported(said) = engine.supports(&OpSpec::Matmul { batch: 1, m: 2, n: 2, k: 2 }) else { panic!("claimed") };
    let (x, mut out) = (tensor(&engine, &[2, 2]), tensor(&engine, &[2, 2]));
    match engine.matmul(MatmulSpec::PLAIN, x.view(), x.view(), out.view_mut()) {
        Err(EngineError::Unsupported { reason, .. }) => assert_eq!(reason, said),
        other => panic!("{other:?}"),
    }
}

/// One row seen as four: two threads would write it at once.
fn repeated(tensor: &mut Tensor<SimdBuffer>) -> ViewMut<'_, SimdBuffer> {
    let mut shape = tensor.shape().to_vec();
    let axis = shape.iter().position(|&extent| extent == 1).unwrap();
    shape[axis] = 4;
    tensor.view_mut().with(|layout| layout.broadcast(&shape)).unwrap()
}

#[test]
fn outputs_that_repeat_their_elements_are_refused() {
    let engine = engine("f32");
    let (x, square) = (tensor(&engine, &[4, 8]), tensor(&engine, &[8, 8]));
    let heads = tensor(&engine, &[1, 4, 3, 8]);
    let (mut row, mut of_heads, mut one) = (tensor(&engine, &[1, 8]), tensor(&engine, &[1, 1, 3, 8]), tensor(&engine, &[1]));
    let norm = NormSpec { kind: NormKind::Layer, epsilon: 1e-5 };
    let none = NormWeights { gamma: None, beta: None };
    let attention = |out: &mut Tensor<SimdBuffer>| {
        let spec = AttentionSpec { pattern: AttentionPattern::Full, scale: 1.0, soft_cap: None, query_offset: 0 };
        let view = heads.view();
        let operands = AttentionOperands { q: view, k: view, v: view, bias: ScoreBias::None, key_mask: None };
        let mut shape = out.shape().to_vec();
        shape[1] = 4;
        let out = out.view_mut().with(|layout| layout.broadcast(&shape)).unwrap();
        engine.attention(&spec, operands, AttentionOutputs { out, log_sum_exp: None }, &mut Arena::new())
    };
    let answers: [(&str, Result<()>); 7] = [
        ("matmul", engine.matmul(MatmulSpec::PLAIN, x.view(), square.view(), repeated(&mut row))),
        ("softmax", engine.softmax(SoftmaxAlgorithm::Stable, Operand::Of(x.view()), repeated(&mut row))),
        ("normalize", engine.normalize(norm, Operand::Of(x.view()), none, repeated(&mut row))),
        ("unary", engine.unary(UnaryOp::Exp, Operand::Of(x.view()), repeated(&mut row))),
        ("copy", engine.copy(x.view(), repeated(&mut row))),
        ("reduce", engine.reduce(ReduceOp::Sum, x.view(), repeated(&mut one))),
        ("attention", attention(&mut of_heads)),
    ];
    for (name, answer) in answers {
        match answer {
            Err(EngineError::Shape { .. }) => assert!(answer.unwrap_err().to_string().contains("repeats its elements"), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    // One element may be seen as often as one likes where it is only read.
    let (single, mut out) = (tensor(&engine, &[1, 8]), tensor(&engine, &[4, 8]));
    engine.copy(single.view().with(|layout| layout.broadcast(&[4, 8])).unwrap(), out.view_mut()).unwrap();
}

/// A view that repeats one element asks for scratch as if it were there. Sizes that wrap around would make that little, and kernels write behind it.
#[test]
fn views_larger_than_memory_are_refused() {
    let engine = engine("f32");
    let one = tensor(&engine, &[1, 1]);
    for power in [49, 60, 62] {
        let wide = one.view().with(|layout| layout.broadcast(&[1, 1 << power])).unwrap();
        let mut out = tensor(&engine, &[1]);
        let refused =
            |done: Result<()>| assert!(matches!(done, Err(EngineError::Shape { .. } | EngineError::Allocation { .. })), "{done:?}");
        refused(engine.reduce(ReduceOp::Sum, wide, out.view_mut()));
        let mut product = tensor(&engine, &[1, 1]);
        let tall = wide.transposed().unwrap();
        refused(engine.matmul(MatmulSpec::PLAIN, wide, tall, product.view_mut()));
        let x = one.view().with(|layout| layout.broadcast(&[1, 1, 1])).unwrap();
        let mut convolved = tensor(&engine, &[1, 1, 1]);
        refused(engine.depthwise_conv(x, wide, true, convolved.view_mut()));
    }
}
