//! The places where tensors can live, each an engine of its own name: a cell says where it ran.

use candle_core::Device;
use crossover_core::error::Result;

/// A kind of device.
pub trait Place: std::fmt::Debug + 'static {
    /// The engine's name in cells.
    const NAME: &'static str;
    /// One line about it.
    const SUMMARY: &'static str;
    /// Tensors are in the host's memory: what only the host can do needs no transfer.
    const ON_HOST: bool = false;

    /// The device, or why there is none.
    fn device() -> Result<Device>;
    /// The instructions that it dispatches to.
    fn isa() -> &'static str;
}

/// The host's processor.
#[derive(Debug)]
pub struct Cpu;

impl Place for Cpu {
    const NAME: &'static str = "candle";
    const SUMMARY: &'static str = "Hugging Face candle on the CPU: a tensor library with autograd, an allocation for each result";
    const ON_HOST: bool = true;

    fn device() -> Result<Device> {
        Ok(Device::Cpu)
    }

    fn isa() -> &'static str {
        of_products()
    }
}

/// The first NVIDIA device, or the one whose number stands in `CROSSOVER_CUDA_DEVICE`.
#[cfg(feature = "cuda")]
#[derive(Debug)]
pub struct Cuda;

#[cfg(feature = "cuda")]
impl Place for Cuda {
    const NAME: &'static str = "candle-cuda";
    const SUMMARY: &'static str = "Hugging Face candle on an NVIDIA GPU: the device is waited for inside the timer";

    fn device() -> Result<Device> {
        let named = std::env::var("CROSSOVER_CUDA_DEVICE").ok();
        let number = match named.as_deref().map(str::parse) {
            None => 0,
            Some(Ok(number)) => number,
            Some(Err(_)) => return Err(missing("CROSSOVER_CUDA_DEVICE is not a number", named.unwrap_or_default())),
        };
        Device::new_cuda(number).map_err(|error| missing("no CUDA device could be opened: is the driver installed?", error.to_string()))
    }

    fn isa() -> &'static str {
        "CUDA"
    }
}

/// Apple's GPU.
#[cfg(feature = "metal")]
#[derive(Debug)]
pub struct Metal;

#[cfg(feature = "metal")]
impl Place for Metal {
    const NAME: &'static str = "candle-metal";
    const SUMMARY: &'static str = "Hugging Face candle on an Apple GPU: the device is waited for inside the timer";

    fn device() -> Result<Device> {
        Device::new_metal(0).map_err(|error| missing("no Metal device could be opened", error.to_string()))
    }

    fn isa() -> &'static str {
        "Metal"
    }
}

#[cfg(any(feature = "cuda", feature = "metal"))]
fn missing(what: &str, detail: String) -> crossover_core::error::EngineError {
    let detail = detail.lines().next().unwrap_or_default().to_owned();
    crossover_core::error::EngineError::Unsupported {
        engine: crate::backend::NAME,
        operation: "device".into(),
        reason: format!("{what} ({detail})"),
    }
}

/// What candle's products dispatch to on this machine; everything else is compiled for the target's baseline.
fn of_products() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            return "avx512f in products, baseline elsewhere";
        }
        if std::is_x86_feature_detected!("fma") && std::is_x86_feature_detected!("avx2") {
            return "avx2+fma in products, baseline elsewhere";
        }
    }
    "baseline"
}
