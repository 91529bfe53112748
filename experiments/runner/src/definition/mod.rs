//! Experiment files: the first step of the straight line, TOML text -> [`Definition`].
//!
//! Three steps, one file each: `reader` walks the TOML tree and knows places, `wire` gives it its shape, `check` looks up names and
//! weighs values against each other. What comes out can be planned; whether the axis values fit each variant is the plan's affair,
//! as `--set` and `--filter` may still change them. An engine of somebody's own (`--engine-file`) comes in at the end, by `engine_file`. It trades serde's brevity for errors that say where, what and what instead.

mod bases;
mod check;
mod engine_file;
mod error;
mod model;
mod reader;
mod wire;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use engine_file::EngineFile;
pub use error::{Complaint, DefinitionError};
pub use model::{AxisSetting, Definition, EngineChoice, Exclude, Matching, Measure, Rule, Support, Sweep, WorkerCommand};

use error::Source;

/// The largest file that is read; a million axis values fit well.
const MAX_BYTES: u64 = 4 << 20;

/// Reads and checks an experiment file.
pub fn load(path: &Path) -> Result<Definition, DefinitionError> {
    parse(path, &read_text(path)?)
}

/// Checks the text of an experiment; `file` is only for messages.
pub fn parse(file: &Path, text: &str) -> Result<Definition, DefinitionError> {
    let line_starts = error::line_starts(text);
    let source = Source::new(file, text, &line_starts);
    let tree = wire::parse(source)?;
    check::check(source, wire::read(source, tree.get_ref())?)
}

fn read_text(path: &Path) -> Result<String, DefinitionError> {
    let whole = |problem: String| DefinitionError::File { file: path.to_owned(), problem };
    if path.is_dir() {
        return Err(whole("is a folder; name a .toml file".into()));
    }
    let file = File::open(path).map_err(|error| whole(format!("cannot be opened: {error}")))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| whole(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(whole(format!("is larger than {} MiB, too large for an experiment: split it", MAX_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|&&byte| byte == b'\n').count() + 1;
        whole(format!("is not UTF-8 text (line {line}, byte {valid} of the file): save it as UTF-8"))
    })
}

#[cfg(test)]
mod tests;
