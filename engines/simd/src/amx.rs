//! AMX: whether this process may use the tiles of x86, and their configuration.
//!
//! Linux gives tile registers out on request only, since they make the state of each thread that uses them 8 KiB larger (its documentation:
//! "Using XSTATE features in user space applications"). The request is for the whole process; a kernel that does not know it, or a
//! policy that refuses it, leaves the path of 512-bit vectors. Other systems are not asked, and so have no tiles here.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Bits of register EDX of CPUID leaf 7: tiles, and their products of bf16 and of int8.
const TILES: u32 = 1 << 24 | 1 << 22 | 1 << 25;

/// Does the processor have tiles for both kinds of products, and vectors for the few rows that are not worth a tile?
pub(crate) fn present() -> bool {
    is_x86_feature_detected!("avx512bf16")
        && is_x86_feature_detected!("avx512vnni")
        && __cpuid_count(0, 0).eax >= 7
        && __cpuid_count(7, 0).edx & TILES == TILES
}

/// May this process use them? It is asked for once.
pub(crate) fn usable() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    present() && *PERMITTED.get_or_init(permitted)
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    let (call, request, feature) = (158i64, 0x1023u64, 18u64);
    let answer: i64;
    // SAFETY: this system call reads its two numbers and touches no memory of ours; the kernel clobbers rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") call => answer, in("rdi") request, in("rsi") feature, out("rcx") _, out("r11") _, options(nostack));
    }
    answer == 0
}

/// All eight tiles with 16 rows of 64 bytes (palette 1).
#[repr(C, align(64))]
struct Layout([u8; 64]);

static FULL: Layout = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = 16;
        tile += 1;
    }
    Layout(bytes)
};

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
