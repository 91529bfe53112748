//! Shape checks, shared by all engines, so that wrong operands give the same typed error everywhere and kernels may rely on them.
//!
//! Each function returns the sizes that the kernel needs, as an [`OpSpec`]-ready struct.

mod attention;

pub use attention::{AttentionSizes, BucketSizes, MOST_POSITIONS, attention, bucket_attention, distance_bias};

use crate::backend::{Experts, PreparedWeight, Routes};
use crate::dtype::DType;
use crate::error::{EngineError, Result, shape_error};
use crate::layout::Layout;
use crate::ops::{LinearSpec, OpSpec, WeightForm};
use crate::tensor::Buffer;

/// Sizes of a batched matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatmulSizes {
    /// Product of the leading dimensions.
    pub batch: usize,
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
}

/// The most elements of an operand: more than memory holds, which only a view that repeats them has. Kernels count on a thousand times as many
/// still being a number.
pub const MOST_ELEMENTS: usize = 1 << 48;

/// A view must not reach beyond its buffer. Layouts are plain values, so one can be put on a buffer that it was not made for.
pub fn inside(operation: &'static str, buffer: &impl Buffer, layout: &Layout) -> Result<()> {
    if layout.len() > MOST_ELEMENTS {
        return Err(shape_error(operation, format!("a view {:?} has more than 2^48 elements", layout.shape())));
    }
    if layout.is_empty() || layout.end() <= buffer.len() {
        return Ok(());
    }
    let detail = format!("a view {:?} reaches element {}, its buffer has {}", layout.shape(), layout.end() - 1, buffer.len());
    Err(shape_error(operation, detail))
}

/// Likewise a view that is written, which moreover must not repeat its elements: threads write different elements at the same time, and
/// kernels rely on their being in different places. (Layouts are made by cutting, turning and repeating: only repeating puts two at one.)
pub fn output(operation: &'static str, buffer: &impl Buffer, layout: &Layout) -> Result<()> {
    inside(operation, buffer, layout)?;
    let repeats = layout.shape().iter().zip(layout.strides()).any(|(&extent, &stride)| extent > 1 && stride == 0);
    if repeats && !layout.is_empty() {
        return Err(shape_error(
            operation,
            format!("the output {:?} repeats its elements, so that none has a place of its own", layout.shape()),
        ));
    }
    Ok(())
}

/// An operand that must be of one type.
pub fn of_type(operation: &'static str, expected: DType, found: DType) -> Result<()> {
    if expected == found { Ok(()) } else { Err(EngineError::ElementType { operation, expected, found }) }
}

/// Positions start + 0, start + 1, ... must be numbers.
pub fn positions(operation: &'static str, start: usize, count: usize) -> Result<()> {
    match start.checked_add(count) {
        Some(_) => Ok(()),
        None => Err(shape_error(operation, format!("{count} positions from {start} on overflow"))),
    }
}

/// A [.., m, k] times B [.., k, n] into C [.., m, n].
pub fn matmul(a: &Layout, b: &Layout, c: &Layout) -> Result<MatmulSizes> {
    let detail = || format!("{:?} x {:?} into {:?}", a.shape(), b.shape(), c.shape());
    if a.rank() < 2 || a.rank() != b.rank() || a.rank() != c.rank() {
        return Err(shape_error("matmul", detail()));
    }
    let lead = a.rank() - 2;
    let (m, k, n) = (a.shape()[lead], a.shape()[lead + 1], b.shape()[lead + 1]);
    let fits = a.shape()[..lead] == b.shape()[..lead] && a.shape()[..lead] == c.shape()[..lead];
    if !fits || b.shape()[lead] != k || c.shape()[lead..] != [m, n] {
        return Err(shape_error("matmul", detail()));
    }
    Ok(MatmulSizes { batch: a.shape()[..lead].iter().product(), m, n, k })
}

/// x [.., inputs] times a weight into out [.., outputs]; returns the number of rows.
pub fn linear(x: &Layout, weight: &impl PreparedWeight, bias: Option<&Layout>, out: &Layout) -> Result<usize> {
    let (inputs, outputs) = (weight.inputs(), weight.outputs());
    let lead = x.rank().saturating_sub(1);
    let fits = x.rank() >= 1 && x.rank() == out.rank() && x.shape()[lead] == inputs && out.shape()[lead] == outputs;
    if !fits || x.shape()[..lead] != out.shape()[..lead] {
        return Err(shape_error("linear", format!("{:?} by a weight [{outputs}, {inputs}] into {:?}", x.shape(), out.shape())));
    }
    if let Some(bias) = bias.filter(|bias| bias.shape() != [outputs]) {
        return Err(shape_error("linear", format!("the bias is {:?}, the weight has {outputs} outputs", bias.shape())));
    }
    Ok(x.shape()[..lead].iter().product())
}

/// Sizes of a cross-entropy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossEntropySizes {
    /// Rows of x.
    pub rows: usize,
    /// Width of a row.
    pub inputs: usize,
    /// Words of all tiles.
    pub classes: usize,
    /// Words of the widest tile.
    pub widest: usize,
}

/// x [.., inputs] by tiles of a weight, with targets [..], room for logits [.., widest tile] and losses [..].
pub fn cross_entropy<W: PreparedWeight>(x: &Layout, tiles: &[W], [targets, logits, out]: [&Layout; 3]) -> Result<CrossEntropySizes> {
    let detail = |what: &str| {
        let shapes = format!("x {:?}, targets {:?}, logits {:?}, losses {:?}", x.shape(), targets.shape(), logits.shape(), out.shape());
        shape_error("cross-entropy", format!("{what}: {shapes}, {} tiles", tiles.len()))
    };
    let (Some((&inputs, lead)), Some((&room, rows))) = (x.shape().split_last(), logits.shape().split_last()) else {
        return Err(detail("x and the logits need rows"));
    };
    let widest = tiles.iter().map(PreparedWeight::outputs).max().unwrap_or(0);
    if tiles.iter().any(|tile| tile.outputs() == 0) || widest == 0 {
        return Err(detail("there must be words, and in each tile some"));
    }
    if let Some(tile) = tiles.iter().find(|tile| tile.inputs() != inputs) {
        return Err(detail(&format!("a tile of [{}, {}] does not fit x", tile.outputs(), tile.inputs())));
    }
    if rows != lead || targets.shape() != lead || out.shape() != lead || room < widest {
        return Err(detail("the shapes do not fit together"));
    }
    let classes = tiles.iter().map(PreparedWeight::outputs).fold(0, usize::saturating_add);
    Ok(CrossEntropySizes { rows: lead.iter().product(), inputs, classes, widest })
}

/// Sizes of a mixture of experts; tokens, choices and experts are numbers of i32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MixtureSizes {
    /// Rows of x.
    pub tokens: usize,
    /// Experts that each is sent to.
    pub choices: usize,
    /// Rows that an expert takes at most.
    pub places: usize,
    /// Experts.
    pub experts: usize,
    /// Width of a row.
    pub width: usize,
    /// Width of an expert's middle.
    pub hidden: usize,
}

impl MixtureSizes {
    /// Choices that find a place, at most.
    pub fn kept(&self) -> usize {
        self.tokens.saturating_mul(self.choices).min(self.experts.saturating_mul(self.places))
    }

    /// The operation, with weights held in this form.
    pub fn operation(&self, spec: LinearSpec, form: WeightForm) -> OpSpec {
        let Self { tokens, choices, places, experts, width, hidden } = *self;
        OpSpec::Mixture { tokens, choices, places, experts, width, hidden, activation: spec.activation, form }
    }
}

/// x [tokens, width] by way of the experts' layers into out, as x.
pub fn mixture<W: PreparedWeight, S>(
    x: &Layout,
    routes: &Routes<'_, S>,
    experts: &Experts<'_, W, S>,
    out: &Layout,
) -> Result<MixtureSizes> {
    let Routes { chosen, gates, places } = routes;
    let wrong = |what: &str| {
        let shapes = [x.shape(), chosen.shape(), gates.shape(), experts.up_bias.shape(), experts.down_bias.shape(), out.shape()];
        let counts = [experts.up.len(), experts.down.len()];
        let detail = format!("{what}: x, choices, gates, both biases and output are {shapes:?}, weights {counts:?}, places {places}");
        shape_error("mixture", detail)
    };
    let (&[tokens, width], &[_, choices]) = (x.shape(), chosen.shape()) else { return Err(wrong("x and the choices must be rows")) };
    let hidden = experts.up.first().map_or(0, PreparedWeight::outputs);
    let sizes = MixtureSizes { tokens, choices, places: *places, experts: experts.up.len(), width, hidden };
    if sizes.experts == 0 || choices == 0 || *places == 0 {
        return Err(wrong("there must be experts, choices and places"));
    }
    if chosen.shape()[0] != tokens || gates.shape() != chosen.shape() || out.shape() != x.shape() || experts.down.len() != sizes.experts {
        return Err(wrong("the shapes do not fit together"));
    }
    let fits = |weights: &[W], shape: [usize; 2]| weights.iter().all(|weight| [weight.outputs(), weight.inputs()] == shape);
    if !fits(experts.up, [hidden, width]) || !fits(experts.down, [width, hidden]) {
        return Err(wrong("every expert must have a weight [hidden, width] and one [width, hidden]"));
    }
    if *experts.up_bias.shape() != [sizes.experts, hidden] || *experts.down_bias.shape() != [sizes.experts, width] {
        return Err(wrong("biases must be [experts, hidden] and [experts, width]"));
    }
    if [tokens.saturating_mul(choices), sizes.experts].into_iter().any(|count| i32::try_from(count).is_err()) {
        return Err(wrong("choices and experts are counted in i32"));
    }
    Ok(sizes)
}

/// Two views of one shape.
pub fn same_shape(operation: &'static str, x: &Layout, out: &Layout) -> Result<()> {
    if x.shape() == out.shape() {
        return Ok(());
    }
    Err(shape_error(operation, format!("{:?} into {:?}", x.shape(), out.shape())))
}

/// Rows and width of a row-wise operation.
pub fn rows(operation: &'static str, x: &Layout) -> Result<(usize, usize)> {
    match x.shape().split_last() {
        Some((&width, lead)) => Ok((lead.iter().product(), width)),
        None => Err(shape_error(operation, "a scalar has no rows")),
    }
}

/// x [.., width] into out [..].
pub fn reduce(x: &Layout, out: &Layout) -> Result<(usize, usize)> {
    let (rows, width) = rows("reduce", x)?;
    if x.shape()[..x.rank() - 1] != *out.shape() {
        return Err(shape_error("reduce", format!("{:?} into {:?}", x.shape(), out.shape())));
    }
    if width == 0 && rows > 0 {
        return Err(shape_error("reduce", format!("rows of {:?} are empty", x.shape())));
    }
    Ok((rows, width))
}

/// Scale and shift of a normalisation must have one value a channel.
pub fn norm_weights(width: usize, weights: [Option<&Layout>; 2]) -> Result<()> {
    match weights.into_iter().flatten().find(|weight| weight.shape() != [width]) {
        None => Ok(()),
        Some(wrong) => Err(shape_error("normalize", format!("gamma and beta must be [{width}], one is {:?}", wrong.shape()))),
    }
}

/// A number of groups must divide the width.
pub fn norm_groups(width: usize, groups: usize) -> Result<()> {
    if groups == 0 || !width.is_multiple_of(groups) {
        return Err(shape_error("normalize", format!("{groups} groups do not divide {width} channels")));
    }
    Ok(())
}

/// Table [rows, width], indices `[count]`, selection [count, width]; returns (rows, count, width).
pub fn gather(operation: &'static str, table: &Layout, indices: &Layout, selection: &Layout) -> Result<(usize, usize, usize)> {
    let detail = || format!("table {:?}, indices {:?}, selection {:?}", table.shape(), indices.shape(), selection.shape());
    let (&[rows, width], &[count]) = (table.shape(), indices.shape()) else {
        return Err(shape_error(operation, detail()));
    };
    if selection.shape() != [count, width] {
        return Err(shape_error(operation, detail()));
    }
    Ok((rows, count, width))
}

/// x [batch, n, channels], filter [channels, kernel], out as x; returns (batch, n, channels, kernel).
pub fn depthwise_conv(x: &Layout, filter: &Layout, out: &Layout) -> Result<(usize, usize, usize, usize)> {
    let detail = || format!("x {:?}, filter {:?}, out {:?}", x.shape(), filter.shape(), out.shape());
    let (&[batch, n, channels], &[filters, kernel]) = (x.shape(), filter.shape()) else {
        return Err(shape_error("depthwise convolution", detail()));
    };
    if filters != channels || kernel == 0 || out.shape() != x.shape() {
        return Err(shape_error("depthwise convolution", detail()));
    }
    Ok((batch, n, channels, kernel))
}

/// x [.., width] into values and indices [.., k]; returns (rows, width, k).
pub fn top_k(x: &Layout, values: &Layout, indices: &Layout) -> Result<(usize, usize, usize)> {
    let (count, width) = rows("top-k", x)?;
    let k = values.dim_from_end(0);
    let fits =
        values.shape() == indices.shape() && values.rank() == x.rank() && values.shape()[..x.rank() - 1] == x.shape()[..x.rank() - 1];
    if !fits || k > width {
        let detail = format!("{:?} into values {:?} and indices {:?}", x.shape(), values.shape(), indices.shape());
        return Err(shape_error("top-k", detail));
    }
    Ok((count, width, k))
}

/// An index that a kernel is about to follow.
pub fn index(operation: &'static str, position: usize, index: i32, bound: usize) -> Result<usize> {
    match usize::try_from(index) {
        Ok(at) if at < bound => Ok(at),
        _ => Err(EngineError::Index { operation, index: i64::from(index), position, bound }),
    }
}

/// An order that names a token twice, and so leaves out another one: no such order, on any engine.
pub fn named_twice(operation: &'static str) -> EngineError {
    shape_error(operation, "an order names a token twice")
}

/// The operation with its sizes, for messages.
pub(crate) fn describe(operation: &OpSpec) -> String {
    format!("{operation:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(shape: &[usize]) -> Layout {
        Layout::contiguous(shape).unwrap()
    }

    #[test]
    fn matmul_sizes() {
        let sizes = matmul(&layout(&[2, 3, 4, 5]), &layout(&[2, 3, 5, 6]), &layout(&[2, 3, 4, 6])).unwrap();
        assert_eq!(sizes, MatmulSizes { batch: 6, m: 4, n: 6, k: 5 });
        for (a, b, c) in [([4, 5], [6, 5], [4, 6]), ([4, 5], [5, 6], [6, 4])] {
            assert!(matmul(&layout(&a), &layout(&b), &layout(&c)).is_err());
        }
        assert!(matmul(&layout(&[2, 4, 5]), &layout(&[3, 5, 6]), &layout(&[2, 4, 6])).is_err());
        assert!(matmul(&layout(&[5]), &layout(&[5]), &layout(&[1])).is_err());
    }

    #[test]
    fn wrong_indices_name_their_place() {
        let error = index("gather", 7, -1, 10).unwrap_err();
        assert_eq!(error.to_string(), "gather: index -1 at position 7 is outside 0..10");
        assert_eq!(index("gather", 0, 9, 10), Ok(9));
    }
}
