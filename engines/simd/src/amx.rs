//! AMX: whether this engine takes the tiles of x86, and a thread's configured tiles.

use std::arch::asm;
use std::marker::PhantomData;

use crossover_core::amx::{self, BF16, FULL, INT8};

/// Does the processor have tiles for both kinds of products, and vectors for the few rows that are not worth a tile?
pub(crate) fn present() -> bool {
    has_vectors() && amx::present(BF16 | INT8)
}

/// May this process use them, too?
pub(crate) fn usable() -> bool {
    has_vectors() && amx::usable(BF16 | INT8)
}

fn has_vectors() -> bool {
    is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni")
}

/// This thread's tiles, configured. Between the blocks of assembly that use them runs nothing but this crate's code and copies of memory,
/// which have none of their own. Given back at the end: a thread whose tiles are in use costs 8 KiB at every switch.
pub(crate) struct Configured {
    /// Of one thread.
    here: PhantomData<*mut ()>,
}

impl Configured {
    /// # Safety
    /// Tiles must be usable.
    #[inline]
    pub(crate) unsafe fn new() -> Self {
        // SAFETY: usable by the caller's promise; the configuration is read, and the tiles, which hold nothing of anybody's, are cleared.
        unsafe {
            asm!(
                "ldtilecfg [{full}]",
                full = in(reg) &raw const FULL,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly, preserves_flags),
            );
        }
        Self { here: PhantomData }
    }
}

impl Drop for Configured {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a value is only made where tiles are usable.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem, preserves_flags),
            );
        }
    }
}
