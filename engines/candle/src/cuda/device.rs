//! Calls on a device: a kernel is compiled through NVRTC when it is first needed, loaded by candle, and launched inside a candle custom
//! operation on candle's own stream, so that it waits for what stands before it.
//!
//! Compiling takes a part of a second. It happens once a process for each kernel and width, in the runs before the timed ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::sys::{CUdevice_attribute, CUfunction_attribute_enum};
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::{CpuStorage, CudaDevice, CudaStorage, CustomOp1, DType, Error, Layout, Result, Shape, Storage, Tensor};
use half::{bf16, f16};

use super::{Element, Launch, Program};

const PRELUDE: &str = include_str!("kernels/device.cu");
/// The compute capabilities that kernels are compiled for, as NVRTC names them: the newest that the device has.
const ARCHITECTURES: [(i32, &str); 2] = [(90, "compute_90"), (80, "compute_80")];
/// Words of the longest list of parameters.
const PARAMETER_WORDS: usize = 64;

/// A call of which buffer 0 is the output and buffer 1 + i the tensor i. Further outputs are tensors that nobody else holds.
pub(crate) struct Call<'a> {
    pub(crate) launch: Launch,
    pub(crate) tensors: Vec<&'a Tensor>,
    pub(crate) dtype: DType,
    pub(crate) shape: Shape,
}

impl Call<'_> {
    /// The output.
    pub(crate) fn run(self) -> Result<Tensor> {
        let first = *self.tensors.first().ok_or_else(|| Error::Msg("a kernel without operands".into()))?;
        first.apply_op1_no_bwd(&self)
    }
}

impl CustomOp1 for Call<'_> {
    fn name(&self) -> &'static str {
        self.launch.program.entry
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Err(Error::Msg(format!("{} is a kernel for CUDA devices", self.name())))
    }

    fn cuda_fwd(&self, storage: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        let (device, count) = (storage.device(), self.shape.elem_count());
        let out = match self.dtype {
            DType::F32 => self.in_new_memory::<f32>(device, count)?,
            DType::BF16 => self.in_new_memory::<bf16>(device, count)?,
            DType::F16 => self.in_new_memory::<f16>(device, count)?,
            other => return Err(Error::UnsupportedDTypeForOp(other, self.name())),
        };
        Ok((out, self.shape.clone()))
    }
}

/// Parameters as the driver reads them: as many bytes as the kernel declares, from the start.
#[repr(C)]
struct Words([u64; PARAMETER_WORDS]);

// SAFETY: plain words, which the driver copies; a kernel's structure is no longer (checked where it is filled) and has only addresses and
// numbers in it.
unsafe impl DeviceRepr for Words {}

impl Call<'_> {
    fn in_new_memory<T: CudaDType + DeviceRepr>(&self, device: &CudaDevice, count: usize) -> Result<CudaStorage> {
        // SAFETY: the kernel writes every element of its output before anything reads it (the tests run it over memory full of NaN).
        let out = unsafe { device.alloc::<T>(count)? };
        let stream = device.cuda_stream();
        {
            let (address, _written) = out.device_ptr(&stream);
            self.start(device, address)?;
        }
        Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
    }

    fn start(&self, device: &CudaDevice, out: u64) -> Result<()> {
        let mut addresses = vec![out];
        for tensor in &self.tensors {
            addresses.push(address(tensor, device)?);
        }
        let words = self.words(&addresses)?;
        let Launch { program, grid, threads, shared, .. } = &self.launch;
        let compiled = compiled(program, device)?;
        let function = device.get_or_load_custom_func(program.entry, &compiled.module, &compiled.ptx)?;
        if *shared > PLAIN_SHARED {
            let most = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(most, *shared as i32).map_err(|error| Error::Cuda(Box::new(error)))?;
        }
        let [x, y, z] = grid.map(|blocks| blocks as u32);
        let config = LaunchConfig { grid_dim: (x, y, z), block_dim: (*threads as u32, 1, 1), shared_mem_bytes: *shared as u32 };
        let mut builder = function.builder();
        builder.arg(&words);
        // SAFETY: the kernel reads and writes inside the buffers whose addresses it is given: their sizes are those that the call was made
        // from, and the tests run the same call over guarded memory. All tensors live until this operation has been queued on the one
        // stream that also frees them.
        unsafe { builder.launch(config) }.map_err(|error| Error::Cuda(Box::new(error)))?;
        Ok(())
    }

    fn words(&self, addresses: &[u64]) -> Result<Words> {
        let (mut bytes, pointers) = self.launch.parameters.clone().laid_out();
        for (place, buffer) in pointers {
            let address = addresses.get(buffer).ok_or_else(|| Error::Msg(format!("{}: there is no buffer {buffer}", self.name())))?;
            bytes[place..place + 8].copy_from_slice(&address.to_le_bytes());
        }
        if bytes.len() > 8 * PARAMETER_WORDS {
            return Err(Error::Msg(format!("{}: {} bytes of parameters", self.name(), bytes.len())));
        }
        let mut words = [0; PARAMETER_WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        }
        Ok(Words(words))
    }
}

/// Bytes of shared memory that a block has without asking for more.
const PLAIN_SHARED: usize = 48 << 10;

/// Where the first element of a tensor lies on the device.
fn address(tensor: &Tensor, device: &CudaDevice) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else { return Err(Error::Msg("an operand of a kernel is not on the device".into())) };
    let start = layout.start_offset() as u64 * tensor.dtype().size_in_bytes() as u64;
    let stream = device.cuda_stream();
    macro_rules! of {
        ($type:ty) => {
            storage.as_cuda_slice::<$type>()?.device_ptr(&stream).0
        };
    }
    let base = match tensor.dtype() {
        DType::F32 => of!(f32),
        DType::BF16 => of!(bf16),
        DType::F16 => of!(f16),
        DType::U32 => of!(u32),
        DType::I64 => of!(i64),
        other => return Err(Error::UnsupportedDTypeForOp(other, "kernel operand")),
    };
    Ok(base + start)
}

/// Bytes of shared memory that a block of this device can have.
pub(crate) fn most_shared(device: &CudaDevice) -> usize {
    let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
    device.cuda_stream().context().attribute(attribute).map_or(PLAIN_SHARED, |bytes| usize::try_from(bytes).unwrap_or(PLAIN_SHARED))
}

/// What the device's kernels are compiled for; `None` where it is older than all that these are written for.
pub(crate) fn architecture(device: &CudaDevice) -> Option<&'static str> {
    let attribute = |which| device.cuda_stream().context().attribute(which).unwrap_or(0);
    let major = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    let minor = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    ARCHITECTURES.into_iter().find(|&(capability, _)| 10 * major + minor >= capability).map(|(_, name)| name)
}

/// A kernel as candle loads it.
struct Compiled {
    /// In candle's table of modules.
    module: String,
    ptx: String,
}

/// What tells programs apart: entry, element, definitions, architecture. Each entry has one source, but for attention, whose element tells
/// its two apart.
type Key = (&'static str, Element, Vec<(&'static str, usize)>, &'static str);

/// The kernel, compiled once a process. Looked up at every call, so the sources themselves are not compared.
fn compiled(program: &Program, device: &CudaDevice) -> Result<Arc<Compiled>> {
    static KNOWN: OnceLock<Mutex<HashMap<Key, Arc<Compiled>>>> = OnceLock::new();
    let architecture = architecture(device).ok_or_else(|| Error::Msg("the device is older than compute capability 8.0".into()))?;
    let key = (program.entry, program.element, program.defines.clone(), architecture);
    let mut known = KNOWN.get_or_init(Mutex::default).lock().map_err(|_| Error::Msg("a kernel's compilation was interrupted".into()))?;
    if let Some(found) = known.get(&key) {
        return Ok(Arc::clone(found));
    }
    let module = format!("crossover {} {:?} {:?}", program.entry, program.element, program.defines);
    let made = Arc::new(Compiled { module, ptx: to_ptx(program, architecture)? });
    known.insert(key, Arc::clone(&made));
    Ok(made)
}

/// The kernel as PTX. No device is needed, only NVRTC.
pub(crate) fn to_ptx(program: &Program, architecture: &'static str) -> Result<String> {
    let options = CompileOptions { arch: Some(architecture), ..CompileOptions::default() };
    let compiled = compile_ptx_with_opts(program.text(PRELUDE), options);
    compiled.map(|ptx| ptx.to_src()).map_err(|error| Error::Msg(format!("{} for {architecture}: {error:?}", program.entry)))
}

#[cfg(test)]
mod tests {
    use super::super::{attention, int4, rows};
    use super::*;

    /// Every kernel in every type for every architecture, which needs no GPU.
    #[test]
    fn every_kernel_compiles_to_ptx() {
        for element in [Element::F32, Element::Bf16, Element::F16] {
            let widths = [13, 64, 128, 256];
            let mut programs = vec![rows::softmax_program(element), rows::norm_program(element), int4::program(element)];
            programs.extend(widths.map(|width| attention::program(element, width, width)));
            for (program, (_, architecture)) in programs.iter().flat_map(|program| ARCHITECTURES.map(|named| (program, named))) {
                let ptx = to_ptx(program, architecture).unwrap();
                assert!(ptx.contains(&format!(".entry {}", program.entry)), "{program:?}");
                assert!(ptx.contains(&architecture.replace("compute_", ".target sm_")), "{program:?}");
                // The tensor cores do the halves, and only those.
                let by_tiles = program.entry == "attention" && element != Element::F32;
                assert_eq!(ptx.contains("mma.sync"), by_tiles, "{program:?}");
            }
        }
    }

    #[test]
    fn a_mistake_in_a_source_is_an_error_with_the_compiler_s_words() {
        let wrong = Program { entry: "wrong", sources: &["nonsense"], element: Element::F32, defines: Vec::new() };
        assert!(to_ptx(&wrong, "compute_80").unwrap_err().to_string().contains("nonsense"));
    }
}
