//! Reads pictures back for the tests: as XML, by a parser that shares no code with what wrote them.

use super::Picture;
use crate::answers::of_cells;
use crate::examples::{Cell, frame, together};

/// All pictures of these cells, which are of one family.
pub(super) fn pictures_of(cells: &[Cell]) -> Vec<Picture> {
    let answers = of_cells(&[], frame(&together(cells))).unwrap();
    super::of(&answers, "attention").unwrap()
}

/// The first of one kind.
pub(super) fn picture_of(kind: &str, cells: &[Cell]) -> Picture {
    let file = format!("attention-{kind}.svg");
    pictures_of(cells).into_iter().find(|picture| picture.file == file).unwrap()
}

/// What is in a picture.
pub(super) struct Shapes {
    circles: Vec<(f64, f64, i64)>,
    texts: Vec<(String, f64, f64)>,
    paths: Vec<Vec<(f64, f64)>>,
    dim: Vec<(f64, f64)>,
}

impl Shapes {
    /// Also checks that it is well-formed, and has no more than it may.
    pub(super) fn of(picture: &Picture) -> Self {
        assert!(picture.svg.len() < 100_000, "{} bytes", picture.svg.len());
        let document = roxmltree::Document::parse(&picture.svg).unwrap();
        let number = |node: &roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let (mut circles, mut texts, mut paths, mut dim) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let point = |pair: &str| pair.split_once(',').map(|(x, y)| (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap())).unwrap();
        for node in document.descendants() {
            match node.tag_name().name() {
                "circle" if node.attribute("opacity").is_some() => dim.push((number(&node, "cx"), number(&node, "cy"))),
                "circle" => circles.push((number(&node, "cx"), number(&node, "cy"), number(&node, "r") as i64)),
                "polyline" => paths.push(node.attribute("points").unwrap().split_whitespace().map(point).collect()),
                "text" => texts.push((node.text().unwrap().trim().to_owned(), number(&node, "x"), number(&node, "y"))),
                _ => {}
            }
        }
        Self { circles, texts, paths, dim }
    }

    /// The middles of all circles of this radius, in the order of the axis across.
    pub(super) fn circles(&self, radius: i64) -> Vec<(f64, f64)> {
        let mut middles: Vec<(f64, f64)> = self.circles.iter().filter(|circle| circle.2 == radius).map(|(x, y, _)| (*x, *y)).collect();
        middles.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        middles
    }

    /// The corners of every line.
    pub(super) fn paths(&self) -> Vec<Vec<(f64, f64)>> {
        self.paths.clone()
    }

    /// The middles of what can be seen through.
    pub(super) fn dim(&self) -> Vec<(f64, f64)> {
        self.dim.clone()
    }

    /// Every place of a text.
    pub(super) fn texts(&self, words: &str) -> Vec<(f64, f64)> {
        self.texts.iter().filter(|(text, ..)| text == words).map(|(_, x, y)| (*x, *y)).collect()
    }

    /// Where a text stands; it must be there once.
    pub(super) fn text(&self, words: &str) -> (f64, f64) {
        let found = self.texts(words);
        assert_eq!(found.len(), 1, "{words} in {:?}", self.texts);
        found[0]
    }
}
