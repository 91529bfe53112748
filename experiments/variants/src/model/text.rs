//! Token numbers of a real text, by the tokenizer that a trained model brings.

use std::path::{Path, PathBuf};

use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use tokenizers::Tokenizer;

/// A text file: as named, or seen from a folder above the current one.
pub fn find(named: &str) -> Result<PathBuf> {
    let here = std::env::current_dir().unwrap_or_default();
    let path = here.ancestors().map(|above| above.join(named)).find(|path| path.is_file());
    path.ok_or_else(|| shape_error("text", format!("there is no file {named} here or in a folder above")))
}

/// What it says.
pub fn read(named: &str) -> Result<String> {
    let path = find(named)?;
    std::fs::read_to_string(&path).map_err(|error| shape_error("text", format!("{}: {error}", path.display())))
}

/// The tokenizer beside trained weights.
pub fn tokenizer(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("tokenizer.json");
    if path.is_file() { Ok(path) } else { Err(shape_error("tokenizer", format!("there is no {}", path.display()))) }
}

/// Token numbers of one text with the model's own marks at start and end.
pub fn tokens(folder: &Path, text: &str) -> Result<Vec<u32>> {
    let path = tokenizer(folder)?;
    let failed = |problem: String| shape_error("tokenizer", format!("{}: {problem}", path.display()));
    let mut tokenizer = Tokenizer::from_file(&path).map_err(|error| failed(error.to_string()))?;
    // Lengths are the caller's business: files ask for their own padding and cutting.
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| failed(error.to_string()))?;
    let encoding = tokenizer.encode(text, true).map_err(|error| failed(error.to_string()))?;
    Ok(encoding.get_ids().to_vec())
}

/// The passages of a text (separated by empty lines), each cut to exactly `n` tokens: its first n - 1, and its end mark.
pub fn passages(folder: &Path, text: &str, batch: usize, n: usize) -> Result<HostTensor> {
    let mut values = Vec::with_capacity(batch * n);
    let mut passages = text.split("\n\n").map(str::trim).filter(|passage| !passage.is_empty());
    for at in 0..batch {
        let passage =
            passages.next().ok_or_else(|| shape_error("text", format!("the text has {at} passages, batch = {batch} asks for more")))?;
        let ids = tokens(folder, passage)?;
        if ids.len() < n {
            return Err(shape_error("text", format!("passage {at} has {} tokens, n = {n} asks for more", ids.len())));
        }
        values.extend(ids[..n - 1].iter().chain(ids.last()).map(|id| f64::from(*id)));
    }
    HostTensor::new(&[batch, n], values)
}
