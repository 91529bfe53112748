//! Calls of the softmax and norm kernels: one block of threads a row.

use crossover_core::ops::{NormKind, NormSpec, SoftmaxAlgorithm};

use super::{Element, Launch, Parameters, Program, int};

const THREADS: usize = 256;
/// Bytes in which the warps of a block meet.
const MEETING: usize = 4 * THREADS / 32;
/// Bytes of shared memory that every GPU gives without being asked.
const PLAIN_SHARED: usize = 48 << 10;

const SOFTMAX: &[&str] = &[include_str!("kernels/block.cu"), include_str!("kernels/softmax.cu")];
const NORM: &[&str] = &[include_str!("kernels/block.cu"), include_str!("kernels/add_norm.cu")];

/// Do the kernels count so many rows of such a width? In groups a row is so many of theirs.
pub(crate) fn fits(rows: usize, width: usize, groups: usize) -> bool {
    rows.checked_mul(groups).and_then(int).is_some() && int(width).is_some()
}

/// The softmax of dense rows; `None` where [`fits`] says no.
pub(crate) fn softmax(element: Element, algorithm: SoftmaxAlgorithm, [out, x]: [usize; 2], rows: usize, width: usize) -> Option<Launch> {
    let algorithm = match algorithm {
        SoftmaxAlgorithm::Naive => 0,
        SoftmaxAlgorithm::Stable => 1,
        SoftmaxAlgorithm::Online => 2,
    };
    if !fits(rows, width, 1) {
        return None;
    }
    Some(Launch {
        program: softmax_program(element),
        grid: [rows, 1, 1],
        threads: THREADS,
        shared: MEETING,
        parameters: Parameters::default().buffer(Some(out)).buffer(Some(x)).int(int(width)?).int(algorithm),
    })
}

pub(crate) fn softmax_program(element: Element) -> Program {
    Program { entry: "softmax", sources: SOFTMAX, element, defines: Vec::new() }
}

/// Parts of a row that are normalised one by one.
pub(crate) fn groups_of(kind: NormKind) -> usize {
    if let NormKind::Group { groups } = kind { groups } else { 1 }
}

/// The buffers of a norm, as numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormBuffers {
    pub(crate) out: usize,
    pub(crate) sum: Option<usize>,
    pub(crate) x: usize,
    pub(crate) residual: Option<usize>,
    pub(crate) gamma: Option<usize>,
    pub(crate) beta: Option<usize>,
}

/// A norm of dense rows of x, or of x + residual; the width is checked to be a multiple of the groups. `None` as for the softmax.
pub(crate) fn add_norm(element: Element, spec: NormSpec, buffers: NormBuffers, rows: usize, width: usize) -> Option<Launch> {
    let groups = groups_of(spec.kind);
    if !fits(rows, width, groups) {
        return None;
    }
    let (rows, width) = (rows * groups, width / groups);
    let kept = MEETING + 4 * width <= PLAIN_SHARED;
    let mut parameters = Parameters::default().buffer(Some(buffers.out)).buffer(buffers.sum).buffer(Some(buffers.x));
    for buffer in [buffers.residual, buffers.gamma, buffers.beta] {
        parameters = parameters.buffer(buffer);
    }
    for size in [width, groups, usize::from(spec.kind == NormKind::Rms), usize::from(kept)] {
        parameters = parameters.int(int(size)?);
    }
    Some(Launch {
        program: norm_program(element),
        grid: [rows, 1, 1],
        threads: THREADS,
        shared: if kept { MEETING + 4 * width } else { MEETING },
        parameters: parameters.float(spec.epsilon),
    })
}

pub(crate) fn norm_program(element: Element) -> Program {
    Program { entry: "add_norm", sources: NORM, element, defines: Vec::new() }
}
