//! One page out of its parts: markup, style, scripts and data, with a security policy that allows these scripts and nothing else.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const MARKUP: &str = include_str!("../../web/index.html");
const STYLE: &str = include_str!("../../web/style.css");

/// The library first, then what the others use, and at last what begins.
pub(super) const SCRIPTS: &[&str] = &[
    include_str!("../../web/vendor/echarts.min.js"),
    include_str!("../../web/data.js"),
    include_str!("../../web/format.js"),
    include_str!("../../web/dom.js"),
    include_str!("../../web/columns.js"),
    include_str!("../../web/state.js"),
    include_str!("../../web/filters.js"),
    include_str!("../../web/theme.js"),
    include_str!("../../web/presets.js"),
    include_str!("../../web/marks.js"),
    include_str!("../../web/heatmap.js"),
    include_str!("../../web/chart.js"),
    include_str!("../../web/answer.js"),
    include_str!("../../web/table.js"),
    include_str!("../../web/detail.js"),
    include_str!("../../web/about.js"),
    include_str!("../../web/blocks.js"),
    include_str!("../../web/peers.js"),
    include_str!("../../web/trend.js"),
    include_str!("../../web/main.js"),
];

/// The page with this title and these data, which are JSON.
pub(super) fn page(title: &str, data: &str) -> String {
    let scripts: String = SCRIPTS.iter().map(|script| format!("<script>{script}</script>\n")).collect();
    let parts = [
        ("policy", policy()),
        ("title", escaped(title)),
        ("style", format!("<style>\n{STYLE}</style>")),
        ("data", data.replace('<', "\\u003c")),
        ("scripts", scripts),
    ];
    let mut rest = MARKUP;
    let mut out = String::with_capacity(data.len() + (2 << 20));
    // In one pass, so that nothing in a part is taken for a place.
    for (name, part) in &parts {
        let place = format!("{{{{{name}}}}}");
        let (before, after) = rest.split_once(&place).unwrap_or((rest, ""));
        out += before;
        out += part;
        rest = after;
    }
    out + rest
}

/// No request of any kind; of scripts those that are embedded here. Styles are set by the charting library, too.
fn policy() -> String {
    let hashes = SCRIPTS.iter().map(|script| format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script))));
    let scripts: String = hashes.collect();
    format!("default-src 'none'; script-src{scripts}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_the_one_that_its_readme_names() {
        let sum: String = Sha256::digest(SCRIPTS[0]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(include_str!("../../web/vendor/README.md").contains(&sum), "{sum}");
    }

    #[test]
    fn no_script_ends_before_its_end() {
        for script in SCRIPTS {
            let script = script.to_lowercase();
            assert!(!script.contains("</script") && !script.contains("<!--"));
        }
    }

    #[test]
    fn every_part_has_its_place_and_hostile_data_stays_data() {
        let page = page("<b>&", "{\"a\":\"</script><script>alert(1)</script><!-- {{scripts}}\"}");
        assert!(!page.contains("{{policy}}") && !page.contains("{{data}}") && !page.contains("{{style}}"));
        assert!(page.contains("<title>&lt;b&gt;&amp;</title>"));
        assert!(page.contains("{\"a\":\"\\u003c/script>\\u003cscript>alert(1)"));
        assert_eq!(page.matches("<script").count(), SCRIPTS.len() + 1);
        assert_eq!(page.matches("</script>").count(), SCRIPTS.len() + 1);
        assert!(page.trim_end().ends_with("</html>"));
    }
}
