//! What cannot be done is a typed error that says so, and `supports` says the same.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, EngineConfig, Operand, PreparedWeight, ScoreBias, TransformerBackend};
use crossover_core::dtype::{DType, PRECISION_PRESETS, Precision};
use crossover_core::error::EngineError;
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::layout::Layout;
use crossover_core::ops::{AttentionSpec, LinearSpec, MatmulSpec, OpSpec, SoftmaxAlgorithm, UnaryOp, WeightForm};
use crossover_core::palette::Palette;
use crossover_core::pattern::AttentionPattern;
use crossover_core::quantize::{Int4Groups, Int8Rows};
use crossover_core::sparse::{SparseWeight, Structure};
use crossover_core::support::Support;
use crossover_core::tensor::View;
use crossover_core::weights::HostWeight;
use crossover_naive::NaiveBackend;

use crate::helpers::*;

#[test]
fn products_of_activations_are_refused_under_int8() {
    let engine = engine("int8");
    let matmul = OpSpec::Matmul { batch: 1, m: 2, n: 2, k: 2 };
    let Support::Unsupported(reason) = engine.supports(&matmul) else { panic!("int8 matmul is claimed to work") };
    assert!(reason.contains("no weight to quantise"), "{reason}");
    let x = tensor(&engine, &[2, 2], &[1.0; 4]);
    let mut out = blank(&engine, &[2, 2]);
    let error = engine.matmul(MatmulSpec::PLAIN, x.view(), x.view(), out.view_mut()).unwrap_err();
    assert!(matches!(&error, EngineError::Unsupported { engine: "naive", .. }), "{error}");
    let x = tensor(&engine, &[1, 1, 2, 2], &[1.0; 4]);
    let mut out = blank(&engine, &[1, 1, 2, 2]);
    let spec = AttentionSpec { pattern: AttentionPattern::Full, scale: 1.0, soft_cap: None, query_offset: 0 };
    let operands = AttentionOperands { q: x.view(), k: x.view(), v: x.view(), bias: ScoreBias::None, key_mask: None };
    let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: None };
    assert!(matches!(engine.attention(&spec, operands, outputs, &mut Arena::new()), Err(EngineError::Unsupported { .. })));
    // Everything that is not a product of activations runs in f32.
    assert_eq!(engine.supports(&OpSpec::Softmax { rows: 1, classes: 2, algorithm: SoftmaxAlgorithm::Stable }), Support::Native);
}

fn two_of_four(w: &HostTensor, dtype: DType) -> SparseWeight {
    let kept: Vec<bool> = (0..w.len()).map(|at| at % 4 != 1 && at % 4 != 2).collect();
    SparseWeight::masked(w, &kept, Structure::NofM { n: 2, m: 4 }, dtype).unwrap()
}

fn ternary() -> Palette {
    Palette { outputs: 2, inputs: 4, codes: vec![0, 1, 2, 2, 1, 0, 0, 1], levels: vec![-1.0, 0.0, 1.0], scales: vec![2.0, 0.5] }
}

#[test]
fn support_and_linear_agree_for_every_precision_and_form() {
    let spec = LinearSpec { activation: Activation::None };
    let w = host(&[2, 4], &noise(1, 8));
    for (name, precision) in PRECISION_PRESETS {
        let engine = engine(name);
        let plain = ["f64", "f32", "bf16", "f16", "int8-weight", "int4"];
        let plain = plain.map(|form| HostWeight::for_precision(&w, form.parse().unwrap()).unwrap());
        let pairs = [DType::F64, DType::F32, DType::Bf16].map(|dtype| HostWeight::Sparse(two_of_four(&w, dtype)));
        for weight in plain.into_iter().chain(pairs).chain([HostWeight::Palette(ternary())]) {
            let form = weight.form();
            let question = OpSpec::Linear { rows: 1, inputs: 4, outputs: 2, form: weight.form(), spec, bias: false };
            let supported = !matches!(engine.supports(&question), Support::Unsupported(_));
            let mut out = blank(&engine, &[1, 2]);
            let x = tensor(&engine, &[1, 4], &[1.0; 4]);
            let done = engine.prepare_weight(&weight).and_then(|weight| engine.linear(spec, x.view(), &weight, None, out.view_mut()));
            assert_eq!(done.is_ok(), supported, "{name} with {form:?} weights: {done:?}");
            let own = HostWeight::for_precision(&w, precision).unwrap().form() == weight.form();
            assert!(supported || !own, "{name} does not hold its own weights");
        }
    }
}

#[test]
fn what_is_said_about_the_engine() {
    let description = NaiveBackend::describe();
    assert_eq!((description.name, description.isa.as_ref()), ("naive", "scalar"));
    assert_eq!(description.native.len(), PRECISION_PRESETS.len());
    let engine = engine("bf16");
    assert_eq!((engine.threads_used(), engine.config().threads), (1, 3));
    assert_eq!(engine.supports(&OpSpec::Rotary { rows: 1, width: 2 }), Support::Composed);
    let ffn = OpSpec::GatedFfn { rows: 1, width: 2, hidden: 2, activation: Activation::Silu };
    assert_eq!(engine.supports(&ffn), Support::Composed);
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let refused = |precision, threads| {
        let answer = NaiveBackend::new(&EngineConfig::new(precision, threads));
        assert!(matches!(answer, Err(EngineError::Unsupported { .. })), "{precision}");
    };
    refused(Precision::F32, 0);
    refused(Precision::new(DType::F32, DType::F32, DType::Bf16), 1);
    refused(Precision::new(DType::F64, DType::F64, DType::F32), 1);
    refused(Precision::new(DType::F64, DType::F32, DType::F32), 1);
    refused(Precision::new(DType::I4, DType::I8, DType::I32), 1);
    refused(Precision::new(DType::F32, DType::F32, DType::I32), 1);
    refused(Precision::new(DType::F32, DType::I4, DType::F32), 1);
    refused(Precision::new(DType::I32, DType::F32, DType::F32), 1);
}

#[test]
fn operands_of_other_types_are_refused() {
    let engine = engine("bf16");
    let wrong = engine.upload(&host(&[2], &[1.0, 2.0]), DType::F16).unwrap();
    let mut out = blank(&engine, &[2]);
    let error = engine.unary(UnaryOp::Exp, Operand::Of(wrong.view()), out.view_mut()).unwrap_err();
    assert_eq!(error, EngineError::ElementType { operation: "unary", expected: DType::Bf16, found: DType::F16 });
    let index = tensor(&engine, &[1], &[0.0]);
    let table = tensor(&engine, &[1, 2], &[0.0; 2]);
    let mut row = blank(&engine, &[1, 2]);
    let error = engine.gather_rows(table.view(), index.view(), row.view_mut()).unwrap_err();
    assert_eq!(error, EngineError::ElementType { operation: "gather", expected: DType::I32, found: DType::Bf16 });
}

#[test]
fn views_beyond_their_buffers_are_refused() {
    let engine = engine("f32");
    let small = tensor(&engine, &[4], &[0.0; 4]);
    let beyond = View { buffer: &small.buffer, layout: Layout::contiguous(&[5]).unwrap() };
    let mut out = blank(&engine, &[5]);
    for error in [
        engine.unary(UnaryOp::Exp, Operand::Of(beyond), out.view_mut()).unwrap_err(),
        engine.copy(beyond, out.view_mut()).unwrap_err(),
        engine.download(beyond).unwrap_err(),
        engine.select(beyond, 0.0, out.view_mut()).unwrap_err(),
    ] {
        assert!(matches!(&error, EngineError::Shape { .. }) && error.to_string().contains("reaches element 4"), "{error}");
    }
}

#[test]
fn impossible_sizes_are_refused() {
    let engine = engine("f64");
    for error in [
        engine.tensor(DType::F64, &[usize::MAX / 2]).unwrap_err(),
        engine.tensor(DType::F64, &[1 << 57]).unwrap_err(),
        engine.allocate(DType::I8, 1).unwrap_err(),
    ] {
        assert!(matches!(error, EngineError::Allocation { .. }), "{error}");
    }
    let mut scores = blank(&engine, &[2, 2]);
    assert!(matches!(engine.mask(&AttentionPattern::Causal, usize::MAX, 0, scores.view_mut()), Err(EngineError::Shape { .. })));
}

#[test]
fn weights_with_missing_codes_are_refused() {
    let engine = engine("int8");
    let short = Int8Rows { outputs: 2, inputs: 3, codes: vec![0; 5], scales: vec![1.0; 2] };
    assert!(matches!(engine.prepare_weight(&HostWeight::Int8(short)), Err(EngineError::Shape { .. })));
    for (group, scales) in [(0, 2), (2, 3)] {
        let wrong = Int4Groups { outputs: 2, inputs: 3, group, codes: vec![0; 6], scales: vec![1.0; scales] };
        assert!(matches!(engine.prepare_weight(&HostWeight::Int4(wrong)), Err(EngineError::Shape { .. })));
    }
    let engine = self::engine("f32");
    let mut sparse = two_of_four(&host(&[2, 4], &[1.0; 8]), DType::F32);
    sparse.columns[1] = 9;
    assert!(matches!(engine.prepare_weight(&HostWeight::Sparse(sparse)), Err(EngineError::Shape { .. })));
    let palette = Palette { levels: vec![1.0], ..ternary() };
    assert!(matches!(engine.prepare_weight(&HostWeight::Palette(palette)), Err(EngineError::Shape { .. })));
    let flat = HostWeight::Dense { values: host(&[3], &[0.0; 3]), dtype: DType::F32 };
    assert!(matches!(engine.prepare_weight(&flat), Err(EngineError::Shape { .. })));
}

#[test]
fn odd_int4_weights_are_packed_across_rows() {
    let engine = engine("int4");
    let codes: Vec<i8> = vec![1, -2, 3, -4, 5, -6, 7, -7, 0];
    let weight = Int4Groups { outputs: 3, inputs: 3, group: 2, codes, scales: vec![1.0, 10.0, 1.0, 10.0, 1.0, 10.0] };
    let weight = engine.prepare_weight(&HostWeight::Int4(weight)).unwrap();
    assert_eq!((weight.outputs(), weight.inputs(), weight.bytes()), (3, 3, 5 + 24));
    let x = tensor(&engine, &[3, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let mut out = blank(&engine, &[3, 3]);
    engine.linear(LinearSpec { activation: Activation::None }, x.view(), &weight, None, out.view_mut()).unwrap();
    assert_eq!(values(&engine, &out), [1.0, -4.0, 7.0, -2.0, 5.0, -7.0, 30.0, -60.0, 0.0]);
    let form = WeightForm::Int4Group { group: 2 };
    let spec = LinearSpec { activation: Activation::None };
    assert_eq!(engine.supports(&OpSpec::Linear { rows: 1, inputs: 3, outputs: 3, form, spec, bias: false }), Support::Native);
}

#[test]
fn another_instruction_set_is_refused_and_scalar_is_what_it_is() {
    let config = EngineConfig::new(Precision::F32, 1);
    assert!(NaiveBackend::new(&EngineConfig { isa: IsaChoice::Scalar, ..config }).is_ok());
    let error = NaiveBackend::new(&EngineConfig { isa: IsaChoice::Avx2, ..config }).unwrap_err();
    assert_eq!(error.to_string(), "naive does not support isa avx2: its loops are scalar");
}
