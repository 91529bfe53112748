//! Where tensors live and how many threads may work on them.
//!
//! # Threads on the CPU
//! candle has two kinds of parallelism, and sizes both for the whole process:
//! * products split themselves into as many jobs as `RAYON_NUM_THREADS` says (or there are physical cores), and hand them to the rayon
//!   pool of the calling thread. This engine calls from a pool of its own, so never more than the granted threads work on them.
//! * functions of 64 Ki elements and more run on a "barrier pool", made once, of `CANDLE_NUM_THREADS` or else as many threads as above;
//!   between two calls its workers spin for some microseconds before they sleep. Nothing can shrink it later. Where it is larger
//!   than what was granted, this engine hands candle such tensors in pieces that stay below its threshold (see [`Workers::PIECE`]).
//!
//! So set `RAYON_NUM_THREADS` to the cell's threads before the process starts: then nothing is cut into pieces, and with one thread
//! nothing is handed over to a pool either (some 10 microseconds a call).

use std::cell::RefCell;

use candle_core::Device;
use candle_core::utils::{barrier_pool, get_num_threads};
use crossover_core::backend::EngineConfig;
use crossover_core::error::{EngineError, Result};
use crossover_core::operands::Types;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::backend::{Engine, NAME};
use crate::buffer::candle_type;

/// The threads of one engine.
#[derive(Debug)]
pub(crate) struct Workers {
    /// None where the device does the work, or the calling thread alone.
    pool: Option<ThreadPool>,
    used: usize,
    /// True where candle's own pool for functions is larger than what was granted.
    pub(crate) in_pieces: bool,
}

impl Workers {
    /// Elements of a piece that candle handles on the calling thread: just below its threshold.
    pub(crate) const PIECE: usize = (64 << 10) - 1;

    pub(crate) fn new(device: &Device, threads: usize) -> Result<Self> {
        if !device.is_cpu() {
            return Ok(Self { pool: None, used: 1, in_pieces: false });
        }
        // With one thread granted, and candle counting one: nothing ever leaves the calling thread, and no call pays for a handover.
        if threads == 1 && get_num_threads() == 1 && barrier_pool().n_workers() == 0 {
            return Ok(Self { pool: None, used: 1, in_pieces: false });
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|at| format!("candle-{at}")).build();
        let pool = pool.map_err(|error| EngineError::Unsupported {
            engine: NAME,
            operation: format!("{threads} threads"),
            reason: error.to_string(),
        })?;
        let of_candle = barrier_pool().n_workers() + 1;
        Ok(Self { pool: Some(pool), used: threads, in_pieces: of_candle > threads })
    }

    /// Threads that really work: own kernels use all that were granted, candle's products at most what candle counts.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Runs work that splits itself.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

impl Engine {
    /// One whose tensors are there.
    pub(crate) fn on_device(config: &EngineConfig, device: Device, training: bool) -> Result<Self> {
        Ok(Self {
            config: *config,
            types: Types::of(config.precision),
            wide: candle_type(config.precision.compute())?,
            workers: Workers::new(&device, config.threads)?,
            gpu_kernels: if training { None } else { gpu_kernels(&device) },
            device,
            training,
            cache: RefCell::default(),
            variables: RefCell::default(),
        })
    }
}

/// See [`Engine::gpu_kernels`].
#[cfg(feature = "cuda")]
fn gpu_kernels(device: &Device) -> Option<usize> {
    crate::cuda::engine::shared_memory(device)
}

#[cfg(not(feature = "cuda"))]
fn gpu_kernels(_: &Device) -> Option<usize> {
    None
}
