//! The tokens at the places of an order. Threads write rows to them, so that no token may have two places.

use crossover_core::check::{self, BucketSizes};
use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::layout::Layout;
use crossover_core::tensor::{Buffer, View};

use crate::buffer::SimdBuffer;
use crate::operands::indices;

/// The operation's name in messages.
const OPERATION: &str = "bucket attention";

/// [batch, heads, n].
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    numbers: &'a [i32],
    layout: Layout,
}

impl<'a> Order<'a> {
    pub(super) fn of(view: &View<'a, SimdBuffer>) -> Result<Self> {
        Ok(Self { numbers: indices(OPERATION, view)?, layout: view.layout })
    }

    /// Is each token of each head named once? `marks` has room for all of a head.
    pub(super) fn check(&self, sizes: BucketSizes, marks: &mut SimdBuffer) -> Result<()> {
        let BucketSizes { batch, heads, n, .. } = sizes;
        let found = marks.dtype();
        let SimdBuffer::I32(marks) = marks else {
            return Err(EngineError::ElementType { operation: OPERATION, expected: DType::I32, found });
        };
        // All of them first: it is no order at all where a token is out of range.
        for head in 0..batch * heads {
            let own = self.of_head(head, heads);
            (0..n).try_for_each(|place| check::index(OPERATION, head * n + place, own.number(place), n).map(drop))?;
        }
        for head in 0..batch * heads {
            let own = self.of_head(head, heads);
            marks.fill(0);
            for place in 0..n {
                let mark = &mut marks[own.token(place)];
                if *mark != 0 {
                    return Err(check::named_twice(OPERATION));
                }
                *mark = 1;
            }
        }
        Ok(())
    }

    /// That of one head, counted over all sequences.
    #[inline(always)]
    pub(super) fn of_head(&self, head: usize, heads: usize) -> HeadOrder<'a> {
        let first = self.layout.position(&[head / heads, head % heads, 0]);
        HeadOrder { numbers: self.numbers, first, stride: self.layout.strides()[2] }
    }
}

/// The order of one head.
#[derive(Clone, Copy)]
pub(super) struct HeadOrder<'a> {
    numbers: &'a [i32],
    first: usize,
    stride: usize,
}

impl HeadOrder<'_> {
    #[inline(always)]
    fn number(&self, place: usize) -> i32 {
        self.numbers[self.first + place * self.stride]
    }

    /// The token at a place of an order that was checked.
    #[inline(always)]
    pub(super) fn token(&self, place: usize) -> usize {
        self.number(place) as usize
    }
}
