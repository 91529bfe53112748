//! A plot with two axes, and the shapes that pictures put on it.
//!
//! The library places the axes, their grid and their ticks; shapes are placed by the same coordinates and drawn on the card itself, so that a
//! whisker or a mark has the same size in every picture.

use std::ops::Range;

use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;

use super::card::{Area, Drawn};
use super::scale::Scale;
use super::style::{Anchor, FAINT_INK, GRID, INK, MARGIN, Mark, SMALL, WIDTH, text};

/// Room for the ticks of the axis at the left.
const LEFT: i32 = 88;
/// Room for the ticks and the name of the axis below.
const BELOW: i32 = 78;
/// Room where another panel follows that has them.
const LITTLE: i32 = 14;
/// Room for the name of the axis at the left, which stands above it so that nobody turns their head.
const ABOVE: i32 = 38;

/// Half the size of a mark.
pub(super) const RADIUS: i32 = 9;

/// What is written below a panel.
pub(super) enum Below<'t> {
    /// Nothing: it stands below the next panel.
    Nothing,
    /// Ticks, and what they count.
    Name(&'t str),
    /// A name for each place of [`Scale::names`], in two lines at most.
    Names(&'t [String]),
}

/// What a panel needs beside its axes.
pub(super) struct Frame<'t> {
    pub(super) x: Below<'t>,
    /// Name of the axis at the left.
    pub(super) y: &'t str,
    /// Room at the right, for labels.
    pub(super) right: i32,
}

/// A plot on a card.
pub(super) struct Panel<'a, 'b> {
    area: &'b Area<'a>,
    chart: ChartContext<'b, SVGBackend<'a>, Cartesian2d<Scale, Scale>>,
    x: (f64, f64),
    y: (f64, f64),
}

impl<'a, 'b> Panel<'a, 'b> {
    /// Draws the axes between two heights of the card.
    pub(super) fn new(
        area: &'b Area<'a>,
        rows: Range<i32>,
        (x, y): (Scale, Scale),
        frame: &Frame<'_>,
    ) -> Result<Self, DrawingAreaErrorKind<std::io::Error>> {
        let (x_ends, y_ends) = (x.ends(), y.ends());
        area.draw_text(frame.y, &text(SMALL, INK, Anchor::TopLeft), (MARGIN, rows.start))?;
        let below = if matches!(frame.x, Below::Nothing) { LITTLE } else { BELOW };
        let x = if matches!(frame.x, Below::Name(_)) { x } else { x.unlabelled() };
        let mut chart = ChartBuilder::on(area)
            .margin_top(rows.start + ABOVE)
            .margin_bottom(area.dim_in_pixel().1 as i32 - rows.end)
            .margin_left(MARGIN)
            .margin_right(MARGIN + frame.right)
            .y_label_area_size(LEFT - MARGIN)
            .x_label_area_size(below)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(2))
            .axis_style(FAINT_INK.stroke_width(2))
            .label_style(text(SMALL, INK, Anchor::Top))
            .set_all_tick_mark_size(5)
            .draw()?;
        let panel = Self { area, chart, x: x_ends, y: y_ends };
        match frame.x {
            Below::Nothing => {}
            Below::Name(name) => {
                let middle = (LEFT + WIDTH - MARGIN - frame.right) / 2;
                area.draw_text(name, &text(SMALL, INK, Anchor::Top), (middle, rows.end - SMALL * 5 / 4))?;
            }
            Below::Names(names) => panel.names(names, rows.end - BELOW + LITTLE)?,
        }
        Ok(panel)
    }

    fn names(&self, names: &[String], top: i32) -> Drawn {
        let room = self.at(1.0, 1.0).0 - self.at(0.0, 1.0).0;
        for (place, name) in names.iter().enumerate() {
            let (x, _) = self.at(place as f64, 1.0);
            // A hyphen is a place to break at.
            for (line, part) in super::style::lines(&name.replace('-', "- "), SMALL, room).iter().take(2).enumerate() {
                let part = part.replace("- ", "-");
                self.area.draw_text(&part, &text(SMALL, INK, Anchor::Top), (x, top + line as i32 * SMALL))?;
            }
        }
        Ok(())
    }

    /// Where a point lies on the card.
    pub(super) fn at(&self, x: f64, y: f64) -> (i32, i32) {
        self.chart.backend_coord(&(x, y))
    }

    /// The value at the left edge.
    pub(super) fn left(&self) -> f64 {
        self.x.0
    }

    /// The value at the right edge.
    pub(super) fn right(&self) -> f64 {
        self.x.1
    }

    pub(super) fn path(&self, points: impl Iterator<Item = (f64, f64)>, color: RGBColor, width: u32) -> Drawn {
        let points: Vec<(i32, i32)> = points.map(|(x, y)| self.at(x, y)).collect();
        self.area.draw(&PathElement::new(points, color.stroke_width(width)))
    }

    pub(super) fn mark(&self, (x, y): (f64, f64), mark: Mark) -> Drawn {
        mark.draw(self.area, self.at(x, y), RADIUS)
    }

    /// An interval, from `low` to `high`; an open end goes to the edge.
    pub(super) fn whisker(&self, x: f64, (low, high): (f64, f64), color: RGBColor) -> Drawn {
        let ((across, bottom), (_, top)) = (self.at(x, low), self.at(x, high));
        let line = |from, to| self.area.draw(&PathElement::new(vec![from, to], color.stroke_width(2)));
        line((across, bottom), (across, top))?;
        // An end that is not shown has no stop.
        for (end, y) in [(low, bottom), (high, top)] {
            if (self.y.0..=self.y.1).contains(&end) {
                line((across - 6, y), (across + 6, y))?;
            }
        }
        Ok(())
    }

    /// A stripe over the whole width.
    pub(super) fn band(&self, low: f64, high: f64, color: RGBColor) -> Drawn {
        let (left, bottom) = self.at(self.x.0, low);
        let (right, top) = self.at(self.x.1, high);
        self.area.draw(&Rectangle::new([(left, top), (right, bottom)], color.filled()))
    }

    /// An interval that lies, between two places across; its ends have stops where they are on the plot.
    pub(super) fn span(&self, (left, right): (i32, i32), y: i32, color: RGBColor) -> Drawn {
        let line = |from, to| self.area.draw(&PathElement::new(vec![from, to], color.stroke_width(2)));
        line((left, y), (right, y))?;
        let edges = [self.x.0, self.x.1].map(|end| self.at(end, self.y.0).0);
        for end in [left, right].into_iter().filter(|end| !edges.contains(end)) {
            line((end, y - 6), (end, y + 6))?;
        }
        Ok(())
    }

    /// A line over the whole height.
    pub(super) fn upright(&self, x: f64, color: RGBColor, width: u32) -> Drawn {
        self.path([(x, self.y.0), (x, self.y.1)].into_iter(), color, width)
    }

    /// A line over the whole width.
    pub(super) fn level(&self, y: f64, color: RGBColor, width: u32) -> Drawn {
        self.path([(self.x.0, y), (self.x.1, y)].into_iter(), color, width)
    }
}
