//! Tables of the gate as CSV files, of which a change reads as what changed.

use std::path::Path;

use anyhow::Result;
use crossover_results::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// All rows, or what is wrong with the file.
pub fn read<T: DeserializeOwned>(path: &Path) -> std::result::Result<Vec<T>, csv::Error> {
    csv::Reader::from_path(path)?.into_deserialize().collect()
}

/// Writes all rows, or leaves the file as it is.
pub fn write<T: Serialize>(path: &Path, rows: impl IntoIterator<Item = T>) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.into_iter().try_for_each(|row| writer.serialize(row))?;
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(write_atomically(path, &bytes)?)
}
