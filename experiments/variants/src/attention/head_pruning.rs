//! Head pruning: only `keep` of the query heads are computed, the others give zero.
//!
//! Michel et al., "Are Sixteen Heads Really Better than One?" (2019), sections 3 and 4. A pruned head's projections are gone, so the engine
//! never sees its queries, keys and values: the work falls in proportion. The paper ranks heads by the gradient of a loss; without a
//! loss the score here is the product of the norms of a head's queries, keys and values over all sequences, or simply the order. Who has
//! ranked the heads elsewhere names those that stay by `keep_heads`.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::flash::Streamed;
use super::grouped::given;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, count};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::formula::items;
use crate::resolve::{name, size};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct HeadPruning;

/// Which heads are left.
pub struct Pruned<B: TransformerBackend> {
    kept: Tensor<B::Buffer>,
    streamed: Streamed,
}

const SCORE: AxisSpec = AxisSpec {
    name: "score",
    doc: "which heads are kept: those of largest norms, or the first",
    kind: AxisKind::Choice { of: &["norm", "order"] },
    default: AxisDefault::Text("norm"),
};

/// The heads by number, as a user names them.
const KEEP_HEADS: AxisSpec = AxisSpec {
    name: "keep_heads",
    doc: "the heads that stay, by ascending number from 0, such as 0+2+5; keep and score are then not read",
    kind: AxisKind::Text,
    default: AxisDefault::Text(""),
};

/// What the list of heads must be; [`list_problem`] says what it is instead.
pub(crate) const LISTED: &str = "keep_heads lists heads in ascending order, each once, all below heads";

/// The listed heads, or what is wrong with the list; nothing where there is no list.
fn listed(axes: &Axes) -> std::result::Result<Option<Vec<usize>>, String> {
    let (text, heads) = (name(axes, "keep_heads"), size(axes, "heads"));
    if text.is_empty() {
        return Ok(None);
    }
    let mut listed: Vec<usize> = Vec::new();
    for (at, item) in items(text).enumerate() {
        let head: usize = item.parse().map_err(|_| format!("entry {} of {text:?} is {item:?}, no number of a head", at + 1))?;
        if head >= heads {
            return Err(format!("entry {} is head {head}, and the {heads} heads are 0..={}", at + 1, heads - 1));
        }
        if listed.last().is_some_and(|last| *last >= head) {
            return Err(format!("entry {} is head {head}, which does not come after the one before it", at + 1));
        }
        listed.push(head);
    }
    Ok(Some(listed))
}

/// What is wrong with the list.
pub(crate) fn list_problem(axes: &Axes) -> Option<String> {
    listed(axes).err()
}

/// How many heads stay.
fn kept_count(axes: &Axes) -> usize {
    listed(axes).ok().flatten().map_or(size(axes, "keep"), |listed| listed.len())
}

const KEPT: Dim = Dim::Of("kept heads", kept_count);

const fn left(name: &'static str, shape: &'static [Dim]) -> DerivedSpec {
    DerivedSpec { name, role: Role::Activation, shape, form: None }
}

const LEFT_Q: &[Dim] = &[Dim::Axis("batch"), KEPT, Dim::Axis("n"), Dim::Axis("head_dim")];
const LEFT_K: &[Dim] = &[Dim::Axis("batch"), KEPT, Dim::Axis("n_kv"), Dim::Axis("head_dim")];

/// No more of them than there are.
pub(super) const KEEP_FITS: Condition = Condition {
    text: "there are no more heads to keep than heads: keep <= heads",
    holds: |axes: &Axes| size(axes, "keep") <= size(axes, "heads"),
};

pub(super) const HEADS_LISTED: Condition = Condition { text: LISTED, holds: |axes: &Axes| listed(axes).is_ok() };

impl<B: TransformerBackend> Pruned<B> {
    /// Over the pairs of a pattern.
    pub(super) fn bind(operands: &mut Operands<B>, axes: &Axes, pattern: AttentionPattern) -> Result<Self> {
        Ok(Self { kept: operands.tensor("kept")?, streamed: Streamed::over(pattern, axes) })
    }
}

impl Variant for HeadPruning {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/head-pruning",
        summary: "attention of the kept heads only, zeros for the others",
        citation: "Michel et al. 2019, sections 3 and 4",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[
            count("keep", "query heads that are left; at most heads", AxisDefault::Share { of: "heads", divisor: 2 }),
            SCORE,
            KEEP_HEADS,
        ],
        tensors: &[
            TensorSpec { name: "q", role: Role::Source, shape: QUERIES, draw: DrawRule::Distribution, only_with: None },
            given("k"),
            given("v"),
        ],
        derived: &[
            left("q_kept", LEFT_Q),
            left("k_kept", LEFT_K),
            left("v_kept", LEFT_K),
            DerivedSpec { name: "kept", role: Role::Index, shape: &[KEPT], form: None },
        ],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, KEEP_FITS, HEADS_LISTED],
        model: Model {
            flops: "batch*(is(keep_heads,)*keep + listed(keep_heads))*n*(n_kv*(4*head_dim + 5) + head_dim)",
            scratch: "batch*(is(keep_heads,)*keep + listed(keep_heads))*n*head_dim",
        },
    };

    type Bound<B: TransformerBackend + 'static> = Pruned<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Pruned<B>> {
        Pruned::bind(operands, axes, AttentionPattern::Full)
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    /// An operation over the kept heads would have fewer rows than the output.
    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let (q, k, v) = (source(drawn, "q")?, source(drawn, "k")?, source(drawn, "v")?);
        let group = size(axes, "heads") / size(axes, "kv_heads").max(1);
        let kept = kept_heads(axes, [q, k, v], group)?;
        let shared: Vec<usize> = kept.iter().map(|head| head / group).collect();
        let index = HostTensor::new(&[kept.len()], kept.iter().map(|&head| head as f64).collect())?;
        let derived = Derived::default()
            .tensor("q_kept", picked(q, &kept)?)
            .tensor("k_kept", picked(k, &shared)?)
            .tensor("v_kept", picked(v, &shared)?);
        Ok(derived.tensor("kept", index))
    }
}

/// The heads that stay, in ascending order; of equal scores the first.
fn kept_heads(axes: &Axes, [q, k, v]: [&HostTensor; 3], group: usize) -> Result<Vec<usize>> {
    if let Some(listed) = listed(axes).map_err(|problem| shape_error("head pruning", problem))? {
        return Ok(listed);
    }
    let (heads, keep) = (size(axes, "heads"), size(axes, "keep"));
    let mut order: Vec<usize> = (0..heads).collect();
    if name(axes, "score") == "norm" {
        let (q, k, v) = (norms(q)?, norms(k)?, norms(v)?);
        let score = |head: usize| q[head] * k[head / group] * v[head / group];
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
    }
    order.truncate(keep);
    order.sort_unstable();
    Ok(order)
}

/// Batch, heads and elements of one head.
fn head_sizes(tensor: &HostTensor) -> Result<(usize, usize, usize)> {
    match *tensor.shape() {
        [batch, heads, rows, width] => Ok((batch, heads, rows * width)),
        _ => Err(shape_error("head pruning", format!("{:?} is not [batch, heads, rows, width]", tensor.shape()))),
    }
}

/// Norm of each head over all sequences.
fn norms(tensor: &HostTensor) -> Result<Vec<f64>> {
    let (_, heads, area) = head_sizes(tensor)?;
    let mut squares = vec![0.0; heads];
    for (at, head) in tensor.values().chunks(area.max(1)).enumerate() {
        squares[at % heads] += head.iter().map(|value| value * value).sum::<f64>();
    }
    Ok(squares.into_iter().map(f64::sqrt).collect())
}

/// These heads of each sequence, in this order.
fn picked(tensor: &HostTensor, heads: &[usize]) -> Result<HostTensor> {
    let (batch, all, area) = head_sizes(tensor)?;
    let places = (0..batch).flat_map(|sequence| heads.iter().map(move |head| sequence * all + head));
    let values = places.flat_map(|place| tensor.values()[place * area..][..area].iter().copied()).collect();
    HostTensor::new(&[&[batch, heads.len()], &tensor.shape()[2..]].concat(), values)
}

impl<B: TransformerBackend> Bound<B> for Pruned<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs("attention/head-pruning", inputs)) };
        let &[batch, keep, n, width] = q.shape() else { return Err(wrong_inputs("attention/head-pruning", inputs)) };
        let &[_, heads, _, _] = out.shape() else { return Err(wrong_inputs("attention/head-pruning", inputs)) };
        let mut results = scratch.take(backend, backend.storage(), &[batch, keep, n, width])?;
        let operands = AttentionOperands { q, k, v, bias: ScoreBias::None, key_mask: None };
        backend.attention(&self.streamed.spec, operands, AttentionOutputs { out: results.view_mut(), log_sum_exp: None }, scratch)?;
        backend.fill(out.reborrow(), 0.0)?;
        for sequence in 0..batch {
            let heads_of =
                |layout: &crossover_core::layout::Layout, count: usize| layout.narrow(0, sequence, 1)?.reshape(&[count, n * width]);
            let x = results.view().with(|layout| heads_of(layout, keep))?;
            let target = out.reborrow().with(|layout| heads_of(layout, heads))?;
            backend.scatter_add_rows(x, self.kept.view(), target)?;
        }
        scratch.give(results);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::approximation::assert_closed_forms;
    use super::super::checks::{assert_agree, output, small};
    use super::super::flash::Flash;
    use super::*;
    use crate::testing::{axes, axis_error, drawn, run};
    use crossover_core::axes::AxisValue;

    fn given(keep: i64, score: &str) -> Vec<(&'static str, AxisValue)> {
        small(&[("heads", 4.into()), ("kv_heads", 2.into()), ("keep", keep.into()), ("score", score.into())])
    }

    #[test]
    fn all_heads_kept_is_exact_attention() {
        assert_agree::<HeadPruning, Flash>(&given(4, "norm"), &given(4, "norm")[..5]);
    }

    #[test]
    fn kept_heads_are_exact_and_the_others_zero() {
        let full = output::<Flash>(&given(2, "order")[..5]);
        let out = output::<HeadPruning>(&given(2, "order"));
        let area = 16 * 8;
        for (at, (value, exact)) in out.values().iter().zip(full.values()).enumerate() {
            let expected = if at / area % 4 < 2 { *exact } else { 0.0 };
            assert!((value - expected).abs() < 1e-13, "{at}");
        }
    }

    #[test]
    fn the_norm_keeps_the_large_heads() {
        let axes = axes::<HeadPruning>(&given(1, "norm"));
        let mut tensors = drawn::<HeadPruning>(&axes);
        let area = 16 * 8;
        let grown = tensors["q"].values().iter().enumerate().map(|(at, q)| if at / area % 4 == 2 { 9.0 * q } else { *q }).collect();
        tensors.insert("q".into(), HostTensor::new(tensors["q"].shape(), grown).unwrap());
        let out = run::<HeadPruning>(&axes, &tensors);
        let alive =
            |head: usize| out.values().chunks(area).enumerate().any(|(at, head_of)| at % 4 == head && head_of.iter().any(|x| *x != 0.0));
        assert_eq!([0, 1, 2, 3].map(alive), [false, false, true, false]);
    }

    #[test]
    fn listed_heads_stay_whatever_their_norm() {
        let given = |list: &'static str| small(&[("heads", 4.into()), ("kv_heads", 2.into()), ("keep_heads", list.into())]);
        for (list, kept) in [("1,3", vec![1, 3]), ("0/2/3", vec![0, 2, 3]), ("2", vec![2])] {
            let (out, full) = (output::<HeadPruning>(&given(list)), output::<Flash>(&given(list)[..5]));
            for (at, (value, exact)) in out.values().iter().zip(full.values()).enumerate() {
                let expected = if kept.contains(&(at / (16 * 8) % 4)) { *exact } else { 0.0 };
                assert!((value - expected).abs() < 1e-13, "{list} {at}");
            }
            assert_closed_forms::<HeadPruning>(&given(list));
        }
    }

    #[test]
    fn a_wrong_list_of_heads_is_refused_with_the_place() {
        let error = |list: &str| axis_error::<HeadPruning>(&[("heads", 4.into()), ("keep_heads", list.into())]);
        for (list, complaint) in [
            ("0,4", "entry 2 is head 4, and the 4 heads are 0..=3"),
            ("2,1", "entry 2 is head 1, which does not come after the one before it"),
            ("1,1", "entry 2 is head 1, which"),
            ("0,,2", "entry 2 of \"0,,2\" is \"\", no number of a head"),
            ("0,x", "is \"x\", no number of a head"),
        ] {
            assert!(error(list).contains(complaint), "{}", error(list));
        }
    }

    #[test]
    fn more_heads_than_there_are_cannot_be_kept() {
        assert!(axis_error::<HeadPruning>(&[("heads", 4.into()), ("keep", 5.into())]).contains("keep <= heads"));
    }
}
