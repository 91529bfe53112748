//! Sampled softmax: the loss of the target against a sample of words instead of the whole vocabulary. For training.
//!
//! Jean et al. 2015, "On Using Very Large Target Vocabulary for Neural Machine Translation", section 3.1, with the uniform proposal of their
//! section 3.2 (its correction is the same for every word and cancels): log sum exp over the target and the sampled words. One sample
//! serves all rows, and a sampled word that is a row's target is counted once. The loss is too small, by what the words left out weigh;
//! what is saved is the arithmetic of all of these, and the error of the method is against the same weights with every word sampled. A
//! sample is drawn before the call, without repetition: the first words of an order of the vocabulary that the seed gives, so that a larger
//! sample holds the smaller one.

use crossover_core::arena::Arena;
use crossover_core::axes::{Axes, AxisValue};
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::compose::picker::numbers;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::{BinaryOp, MatmulSpec, ReduceOp, UnaryOp};
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::columns::{column, reduce, wide};
use super::output::{LOSSES, TARGETS, W, X, description, flat};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, DrawRule, Model, Placed, Role, TensorSpec};
use crate::inputs::draw_tensors;
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct Sampled;

/// The words' weights, and which are sampled.
pub struct Sample<B: TransformerBackend> {
    words: Tensor<B::Buffer>,
    sampled: Tensor<B::Buffer>,
}

impl Variant for Sampled {
    const DESCRIPTOR: Descriptor = description(
        ["softmax/sampled", "loss of the target against a sample of words", "Jean et al. 2015, section 3"],
        &[AxisSpec {
            name: "samples",
            doc: "words sampled",
            kind: AxisKind::Int { min: 1, max: 1 << 24 },
            default: AxisDefault::Share { of: "vocabulary", divisor: 8 },
        }],
        &[
            X,
            TARGETS,
            // Gathered by row, so not prepared as a product's weight.
            TensorSpec { role: Role::Vector, ..W },
            TensorSpec {
                name: "sampled",
                role: Role::Index,
                shape: &[Dim::Axis("samples")],
                draw: DrawRule::Below(|axes| size(axes, "vocabulary")),
                only_with: None,
            },
        ],
        &[],
        (
            LOSSES,
            &[Condition {
                text: "no more words can be sampled than there are: samples <= vocabulary",
                holds: |axes| size(axes, "samples") <= size(axes, "vocabulary"),
            }],
        ),
        Model {
            flops: "batch*n*(2*d_model + samples*(2*d_model + 7) + 6)",
            scratch: "max(batch*n*(2*d_model + 1), max( \
                      batch*n*(samples + 1) + samples*d_model, \
                      batch*n*(samples + 2 + max(samples, 2)) + samples + 1))",
        },
    );

    type Bound<B: TransformerBackend> = Sample<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Sample<B>> {
        Ok(Sample { words: operands.tensor("w")?, sampled: operands.tensor("sampled")? })
    }

    /// The loss over all words.
    fn exact(axes: &Axes) -> Reference {
        Reference::itself_with(axes, "samples", AxisValue::Int(i64::try_from(size(axes, "vocabulary")).unwrap_or(i64::MAX)))
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn draw(axes: &Axes) -> Result<HostInputs> {
        let mut drawn = draw_tensors(&Self::drawn(axes), axes)?;
        let keys = Placed {
            name: "order of the words".into(),
            role: Role::Vector,
            shape: vec![size(axes, "vocabulary")],
            draw: DrawRule::Around(0.0, 1.0),
            form: None,
        };
        let keys = draw_tensors(&[keys], axes)?;
        let keys = source(&keys, "order of the words")?.values();
        let mut words: Vec<usize> = (0..keys.len()).collect();
        words.sort_by(|&one, &other| keys[one].total_cmp(&keys[other]));
        words.truncate(size(axes, "samples"));
        let sample = HostTensor::new(&[words.len()], words.into_iter().map(|word| word as f64).collect())?;
        drawn.insert("sampled".into(), sample);
        Ok(drawn)
    }
}

impl<B: TransformerBackend> Sample<B> {
    /// x times the target's own weights: [rows, 1].
    fn own_logit(
        &self,
        backend: &B,
        x: View<'_, B::Buffer>,
        targets: View<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let mut logit = column(backend, x.shape(), scratch)?;
        let mut own = scratch.take(backend, backend.storage(), x.shape())?;
        let mut products = scratch.take(backend, backend.compute(), x.shape())?;
        backend.gather_rows(self.words.view(), targets, own.view_mut())?;
        backend.binary(BinaryOp::Multiply, Operand::Of(x), own.view(), products.view_mut())?;
        reduce(backend, ReduceOp::Sum, products.view(), &mut logit)?;
        scratch.give(products);
        scratch.give(own);
        Ok(logit)
    }

    /// Logits [rows, samples] of the sample, minus infinity where a sampled word is the row's target.
    fn sample_logits(
        &self,
        backend: &B,
        x: View<'_, B::Buffer>,
        targets: View<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let (samples, width) = (self.sampled.layout.len(), x.layout.dim_from_end(0));
        let mut logits = wide(backend, x.shape(), samples, scratch)?;
        let mut gathered = scratch.take(backend, backend.storage(), &[samples, width])?;
        backend.gather_rows(self.words.view(), self.sampled.view(), gathered.view_mut())?;
        backend.matmul(MatmulSpec::PLAIN, x, gathered.view().transposed()?, logits.view_mut())?;
        scratch.give(gathered);

        let targets = numbers(backend, targets, x.shape(), scratch)?;
        let mut words = scratch.take(backend, backend.compute(), &[samples])?;
        backend.copy(self.sampled.view(), words.view_mut())?;
        let mut others = wide(backend, x.shape(), samples, scratch)?;
        backend.binary(BinaryOp::Equal, Operand::Of(words.view()), targets.view(), others.view_mut())?;
        // A hit becomes 0, any other word -1: what is not 0 stays.
        let mut one = scratch.take(backend, backend.compute(), &[1])?;
        backend.fill(one.view_mut(), 1.0)?;
        backend.binary(BinaryOp::Subtract, Operand::InPlace, one.view(), others.view_mut())?;
        backend.select(others.view(), f64::NEG_INFINITY, logits.view_mut())?;
        for done in [one, others, words, targets] {
            scratch.give(done);
        }
        Ok(logits)
    }
}

impl<B: TransformerBackend> Bound<B> for Sample<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, targets] = inputs else { return Err(wrong_inputs("softmax/sampled", inputs)) };
        let x = flat(x)?;
        let rows = x.shape()[0];
        let targets = targets.with(|layout| layout.reshape(&[rows]))?;
        let out = out.with(|layout| layout.reshape(&[rows, 1]))?;
        let mut own = self.own_logit(backend, x, targets, scratch)?;
        let mut logits = self.sample_logits(backend, x, targets, scratch)?;
        let mut largest = column(backend, x.shape(), scratch)?;
        let mut sum = column(backend, x.shape(), scratch)?;
        reduce(backend, ReduceOp::Max, logits.view(), &mut largest)?;
        backend.binary(BinaryOp::Maximum, Operand::InPlace, own.view(), largest.view_mut())?;
        backend.binary(BinaryOp::Subtract, Operand::InPlace, largest.view(), own.view_mut())?;
        backend.binary(BinaryOp::Subtract, Operand::InPlace, largest.view(), logits.view_mut())?;
        backend.unary(UnaryOp::Exp, Operand::InPlace, logits.view_mut())?;
        reduce(backend, ReduceOp::Sum, logits.view(), &mut sum)?;
        // From here on `largest` holds the target's own exponential: the shift cancels between sum and target.
        backend.unary(UnaryOp::Exp, Operand::Of(own.view()), largest.view_mut())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, largest.view(), sum.view_mut())?;
        backend.unary(UnaryOp::Log, Operand::InPlace, sum.view_mut())?;
        backend.binary(BinaryOp::Subtract, Operand::Of(sum.view()), own.view(), out)?;
        for done in [own, logits, largest, sum] {
            scratch.give(done);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softmax::cross_entropy::CrossEntropy;
    use crate::softmax::output::plain_losses;
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};

    fn with_sample(words: &[f64]) -> (HostTensor, HostTensor) {
        let given = [("n", 9.into()), ("d_model", 8.into()), ("vocabulary", 20.into()), ("samples", (words.len() as i64).into())];
        let axes = axes::<Sampled>(&given);
        let mut inputs = drawn::<Sampled>(&axes);
        inputs.insert("sampled".into(), HostTensor::new(&[words.len()], words.to_vec()).unwrap());
        let counts = |target, word| target == word || words.contains(&(word as f64));
        let expected = HostTensor::new(&[1, 9, 1], plain_losses(&inputs, counts)).unwrap();
        (run::<Sampled>(&axes, &inputs), expected)
    }

    #[test]
    fn a_drawn_sample_has_no_word_twice_and_errs_less_the_larger_it_is() {
        let given = |samples: i64| [("n", 9.into()), ("d_model", 8.into()), ("vocabulary", 64.into()), ("samples", samples.into())];
        let words = |samples: i64| drawn::<Sampled>(&axes::<Sampled>(&given(samples)))["sampled"].values().to_vec();
        let (few, all) = (words(20), words(64));
        assert_eq!(few, all[..20]);
        let mut sorted = all;
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.iter().copied().eq((0..64).map(f64::from)));
        let errors = [4, 32, 64].map(|samples| judged::<Sampled>(&given(samples)).method.relative.unwrap());
        assert!(errors[0] > 2.0 * errors[1] && errors[1] > 1e-2 && errors[2] < 1e-13, "{errors:?}");
        assert!(axis_error::<Sampled>(&given(65)).contains("samples <= vocabulary"));
    }

    #[test]
    fn all_words_drawn_give_the_dense_loss() {
        let given = [("n", 9.into()), ("d_model", 8.into()), ("vocabulary", 64.into())];
        let [n, d_model, vocabulary] = given.clone();
        let all = axes::<Sampled>(&[n, d_model, vocabulary, ("samples", 64.into())]);
        let mut inputs = drawn::<Sampled>(&all);
        let sampled = run::<Sampled>(&all, &inputs);
        inputs.remove("sampled");
        assert!(distance(&sampled, &run::<CrossEntropy>(&axes::<CrossEntropy>(&given), &inputs)) < 1e-13);
    }

    #[test]
    fn a_sample_of_all_words_is_the_whole_loss() {
        let all: Vec<f64> = (0..20).map(f64::from).collect();
        let (loss, expected) = with_sample(&all);
        assert!(distance(&loss, &expected) < 1e-13);
    }

    #[test]
    fn fewer_words_give_the_loss_over_these_and_the_target() {
        let (loss, expected) = with_sample(&[3.0, 17.0, 0.0]);
        assert!(distance(&loss, &expected) < 1e-13);
    }
}
