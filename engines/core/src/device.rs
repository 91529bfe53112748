//! Which engines compute on a device: their names say so, as they say where a cell ran.
//!
//! A rule about names serves engines of other workers too, and records whose engine is not built in here. What it trades away: an engine on
//! a device that is named otherwise is taken for one of the processor's.

/// Does this engine compute on a device of its own, whose caches, peaks and bandwidth are not the processor's?
pub fn is_on_device(engine: &str) -> bool {
    has_own_memory(engine) || engine.ends_with("-metal")
}

/// Has that device memory of its own? Apple's share the host's.
pub fn has_own_memory(engine: &str) -> bool {
    engine.ends_with("-cuda")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_device_and_its_memory() {
        for (engine, on_device, own_memory) in [
            ("naive", false, false),
            ("candle", false, false),
            ("candle-cuda", true, true),
            ("torch-cuda", true, true),
            ("candle-metal", true, false),
            ("cuda-on-paper", false, false),
        ] {
            assert_eq!((is_on_device(engine), has_own_memory(engine)), (on_device, own_memory), "{engine}");
        }
    }
}
