//! Ratios of times as people read them: the figure, its interval, and a mark where the two times are not known to be of the same rounds.

use polars::prelude::*;

use crate::columns::Typed;
use crate::text::markdown::{ABSENT, counted};
use crate::text::units::{ends, figure};

/// Behind a ratio to the baseline's own record, which may be of another time.
pub(super) const APART: &str = "†";

/// `0.512 [0.500, 0.524]`, with the mark where it belongs. `frame` is that of `frames::speed` or of `frames::headline`.
pub(crate) fn ratio(frame: &DataFrame, row: usize) -> PolarsResult<String> {
    let double = |name: &str| Ok::<_, PolarsError>(frame.doubles(name)?.get(row));
    let text = match (double("ratio")?, double("ratio_low")?, double("ratio_high")?) {
        (Some(ratio), Some(low), Some(high)) => format!("{} {}", figure(ratio), ends(low, high)),
        (Some(ratio), ..) => figure(ratio),
        _ => return Ok(ABSENT.to_owned()),
    };
    Ok(if is_apart(frame, row)? { format!("{text} {APART}") } else { text })
}

/// What the mark means, where some row has it.
pub(crate) fn legend(frame: &DataFrame) -> PolarsResult<String> {
    Ok(match marked(frame)? {
        0 => String::new(),
        _ => format!(
            "\n{APART}: the ratio is to the baseline's own record, since the cell's has nothing on the baseline in the same rounds (there was no \
             room for it beside the cell, it failed, or the record is of an older layout). What drifted in between, where the two are of \
             different times, is in the ratio.\n"
        ),
    })
}

/// How many ratios have the mark, as a line of the summary; nothing where none has. `speed` is the frame of `frames::speed`.
pub(crate) fn note(speed: &DataFrame) -> PolarsResult<String> {
    let (ratios, own) = (speed.doubles("ratio")?, speed.flags("own_baseline")?);
    let all = ratios.iter().zip(own.iter()).filter(|(ratio, own)| ratio.is_some() && *own == Some(false)).count();
    Ok(match marked(speed)? {
        0 => String::new(),
        marked => format!(
            "* Marked {APART}: {marked} of {} of times. What the baseline showed in the same rounds is not known there: its own record stands in.\n",
            counted(all as u64, "ratio")
        ),
    })
}

fn marked(frame: &DataFrame) -> PolarsResult<usize> {
    let mut marked = 0;
    for row in 0..frame.height() {
        marked += usize::from(is_apart(frame, row)?);
    }
    Ok(marked)
}

/// Is there a ratio, and is it one to another time?
fn is_apart(frame: &DataFrame, row: usize) -> PolarsResult<bool> {
    Ok(frame.doubles("ratio")?.get(row).is_some() && frame.flags("apart")?.get(row) == Some(true))
}
