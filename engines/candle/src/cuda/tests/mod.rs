//! The kernels against f64, run on the host: see `host.rs`.

mod attention;
mod rows_and_products;

use half::{bf16, f16};

use super::Element;

/// Numbers in -1..1 that look random and are the same everywhere.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// As the type holds them.
fn rounded(element: Element, values: &[f64]) -> Vec<f64> {
    read(element, &bytes(element, values))
}

fn bytes(element: Element, values: &[f64]) -> Vec<u8> {
    match element {
        Element::F32 => values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect(),
        Element::Bf16 => values.iter().flat_map(|&value| bf16::from_f64(value).to_le_bytes()).collect(),
        Element::F16 => values.iter().flat_map(|&value| f16::from_f64(value).to_le_bytes()).collect(),
    }
}

fn read(element: Element, bytes: &[u8]) -> Vec<f64> {
    let two = |bytes: &[u8]| [bytes[0], bytes[1]];
    match element {
        Element::F32 => bytes.chunks(4).map(|four| f64::from(f32::from_le_bytes([four[0], four[1], four[2], four[3]]))).collect(),
        Element::Bf16 => bytes.chunks(2).map(|pair| bf16::from_le_bytes(two(pair)).to_f64()).collect(),
        Element::F16 => bytes.chunks(2).map(|pair| f16::from_le_bytes(two(pair)).to_f64()).collect(),
    }
}

/// One rounding of the type.
fn unit(element: Element) -> f64 {
    match element {
        Element::F32 => 2f64.powi(-24),
        Element::Bf16 => 2f64.powi(-8),
        Element::F16 => 2f64.powi(-11),
    }
}

/// Every element near what it should be, where that is a number, and the same kind of no number elsewhere.
fn assert_close(found: &[f64], expected: &[f64], relative: f64, absolute: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let near = (found - expected).abs() <= relative * expected.abs() + absolute;
        assert!(near || found == expected || (found.is_nan() && expected.is_nan()), "{what}: element {at} is {found}, not {expected}");
    }
}
