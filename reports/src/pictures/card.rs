//! The card that every picture is drawn on: what it shows above, the key below, and last the regime, without which no figure means anything.
//!
//! The backend writes the shapes and escapes text. What it has no words for is put around it here: the size that the picture asks for, and a
//! title and a description for screen readers.

use std::io;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;

use super::Picture;
use super::style::{Anchor, BACKGROUND, FAINT_INK, GRID, HEADING, INK, MARGIN, Mark, PAPER, SHOWN, SMALL, TEXT, WIDTH, lines, text};
use crate::error::{ReportError, Result};
use crate::text::visible::{one_line, shortened};

/// What is drawn on.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What drawing comes to.
pub(super) type Drawn = std::result::Result<(), DrawingAreaErrorKind<io::Error>>;

/// Longest name in a picture.
const LONGEST_NAME: usize = 60;
/// Space between two lines of text, as a share of their size.
const LEADING: f64 = 1.3;
/// Room for the mark of a line of the key.
const KEY: i32 = 48;

/// A name that anybody may have written, as it may stand in a picture.
pub(super) fn name(text: &str) -> String {
    shortened(&one_line(text), LONGEST_NAME)
}

/// What a line of the key explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// A series.
    Mark(Mark),
    /// What is there for comparison.
    Thin,
    /// Nothing that is drawn: a remark.
    None,
}

/// A picture before it is drawn.
pub(super) struct Card {
    /// The question that it answers.
    pub(super) kind: &'static str,
    /// The file's name.
    pub(super) file: String,
    /// What is seen, in a sentence.
    pub(super) heading: String,
    /// How to read it.
    pub(super) reading: String,
    /// How high the plot is.
    pub(super) height: i32,
    pub(super) key: Vec<(Sign, String)>,
    /// Under which conditions it was measured, and from how many cells.
    pub(super) regime: String,
    /// The finding, for those who do not see it.
    pub(super) alt: String,
}

struct Block {
    lines: Vec<String>,
    size: i32,
    color: RGBColor,
}

impl Block {
    fn new(words: &str, size: i32, color: RGBColor, room: i32) -> Self {
        Self { lines: lines(words, size, room), size, color }
    }

    fn step(&self) -> i32 {
        (f64::from(self.size) * LEADING) as i32
    }

    fn height(&self) -> i32 {
        self.step() * self.lines.len() as i32
    }

    fn draw(&self, area: &Area<'_>, (x, mut y): (i32, i32)) -> Drawn {
        for line in &self.lines {
            area.draw_text(line, &text(self.size, self.color, Anchor::TopLeft), (x, y))?;
            y += self.step();
        }
        Ok(())
    }
}

impl Card {
    /// Draws the card; `plot` draws what it is about between two heights.
    pub(super) fn draw(self, plot: impl FnOnce(&Area<'_>, Range<i32>) -> Drawn) -> Result<Picture> {
        let room = WIDTH - 2 * MARGIN;
        let above = [Block::new(&self.heading, HEADING, INK, room), Block::new(&self.reading, SMALL, FAINT_INK, room)];
        let key: Vec<(Sign, Block)> =
            self.key.iter().map(|(sign, words)| (*sign, Block::new(words, TEXT, INK, room - indent(*sign)))).collect();
        let regime = Block::new(&self.regime, SMALL, FAINT_INK, room);

        let top = MARGIN + above.iter().map(Block::height).sum::<i32>() + MARGIN / 2;
        let below = key.iter().map(|(_, block)| block.height()).sum::<i32>() + MARGIN / 2 + regime.height();
        let size = (WIDTH, top + self.height + MARGIN / 2 + below + MARGIN);

        let mut body = String::new();
        let drawn = || -> Drawn {
            let area = SVGBackend::with_string(&mut body, (size.0 as u32, size.1 as u32)).into_drawing_area();
            area.draw(&Rectangle::new([(0, 0), size], PAPER.filled()))?;
            area.draw(&Rectangle::new([(1, 1), (size.0 - 1, size.1 - 1)], GRID.stroke_width(2)))?;
            let mut y = MARGIN;
            for block in &above {
                block.draw(&area, (MARGIN, y))?;
                y += block.height();
            }
            plot(&area, top..top + self.height)?;
            y = top + self.height + MARGIN / 2;
            for (sign, block) in &key {
                sign.draw(&area, (MARGIN + KEY / 2 - 8, y + block.size / 2))?;
                block.draw(&area, (MARGIN + indent(*sign), y))?;
                y += block.height();
            }
            regime.draw(&area, (MARGIN, y + MARGIN / 2))?;
            area.present()
        };
        drawn().map_err(|error| ReportError::Picture { file: self.file.clone(), message: error.to_string() })?;
        let svg = framed(&body, size, &self.heading, &self.alt);
        Ok(Picture { kind: self.kind, file: self.file, alt: self.alt, svg })
    }
}

fn indent(sign: Sign) -> i32 {
    if sign == Sign::None { 0 } else { KEY }
}

impl Sign {
    fn draw(self, area: &Area<'_>, (x, y): (i32, i32)) -> Drawn {
        let line = |color: RGBColor, width| area.draw(&PathElement::new(vec![(x - 16, y), (x + 16, y)], color.stroke_width(width)));
        match self {
            Self::Mark(mark) => {
                line(mark.color, 3)?;
                mark.draw(area, (x, y), 8)
            }
            Self::Thin => line(BACKGROUND, 2),
            Self::None => Ok(()),
        }
    }
}

/// The backend's shapes within a frame of our own.
fn framed(body: &str, (width, height): (i32, i32), title: &str, description: &str) -> String {
    // The backend's first line opens the element with its own size.
    let shapes = body.split_once('\n').map_or(body, |(_, shapes)| shapes);
    let shown = SHOWN * height / width;
    let [title, description] = [title, description].map(escaped);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{SHOWN}\" height=\"{shown}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-labelledby=\"title desc\" direction=\"ltr\">\n<title id=\"title\">{title}</title>\n<desc id=\"desc\">{description}</desc>\n{}",
        // Whole shapes are opaque unless they say otherwise.
        shapes.replace(" opacity=\"1\"", "")
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(name_of: &str) -> Picture {
        let of = |text: &str| format!("{text} {}", name(name_of));
        let card = Card {
            kind: "x",
            file: "x.svg".into(),
            heading: of("heading"),
            reading: of("reading"),
            height: 100,
            key: vec![(Sign::Mark(super::super::style::MARKS[0]), of("key")), (Sign::Thin, of("others")), (Sign::None, of("remark"))],
            regime: of("regime"),
            alt: of("finding"),
        };
        card.draw(|area, rows| area.draw(&Circle::new((400, rows.start), 5, INK.filled()))).unwrap()
    }

    #[test]
    fn hostile_names_come_out_harmless() {
        let hostile = "<script>alert(1)</script> \"&\" ' ]]> \u{202e}\u{0}\u{fffe}\n=1";
        let picture = card(hostile);
        let document = roxmltree::Document::parse(&picture.svg).unwrap();
        assert!(document.descendants().all(|node| !node.has_tag_name("script")));
        let all: String = document.descendants().filter_map(|node| node.text()).map(str::trim).collect();
        assert!(all.contains("heading <script>alert(1)</script>"), "{all}");
        assert!(!all.contains(['\u{202e}', '\u{0}', '\u{fffe}']), "{all}");
        let long = card(&"x".repeat(300));
        assert!(!long.svg.contains(&"x".repeat(61)));
    }

    #[test]
    fn it_has_a_title_a_description_and_a_background_of_its_own() {
        let picture = card("n");
        let document = roxmltree::Document::parse(&picture.svg).unwrap();
        let root = document.root_element();
        let text = |tag: &str| root.children().find(|node| node.tag_name().name() == tag).and_then(|node| node.text()).unwrap();
        assert_eq!((text("title"), text("desc")), ("heading n", "finding n"));
        assert_eq!((root.attribute("role"), root.attribute("aria-labelledby")), (Some("img"), Some("title desc")));
        let view: Vec<&str> = root.attribute("viewBox").unwrap().split(' ').collect();
        let first = root.descendants().find(|node| node.tag_name().name() == "rect").unwrap();
        assert_eq!([first.attribute("width").unwrap(), first.attribute("height").unwrap()], [view[2], view[3]]);
        assert_eq!(first.attribute("fill"), Some("#FFFFFF"));
    }

    #[test]
    fn no_text_leaves_the_card() {
        let picture = card(&"wide words and more of them ".repeat(20));
        let document = roxmltree::Document::parse(&picture.svg).unwrap();
        for node in document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text"))) {
            let (x, size) = (node.attribute("x").unwrap(), node.attribute("font-size").unwrap());
            let (x, size): (i32, f64) = (x.parse().unwrap(), size.parse().unwrap());
            let right = x + super::super::style::width(node.text().unwrap().trim(), size as i32);
            assert!(right <= WIDTH, "{right}");
        }
    }

    #[test]
    fn the_same_card_has_the_same_bytes() {
        assert_eq!(card("n").svg, card("n").svg);
    }
}
