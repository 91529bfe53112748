//! The list of engines: one line each, behind one feature each.
//!
//! [`visit`] is the list. A new engine is one crate, one feature and one line here.

use crossover_core::backend::{EngineDescription, TransformerBackend};

/// Something done with each engine's type.
pub trait EngineVisitor {
    /// Called once for each engine that is built in, in the order of the list.
    fn visit<B: TransformerBackend>(&mut self);
}

/// Shows every engine to the visitor.
pub fn visit(visitor: &mut impl EngineVisitor) {
    #[cfg(feature = "naive")]
    visitor.visit::<crossover_naive::NaiveBackend>();
    #[cfg(feature = "faer")]
    visitor.visit::<crossover_faer::FaerBackend>();
    #[cfg(feature = "simd")]
    visitor.visit::<crossover_simd::SimdBackend>();
    #[cfg(feature = "candle")]
    visitor.visit::<crossover_candle::CandleBackend>();
    #[cfg(feature = "candle-cuda")]
    visitor.visit::<crossover_candle::CandleCuda>();
    #[cfg(feature = "candle-metal")]
    visitor.visit::<crossover_candle::CandleMetal>();
    // Without any engine there is nothing to show.
    let _ = visitor;
}

/// What the built-in engines say about themselves.
pub fn descriptions() -> Vec<EngineDescription> {
    struct Collect(Vec<EngineDescription>);
    impl EngineVisitor for Collect {
        fn visit<B: TransformerBackend>(&mut self) {
            self.0.push(B::describe());
        }
    }
    let mut all = Collect(Vec::new());
    visit(&mut all);
    all.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_for_cells() {
        let names: Vec<&str> = descriptions().iter().map(|engine| engine.name).collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        for name in names {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        }
    }
}
