//! The list of variants: one line each.
//!
//! [`visit`] is the list. Everything else here is derived from it, so that a new variant is one file and one line.

use crossover_core::axes::Axes;
use crossover_core::backend::EngineConfig;
use crossover_core::cost::Cost;
use crossover_core::error::Result;
use crossover_core::reference::ExactOperation;
use crossover_core::shape_only::total_cost;

use crate::cell::DryRun;
use crate::descriptor::Descriptor;
use crate::variant::Variant;
use crate::{attention, cell, ffn, linear, norm, resolve, softmax};

/// Something done with each variant's type.
pub trait VariantVisitor {
    /// Called once for each variant, in the order of the list.
    fn visit<V: Variant>(&mut self);
}

/// Shows every variant to the visitor.
pub fn visit(visitor: &mut impl VariantVisitor) {
    visitor.visit::<attention::dense::Dense>();
    visitor.visit::<attention::causal::Causal>();
    visitor.visit::<attention::flash::Flash>();
    visitor.visit::<attention::flash_causal::FlashCausal>();
    visitor.visit::<ffn::dense::Dense>();
    visitor.visit::<norm::layer_norm::LayerNorm>();
    visitor.visit::<norm::none::NoNorm>();
    visitor.visit::<softmax::naive::Naive>();
    visitor.visit::<softmax::stable::Stable>();
    visitor.visit::<softmax::online::Online>();
    visitor.visit::<linear::dense::Dense>();
}

/// A variant without its type: what can be asked about it without an engine.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its description.
    pub descriptor: &'static Descriptor,
    dry_run: fn(&Axes) -> Result<DryRun>,
    exact: fn(&Axes) -> ExactOperation,
}

impl Entry {
    /// The operations and bytes of one call, for resolved axes. Costs microseconds, whatever the sizes.
    pub fn dry_run(&self, axes: &Axes) -> Result<DryRun> {
        (self.dry_run)(axes)
    }

    /// The cost of one call by its operations: their FLOPs, and all bytes that they pass through memory.
    pub fn cost(&self, axes: &Axes) -> Result<Cost> {
        let config = EngineConfig { precision: resolve::precision(axes), threads: 1 };
        Ok(total_cost(&self.dry_run(axes)?.operations, &config))
    }

    /// The exact dense operation behind it, for resolved axes.
    pub fn exact(&self, axes: &Axes) -> ExactOperation {
        (self.exact)(axes)
    }
}

/// Every variant, in the order of the list.
pub fn entries() -> Vec<Entry> {
    struct Collect(Vec<Entry>);
    impl VariantVisitor for Collect {
        fn visit<V: Variant>(&mut self) {
            self.0.push(Entry { descriptor: &V::DESCRIPTOR, dry_run: cell::dry_run::<V>, exact: V::exact });
        }
    }
    let mut all = Collect(Vec::new());
    visit(&mut all);
    all.0
}

/// The variant of that name.
pub fn find(name: &str) -> Option<Entry> {
    entries().into_iter().find(|entry| entry.descriptor.name == name)
}

/// The variant name nearest to a wrong one, where one is near.
pub fn closest(wrong: &str) -> Option<String> {
    let entries = entries();
    resolve::closest(wrong, entries.iter().map(|entry| entry.descriptor.name))
}
