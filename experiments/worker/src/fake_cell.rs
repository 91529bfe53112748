//! A cell for tests: what a call does is the test's, the rest is nothing.

use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_variants::cell::{DeclaredBytes, PreparedCell};

/// Calls `call`; tells `device_peak` of the device's memory.
pub struct FakeCell<C, P> {
    pub call: C,
    pub device_peak: P,
}

impl<C: FnMut(), P: Fn() -> Option<u64>> PreparedCell for FakeCell<C, P> {
    fn call(&mut self) -> Result<()> {
        (self.call)();
        Ok(())
    }

    fn call_poisoned(&mut self) -> Result<()> {
        self.call()
    }

    fn output(&self) -> Result<HostTensor> {
        HostTensor::new(&[0], Vec::new())
    }

    fn declared_bytes(&self) -> DeclaredBytes {
        DeclaredBytes::default()
    }

    fn take_device_peak(&self) -> Result<Option<u64>> {
        Ok((self.device_peak)())
    }

    fn threads_used(&self) -> usize {
        1
    }

    fn isa(&self) -> String {
        "none".into()
    }

    fn prepare_ns(&self) -> u64 {
        0
    }
}
