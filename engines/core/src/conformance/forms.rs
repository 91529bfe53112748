//! Layers whose weights hold only some entries (CSR, N:M, blocks) or codes of a palette, against the dense f64 product with what they
//! stand for.
//!
//! Drawn apart from the other forms because extents must be whole blocks and whole groups. Masks have what packers get wrong: empty
//! rows, a missing block row, nothing at all, everything.

use crate::activation::Activation;
use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::host::HostTensor;
use crate::ops::LinearSpec;
use crate::palette::Palette;
use crate::sparse::{SparseWeight, Structure};
use crate::weights::HostWeight;

use super::Property;
use super::cases::{Fill, Source};
use super::linear::{against_dense, spread_rows};
use super::trial::{Outcome, Trial};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    vec![
        Property { name: "linear-sparse", operation: "linear", check: sparse },
        Property { name: "linear-palette", operation: "linear", check: palette },
    ]
}

const STRUCTURES: [Structure; 7] = [
    Structure::Unstructured,
    Structure::NofM { n: 2, m: 4 },
    Structure::NofM { n: 1, m: 4 },
    Structure::NofM { n: 3, m: 8 },
    Structure::Blocks { rows: 2, columns: 2 },
    Structure::Blocks { rows: 4, columns: 8 },
    Structure::Blocks { rows: 3, columns: 1 },
];

fn sparse<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let structure = t.source.choose(&STRUCTURES);
    let dtype = t.source.choose(&[DType::F64, DType::F32, DType::Bf16, DType::F16]);
    let [rows, outputs, inputs] = t.source.sizes([0, 0, 0]);
    let (block_rows, group) = match structure {
        Structure::NofM { m, .. } => (1, m),
        _ => structure.block(),
    };
    let (outputs, inputs) = (outputs.next_multiple_of(block_rows), inputs.next_multiple_of(group));
    let kept = mask(&mut t.source, structure, [outputs, inputs]);
    let values = HostTensor::new(&[outputs, inputs], spread_rows(t, outputs, inputs))?;
    layer(t, rows, &HostWeight::Sparse(SparseWeight::masked(&values, &kept, structure, dtype)?))
}

fn palette<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, outputs, inputs] = t.source.sizes([0, 0, 0]);
    let levels: Vec<f32> = match t.source.choose(&[1, 3, 16, 256]) {
        3 => vec![-1.0, 0.0, 1.0],
        count => t.source.values(Fill::Normal(1.0), count).into_iter().map(|level| level as f32).collect(),
    };
    let codes = (0..outputs * inputs).map(|_| t.source.below(levels.len()) as u8).collect();
    let scales = (0..outputs).map(|row| (t.source.value(Fill::Positive(1.0)) * [1.0, 0.2, 4.0][row % 3]) as f32).collect();
    layer(t, rows, &HostWeight::Palette(Palette { outputs, inputs, codes, levels, scales }))
}

fn layer<B: TransformerBackend>(t: &mut Trial<'_, B>, rows: usize, host: &HostWeight) -> Outcome {
    let spec = LinearSpec { activation: t.source.choose(&Activation::ALL) };
    let types = [t.float_type(), t.float_type()];
    let (x_type, spread) = (t.float_type(), t.source.choose(&[0.1, 1.0, 3.0]));
    let x = t.input(x_type, &[rows, host.inputs()], Fill::Normal(spread))?;
    against_dense(t, spec, &x, host, types)
}

/// Which entries are kept: whole blocks, and of every group of N:M exactly n.
fn mask(source: &mut Source, structure: Structure, [outputs, inputs]: [usize; 2]) -> Vec<bool> {
    if let Structure::NofM { n, m } = structure {
        return (0..outputs * inputs / m).flat_map(|_| source.permutation(m).into_iter().map(move |place| place < n)).collect();
    }
    let (rows, columns) = structure.block();
    let across = inputs / columns;
    // Of eight blocks; and one block row in three is missing, at times.
    let (share, gaps) = (source.choose(&[0, 1, 4, 4, 7, 8]), source.choose(&[0, 1, 2, 9]));
    let blocks: Vec<bool> = (0..outputs / rows * across).map(|at| source.below(8) < share && at / across % 3 != gaps).collect();
    (0..outputs * inputs).map(|at| blocks[at / inputs / rows * across + at % inputs / columns]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_fit_their_structure_and_have_gaps() {
        let weight = HostTensor::new(&[12, 16], vec![1.0; 192]).unwrap();
        for structure in STRUCTURES {
            let (mut empty, mut full, mut gaps) = (0, 0, 0);
            for seed in 0..100 {
                let kept = mask(&mut Source::fork(seed), structure, [12, 16]);
                let sparse = SparseWeight::masked(&weight, &kept, structure, DType::F32).unwrap();
                sparse.check().unwrap();
                assert_eq!(sparse.values.len(), kept.iter().filter(|&&kept| kept).count(), "whole blocks of {structure:?}");
                let missing = sparse.starts.windows(2).filter(|ends| ends[0] == ends[1]).count();
                empty += usize::from(sparse.values.is_empty());
                full += usize::from(sparse.values.len() == 192);
                gaps += usize::from(missing > 0 && !sparse.values.is_empty());
            }
            let few = matches!(structure, Structure::NofM { .. });
            assert!(few || [empty, full, gaps].into_iter().all(|count| count > 2), "{structure:?}: {empty} {full} {gaps}");
        }
    }
}
