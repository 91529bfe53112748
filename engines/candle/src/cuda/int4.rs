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

/// Blocks of a call; `None` where a size is beyond what the kernel counts.
fn blocks([rows, inputs, outputs]: [usize; 3]) -> Option<usize> {
    [rows, inputs, outputs].into_iter().try_for_each(|size| int(size).map(|_| ()))?;
    let blocks = outputs.div_ceil(WARPS).checked_mul(rows.div_ceil(ROWS))?;
    int(blocks).map(|_| blocks)
}

/// Does the kernel count so many?
pub(crate) fn fits(sizes: [usize; 3]) -> bool {
    blocks(sizes).is_some()
}

/// Why not, where it does not.
pub(crate) fn too_many(rows: usize, outputs: usize) -> String {
    format!("{rows} rows by {outputs} outputs are more than the int4 kernel counts")
}

/// x [rows, inputs] times the weight [outputs, inputs], transposed; `None` where [`fits`] says no.
pub(crate) fn launch(element: Element, buffers: Buffers, [rows, inputs, outputs, group]: [usize; 4]) -> Option<Launch> {
    let Buffers { out, x, codes, scales, bias } = buffers;
    let mut parameters = [Some(out), Some(x), Some(codes), Some(scales), bias].into_iter().fold(Parameters::default(), Parameters::buffer);
    for size in [rows, inputs, outputs, group] {
        parameters = parameters.int(int(size)?);
    }
    let grid = [blocks([rows, inputs, outputs])?, 1, 1];
    Some(Launch { program: program(element), grid, threads: 32 * WARPS, shared: 0, parameters })
}

pub(crate) fn program(element: Element) -> Program {
    Program { entry: "int4_linear", sources: &[include_str!("kernels/int4.cu")], element, defines: Vec::new() }
}
