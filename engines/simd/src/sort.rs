//! Stable argsort of integer keys.
//!
//! Keys that span fewer values than there are keys (buckets of a hash, experts, clusters) are counted: how many come before each value is
//! where the first key of that value goes. Other keys are packed with their index into one number, key above, so that the order of numbers
//! is the stable order of keys, and the standard library's unstable sort, which needs no memory, sorts them.
//!
//! # What bounds it
//! Counting: three passes, the last of which writes all over the row, in the first-level cache up to some thousand keys. Sorting:
//! comparisons, n log n of them.

use crossover_core::error::Result;
use crossover_core::layout::Layout;

use crate::gemm::Engine;
use crate::pool::Shared;
use crate::walk::last_stride;

/// keys and out have one shape; rows are short enough for i32 indices.
pub(crate) fn stable_argsort(engine: &Engine, keys: (&[i32], &Layout), out: (&mut [i32], &Layout)) -> Result<()> {
    let ((values, layout), (out, out_layout)) = (keys, out);
    let (width, stride, out_stride) = (layout.dim_from_end(0), last_stride(layout), last_stride(out_layout));
    if layout.is_empty() {
        return Ok(());
    }
    engine.workspace.reserve::<u64>([width, 0])?;
    let (rows, out) = (layout.len() / width, Shared::new(out));
    engine.pool.for_each(rows, |participant, row| {
        let mut piece = engine.workspace.piece(participant);
        let (scratch, _) = piece.split::<u64>([width, 0]);
        let (start, out_start) = (layout.leading_offset(1, row), out_layout.leading_offset(1, row));
        let key = |at: usize| values[start + at * stride];
        let write = |place: usize, at: usize| {
            // SAFETY: both orders write places below the width; the row is inside of its view, and belongs to this task.
            unsafe { *out.pointer().wrapping_add(out_start + place * out_stride) = at as i32 };
        };
        let (least, most) = (0..width).map(key).fold((i32::MAX, i32::MIN), |(least, most), key| (least.min(key), most.max(key)));
        let span = i64::from(most) - i64::from(least) + 1;
        match usize::try_from(span).ok().filter(|&span| span <= width) {
            Some(span) => by_counting(width, |at| (i64::from(key(at)) - i64::from(least)) as usize, &mut scratch[..span], write),
            None => by_comparing(key, scratch, write),
        }
    });
    Ok(())
}

/// `key` gives numbers below the number of counts.
fn by_counting(width: usize, key: impl Fn(usize) -> usize, counts: &mut [u64], write: impl Fn(usize, usize)) {
    counts.fill(0);
    (0..width).for_each(|at| counts[key(at)] += 1);
    let mut before = 0;
    for count in counts.iter_mut() {
        before += std::mem::replace(count, before);
    }
    for at in 0..width {
        let next = &mut counts[key(at)];
        write(*next as usize, at);
        *next += 1;
    }
}

fn by_comparing(key: impl Fn(usize) -> i32, packed: &mut [u64], write: impl Fn(usize, usize)) {
    for (at, packed) in packed.iter_mut().enumerate() {
        // The sign bit turned over carries the order of i32 to that of u32.
        let key = key(at) as u32 ^ (1 << 31);
        *packed = u64::from(key) << 32 | at as u64;
    }
    packed.sort_unstable();
    for (place, &packed) in packed.iter().enumerate() {
        write(place, packed as u32 as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn both_ways_give_the_same_stable_order() {
        let keys: Vec<i32> = (0..1000).map(|at| (at * 7919 + at / 3 * 104_729) % 37 - 11).collect();
        let [counted, compared] = [true, false].map(|counts| {
            let order = RefCell::new(vec![usize::MAX; keys.len()]);
            let write = |place: usize, at: usize| order.borrow_mut()[place] = at;
            if counts {
                by_counting(keys.len(), |at| (keys[at] + 11) as usize, &mut [1; 37], write);
            } else {
                by_comparing(|at| keys[at], &mut vec![0; keys.len()], write);
            }
            order.into_inner()
        });
        assert_eq!(counted, compared);
        assert!(counted.windows(2).all(|pair| (keys[pair[0]], pair[0]) < (keys[pair[1]], pair[1])));
    }
}
