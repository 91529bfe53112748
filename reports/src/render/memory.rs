//! Memory: the three named figures, one row a cell.

use polars::prelude::*;

use super::Context;
use super::family_tables::{Measures, sections};
use crate::columns::Typed;
use crate::text::markdown::{ABSENT, Align, name};
use crate::text::units::{bytes, figure, percent, scientific, time};

const ABOUT: &str = "\n## Memory\n\n\
    Three figures that are never added to each other. *declared*: what the engine says it holds, as weights + activations (inputs and \
    output) + scratch + state (what outlives a call). *allocator peak*: the most that was allocated over preparing and one call, \
    counted by the allocator. *high water*: the most resident memory of the fresh process, the program itself included. Ratios are \
    cell over baseline: below 1 is smaller. *warm allocations* are those of one call after warm-up. A cell that was not accounted \
    has its status in place of the first figure.\n";

/// Said where some cell has compressed weights.
const TRANSFORMS: &str = "\n*derived in*: time of the host transforms (factors, masks, codes), before the timer. *parameters left* and *bytes left*: \
    what they leave of the weights that they compress. *weight error*: the largest relative error of such a weight in the Frobenius norm.\n";

/// Said where some cell has memory on a device.
const DEVICES: &str = "\n*on the device*: the most that the process held at once of its device's memory while calling, as the device counts it. \
    No part of the three figures; what is on the device is declared, but neither allocated nor resident.\n";

struct Memory<'a> {
    frame: &'a DataFrame,
    /// Show what was held on devices?
    devices: bool,
    /// Show what host transforms did?
    transforms: bool,
}

/// The section of a family. `frame` has the columns of `frames::memory`.
pub(crate) fn section(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    let transforms = frame.ints("transform_bytes_before")?.iter().any(|bytes| bytes.is_some());
    let devices = frame.ints("device_peak_bytes")?.iter().any(|bytes| bytes.is_some());
    let more = [if devices { DEVICES } else { "" }, if transforms { TRANSFORMS } else { "" }].concat();
    Ok(format!("{ABOUT}{more}{}", sections(frame, context, &Memory { frame, devices, transforms })?))
}

impl Memory<'_> {
    /// What host transforms took, left and lost.
    fn transform(&self, row: usize) -> PolarsResult<[String; 4]> {
        let absent = || ABSENT.to_owned();
        let int = |column: &str| -> PolarsResult<Option<i64>> { Ok(self.frame.ints(column)?.get(row)) };
        let left = |what: &str| -> PolarsResult<String> {
            let (before, after) = (int(&format!("transform_{what}_before"))?, int(&format!("transform_{what}_after"))?);
            let share = before.zip(after).filter(|(before, _)| *before > 0).map(|(before, after)| after as f64 / before as f64);
            Ok(share.map_or_else(absent, percent))
        };
        Ok([
            int("derive_ns")?.map_or_else(absent, |ns| time(ns as f64)),
            left("parameters")?,
            left("bytes")?,
            self.frame.doubles("transform_error")?.get(row).map_or_else(absent, scientific),
        ])
    }
}

impl Measures for Memory<'_> {
    fn headings(&self) -> Vec<(&'static str, Align)> {
        let figures = [
            "declared",
            "ratio",
            "weights",
            "activations",
            "scratch",
            "state",
            "allocator peak",
            "ratio",
            "high water",
            "ratio",
            "warm allocations",
        ];
        let devices = self.devices.then_some("on the device");
        let transforms = ["derived in", "parameters left", "bytes left", "weight error"];
        let transforms = transforms.into_iter().filter(|_| self.transforms);
        figures.into_iter().chain(devices).chain(transforms).map(|heading| (heading, Align::Right)).collect()
    }

    fn cells(&self, row: usize) -> PolarsResult<Vec<String>> {
        let size = |column: &str| -> PolarsResult<String> {
            Ok(self.frame.ints(column)?.get(row).map_or_else(|| ABSENT.to_owned(), |size| bytes(size as f64)))
        };
        let own = self.frame.flags("own_baseline")?.get(row) == Some(true);
        let ratio = |column: &str| -> PolarsResult<String> {
            let value = self.frame.doubles(column)?.get(row);
            Ok(if own { "baseline".to_owned() } else { value.map_or_else(|| ABSENT.to_owned(), figure) })
        };
        let declared = match self.frame.ints("declared_bytes")?.get(row) {
            None => format!("**{}**", name(self.frame.texts("status")?.get(row).unwrap_or_default())),
            Some(_) => size("declared_bytes")?,
        };
        let warm = self.frame.ints("warm_allocations")?.get(row);
        let mut shown = vec![
            declared,
            ratio("declared_ratio")?,
            size("weight_bytes")?,
            size("activation_bytes")?,
            size("scratch_bytes")?,
            size("state_bytes")?,
            size("allocator_peak_bytes")?,
            ratio("allocator_peak_ratio")?,
            size("high_water_bytes")?,
            ratio("high_water_ratio")?,
            warm.map_or_else(|| ABSENT.to_owned(), |count| count.to_string()),
        ];
        if self.devices {
            shown.push(size("device_peak_bytes")?);
        }
        if self.transforms {
            shown.extend(self.transform(row)?);
        }
        Ok(shown)
    }

    fn compares(&self) -> bool {
        true
    }
}
