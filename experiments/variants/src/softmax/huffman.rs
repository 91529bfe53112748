//! Huffman-tree softmax: the target's probability as a product of yes-or-no decisions on its way through a Huffman tree.
//!
//! Mikolov et al. 2013, "Distributed Representations of Words and Phrases", section 2.1: each inner node has a vector, and
//! p(word) = product of sigmoid(+- x node) over the word's path. About log2(vocabulary) products a row instead of vocabulary, fewer for
//! frequent words. The tree comes from Zipf frequencies on the host; paths are tables, padded to `depth` so that the cost does not depend
//! on the targets (a padded step is computed and dropped: the price of a fixed shape).
//!
//! It is its own truth: its vectors belong to decisions, not to words, so no dense layer has the same weights.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::{BinaryOp, MatmulSpec, ReduceOp, UnaryOp};
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::columns::{column, reduce, wide};
use super::huffman_codes::codes;
use super::output::{LOSSES, TARGETS, X, description, flat};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Huffman;

/// The inner nodes' vectors and the words' paths.
pub struct Decisions<B: TransformerBackend> {
    /// [vocabulary - 1, d_model].
    nodes: Tensor<B::Buffer>,
    /// [vocabulary, depth], i32.
    paths: Tensor<B::Buffer>,
    /// [vocabulary, depth]: 1 or -1, 0 beyond the end of a path.
    signs: Tensor<B::Buffer>,
}

/// Rows whose nodes are gathered together.
const ROWS_AT_ONCE: usize = 16;

const PATHS: &[Dim] = &[Dim::Axis("vocabulary"), Dim::Axis("depth")];

impl Variant for Huffman {
    const DESCRIPTOR: Descriptor = description(
        ["softmax/huffman", "loss of the target as decisions along its path in a Huffman tree", "Mikolov et al. 2013, section 2.1"],
        &[AxisSpec {
            name: "depth",
            doc: "steps to which every path is padded; no code is longer",
            kind: AxisKind::Int { min: 1, max: 24 },
            default: AxisDefault::Int(20),
        }],
        &[
            X,
            TARGETS,
            TensorSpec {
                name: "nodes",
                role: Role::Vector,
                shape: &[Dim::Of("vocabulary - 1", |axes| size(axes, "vocabulary").saturating_sub(1)), Dim::Axis("d_model")],
                draw: DrawRule::FanIn,
                only_with: None,
            },
        ],
        &[
            DerivedSpec { name: "paths", role: Role::Index, shape: PATHS, form: None },
            DerivedSpec { name: "signs", role: Role::Vector, shape: PATHS, form: None },
        ],
        (
            LOSSES,
            &[Condition {
                text: "a tree of this depth has too few leaves: vocabulary may be at most 2^depth",
                holds: |axes| size(axes, "vocabulary") <= 1 << size(axes, "depth").min(32),
            }],
        ),
        Model { flops: "batch*n*depth*(2*d_model + 12)", scratch: "3*batch*n*depth + max(min(batch*n, 16)*depth*d_model, batch*n)" },
    );

    type Bound<B: TransformerBackend> = Decisions<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Decisions<B>> {
        Ok(Decisions { nodes: operands.tensor("nodes")?, paths: operands.tensor("paths")?, signs: operands.tensor("signs")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        let (words, depth) = (size(axes, "vocabulary"), size(axes, "depth"));
        let (mut paths, mut signs) = (Vec::with_capacity(words * depth), Vec::with_capacity(words * depth));
        for code in codes(words, depth) {
            let padding = depth.saturating_sub(code.steps.len());
            paths.extend(code.steps.iter().map(|(node, _)| *node as f64).chain(std::iter::repeat_n(0.0, padding)));
            signs.extend(code.steps.iter().map(|(_, side)| *side).chain(std::iter::repeat_n(0.0, padding)));
        }
        let shape = [words, depth];
        Ok(Derived::default().tensor("paths", HostTensor::new(&shape, paths)?).tensor("signs", HostTensor::new(&shape, signs)?))
    }
}

impl<B: TransformerBackend> Decisions<B> {
    /// x times each node on the row's path: [rows, depth].
    fn scores(
        &self,
        backend: &B,
        x: View<'_, B::Buffer>,
        paths: View<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let (&[rows, width], &[_, depth]) = (x.shape(), paths.shape()) else { return Err(wrong_inputs("softmax/huffman", &[x])) };
        let mut scores = scratch.take(backend, backend.compute(), &[rows, depth])?;
        let mut gathered = scratch.take(backend, backend.storage(), &[ROWS_AT_ONCE.min(rows) * depth, width])?;
        for start in (0..rows).step_by(ROWS_AT_ONCE) {
            let count = ROWS_AT_ONCE.min(rows - start);
            let steps = paths.with(|layout| layout.narrow(0, start, count)?.reshape(&[count * depth]))?;
            backend.gather_rows(self.nodes.view(), steps, gathered.view_mut().narrow(0, 0, count * depth)?)?;
            let own = gathered.view().with(|layout| layout.narrow(0, 0, count * depth)?.split(0, count, depth)?.transposed())?;
            let x = x.with(|layout| layout.narrow(0, start, count)?.unsqueeze(1))?;
            let out = scores.view_mut().with(|layout| layout.narrow(0, start, count)?.unsqueeze(1))?;
            backend.matmul(MatmulSpec::PLAIN, x, own, out)?;
        }
        scratch.give(gathered);
        Ok(scores)
    }
}

/// -log sigmoid(z) = max(-z, 0) + log(1 + e^-|z|) in place: no exponential overflows.
fn negative_log_sigmoid<B: TransformerBackend>(backend: &B, z: &mut Tensor<B::Buffer>, spare: &mut Tensor<B::Buffer>) -> Result<()> {
    backend.unary(UnaryOp::Abs, Operand::Of(z.view()), spare.view_mut())?;
    backend.unary(UnaryOp::Negate, Operand::InPlace, spare.view_mut())?;
    backend.unary(UnaryOp::Exp, Operand::InPlace, spare.view_mut())?;
    backend.unary(UnaryOp::Affine { scale: 1.0, shift: 1.0 }, Operand::InPlace, spare.view_mut())?;
    backend.unary(UnaryOp::Log, Operand::InPlace, spare.view_mut())?;
    backend.unary(UnaryOp::Negate, Operand::InPlace, z.view_mut())?;
    backend.unary(UnaryOp::Activation(Activation::Relu), Operand::InPlace, z.view_mut())?;
    backend.binary(BinaryOp::Add, Operand::InPlace, spare.view(), z.view_mut())
}

impl<B: TransformerBackend> Bound<B> for Decisions<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, targets] = inputs else { return Err(wrong_inputs("softmax/huffman", inputs)) };
        let x = flat(x)?;
        let (rows, depth) = (x.shape()[0], self.paths.layout.dim_from_end(0));
        let targets = targets.with(|layout| layout.reshape(&[rows]))?;
        let mut paths = scratch.take(backend, DType::I32, &[rows, depth])?;
        let mut signs = scratch.take(backend, backend.storage(), &[rows, depth])?;
        backend.gather_rows(self.paths.view(), targets, paths.view_mut())?;
        backend.gather_rows(self.signs.view(), targets, signs.view_mut())?;
        let mut terms = self.scores(backend, x, paths.view(), scratch)?;
        scratch.give(paths);
        let mut spare = wide(backend, x.shape(), depth, scratch)?;
        backend.binary(BinaryOp::Multiply, Operand::InPlace, signs.view(), terms.view_mut())?;
        negative_log_sigmoid(backend, &mut terms, &mut spare)?;
        // Steps beyond the end of a path do not count.
        backend.unary(UnaryOp::Abs, Operand::Of(signs.view()), spare.view_mut())?;
        backend.binary(BinaryOp::Multiply, Operand::InPlace, spare.view(), terms.view_mut())?;
        let mut losses = column(backend, x.shape(), scratch)?;
        reduce(backend, ReduceOp::Sum, terms.view(), &mut losses)?;
        backend.copy(losses.view(), out.with(|layout| layout.reshape(&[rows, 1]))?)?;
        for done in [signs, terms, spare, losses] {
            scratch.give(done);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, run};

    #[test]
    fn the_probabilities_of_all_words_add_up_to_one() {
        for (words, depth) in [(19i64, 20i64), (40, 6)] {
            let axes =
                axes::<Huffman>(&[("n", words.into()), ("d_model", 8.into()), ("vocabulary", words.into()), ("depth", depth.into())]);
            let mut inputs = drawn::<Huffman>(&axes);
            // The same state in every row, each word as a target once.
            let count = words as usize;
            let x = inputs["x"].values()[..8].repeat(count);
            inputs.insert("x".into(), HostTensor::new(&[1, count, 8], x).unwrap());
            inputs.insert("targets".into(), HostTensor::new(&[1, count], (0..count).map(|word| word as f64).collect()).unwrap());
            let total: f64 = run::<Huffman>(&axes, &inputs).values().iter().map(|loss| (-loss).exp()).sum();
            assert!((total - 1.0).abs() < 1e-13, "{words} words: {total}");
        }
    }

    #[test]
    fn padding_changes_nothing() {
        let given = |depth: i64| [("n", 18.into()), ("d_model", 8.into()), ("vocabulary", 19.into()), ("depth", depth.into())];
        let inputs = drawn::<Huffman>(&axes::<Huffman>(&given(24)));
        let [short, long] = [12, 24].map(|depth| run::<Huffman>(&axes::<Huffman>(&given(depth)), &inputs));
        assert!(distance(&short, &long) < 1e-14);
    }

    #[test]
    fn trees_that_are_too_flat_are_refused() {
        let error = axis_error::<Huffman>(&[("vocabulary", 1025.into()), ("depth", 10.into())]);
        assert!(error.contains("vocabulary may be at most 2^depth (here"), "{error}");
    }
}
