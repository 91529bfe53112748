//! A call of the int4 product, and the packing of its weight.

use crossover_core::quantize::Int4Groups;

use super::{Element, Launch, Parameters, Program, int};

const WARPS: usize = 4;
const ROWS: usize = 8;
/// Codes in a word.
pub(crate) const IN_WORD: usize = 8;

/// Eight codes a word, the first lowest; a row begins at a word, and what it lacks at its end is zeros.
pub(crate) fn packed(weight: &Int4Groups) -> Vec<u32> {
    if weight.inputs == 0 {
        return Vec::new();
    }
    let word = |codes: &[i8]| codes.iter().rev().fold(0, |word, &code| word << 4 | u32::from(code as u8 & 0xf));
    weight.codes.chunks(weight.inputs).flat_map(|row| row.chunks(IN_WORD).map(word)).collect()
}

/// The buffers of a call, as numbers; the output is f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffers {
    pub(crate) out: usize,
    pub(crate) x: usize,
    pub(crate) codes: usize,
    pub(crate) scales: usize,
    pub(crate) bias: Option<usize>,
}

/// Blocks of a call, or which of its sizes is beyond what the kernel counts.
pub(crate) fn blocks([rows, inputs, outputs, group]: [usize; 4]) -> Result<usize, String> {
    let beyond = |what: String| format!("{what} are more than the int4 kernel counts");
    for (size, what) in [(rows, "rows"), (inputs, "inputs"), (outputs, "outputs"), (group, "inputs of a group")] {
        if int(size).is_none() {
            return Err(beyond(format!("{size} {what}")));
        }
    }
    let blocks = outputs.div_ceil(WARPS).checked_mul(rows.div_ceil(ROWS));
    blocks.filter(|&blocks| int(blocks).is_some()).ok_or_else(|| beyond(format!("{rows} rows by {outputs} outputs")))
}

/// x [rows, inputs] times the weight [outputs, inputs], transposed; an error where [`blocks`] says one.
pub(crate) fn launch(element: Element, buffers: Buffers, sizes: [usize; 4]) -> Result<Launch, String> {
    let Buffers { out, x, codes, scales, bias } = buffers;
    let grid = [blocks(sizes)?, 1, 1];
    let parameters = [Some(out), Some(x), Some(codes), Some(scales), bias].into_iter().fold(Parameters::default(), Parameters::buffer);
    // Each of them is a number of i32: that was asked before.
    let parameters = sizes.into_iter().fold(parameters, |parameters, size| parameters.int(size as i32));
    Ok(Launch { program: program(element), grid, threads: 32 * WARPS, shared: 0, parameters })
}

pub(crate) fn program(element: Element) -> Program {
    Program { entry: "int4_linear", sources: &[include_str!("kernels/int4.cu")], element, defines: Vec::new() }
}
