//! Deliberate faults, to see that the suite would notice: an engine in a wrapper that does one thing wrong.
//!
//! Each fault is a mistake that kernels really have: a tail that is skipped, a mask that is off by one, a sum that is kept in too narrow
//! a type. A wrapper changes the arguments of one operation, or computes it on the host in the wrong way, and hands everything else
//! to the engine. Faults are switched on for one thread, because engines are built from a configuration alone.

mod attention;
mod backend;
mod buckets;
mod elementwise;
mod faults;
mod fused;
mod log_softmax;
mod mixture;
mod products;
mod rows;
mod softmax;

use std::cell::{Cell, RefCell};

use crate::backend::{Operand, TransformerBackend};
use crate::error::Result;
use crate::host::HostTensor;
use crate::ops::OpSpec;
use crate::support::Support;
use crate::tensor::{View, ViewMut};
use crate::testing::slow_tier;

pub use faults::Fault;

use super::{Failure, Options, run};

thread_local! {
    static ACTIVE: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Engines in a [`Mutant`] that this thread builds from here on have this fault.
pub fn plant(fault: Option<Fault>) {
    ACTIVE.set(fault);
}

/// The fault that they have.
pub fn planted() -> Option<Fault> {
    ACTIVE.get()
}

/// An engine with the fault that was active on this thread when it was built.
#[derive(Debug)]
pub struct Mutant<B> {
    inner: B,
    fault: Option<Fault>,
    /// What the fault remembers from one call to the next.
    memory: RefCell<Vec<f64>>,
}

impl Fault {
    /// All that are faults indeed.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::DECLARED.iter().copied().filter(|fault| !Self::HARMLESS.contains(fault))
    }

    /// The one of this name, harmless ones included.
    pub fn named(name: &str) -> Option<Self> {
        Self::DECLARED.iter().copied().find(|fault| format!("{fault:?}") == name)
    }

    /// No faults at all: they take the same way over the host as others do, and must not be noticed. Were they, then the others would be
    /// noticed for the wrong reason.
    pub const HARMLESS: [Self; 13] = [
        Self::HarmlessMatmul,
        Self::HarmlessLinear,
        Self::HarmlessSoftmax,
        Self::HarmlessLogSoftmax,
        Self::HarmlessNorm,
        Self::HarmlessCopy,
        Self::HarmlessSum,
        Self::HarmlessConvolution,
        Self::HarmlessAttention,
        Self::HarmlessBuckets,
        Self::HarmlessComposition,
        Self::HarmlessCrossEntropy,
        Self::HarmlessMixture,
    ];
}

/// The first failure that a fault causes; `None` if it survives. In the quick tier, only properties of the operation at fault are tried.
pub fn detected<B: TransformerBackend>(fault: Fault, options: &Options) -> Option<Failure> {
    let only = if slow_tier() { Vec::new() } else { vec![fault.operation()] };
    plant(Some(fault));
    let mut report = run::<Mutant<B>>(&Options { only, ..options.clone() });
    plant(None);
    if report.failures.is_empty() { None } else { Some(report.failures.swap_remove(0)) }
}

/// The faults that the suite does not notice on this engine.
pub fn survivors<B: TransformerBackend>(options: &Options) -> Vec<Fault> {
    Fault::all().filter(|&fault| detected::<B>(fault, options).is_none()).collect()
}

impl<B: TransformerBackend> Mutant<B> {
    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The fault, unless the engine refuses products of activations anyway: what is refused must not be computed on the host.
    fn fault_of_products(&self) -> Option<Fault> {
        let asked = self.inner.supports(&OpSpec::Matmul { batch: 1, m: 1, n: 1, k: 1 });
        self.fault.filter(|_| !matches!(asked, Support::Unsupported(_)))
    }

    fn get(&self, view: View<'_, B::Buffer>) -> Result<Vec<f64>> {
        Ok(self.inner.download(view)?.values().to_vec())
    }

    /// Writes host values, rounded once.
    fn put(&self, values: Vec<f64>, out: ViewMut<'_, B::Buffer>) -> Result<()> {
        let rounded = self.inner.upload(&HostTensor::new(out.shape(), values)?, out.dtype())?;
        self.inner.copy(rounded.view(), out)
    }

    fn get_operand(&self, x: &Operand<'_, B::Buffer>, out: &ViewMut<'_, B::Buffer>) -> Result<Vec<f64>> {
        match x {
            Operand::Of(x) => self.get(*x),
            Operand::InPlace => self.get(out.as_view()),
        }
    }

    /// Lets the engine do its work, then changes what it wrote.
    fn spoil(
        &self,
        mut out: ViewMut<'_, B::Buffer>,
        work: impl FnOnce(ViewMut<'_, B::Buffer>) -> Result<()>,
        change: impl FnOnce(&[f64], &mut [f64]),
    ) -> Result<()> {
        let before = self.get(out.as_view())?;
        work(out.reborrow())?;
        let mut after = self.get(out.as_view())?;
        change(&before, &mut after);
        self.put(after, out)
    }

    /// Replaces a result by one computed on the host.
    fn replace(&self, x: &Operand<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>, compute: impl FnOnce(&[f64]) -> Vec<f64>) -> Result<()> {
        let x = self.get_operand(x, &out)?;
        self.put(compute(&x), out)
    }
}
