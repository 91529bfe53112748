//! Which instructions this machine has, which of them a cell uses, and the one way into code compiled for them.
//!
//! A kernel is a value of a type that implements [`Kernel`]: generic over the vector type, marked `#[inline(always)]`, and run by
//! [`Isa::run`], which compiles it once for each instruction set inside a function that has these instructions enabled. Everything that
//! the kernel calls must be inlined into it, or it would be compiled for the target's baseline: methods of [`Vector`] are, helpers need
//! `#[inline(always)]`. Threads are outside of kernels, never inside: a closure handed to another thread does not keep the instructions.

use crossover_core::error::{EngineError, Result};
use crossover_core::isa::IsaChoice;

#[cfg(target_arch = "x86_64")]
use crate::amx;
use crate::backend::NAME;
use crate::vector::{Lanes, Scalar, Vector};

/// A family of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Isa {
    /// One element at a time, whatever the compiler makes of it.
    Scalar,
    /// 128-bit vectors of aarch64.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// 256-bit vectors with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Instructions beside a family that some of its processors have: asked for by the kernels that need them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extras {
    /// Products of pairs of bf16 numbers, 512 bits.
    pub(crate) bf16: bool,
    /// Products of four int8 codes, as wide as the family's vectors.
    pub(crate) vnni: bool,
    /// Products of tiles, of bf16 numbers and of int8 codes.
    pub(crate) amx: bool,
}

impl Extras {
    /// Those of this machine that go with a path and the choice that led to it: a forced lower path has those of its own width only, and
    /// 512-bit vectors that were asked for come without tiles.
    pub(crate) fn of(isa: Isa, choice: IsaChoice) -> Self {
        // Only x86 has a choice among its extras.
        #[cfg(not(target_arch = "x86_64"))]
        let _ = choice;
        let none = Self { bf16: false, vnni: false, amx: false };
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Self {
                bf16: is_x86_feature_detected!("avx512bf16"),
                vnni: is_x86_feature_detected!("avx512vnni"),
                amx: choice != IsaChoice::Avx512 && amx::usable(),
            },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Self { vnni: is_x86_feature_detected!("avxvnni"), ..none },
            _ => none,
        }
    }

    /// The path's name in records, such as `avx512+bf16+vnni`.
    pub(crate) fn name(self, isa: Isa) -> String {
        let extras = [(self.bf16, "+bf16"), (self.vnni, "+vnni"), (self.amx, "+amx")];
        extras.iter().filter(|(has, _)| *has).fold(isa.name().to_owned(), |name, (_, extra)| name + extra)
    }
}

/// Work to be compiled for every instruction set.
pub(crate) trait Kernel<E> {
    /// What it returns.
    type Output;
    /// Does it with vectors of type `V`. Must be `#[inline(always)]`.
    fn run<V: Vector<Element = E>>(self) -> Self::Output;
}

impl Isa {
    /// What the machine has, best first; scalar code is always there.
    fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match (avx512, avx2) {
                (true, _) => &[Self::Avx512, Self::Avx2, Self::Scalar],
                (false, true) => &[Self::Avx2, Self::Scalar],
                (false, false) => &[Self::Scalar],
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            &[Self::Neon, Self::Scalar]
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            &[Self::Scalar]
        }
    }

    /// The best of this machine.
    pub(crate) fn best() -> Self {
        Self::available()[0]
    }

    /// The path that a cell asks for, or why it cannot be had.
    pub(crate) fn chosen(choice: IsaChoice) -> Result<Self> {
        let wanted = match choice {
            IsaChoice::Auto => return Ok(Self::best()),
            IsaChoice::Scalar => Some(Self::Scalar),
            #[cfg(target_arch = "x86_64")]
            IsaChoice::Avx2 => Some(Self::Avx2),
            #[cfg(target_arch = "x86_64")]
            IsaChoice::Avx512 => Some(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            IsaChoice::Amx if amx::usable() => Some(Self::Avx512),
            #[cfg(target_arch = "aarch64")]
            IsaChoice::Neon => Some(Self::Neon),
            _ => None,
        };
        wanted.filter(|isa| Self::available().contains(isa)).ok_or_else(|| EngineError::Unsupported {
            engine: NAME,
            operation: format!("isa {choice}"),
            reason: format!("this machine's paths are {}{}", Self::names(), tiles()),
        })
    }

    fn names() -> String {
        Self::available().iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ")
    }

    /// The name in records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }

    /// Runs a kernel compiled for this instruction set.
    #[inline]
    pub(crate) fn run<E: Lanes, K: Kernel<E>>(self, kernel: K) -> K::Output {
        match self {
            Self::Scalar => kernel.run::<Scalar<E>>(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => kernel.run::<E::Neon>(),
            // SAFETY: a value of this arm is only made by `available`, which has seen that the processor has these instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::avx2(kernel) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::avx512(kernel) },
        }
    }
}

/// What is to be said of tiles where a path is refused.
fn tiles() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match (amx::present(), amx::usable()) {
        (true, true) => return ", amx",
        (true, false) => return "; its processor has tiles (AMX), which its kernel does not permit to this process",
        (false, _) => {}
    }
    ""
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Lanes};

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn avx2<E: Lanes, K: Kernel<E>>(kernel: K) -> K::Output {
        kernel.run::<E::Avx2>()
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    pub(super) fn avx512<E: Lanes, K: Kernel<E>>(kernel: K) -> K::Output {
        kernel.run::<E::Avx512>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extras_are_named_behind_the_family() {
        assert_eq!(Extras { bf16: true, vnni: true, amx: false }.name(Isa::Scalar), "scalar+bf16+vnni");
        assert_eq!(Extras { bf16: true, vnni: false, amx: true }.name(Isa::Scalar), "scalar+bf16+amx");
        assert_eq!(Extras::of(Isa::Scalar, IsaChoice::Scalar).name(Isa::Scalar), "scalar");
    }

    #[test]
    fn tiles_are_taken_where_they_are_and_not_where_less_is_asked_for() {
        assert!(!Extras::of(Isa::best(), IsaChoice::Avx512).amx);
        let best = Extras::of(Isa::best(), IsaChoice::Auto);
        match Isa::chosen(IsaChoice::Amx) {
            Ok(isa) => assert!(isa == Isa::best() && best.amx && best == Extras::of(isa, IsaChoice::Amx)),
            Err(error) => assert!(!best.amx && error.to_string().contains("isa amx"), "{error}"),
        }
    }

    #[test]
    fn the_best_is_there_and_what_is_not_there_is_refused() {
        assert_eq!(Isa::chosen(IsaChoice::Auto).unwrap(), Isa::best());
        assert_eq!(Isa::chosen(IsaChoice::Scalar).unwrap(), Isa::Scalar);
        let foreign = if cfg!(target_arch = "x86_64") { IsaChoice::Neon } else { IsaChoice::Avx2 };
        let error = Isa::chosen(foreign).unwrap_err().to_string();
        assert!(error.contains("scalar"), "{error}");
    }
}
