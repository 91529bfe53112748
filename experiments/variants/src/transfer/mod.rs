//! Transfers: what it costs to bring the operands of a call to a device and its results back, where the engine computes on one.
//!
//! Every other variant finds its inputs where the engine computes and leaves its output there; these are the cells that say what that
//! leaves out. Sizes are those of one operand of attention. An engine that computes in the host's memory has no transfers and says so.

pub mod download;
pub mod upload;

use crossover_core::arena::Arena;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::Side;
use crossover_core::tensor::{Tensor, View, ViewMut};

use crate::descriptor::{AxisSpec, Descriptor, Model, TensorSpec};
use crate::position::{BATCH, HEAD_DIM, HEADS, LENGTH, PER_HEAD, per_head};
use crate::registry::VariantVisitor;
use crate::variant::{Bound, wrong_inputs};

const PROBLEM: &[AxisSpec] = &[BATCH, HEADS, LENGTH, HEAD_DIM];

const TENSORS: &[TensorSpec] = &[per_head("x")];

/// What the variants share. Each direction is a task of its own: one is no way to do the other.
const fn description(name: &'static str, summary: &'static str) -> Descriptor {
    Descriptor {
        name,
        summary,
        citation: "Gregg and Hazelwood 2011, \"Where is the data?\"",
        task: name,
        problem: PROBLEM,
        parameters: &[],
        tensors: TENSORS,
        derived: &[],
        output: PER_HEAD,
        conditions: &[],
        model: Model { flops: "0", scratch: "0" },
    }
}

/// A copy to one side of the link.
pub struct Transfer(Side);

impl<B: TransformerBackend> Bound<B> for Transfer {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs("transfer", inputs)) };
        backend.transfer(self.0, x, out)
    }

    /// What is brought to the device begins on the host.
    fn place(&mut self, backend: &B, inputs: &mut [Tensor<B::Buffer>]) -> Result<()> {
        if self.0 == Side::Host {
            return Ok(());
        }
        for input in inputs {
            let mut moved = backend.tensor(input.view().dtype(), input.shape())?;
            backend.transfer(Side::Host, input.view(), moved.view_mut())?;
            *input = moved;
        }
        Ok(())
    }
}

/// The family's variants.
pub(crate) fn visit(visitor: &mut impl VariantVisitor) {
    visitor.visit::<upload::Upload>();
    visitor.visit::<download::Download>();
}

#[cfg(test)]
mod tests {
    use crossover_core::axes::Axes;
    use crossover_core::backend::EngineConfig;
    use crossover_core::dtype::Precision;
    use crossover_core::ops::{OpSpec, Side};
    use crossover_core::support::Support;
    use crossover_naive::NaiveBackend;

    use crate::cell::support;
    use crate::inputs::CellInputs;
    use crate::registry::{Entry, find};
    use crate::resolve::resolve;
    use crate::verify::judge;

    fn small(name: &str) -> (Entry, Axes) {
        let entry = find(name).unwrap();
        let given = [("heads", 2), ("n", 6), ("head_dim", 8)].map(|(axis, value)| (axis.to_owned(), value.into()));
        let axes = resolve(entry.descriptor, &given.into_iter().chain([("precision".to_owned(), "bf16".into())]).collect()).unwrap();
        (entry, axes)
    }

    #[test]
    fn each_direction_is_one_transfer_that_a_host_engine_refuses_with_the_reason() {
        for (name, to) in [("transfer/upload", Side::Device), ("transfer/download", Side::Host)] {
            let (entry, axes) = small(name);
            let dry = entry.dry_run(&axes).unwrap();
            assert_eq!(dry.operations, [OpSpec::Transfer { elements: 96, to }]);
            let cost = dry.operations[0].cost(Precision::F32);
            assert_eq!((cost.flops, cost.bytes_read, cost.bytes_written), (0, 384, 384));
            let answer = support::<NaiveBackend>(&dry.operations, &EngineConfig::new(Precision::F32, 1)).unwrap();
            assert!(matches!(&answer, Support::Unsupported(reason) if reason.contains("nothing is transferred")), "{answer:?}");
        }
    }

    #[test]
    fn on_a_device_the_hosts_end_is_still_the_hosts_memory() {
        for name in ["transfer/upload", "transfer/download"] {
            let (entry, axes) = small(name);
            let footprint = entry.footprint(&axes).unwrap();
            assert_eq!(footprint.on_host("candle-cuda"), footprint.harness + 96 * 2, "{name}, 96 values of bf16");
            assert_eq!(footprint.on_host("naive"), footprint.harness + footprint.engine, "{name}");
        }
    }

    /// What arrives is what was sent: one bit beside it is wrong.
    #[test]
    fn what_arrives_must_have_the_bits_that_were_sent() {
        for name in ["transfer/upload", "transfer/download"] {
            let (entry, axes) = small(name);
            let inputs = CellInputs::new(&entry, &axes, entry.draw(&axes).unwrap()).unwrap();
            let (sent, _) = entry.run_reference(&axes, &inputs).unwrap();
            assert_eq!(judge(&entry, &axes, &inputs, &sent).unwrap().complaint, None, "{name}");
            let mut beside = sent.values().to_vec();
            beside[17] *= 1.0 + 2f64.powi(-7);
            let beside = crossover_core::host::HostTensor::new(sent.shape(), beside).unwrap();
            assert!(judge(&entry, &axes, &inputs, &beside).unwrap().complaint.is_some(), "{name}");
        }
    }
}
