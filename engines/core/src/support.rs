//! How an engine answers "can you do this?". There is no silent promotion: computing in another precision is said aloud.

/// Why an engine that computes in the host's memory has no transfers.
pub const NOTHING_TO_TRANSFER: &str = "tensors are in the host's memory, where the engine computes: nothing is transferred";

/// An engine's answer for one operation at the cell's precision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// By a kernel of the asked precision.
    Native,
    /// By composing the engine's own primitives, each of the asked precision.
    Composed,
    /// The result is right, but it is computed in another precision than asked.
    Emulated(String),
    /// It cannot be done; calling it is an error.
    Unsupported(String),
}

impl Support {
    /// The weaker of two answers: a chain of operations is supported as its weakest link is.
    pub fn and(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Native => 0,
            Self::Composed => 1,
            Self::Emulated(_) => 2,
            Self::Unsupported(_) => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weakest_link_decides_and_the_first_reason_stays() {
        let emulated = Support::Emulated("no bf16 kernel".into());
        assert_eq!(Support::Native.and(Support::Composed), Support::Composed);
        assert_eq!(emulated.clone().and(Support::Emulated("another".into())), emulated);
        let refused = Support::Unsupported("no int4".into());
        assert_eq!(emulated.and(refused.clone()).and(Support::Native), refused);
    }
}
