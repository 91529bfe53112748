//! Kernels of ours for NVIDIA GPUs, where candle has no fused operation that matters: attention over a pattern, softmax, norms with a
//! residual, int4 products.
//!
//! | file | what |
//! |---|---|
//! | `kernels/*.cu` | the sources, compiled at run time through NVRTC, which needs no GPU |
//! | `plan.rs` | which tiles of a pattern a kernel visits, and their masks |
//! | `attention.rs`, `rows.rs`, `int4.rs` | a call of each, as data: grid, parameters, memory |
//! | `device.rs` | such a call compiled and launched as a candle custom operation |
//! | `engine.rs` | the engine's operations on top of that |
//! | `memory.rs` | what a process holds of the device's memory |
//! | `host.rs`, `kernels/host.cpp` | such a call run on the host, for tests: the same source as C++, each thread a fiber |
//!
//! A call is data and knows no device, so what the tests run on a host is what a GPU runs, but for the handful of PTX instructions in
//! `device.cu`. Everything is for f32, bf16 and f16 with sums in f32; f64 stays composed of candle's operations.
//!
//! Traded away: one source for all GPUs from compute capability 8.0 on, so none of Hopper's asynchronous instructions.

pub(crate) mod attention;
pub(crate) mod int4;
pub(crate) mod plan;
pub(crate) mod rows;

#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
pub(crate) mod engine;
#[cfg(test)]
mod host;
#[cfg(feature = "cuda")]
pub(crate) mod memory;
#[cfg(test)]
mod tests;

/// The type of a kernel's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Element {
    F32,
    Bf16,
    F16,
}

#[cfg(test)]
impl Element {
    fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }
}

/// A kernel: its source and what is fixed when it is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Program {
    pub(crate) entry: &'static str,
    /// In order, behind what every kernel begins with.
    pub(crate) sources: &'static [&'static str],
    pub(crate) element: Element,
    pub(crate) defines: Vec<(&'static str, usize)>,
}

impl Program {
    /// The whole source, behind the prelude of a device or of a host.
    pub(crate) fn text(&self, prelude: &str) -> String {
        let mut text = format!("#define ELEMENT {}\n", self.element as u8);
        for (name, value) in &self.defines {
            text += &format!("#define {name} {value}\n");
        }
        for part in [prelude, include_str!("kernels/common.cu")].into_iter().chain(self.sources.iter().copied()) {
            text += part;
            text.push('\n');
        }
        text
    }
}

/// One call of a kernel, without any device: buffers are numbers, which the caller gives a meaning.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: Program,
    pub(crate) grid: [usize; 3],
    pub(crate) threads: usize,
    /// Bytes of shared memory.
    pub(crate) shared: usize,
    pub(crate) parameters: Parameters,
}

/// The one parameter of a kernel: a C structure, its fields in order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Parameters {
    bytes: Vec<u8>,
    /// Where the address of which buffer belongs.
    pointers: Vec<(usize, usize)>,
}

impl Parameters {
    /// The address of a buffer, or null.
    pub(crate) fn buffer(mut self, buffer: Option<usize>) -> Self {
        self.align(8);
        self.pointers.extend(buffer.map(|buffer| (self.bytes.len(), buffer)));
        self.bytes.extend([0; 8]);
        self
    }

    pub(crate) fn long(mut self, value: i64) -> Self {
        self.align(8);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn int(mut self, value: i32) -> Self {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn float(mut self, value: f64) -> Self {
        self.align(4);
        self.bytes.extend((value as f32).to_le_bytes());
        self
    }

    /// The bytes as a C compiler lays the structure out, all addresses null, and where they belong.
    pub(crate) fn laid_out(mut self) -> (Vec<u8>, Vec<(usize, usize)>) {
        self.align(8);
        (self.bytes, self.pointers)
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }
}

/// A size as a kernel counts it; `None` where it is beyond what the kernels address.
pub(crate) fn int(size: usize) -> Option<i32> {
    i32::try_from(size).ok()
}
