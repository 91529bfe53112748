//! What all pictures look like: sizes, inks, and the marks that tell one thing from another.
//!
//! A picture is drawn [`WIDTH`] units wide. Text of [`TEXT`] units is then 12 pixels high on a telephone of 390 pixels, and 18 at
//! [`SHOWN`], the width that the file asks for where there is room. The card is white whatever is behind it, so that it reads the same
//! on a light page, on a dark one and on paper.
//!
//! Two series never differ by colour alone: each of the eight [`MARKS`] has a shape of its own. The colours have a contrast of at least 3 to 1 with
//! the card, and a test simulates the three kinds of colour blindness on them.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::card::{Area, Drawn};

/// Units from the left edge to the right one.
pub(super) const WIDTH: i32 = 800;
/// Pixels that the picture is wide where nobody says otherwise.
pub(super) const SHOWN: i32 = 560;
/// Units that stay free around everything.
pub(super) const MARGIN: i32 = 24;

/// Size of the heading.
pub(super) const HEADING: i32 = 30;
/// Size of what is to be read.
pub(super) const TEXT: i32 = 26;
/// Size of ticks and of the lines that tell of the regime.
pub(super) const SMALL: i32 = 24;

pub(super) const PAPER: RGBColor = RGBColor(255, 255, 255);
pub(super) const INK: RGBColor = RGBColor(26, 26, 26);
pub(super) const FAINT_INK: RGBColor = RGBColor(89, 89, 89);
pub(super) const GRID: RGBColor = RGBColor(226, 226, 226);
/// What is there for comparison only.
pub(super) const BACKGROUND: RGBColor = RGBColor(176, 176, 176);
/// Where a difference is noise.
pub(super) const NOISE: RGBColor = RGBColor(236, 232, 216);

/// A shape, so that print and eyes without colours can tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Down,
    Cross,
    Plus,
    Ring,
}

/// How a series is told from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) color: RGBColor,
    pub(super) shape: Shape,
}

const fn mark(red: u8, green: u8, blue: u8, shape: Shape) -> Mark {
    Mark { color: RGBColor(red, green, blue), shape }
}

pub(super) const MARKS: [Mark; 8] = [
    mark(0x00, 0x44, 0x88, Shape::Circle),
    mark(0x99, 0x77, 0x00, Shape::Square),
    mark(0x3d, 0x9b, 0xe0, Shape::Triangle),
    mark(0x66, 0x11, 0x00, Shape::Diamond),
    mark(0xcc, 0x79, 0xa7, Shape::Down),
    mark(0x11, 0x77, 0x33, Shape::Cross),
    mark(0x00, 0x00, 0x00, Shape::Plus),
    mark(0x55, 0x55, 0x55, Shape::Ring),
];

impl Mark {
    /// Draws it with its middle at `at` and about `radius` units to every side.
    pub(super) fn draw(self, area: &Area<'_>, (x, y): (i32, i32), radius: i32) -> Drawn {
        let (fill, stroke) = (self.color.filled(), self.color.stroke_width(4));
        // Shapes with corners look as large as the circle only where they reach further.
        let (far, near) = (radius * 5 / 4, radius * 7 / 8);
        let polygon = |points: &[(i32, i32)]| {
            let points: Vec<(i32, i32)> = points.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
            area.draw(&Polygon::new(points, fill))
        };
        let line =
            |from: (i32, i32), to: (i32, i32)| area.draw(&PathElement::new(vec![(x + from.0, y + from.1), (x + to.0, y + to.1)], stroke));
        match self.shape {
            Shape::Circle => area.draw(&Circle::new((x, y), radius, fill)),
            Shape::Ring => {
                area.draw(&Circle::new((x, y), radius, PAPER.filled()))?;
                area.draw(&Circle::new((x, y), radius, stroke))
            }
            Shape::Square => area.draw(&Rectangle::new([(x - near, y - near), (x + near, y + near)], fill)),
            Shape::Triangle => polygon(&[(0, -far), (far, near), (-far, near)]),
            Shape::Down => polygon(&[(0, far), (far, -near), (-far, -near)]),
            Shape::Diamond => polygon(&[(0, -far), (far, 0), (0, far), (-far, 0)]),
            Shape::Cross => {
                line((-near, -near), (near, near))?;
                line((-near, near), (near, -near))
            }
            Shape::Plus => {
                line((-far, 0), (far, 0))?;
                line((0, -far), (0, far))
            }
        }
    }
}

/// Where text stands beside its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// Its upper left corner is there.
    TopLeft,
    /// Its upper edge is there, in the middle.
    Top,
    /// It begins there, at half its height.
    Left,
    /// Its middle is there.
    Center,
}

/// A style of text; headings are bold. The backend divides sizes by what a line is higher than its letters.
pub(super) fn text(size: i32, color: RGBColor, anchor: Anchor) -> TextStyle<'static> {
    let (across, down) = match anchor {
        Anchor::TopLeft => (HPos::Left, VPos::Top),
        Anchor::Top => (HPos::Center, VPos::Top),
        Anchor::Left => (HPos::Left, VPos::Center),
        Anchor::Center => (HPos::Center, VPos::Center),
    };
    let weight = if size == HEADING { FontStyle::Bold } else { FontStyle::Normal };
    let font = ("sans-serif", f64::from(size) * 1.24, weight).into_font();
    TextStyle { font, color: color.to_backend_color(), pos: Pos::new(across, down) }
}

/// About how many units a text is wide; a little too many rather than too few, as the reader's font is not known.
pub(super) fn width(text: &str, size: i32) -> i32 {
    let share = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.30,
        ' ' | 'f' | 't' | 'r' | '/' | '(' | ')' | '[' | ']' | '-' => 0.37,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.92,
        'A'..='Z' => 0.70,
        '\0'..='\u{24f}' => 0.58,
        _ => 1.0,
    };
    let bold = if size == HEADING { 1.08 } else { 1.0 };
    (text.chars().map(share).sum::<f64>() * f64::from(size) * bold).ceil() as i32
}

/// The text in lines of at most `room` units, broken between words where there are any.
pub(super) fn lines(text: &str, size: i32, room: i32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if width(&longer, size) <= room {
            line = longer;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            line.push(c);
            if width(&line, size) > room {
                line.pop();
                lines.push(std::mem::replace(&mut line, c.to_string()));
            }
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(color: RGBColor) -> [f64; 3] {
        [color.0, color.1, color.2].map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// That of WCAG 2 with white.
    fn contrast(color: RGBColor) -> f64 {
        let [red, green, blue] = linear(color);
        1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
    }

    /// CIELAB of linear sRGB.
    fn lab(rgb: [f64; 3]) -> [f64; 3] {
        let [r, g, b] = rgb.map(|part| part.clamp(0.0, 1.0));
        let [x, y, z] = [
            (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047,
            0.2126 * r + 0.7152 * g + 0.0722 * b,
            (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883,
        ]
        .map(|part| if part > 0.008856 { part.cbrt() } else { 7.787 * part + 16.0 / 116.0 });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn text_and_marks_stand_out_from_the_card() {
        assert!(contrast(INK) > 7.0 && contrast(FAINT_INK) > 7.0);
        for mark in MARKS {
            assert!(contrast(mark.color) >= 2.98, "{mark:?}: {}", contrast(mark.color));
        }
    }

    #[test]
    fn colours_differ_for_colour_blind_readers_too() {
        // Machado, Oliveira and Fernandes (2009): protanopia, deuteranopia, tritanopia.
        let kinds: [[[f64; 3]; 3]; 3] = [
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
            [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
        ];
        for kind in kinds {
            let seen = |mark: &Mark| {
                let seen = linear(mark.color);
                lab(kind.map(|row| (0..3).map(|part| row[part] * seen[part]).sum()))
            };
            let seen: Vec<[f64; 3]> = MARKS.iter().map(seen).collect();
            for (first, one) in seen.iter().enumerate() {
                for (second, other) in seen.iter().enumerate().skip(first + 1) {
                    let apart = (0..3).map(|part| (one[part] - other[part]).powi(2)).sum::<f64>().sqrt();
                    assert!(apart > 18.0, "marks {first} and {second} are {apart} apart");
                }
            }
        }
    }

    #[test]
    fn every_mark_has_a_shape_of_its_own() {
        for (at, mark) in MARKS.iter().enumerate() {
            assert!(MARKS[at + 1..].iter().all(|other| other.shape != mark.shape && other.color != mark.color));
        }
    }

    #[test]
    fn lines_break_between_words_and_long_words_anywhere() {
        assert_eq!(lines("one two three", 10, 45), ["one two", "three"]);
        assert_eq!(lines("", 10, 45), [""]);
        let broken = lines(&"m".repeat(20), 10, 45);
        assert_eq!(broken.concat(), "m".repeat(20));
        assert!(broken.len() > 3 && broken.iter().all(|line| width(line, 10) <= 45), "{broken:?}");
    }
}
