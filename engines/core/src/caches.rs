//! Sizes of the processor's caches, as the system tells them: for blocking, and for working sets that stay in one.

use std::fs;

/// What empties a cache is so many times as large: at once its size, lines that are still older than all of it would stay.
const TIMES: usize = 2;
/// The last level where the machine does not tell its caches.
const USUAL: usize = 32 << 20;

/// More caches than any core has.
const MOST_CACHES: usize = 10;

/// Bytes of one cache of the first core: index 0 is the first-level data cache, 2 and 3 are the second and third level.
pub fn cache_bytes(index: usize) -> Option<usize> {
    let text = fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok()?;
    let text = text.trim();
    match text.strip_suffix('K') {
        Some(number) => number.parse::<usize>().ok().map(|value| value << 10),
        None => text.strip_suffix('M')?.parse::<usize>().ok().map(|value| value << 20),
    }
}

/// Bytes of the largest cache that a core has: its last level.
pub fn last_level_bytes() -> Option<usize> {
    (0..MOST_CACHES).filter_map(cache_bytes).max()
}

/// Bytes that are read to empty the caches of this machine's cores.
pub fn eviction_bytes() -> usize {
    TIMES.saturating_mul(last_level_bytes().unwrap_or(USUAL))
}
