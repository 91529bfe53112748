//! Gradients: a variant that was written for the timer, run unchanged with everything recorded.
//!
//! An engine made by [`Backend::for_training`] makes a variable of every floating tensor that is uploaded and of every weight that
//! is prepared, in the order in which that happens, and does every operation with candle's own recorded ones: no kernels of ours, no
//! writing in place. After a variant has run, [`Engine::gradients`] of its output gives what it says for each variable.
//!
//! Weights that were codes are variables of the values that the codes stand for (the straight-through reading). What stands between an
//! input and the output as an index (an argmax, a sort, a top-k) passes no gradient, as everywhere.
//!
//! Recording keeps every intermediate result, and composing takes more operations: nothing here is timed, and candle's own pool of
//! threads is not held to the cell's number.

use candle_core::{Tensor, Var};
use crossover_core::backend::EngineConfig;
use crossover_core::error::{EngineError, Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::tensor::View;

use crate::backend::{Backend, Engine, NAME};
use crate::buffer::CandleBuffer;
use crate::error::During;
use crate::place::Place;

impl<P: Place> Backend<P> {
    /// An engine that records what it does.
    pub fn for_training(config: &EngineConfig) -> Result<Self> {
        if !config.precision.activation.is_float() {
            let (operation, reason) =
                ("training in int8".into(), "rounding activations to codes has no gradient; train in f32 or f64".into());
            return Err(EngineError::Unsupported { engine: NAME, operation, reason });
        }
        Self::of(config, true)
    }
}

impl Engine {
    /// Keeps a variable, in order.
    pub(crate) fn remember(&self, variable: Var) {
        self.variables.borrow_mut().push(variable);
    }

    /// Every tensor uploaded and weight prepared so far, in that order.
    pub fn variables(&self) -> Vec<Var> {
        self.variables.borrow().clone()
    }

    /// Forgets all variables: the next upload is the first one again. What was computed from them still knows them.
    pub fn forget_variables(&self) {
        self.variables.borrow_mut().clear();
    }

    /// d(sum of weights * output) / d(variable) for every variable, `None` where the output does not depend on it. Without weights, every
    /// element of the output counts once.
    pub fn gradients(&self, output: View<'_, CandleBuffer>, weights: Option<&HostTensor>) -> Result<Vec<Option<HostTensor>>> {
        let read = self.read_wide(&output).during("gradients")?;
        let weighted = match weights {
            None => Ok(read),
            Some(weights) if weights.shape() != output.shape() => {
                return Err(shape_error("gradients", format!("weights {:?} for an output {:?}", weights.shape(), output.shape())));
            }
            Some(weights) => Tensor::from_slice(weights.values(), weights.shape(), &self.device)
                .and_then(|factors| read.mul(&factors.to_dtype(read.dtype())?)),
        };
        let store = weighted.and_then(|weighted| weighted.sum_all()?.backward()).during("gradients")?;
        self.variables.borrow().iter().map(|variable| store.get(variable).map(on_host).transpose()).collect()
    }
}

fn on_host(tensor: &Tensor) -> Result<HostTensor> {
    let values = tensor.to_dtype(candle_core::DType::F64).and_then(|wide| wide.flatten_all()?.to_vec1::<f64>()).during("gradients")?;
    HostTensor::new(tensor.dims(), values)
}
