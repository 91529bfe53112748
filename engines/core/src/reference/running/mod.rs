//! A reference for whatever is written over the backend trait: an engine in f64 that carries, with each element, an estimate of the
//! error that a correct engine may have there at the cell's precision.
//!
//! The exact operations beside this module give bounds for single dense operations. A variant that is something else (a projection to
//! fewer keys, landmarks, factors, a whole model) has no closed form; so the *variant itself* is run on this engine, and an engine's output
//! is right if each element is within [`SLACK`] deviations of the value found here. It shares no code with any engine, and
//! follows the variant, not the engine: every primitive and every fused operation is written out anew.
//!
//! # The model
//! *Running error analysis* (Wilkinson 1986): next to each computed number stands a running figure of how wrong it may be, updated by
//! each operation. Bounds added up in the worst case become useless after a few layers; so the figure here is a *variance* in the
//! probabilistic model of rounding (Higham and Mary 2019, section 2): roundings are independent and of mean zero, squares add, and a
//! sum of K terms errs by about sqrt(K) u. Errors of operands are propagated to first order, or by the true change over the
//! interval in which an argument may lie.
//!
//! | file | what |
//! |---|---|
//! | `estimate.rs` | one number: roundings, overflow, what "unknown" means, the variance of a sum |
//! | `buffer.rs` | buffers, dense blocks, weights |
//! | `products.rs`, `linear.rs`, `attention.rs` | sums of products |
//! | `elementwise.rs`, `rows.rs`, `norm.rs` | functions, softmax, sums, normalisation |
//! | `discrete.rs` | choices; one closer than the error is *undetermined*: infinite variance, and so for all that follows |
//! | `backend.rs` | the trait |
//! | `memory.rs` | what operations take beside their operands |
//!
//! # What it trades away
//! * Correlations. What two operands have in common (a maximum that is subtracted and added again, a row's denominator) counts as
//!   independent, except inside softmax, norms and attention. Mostly this makes the estimate too large; too small only for a common error
//!   that is larger than the roundings of the sum that it enters.
//! * Feedback. An iteration that corrects its own errors, such as Newton's for an inverse, is overestimated (by some ten times after six
//!   steps), because its next step does not know what the last one did.
//! * Systematic rounding: a long sum of *equal* numbers rounds the same way each time, and may err by more than this model says.
//! * An index that is undetermined says nothing about which alternatives there are: scattering by one makes the whole target unknown.
//! * Speed and memory: dense f64 copies of everything, three products for one.

mod attention;
mod backend;
mod buffer;
mod discrete;
mod elementwise;
mod estimate;
mod linear;
mod memory;
mod norm;
mod products;
mod rows;
#[cfg(test)]
mod tests;

pub use buffer::{RunningBuffer, RunningWeight};
pub use memory::working_bytes;

use crate::backend::EngineConfig;
use crate::dtype::DType;
use crate::error::Result;
use crate::host::HostTensor;
use crate::tensor::View;
use estimate::Rounding;

/// How many deviations an element may be off.
///
/// Were errors normal, 8 would be passed once in 10^15 elements; they are bounded, but not quite independent, and the model leaves
/// factors near two open (an order of summation, a common factor). The deviation itself takes each rounding at its worst case, which is
/// sqrt(3) times the deviation of a uniform error. Against plain rounded arithmetic the largest share of 8 deviations that is seen is
/// some tenths (see the tests), so that a kernel whose errors are ten to twenty times as large as they should be is found everywhere, and
/// much smaller ones where many elements are looked at.
pub const SLACK: f64 = 8.0;

/// The engine; see the module.
#[derive(Debug)]
pub struct RunningError {
    config: EngineConfig,
}

impl RunningError {
    /// The deviation of each element of a view, in row-major order: infinite where nothing is known.
    pub fn deviation(&self, view: View<'_, RunningBuffer>) -> Result<Vec<f64>> {
        Ok(buffer::read("download", &view)?.variances.into_iter().map(f64::sqrt).collect())
    }

    /// The values of a view and their deviations.
    pub fn download_with_deviation(&self, view: View<'_, RunningBuffer>) -> Result<(HostTensor, HostTensor)> {
        let block = buffer::read("download", &view)?;
        let deviations = block.variances.into_iter().map(f64::sqrt).collect();
        Ok((HostTensor::new(view.shape(), block.values)?, HostTensor::new(view.shape(), deviations)?))
    }

    fn rounding(&self, storage: DType) -> Rounding {
        Rounding { compute: self.config.precision.compute(), storage }
    }

    /// Threads that a large product may use: more than two are not worth it for something that nobody times.
    fn threads(&self) -> usize {
        self.config.threads.clamp(1, 2)
    }
}
