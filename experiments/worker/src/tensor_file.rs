//! Safetensors files: tensors in and out of the process.
//!
//! Reading trusts nothing: the header is checked by the `safetensors` crate (offsets, overlaps, sizes), types and shapes here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

/// A tensor from a file, widened to f64.
#[derive(Debug, Clone, PartialEq)]
pub struct FileTensor {
    /// The type that it had in the file.
    pub dtype: DType,
    /// Its values.
    pub values: HostTensor,
}

/// Reads every tensor of a file.
pub fn read(path: &Path) -> Result<BTreeMap<String, FileTensor>> {
    let bytes = read_bytes(path)?;
    let file =
        SafeTensors::deserialize(&bytes).with_context(|| format!("{} is not a safetensors file, or it is cut off", path.display()))?;
    let tensors = file.iter().map(|(name, view)| {
        let tensor = widen(&view).with_context(|| format!("tensor {name:?} in {}", path.display()))?;
        Ok((name.to_owned(), tensor))
    });
    tensors.collect()
}

/// Writes tensors rounded to one type; the file appears whole or not at all.
pub fn write(path: &Path, tensors: &[(&str, &HostTensor)], dtype: DType) -> Result<()> {
    let target = file_type(dtype)?;
    let path = &replaceable(path)?;
    let encoded: Vec<(&str, Vec<u8>, Vec<usize>)> =
        tensors.iter().map(|(name, tensor)| (*name, narrow(tensor, dtype), tensor.shape().to_vec())).collect();
    let views = encoded.iter().map(|(name, bytes, shape)| Ok((*name, TensorView::new(target, shape.clone(), bytes)?)));
    let bytes = serialize(views.collect::<Result<Vec<_>>>()?, None)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let unfinished = path.with_file_name(format!(".{name}.{}.unfinished", std::process::id()));
    let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // What could not be finished must not stay behind; the first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
    }
    written.with_context(|| format!("cannot write {}: does its folder exist, is it writable, is there room?", path.display()))
}

/// Where to write: a link's own target, and never something that is no plain file (a device, a pipe) or that is write-protected.
fn replaceable(path: &Path) -> Result<PathBuf> {
    let Ok(existing) = fs::metadata(path) else { return Ok(path.to_owned()) };
    if !existing.is_file() {
        bail!("{} is there and is no regular file: name another output", path.display());
    }
    if existing.permissions().readonly() {
        bail!("{} is write-protected: name another output, or remove it first", path.display());
    }
    fs::canonicalize(path).with_context(|| format!("cannot follow {}", path.display()))
}

/// The whole file; a file that does not fit memory is an error, not an abort.
fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let metadata = file.metadata().with_context(cannot)?;
    if !metadata.is_file() {
        bail!("{} is not a regular file", path.display());
    }
    let mut bytes = Vec::new();
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(size).with_context(|| format!("{} has {size} bytes, more than memory holds", path.display()))?;
    file.read_to_end(&mut bytes).with_context(cannot)?;
    Ok(bytes)
}

fn widen(view: &TensorView<'_>) -> Result<FileTensor> {
    let bytes = view.data();
    let (dtype, values): (DType, Vec<f64>) = match view.dtype() {
        Dtype::F64 => (DType::F64, elements(bytes, f64::from_le_bytes)),
        Dtype::F32 => (DType::F32, elements(bytes, |b| f64::from(f32::from_le_bytes(b)))),
        Dtype::F16 => (DType::F16, elements(bytes, |b| f16::from_le_bytes(b).to_f64())),
        Dtype::BF16 => (DType::Bf16, elements(bytes, |b| bf16::from_le_bytes(b).to_f64())),
        other => bail!("its type is {other:?}; write it as F64, F32, F16 or BF16"),
    };
    Ok(FileTensor { dtype, values: HostTensor::new(view.shape(), values)? })
}

fn elements<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| decode(*chunk)).collect()
}

fn narrow(tensor: &HostTensor, dtype: DType) -> Vec<u8> {
    let values = tensor.values().iter().map(|value| dtype.round(*value));
    match dtype {
        DType::F64 => values.flat_map(f64::to_le_bytes).collect(),
        DType::Bf16 => values.flat_map(|value| bf16::from_f64(value).to_le_bytes()).collect(),
        DType::F16 => values.flat_map(|value| f16::from_f64(value).to_le_bytes()).collect(),
        // Other types were refused by `file_type`.
        _ => values.flat_map(|value| (value as f32).to_le_bytes()).collect(),
    }
}

fn file_type(dtype: DType) -> Result<Dtype> {
    Ok(match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::Bf16 => Dtype::BF16,
        DType::F16 => Dtype::F16,
        other => bail!("tensors of {other} are not written to files"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_as_it_went() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let values = HostTensor::new(&[2, 2], vec![1.5, -0.25, f64::INFINITY, 0.1]).unwrap();
        for dtype in [DType::F64, DType::F32, DType::Bf16, DType::F16] {
            write(&path, &[("out", &values)], dtype).unwrap();
            assert_eq!(read(&path).unwrap()["out"], FileTensor { dtype, values: values.rounded(dtype) });
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_plain_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let values = HostTensor::new(&[1], vec![1.0]).unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, &[("out", &values)], DType::F32).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && read(&file).unwrap().contains_key("out"));
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(write(&socket, &[("out", &values)], DType::F32).unwrap_err().to_string().contains("no regular file"));
        let mut mode = fs::metadata(&file).unwrap().permissions();
        mode.set_readonly(true);
        fs::set_permissions(&file, mode).unwrap();
        assert!(write(&file, &[("out", &values)], DType::F32).unwrap_err().to_string().contains("write-protected"));
    }

    #[test]
    fn broken_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let good = {
            write(&path, &[("out", &HostTensor::new(&[3], vec![1.0; 3]).unwrap())], DType::F32).unwrap();
            fs::read(&path).unwrap()
        };
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(read(&path).is_err(), "cut at {length}");
        }
        // A header that claims to be as long as the address space.
        fs::write(&path, [0xff; 64]).unwrap();
        assert!(read(&path).is_err());
        assert!(read(folder.path()).is_err());
        assert!(read(&folder.path().join("absent")).is_err());
    }
}
