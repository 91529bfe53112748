//! Which rows an expert gets: a counting sort of the choices, and blocks of its groups.

use std::ops::Range;

use crossover_core::check::{self, MixtureSizes};
use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::layout::Layout;
use crossover_core::tensor::Buffer;

use crate::buffer::SimdBuffer;
use crate::gemm::Cut;

/// Of a choice that found no place.
pub(super) const DROPPED: i32 = -1;
/// Numbers that describe a task: its expert, the first of its rows in the order, and how many they are.
const TASK: usize = 3;

/// What follows from the sizes alone.
pub(super) struct Plan {
    pub(super) sizes: MixtureSizes,
    /// Rows of a block, whole tiles of so many.
    pub(super) block: usize,
    pub(super) tile: usize,
}

/// Who goes where, from the data.
pub(super) struct Groups<'a> {
    /// Choices that found a place, by expert: choice times tokens plus token.
    pub(super) order: &'a [i32],
    /// For each choice its number in that order, or [`DROPPED`].
    pub(super) places: &'a [i32],
    tasks: &'a [i32],
}

/// Some rows of one expert.
pub(super) struct Task {
    pub(super) expert: usize,
    pub(super) rows: Range<usize>,
}

impl Plan {
    fn choices(&self) -> usize {
        self.sizes.tokens * self.sizes.choices
    }

    fn most_tasks(&self) -> usize {
        self.sizes.experts + self.sizes.kept() / self.block
    }

    /// Numbers that the groups take.
    pub(super) fn numbers(&self) -> usize {
        self.sizes.kept() + self.choices() + TASK * self.most_tasks() + self.sizes.experts
    }

    /// Sorts choices by expert, all first ones before all second ones.
    pub(super) fn group<'a>(&self, (values, layout): (&[i32], &Layout), numbers: &'a mut SimdBuffer) -> Result<Groups<'a>> {
        let found = numbers.dtype();
        let SimdBuffer::I32(numbers) = numbers else {
            return Err(EngineError::ElementType { operation: "mixture", expected: DType::I32, found });
        };
        let MixtureSizes { tokens, choices, experts, places: most, .. } = self.sizes;
        let (order, rest) = numbers.split_at_mut(self.sizes.kept());
        let (places, rest) = rest.split_at_mut(self.choices());
        let (tasks, counts) = rest.split_at_mut(TASK * self.most_tasks());
        let expert = |choice: usize, token: usize| {
            let at = layout.offset() + token * layout.strides()[0] + choice * layout.strides()[1];
            check::index("mixture", token * choices + choice, values[at], experts)
        };
        counts.fill(0);
        for (at, place) in places.iter_mut().enumerate() {
            let count = &mut counts[expert(at / tokens, at % tokens)?];
            // For now the place within the group.
            *place = if (*count as usize) < most { *count } else { DROPPED };
            *count += i32::from(*place != DROPPED);
        }
        let tasks = self.cut(counts, tasks);
        // From counts to where groups begin.
        counts.iter_mut().fold(0, |start, count| start + std::mem::replace(count, start));
        for (at, place) in places.iter_mut().enumerate().filter(|(_, place)| **place != DROPPED) {
            *place += counts[expert(at / tokens, at % tokens)?];
            order[*place as usize] = at as i32;
        }
        Ok(Groups { order, places, tasks })
    }

    /// Blocks of groups with these counts, one after the other.
    fn cut<'a>(&self, counts: &[i32], tasks: &'a mut [i32]) -> &'a [i32] {
        let (mut used, mut start) = (0, 0);
        for (expert, &count) in counts.iter().enumerate() {
            let count = count as usize;
            let cut = Cut::new(count, self.tile, count.div_ceil(self.block));
            for rows in (0..cut.parts).map(|part| cut.range(part)).filter(|rows| !rows.is_empty()) {
                for (to, number) in tasks[used..][..TASK].iter_mut().zip([expert, start + rows.start, rows.len()]) {
                    *to = number as i32;
                }
                used += TASK;
            }
            start += count;
        }
        &tasks[..used]
    }
}

impl Groups<'_> {
    pub(super) fn tasks(&self) -> usize {
        self.tasks.len() / TASK
    }

    pub(super) fn task(&self, at: usize) -> Task {
        let [expert, first, count] = [0, 1, 2].map(|number| self.tasks[TASK * at + number] as usize);
        Task { expert, rows: first..first + count }
    }
}
