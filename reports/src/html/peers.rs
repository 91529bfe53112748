//! Ours beside other programs, for the page: the blocks of the very document that is `peers.md`, and its pictures.
//!
//! A picture is an address of the kind `data:`, which the page's policy allows for images, so that the page stays one file. As an image it
//! is drawn by itself: nothing in it could act, were there anything.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::columns::shown;
use super::trend::blocks;
use crate::pictures::Picture;
use crate::text::document::Document;

pub(super) fn peers(peers: Option<(&Document, &[Picture])>) -> Value {
    let Some((document, pictures)) = peers else { return Value::Null };
    let picture = |picture: &Picture| {
        let src = format!("data:image/svg+xml;base64,{}", BASE64_STANDARD.encode(&picture.svg));
        json!({ "alt": shown(&picture.alt), "src": src })
    };
    json!({ "blocks": blocks(Some(document)), "pictures": pictures.iter().map(picture).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_stays_within_the_page() {
        let picture = Picture { kind: "peers", file: "peers.svg".into(), alt: "a\u{202e}".into(), svg: "<svg/>".into() };
        let mut document = Document::default();
        document.text("t");
        let wanted = json!({"blocks": [{"text": "t"}], "pictures": [{"alt": "a\\u{202e}", "src": "data:image/svg+xml;base64,PHN2Zy8+"}]});
        assert_eq!(peers(Some((&document, &[picture]))), wanted);
        assert_eq!(peers(None), Value::Null);
    }
}
