//! The tiles of x86 (AMX): does the processor have them, may this process use them, and how they are configured.
//!
//! Linux gives tile registers out on request only, since they make the state of each thread that uses them 8 KiB larger (its documentation:
//! "Using XSTATE features in user space applications"). The request is for the whole process; a kernel that does not know it, or a policy
//! that refuses it, leaves the path of 512-bit vectors. Other systems are not asked, and so have no tiles here.

use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

/// Products of bf16: a bit of register EDX of CPUID leaf 7.
pub const BF16: u32 = 1 << 22;
/// Products of int8: likewise.
pub const INT8: u32 = 1 << 25;
const TILE: u32 = 1 << 24;

/// Does the processor have tiles and all of these products?
pub fn present(products: u32) -> bool {
    let wanted = products | TILE;
    __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & wanted == wanted
}

/// Does it have them, and may this process use them? The system is asked once.
pub fn usable(products: u32) -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    present(products) && *PERMITTED.get_or_init(permitted)
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
        std::arch::asm!("syscall", inlateout("rax") call => answer, in("rdi") request, in("rsi") feature, out("rcx") _, out("r11") _, options(nostack));
    }
    answer == 0
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
pub struct Configuration([u8; 64]);

/// All eight tiles with 16 rows of 64 bytes (palette 1).
pub static FULL: Configuration = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = 16;
        tile += 1;
    }
    Configuration(bytes)
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usable_is_present() {
        for products in [BF16, INT8, BF16 | INT8] {
            assert!(present(products) || !usable(products));
        }
        assert_eq!(present(BF16 | INT8), present(BF16) && present(INT8));
    }
}
