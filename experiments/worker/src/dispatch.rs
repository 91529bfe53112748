//! From two names to a prepared cell: the only place where every engine meets every variant.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::OpSpec;
use crossover_core::support::Support;
use crossover_registry::EngineVisitor;
use crossover_variants::cell::{self, PreparedCell};
use crossover_variants::inputs::CellInputs;
use crossover_variants::registry::VariantVisitor;
use crossover_variants::variant::Variant;

/// Something done with the type of one engine.
pub trait WithEngine {
    /// Called with the engine that was asked for.
    fn on<B: TransformerBackend>(&mut self);
}

/// Does it with the engine of this name, with the fault that was planted in it; nothing where there is no such engine.
pub fn with_engine(name: &str, what: &mut impl WithEngine) {
    crossover_registry::visit(&mut Named { name, what });
}

/// Prepares a cell; `None` if there is no such engine or variant.
pub fn prepare(engine: &str, variant: &str, axes: &Axes, inputs: &CellInputs) -> Option<Result<Box<dyn PreparedCell>>> {
    let mut search = Prepare { variant, axes, inputs, found: None };
    with_engine(engine, &mut search);
    search.found
}

/// How an engine would run these operations; `None` if there is no such engine.
pub fn support(engine: &str, operations: &[OpSpec], axes: &Axes) -> Option<Result<Support>> {
    let mut search = Ask { operations, axes, answer: None };
    with_engine(engine, &mut search);
    search.answer
}

struct Named<'a, W> {
    name: &'a str,
    what: &'a mut W,
}

impl<W: WithEngine> EngineVisitor for Named<'_, W> {
    fn visit<B: TransformerBackend>(&mut self) {
        if B::describe().name != self.name {
            return;
        }
        #[cfg(feature = "planted")]
        if crate::planted::is_faulty(self.name) {
            return self.what.on::<crate::planted::Faulty>();
        }
        self.what.on::<B>();
    }
}

struct Prepare<'a> {
    variant: &'a str,
    axes: &'a Axes,
    inputs: &'a CellInputs,
    found: Option<Result<Box<dyn PreparedCell>>>,
}

impl WithEngine for Prepare<'_> {
    fn on<B: TransformerBackend>(&mut self) {
        let mut on_engine = OnEngine::<B> { search: self, engine: std::marker::PhantomData };
        crossover_variants::registry::visit(&mut on_engine);
    }
}

struct OnEngine<'s, 'a, B> {
    search: &'s mut Prepare<'a>,
    engine: std::marker::PhantomData<B>,
}

impl<B: TransformerBackend> VariantVisitor for OnEngine<'_, '_, B> {
    fn visit<V: Variant>(&mut self) {
        if V::DESCRIPTOR.name == self.search.variant {
            self.search.found = Some(cell::prepare::<B, V>(self.search.axes, self.search.inputs));
        }
    }
}

struct Ask<'a> {
    operations: &'a [OpSpec],
    axes: &'a Axes,
    answer: Option<Result<Support>>,
}

impl WithEngine for Ask<'_> {
    fn on<B: TransformerBackend>(&mut self) {
        self.answer = Some(cell::config(self.axes).and_then(|config| cell::support::<B>(self.operations, &config)));
    }
}
