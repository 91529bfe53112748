//! How much of the device's memory this process holds: the high-water mark of the pool that candle's tensors come from, which the driver
//! keeps. Not in it is what the driver takes for its context and for compiled kernels, and what cuBLAS takes for itself; that does not
//! depend on the variant. Other processes have pools of their own.

use candle_core::cuda_backend::cudarc::driver::result::{DriverError, device};
use candle_core::cuda_backend::cudarc::driver::sys::{self, CUmemPool_attribute};
use candle_core::{Device, Error, Result};

/// The mark since this was last asked, and it is set back to what is held now. `None` from the host, and from a device without pools.
pub(crate) fn take_peak(on: &Device) -> Result<Option<u64>> {
    if !on.is_cuda() {
        return Ok(None);
    }
    on.synchronize()?;
    let stream = on.as_cuda_device()?.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(None);
    }
    let failed = |error: DriverError| Error::Cuda(Box::new(error));
    context.bind_to_thread().map_err(failed)?;
    // SAFETY: the device is that of a living context.
    let pool = unsafe { device::get_mem_pool(context.cu_device()) }.map_err(failed)?;
    let mut mark = 0u64;
    let mut none = 0u64;
    const PEAK: CUmemPool_attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
    // SAFETY: the pool belongs to the device and outlives this; the value of this attribute is a u64, and 0 the one that may be written.
    unsafe {
        sys::cuMemPoolGetAttribute(pool, PEAK, (&raw mut mark).cast()).result().map_err(failed)?;
        sys::cuMemPoolSetAttribute(pool, PEAK, (&raw mut none).cast()).result().map_err(failed)?;
    }
    Ok(Some(mark))
}
