//! Softmax, norms, int4 products.

use crossover_core::host::HostTensor;
use crossover_core::ops::{NormKind, NormSpec, SoftmaxAlgorithm};
use crossover_core::quantize::int4_groups;

use super::super::host::Host;
use super::super::rows::{NormBuffers, add_norm, norm_program, softmax, softmax_program};
use super::super::{Element, int4};
use super::{assert_close, bytes, numbers, read, rounded, unit};

const ALL: [Element; 3] = [Element::F32, Element::Bf16, Element::F16];

#[test]
fn softmax_rows() {
    const ROWS: usize = 7;
    for element in ALL {
        let Some(host) = Host::compile(&softmax_program(element), &format!("softmax-{element:?}")) else { return };
        for width in [1, 31, 256, 1000] {
            let mut values: Vec<f64> = numbers(ROWS * width, 7).iter().map(|x| 20.0 * x).collect();
            // The other rows: partly masked, masked, with a NaN, with infinity, of equal extremes.
            values[width] = f64::NEG_INFINITY;
            values[2 * width..3 * width].fill(f64::NEG_INFINITY);
            values[4 * width - 1] = f64::NAN;
            values[5 * width - 1] = f64::INFINITY;
            values[5 * width..6 * width].fill(-60_000.0);
            let values = rounded(element, &values);
            for algorithm in [SoftmaxAlgorithm::Naive, SoftmaxAlgorithm::Stable, SoftmaxAlgorithm::Online] {
                let what = format!("{element:?} {algorithm:?} {width}");
                let launch = softmax(element, algorithm, [0, 1], ROWS, width).unwrap();
                let written = host.run(launch, &[vec![0; ROWS * width * element.bytes()], bytes(element, &values)]);
                let expected: Vec<f64> = values.chunks(width).flat_map(|row| expected_softmax(row, algorithm)).collect();
                assert_close(&read(element, &written[0]), &expected, unit(element) + 4e-6, 1e-7, &what);
            }
        }
    }
}

fn expected_softmax(row: &[f64], algorithm: SoftmaxAlgorithm) -> Vec<f64> {
    if row.iter().all(|&x| x == f64::NEG_INFINITY) {
        return vec![0.0; row.len()];
    }
    let naive = algorithm == SoftmaxAlgorithm::Naive;
    // In f32 the naive form overflows at infinity alone here, and underflows where all are far below 0.
    let highest = if naive { 0.0 } else { row.iter().fold(f64::NEG_INFINITY, |highest, &x| highest.max(x)) };
    let sum: f64 = row.iter().map(|x| (x - highest).exp()).sum();
    row.iter().map(|x| (x - highest).exp() / sum).collect()
}

#[test]
fn norms_of_sums() {
    const ROWS: usize = 3;
    for element in ALL {
        let Some(host) = Host::compile(&norm_program(element), &format!("norm-{element:?}")) else { return };
        // The last width does not fit into plain shared memory.
        for (width, groups) in [(1, 1), (48, 4), (300, 3), (13_000, 1)] {
            let make = |count, seed| rounded(element, &numbers(count, seed));
            let (x, residual) = (make(ROWS * width, 1), make(ROWS * width, 2));
            let wide = |seed| rounded(Element::F32, &numbers(width, seed));
            let (gamma, beta) = (wide(3), wide(4));
            for (kind, fused) in [(NormKind::Layer, true), (NormKind::Rms, false), (NormKind::Group { groups }, true)] {
                let spec = NormSpec { kind, epsilon: 1e-5 };
                let buffers = NormBuffers {
                    out: 0,
                    sum: fused.then_some(1),
                    x: 2,
                    residual: fused.then_some(3),
                    gamma: Some(4),
                    beta: fused.then_some(5),
                };
                let blank = vec![0; ROWS * width * element.bytes()];
                let all = [
                    blank.clone(),
                    blank,
                    bytes(element, &x),
                    bytes(element, &residual),
                    bytes(Element::F32, &gamma),
                    bytes(Element::F32, &beta),
                ];
                let written = host.run(add_norm(element, spec, buffers, ROWS, width).unwrap(), &all);
                let sums: Vec<f64> = if fused { x.iter().zip(&residual).map(|(x, y)| x + y).collect() } else { x.clone() };
                let beta = fused.then_some(beta.as_slice());
                let expected: Vec<f64> = sums.chunks(width).flat_map(|row| expected_norm(row, spec, &gamma, beta)).collect();
                let what = format!("{element:?} {kind:?} {width}");
                assert_close(&read(element, &written[0]), &expected, unit(element) + 4e-6, 4e-6, &what);
                let stored = if fused { sums } else { vec![0.0; ROWS * width] };
                assert_close(&read(element, &written[1]), &stored, unit(element), 0.0, &what);
            }
        }
    }
}

fn expected_norm(row: &[f64], spec: NormSpec, gamma: &[f64], beta: Option<&[f64]>) -> Vec<f64> {
    let groups = if let NormKind::Group { groups } = spec.kind { groups } else { 1 };
    let width = row.len() / groups;
    let normal = row.chunks(width).flat_map(|group| {
        let mean = if spec.kind == NormKind::Rms { 0.0 } else { group.iter().sum::<f64>() / width as f64 };
        let variance = group.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        group.iter().map(move |x| (x - mean) / (variance + spec.epsilon).sqrt())
    });
    normal.enumerate().map(|(at, x)| x * gamma[at] + beta.map_or(0.0, |beta| beta[at])).collect()
}

#[test]
fn int4_products() {
    for element in ALL {
        let Some(host) = Host::compile(&int4::program(element), &format!("int4-{element:?}")) else { return };
        // Groups that are words and such that are not; tails of inputs, outputs and rows.
        for (rows, inputs, outputs, group) in [(1, 64, 8, 32), (3, 77, 5, 20), (19, 300, 9, 64), (8, 5, 1, 3)] {
            let weight = HostTensor::new(&[outputs, inputs], numbers(outputs * inputs, 1)).unwrap();
            let codes = int4_groups(&weight, group).unwrap();
            let x = rounded(element, &numbers(rows * inputs, 2));
            let bias = rounded(Element::F32, &numbers(outputs, 3));
            let scales: Vec<f64> = codes.scales.iter().map(|&scale| f64::from(scale)).collect();
            let packed: Vec<u8> = int4::packed(&codes).iter().flat_map(|word| word.to_le_bytes()).collect();
            let all = [vec![0; 4 * rows * outputs], bytes(element, &x), packed, bytes(Element::F32, &scales), bytes(Element::F32, &bias)];
            let buffers = int4::Buffers { out: 0, x: 1, codes: 2, scales: 3, bias: Some(4) };
            let written = host.run(int4::launch(element, buffers, [rows, inputs, outputs, group]).unwrap(), &all);
            let values = codes.dequantized();
            let product = |row: usize, output: usize| -> f64 {
                let terms = (0..inputs).map(|input| x[row * inputs + input] * values.values()[output * inputs + input]);
                terms.sum::<f64>() + bias[output]
            };
            let expected: Vec<f64> =
                (0..rows).flat_map(|row| (0..outputs).map(move |output| product(row, output)).collect::<Vec<_>>()).collect();
            assert_close(
                &read(Element::F32, &written[0]),
                &expected,
                1e-6,
                2e-5,
                &format!("{element:?} {rows} {inputs} {outputs} {group}"),
            );
        }
    }
}
