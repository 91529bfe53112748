//! What every operation checks of its operands before it touches them: their types, that views stay inside their buffers, and that what is
//! written has a place for each element. One for all engines, so that the same mistake is the same error everywhere.
//!
//! Shapes are checked in [`crate::check`], which knows no types.

use crate::backend::{AttentionOperands, AttentionOutputs, BucketOperands, NormWeights, Operand, ScoreBias};
use crate::check::{self, AttentionSizes};
use crate::dtype::{DType, Precision};
use crate::error::{EngineError, Result, shape_error};
use crate::ops::{AttentionSpec, NormKind, NormSpec};
use crate::tensor::{Buffer, View, ViewMut};

/// The floating types that operands may have: the storage type of the precision, or its compute type.
#[derive(Debug, Clone, Copy)]
pub struct Types {
    storage: DType,
    compute: DType,
}

impl Types {
    /// Of a precision.
    pub fn of(precision: Precision) -> Self {
        Self { storage: precision.storage(), compute: precision.compute() }
    }

    /// Floating operands that are read.
    pub fn inputs<S: Buffer, const N: usize>(self, operation: &'static str, views: [&View<'_, S>; N]) -> Result<()> {
        views.into_iter().try_for_each(|view| {
            self.floating(operation, view.dtype())?;
            check::inside(operation, view.buffer, &view.layout)
        })
    }

    /// A floating operand that is written.
    pub fn output<S: Buffer>(self, operation: &'static str, view: &ViewMut<'_, S>) -> Result<()> {
        self.floating(operation, view.dtype())?;
        check::output(operation, view.buffer, &view.layout)
    }

    /// The output, and an operand that has its shape.
    pub fn like_output<S: Buffer>(self, operation: &'static str, x: &Operand<'_, S>, out: &ViewMut<'_, S>) -> Result<()> {
        self.output(operation, out)?;
        if let Operand::Of(x) = x {
            check::same_shape(operation, &x.layout, &out.layout)?;
            self.inputs(operation, [x])?;
        }
        Ok(())
    }

    /// A normalisation against the width of its output.
    pub fn norm<S: Buffer>(self, spec: NormSpec, weights: &NormWeights<'_, S>, out: &ViewMut<'_, S>) -> Result<()> {
        let (_, width) = check::rows("normalize", &out.layout)?;
        check::norm_weights(width, [&weights.gamma, &weights.beta].map(|weight| weight.as_ref().map(|view| &view.layout)))?;
        if let NormKind::Group { groups } = spec.kind {
            check::norm_groups(width, groups)?;
        }
        [&weights.gamma, &weights.beta].into_iter().flatten().try_for_each(|weight| self.inputs("normalize", [weight]))
    }

    /// What [`check::attention`] leaves open, of operands that have these sizes: positions, the bias, and all types.
    pub fn attention<S: Buffer>(
        self,
        spec: &AttentionSpec,
        sizes: AttentionSizes,
        operands: &AttentionOperands<'_, S>,
        outputs: &AttentionOutputs<'_, S>,
    ) -> Result<()> {
        let AttentionSizes { batch, heads, queries, keys, .. } = sizes;
        check::positions("attention", spec.query_offset, queries)?;
        self.inputs("attention", [&operands.q, &operands.k, &operands.v])?;
        self.output("attention", &outputs.out)?;
        if let Some(log_sum_exp) = &outputs.log_sum_exp {
            self.output("attention", log_sum_exp)?;
        }
        match &operands.bias {
            ScoreBias::None => {}
            ScoreBias::ByPair(bias) => {
                self.inputs("attention", [bias])?;
                bias.layout.broadcast(&[batch, heads, queries, keys])?;
            }
            ScoreBias::ByDistance(table) => {
                self.inputs("attention", [table])?;
                check::distance_bias(table.shape(), heads)?;
            }
        }
        operands.key_mask.map_or(Ok(()), |mask| check::inside("attention", mask.buffer, &mask.layout))
    }

    /// The types of what [`check::bucket_attention`] has looked at.
    pub fn bucket_attention<S: Buffer>(self, operands: &BucketOperands<'_, S>, outputs: &AttentionOutputs<'_, S>) -> Result<()> {
        const OPERATION: &str = "bucket attention";
        self.inputs(OPERATION, [&operands.q, &operands.k, &operands.v])?;
        self.output(OPERATION, &outputs.out)?;
        outputs.log_sum_exp.as_ref().map_or(Ok(()), |logs| self.output(OPERATION, logs))?;
        [Some(operands.query_order), operands.key_order].iter().flatten().try_for_each(|order| indices(OPERATION, order))
    }

    fn floating(self, operation: &'static str, found: DType) -> Result<()> {
        if found == self.storage || found == self.compute {
            return Ok(());
        }
        Err(EngineError::ElementType { operation, expected: self.storage, found })
    }
}

/// Indices that are read.
pub fn indices<S: Buffer>(operation: &'static str, view: &View<'_, S>) -> Result<()> {
    check::of_type(operation, DType::I32, view.dtype())?;
    check::inside(operation, view.buffer, &view.layout)
}

/// Indices that are written, into rows of `width`.
pub fn indices_out<S: Buffer>(operation: &'static str, view: &ViewMut<'_, S>, width: usize) -> Result<()> {
    check::of_type(operation, DType::I32, view.dtype())?;
    check::output(operation, view.buffer, &view.layout)?;
    match i32::try_from(width) {
        Ok(_) => Ok(()),
        Err(_) => Err(shape_error(operation, format!("rows of {width} elements are too long for i32 indices"))),
    }
}
