//! One case on one engine: operands are placed, calls are held against `supports`, results are compared and entered in the ledger.

use crate::arena::Arena;
use crate::backend::{Operand, TransformerBackend};
use crate::dtype::DType;
use crate::error::{EngineError, Result};
use crate::ops::OpSpec;
use crate::support::Support;
use crate::tensor::ViewMut;

use super::cases::{Fill, Source};
use super::compare::{Target, judge, same_bits};
use super::options::Options;
use super::place::{self, Around, Placed};
use super::report::Ledger;

/// Why a case ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The engine does not have the operation, says so, and refuses it.
    Refused,
    /// It is wrong.
    Failed(String),
}

/// How a case ended.
pub(super) type Outcome<T = ()> = std::result::Result<T, Stop>;

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Self::Failed(format!("the engine failed: {error}"))
    }
}

/// Fails a case.
pub(super) fn fail<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Stop::Failed(message.into()))
}

/// See the module.
pub(super) struct Trial<'a, B: TransformerBackend> {
    pub(super) engine: &'a B,
    pub(super) options: &'a Options,
    pub(super) source: Source,
    /// Scratch that comes filled with NaN.
    pub(super) scratch: Arena<B::Buffer>,
    operation: &'static str,
    layouts: Source,
    ledger: &'a mut Ledger,
}

impl<'a, B: TransformerBackend> Trial<'a, B> {
    pub(super) fn new(engine: &'a B, options: &'a Options, operation: &'static str, mut source: Source, ledger: &'a mut Ledger) -> Self {
        let mut scratch = Arena::new();
        scratch.set_poison(true);
        let layouts = Source::fork(source.seed());
        Self { engine, options, source, scratch, operation, layouts, ledger }
    }

    pub(super) fn storage(&self) -> DType {
        self.engine.storage()
    }

    pub(super) fn compute(&self) -> DType {
        self.engine.compute()
    }

    /// Unit roundoff of the compute type.
    pub(super) fn u(&self) -> f64 {
        self.compute().unit_roundoff()
    }

    /// A type that floating operands may have: mostly the storage type.
    pub(super) fn float_type(&mut self) -> DType {
        if self.source.one_in(4) { self.compute() } else { self.storage() }
    }

    /// From now on, layouts are drawn as after any other call with this seed: two runs can place their operands alike.
    pub(super) fn restart_layouts(&mut self, seed: u64) {
        self.layouts = Source::fork(seed);
    }

    /// Values to read.
    pub(super) fn given(&mut self, dtype: DType, shape: &[usize], values: &[f64]) -> Outcome<Placed<B::Buffer>> {
        Ok(place::place(self.engine, &mut self.layouts, dtype, (shape, values), Around::Poison)?)
    }

    /// Random values to read; some of the dimensions may be broadcast.
    pub(super) fn input(&mut self, dtype: DType, shape: &[usize], fill: Fill) -> Outcome<Placed<B::Buffer>> {
        let mut compact = shape.to_vec();
        if self.source.one_in(5) && !shape.contains(&0) {
            for dim in &mut compact {
                *dim = if self.source.one_in(2) { 1 } else { *dim };
            }
        }
        let values = self.source.values(fill, compact.iter().product());
        let placed = self.given(dtype, &compact, &values)?;
        Ok(place::stretched(placed, shape)?)
    }

    /// A place to write, full of what must not survive.
    pub(super) fn output(&mut self, dtype: DType, shape: &[usize]) -> Outcome<Placed<B::Buffer>> {
        let stale = if dtype.is_float() { f64::NAN } else { -77.0 };
        self.output_of(dtype, shape, &vec![stale; shape.iter().product()])
    }

    /// A place to write that holds values.
    pub(super) fn output_of(&mut self, dtype: DType, shape: &[usize], values: &[f64]) -> Outcome<Placed<B::Buffer>> {
        Ok(place::place(self.engine, &mut self.layouts, dtype, (shape, values), Around::Guards)?)
    }

    /// What was written. Fails if anything was written beside it.
    pub(super) fn read(&self, placed: &Placed<B::Buffer>) -> Outcome<Vec<f64>> {
        place::read(self.engine, placed)?.map_err(Stop::Failed)
    }

    /// Holds a call against what `supports` says about it.
    pub(super) fn done(&self, operation: &OpSpec, result: Result<()>) -> Outcome {
        self.engine.synchronize()?;
        match (self.engine.supports(operation), result) {
            (Support::Unsupported(_), Err(EngineError::Unsupported { .. })) => Err(Stop::Refused),
            (Support::Unsupported(reason), Ok(())) => fail(format!("{operation:?} is said to be unsupported ({reason}), but runs")),
            (Support::Unsupported(_), Err(error)) => fail(format!("{operation:?} is unsupported, but fails with another error: {error}")),
            (_, Err(error)) => fail(format!("{operation:?} is said to be supported, but fails: {error}")),
            (_, Ok(())) => Ok(()),
        }
    }

    /// Scratch that was taken has been given back.
    pub(super) fn nothing_is_kept(&self) -> Outcome {
        match self.scratch.outstanding() {
            0 => Ok(()),
            count => fail(format!("{count} scratch tensors are not given back")),
        }
    }

    /// Runs an operation of one argument and one result of the same shape, in place or not, and returns what it wrote and in which type.
    pub(super) fn map(
        &mut self,
        operation: &OpSpec,
        x: &Placed<B::Buffer>,
        call: impl FnOnce(&B, Operand<'_, B::Buffer>, ViewMut<'_, B::Buffer>) -> Result<()>,
    ) -> Outcome<(DType, Vec<f64>)> {
        let shape = x.shape().to_vec();
        let in_place = self.source.one_in(3);
        let dtype = if in_place { x.view().dtype() } else { self.float_type() };
        let mut out = if in_place { self.output_of(dtype, &shape, &x.values)? } else { self.output(dtype, &shape)? };
        let operand = if in_place { Operand::InPlace } else { Operand::Of(x.view()) };
        let result = call(self.engine, operand, out.view_mut());
        self.done(operation, result)?;
        Ok((dtype, self.read(&out)?))
    }

    /// The same, of an operation that takes scratch.
    pub(super) fn map_with_scratch(
        &mut self,
        operation: &OpSpec,
        x: &Placed<B::Buffer>,
        call: impl FnOnce(&B, Operand<'_, B::Buffer>, ViewMut<'_, B::Buffer>, &mut Arena<B::Buffer>) -> Result<()>,
    ) -> Outcome<(DType, Vec<f64>)> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let done = self.map(operation, x, |engine, x, out| call(engine, x, out, &mut scratch));
        self.scratch = scratch;
        done
    }

    /// Every element within its tolerance.
    pub(super) fn compare(&mut self, dtype: DType, found: &[f64], targets: &[Target]) -> Outcome {
        self.compare_as(self.operation, dtype, found, targets)
    }

    /// The same, entered in the ledger under another name.
    pub(super) fn compare_as(&mut self, operation: &'static str, dtype: DType, found: &[f64], targets: &[Target]) -> Outcome {
        if found.len() != targets.len() {
            return fail(format!("{} elements, expected {}", found.len(), targets.len()));
        }
        let cell = self.ledger.cell(operation, self.engine.config().precision);
        for (at, (&found, &target)) in found.iter().zip(targets).enumerate() {
            let Ok(shares) = judge(dtype, found, target) else {
                let Target { value, hard, .. } = target;
                return fail(format!("element {at} of {} is {found:e}, expected {value:e} within {hard:e}", targets.len()));
            };
            cell.note(dtype, shares, target);
        }
        Ok(())
    }

    /// Every element has exactly the bits of another run.
    pub(super) fn identical(&self, what: &str, found: &[f64], expected: &[f64]) -> Outcome {
        match found.iter().zip(expected).position(|(&a, &b)| !same_bits(a, b)) {
            None if found.len() == expected.len() => Ok(()),
            None => fail(format!("{what}: {} elements became {}", expected.len(), found.len())),
            Some(at) => fail(format!("{what}: element {at} of {} was {:e} and became {:e}", found.len(), expected[at], found[at])),
        }
    }

    /// Two results that each may be off by their tolerance.
    pub(super) fn agree(&self, what: &str, found: &[f64], expected: &[f64], targets: &[Target]) -> Outcome {
        for (at, ((&a, &b), target)) in found.iter().zip(expected).zip(targets).enumerate() {
            let close = (a - b).abs() <= 2.0 * target.hard || same_bits(a, b) || a == b;
            if !close {
                return fail(format!("{what}: element {at} is {a:e} and {b:e}, where each may be off by {:e}", target.hard));
            }
        }
        Ok(())
    }
}
