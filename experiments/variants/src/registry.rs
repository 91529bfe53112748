//! The list of variants: one line each, in the `visit` of their family.
//!
//! Everything else here is derived from these lists, so that a new variant is one file and one line.

use crossover_core::axes::Axes;
use crossover_core::backend::EngineConfig;
use crossover_core::cost::Cost;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;
use crossover_core::shape_only::total_cost;

use crate::cell::DryRun;
use crate::descriptor::{Descriptor, Placed};
use crate::footprint::Footprint;
use crate::inputs::CellInputs;
use crate::variant::{Derived, Reference, Variant};
use crate::{attention, cell, ffn, linear, model, norm, position, resolve, softmax, transfer};

/// Something done with each variant's type.
pub trait VariantVisitor {
    /// Called once for each variant, in the order of the list.
    fn visit<V: Variant>(&mut self);
}

/// Shows every variant to the visitor; each family lists its own.
pub fn visit(visitor: &mut impl VariantVisitor) {
    attention::visit(visitor);
    ffn::visit(visitor);
    norm::visit(visitor);
    softmax::visit(visitor);
    linear::visit(visitor);
    position::visit(visitor);
    model::visit(visitor);
    transfer::visit(visitor);
}

/// A variant without its type: what can be asked about it without an engine.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its description.
    pub descriptor: &'static Descriptor,
    dry_run: fn(&Axes) -> Result<DryRun>,
    exact: fn(&Axes) -> Reference,
    reference: fn(&Axes) -> Reference,
    drawn: fn(&Axes) -> Vec<Placed>,
    draw: fn(&Axes) -> Result<HostInputs>,
    derived: fn(&Axes) -> Vec<Placed>,
    derive: fn(&Axes, &HostInputs) -> Result<Derived>,
    run_reference: fn(&Axes, &CellInputs) -> Result<(HostTensor, HostTensor)>,
}

impl Entry {
    /// The operations and bytes of one call, for resolved axes. Costs microseconds, whatever the sizes.
    pub fn dry_run(&self, axes: &Axes) -> Result<DryRun> {
        (self.dry_run)(axes)
    }

    /// The memory of a process that prepares a cell with these resolved axes, verifies it and calls it.
    pub fn footprint(&self, axes: &Axes) -> Result<Footprint> {
        Footprint::of(self, axes)
    }

    /// The cost of one call by its operations: their FLOPs, and all bytes that they pass through memory.
    pub fn cost(&self, axes: &Axes) -> Result<Cost> {
        let config = EngineConfig::new(resolve::precision(axes), 1);
        Ok(total_cost(&self.dry_run(axes)?.operations, &config))
    }

    /// The exact dense operation behind it, for resolved axes.
    pub fn exact(&self, axes: &Axes) -> Reference {
        (self.exact)(axes)
    }

    /// What a right implementation gives.
    pub fn reference(&self, axes: &Axes) -> Reference {
        (self.reference)(axes)
    }

    /// The tensors that are drawn.
    pub fn drawn(&self, axes: &Axes) -> Vec<Placed> {
        (self.drawn)(axes)
    }

    /// Their values, from the cell's seed.
    pub fn draw(&self, axes: &Axes) -> Result<HostInputs> {
        (self.draw)(axes)
    }

    /// The tensors that host transforms make.
    pub fn derived(&self, axes: &Axes) -> Vec<Placed> {
        (self.derived)(axes)
    }

    /// Makes them.
    pub fn derive(&self, axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        (self.derive)(axes, drawn)
    }

    /// The variant's own output in f64, and the standard deviation of the error that rounding at the cell's precision may cause in each
    /// value (infinite where a discrete choice hangs on rounding).
    pub fn run_reference(&self, axes: &Axes, inputs: &CellInputs) -> Result<(HostTensor, HostTensor)> {
        (self.run_reference)(axes, inputs)
    }
}

/// Every variant, in the order of the list.
pub fn entries() -> Vec<Entry> {
    struct Collect(Vec<Entry>);
    impl VariantVisitor for Collect {
        fn visit<V: Variant>(&mut self) {
            self.0.push(Entry {
                descriptor: &V::DESCRIPTOR,
                dry_run: cell::dry_run::<V>,
                exact: V::exact,
                reference: V::reference,
                drawn: V::drawn,
                draw: V::draw,
                derived: V::derived,
                derive: V::derive,
                run_reference: cell::run_reference::<V>,
            });
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
    let names = entries.iter().map(|entry| entry.descriptor.name);
    match wrong.split_once('/').filter(|(family, _)| entries.iter().any(|entry| entry.descriptor.family() == *family)) {
        // All names of a family begin alike, which makes none of them nearer.
        Some((family, own)) => {
            let own_names = names.filter_map(|name| name.strip_prefix(family)?.strip_prefix('/'));
            resolve::closest(own, own_names).map(|near| format!("{family}/{near}"))
        }
        None => resolve::closest(wrong, names),
    }
}
