//! Which instruction set a cell asks its engine for.
//!
//! An engine takes the best path that the machine has; forcing a lower one shows what the better one is worth, and lets every path be
//! tested on one machine. An engine that does not have the path, or a machine that lacks it, answers Unsupported.

use std::fmt;

/// The instruction set that an engine is to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IsaChoice {
    /// The best that the engine has for this machine.
    #[default]
    Auto,
    /// No vector instructions beyond what the compiler takes by itself for the target's baseline.
    Scalar,
    /// x86: 256-bit vectors with fused multiply-add.
    Avx2,
    /// x86: 512-bit vectors.
    Avx512,
    /// x86: tiles for products, 512-bit vectors for the rest.
    Amx,
    /// aarch64: 128-bit vectors.
    Neon,
}

impl IsaChoice {
    /// All of them, in the order of documentation.
    pub const ALL: [Self; 6] = [Self::Auto, Self::Scalar, Self::Avx2, Self::Avx512, Self::Amx, Self::Neon];

    /// The name used as an axis value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
            Self::Neon => "neon",
        }
    }

    /// The choice of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == name)
    }
}

impl fmt::Display for IsaChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for choice in IsaChoice::ALL {
            assert_eq!(IsaChoice::from_name(choice.name()), Some(choice));
        }
        assert_eq!(IsaChoice::from_name("avx"), None);
    }
}
