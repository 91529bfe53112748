//! Where this process's heap begins.
//!
//! An allocator hands out places one behind the other, so where an engine's tensors lie within a cache line and a page hangs on what was allocated before them: on the length of the
//! program's path, even. Vectors of an engine that asks for no alignment of its own then begin at 16 bytes of a line or at 48, for as long as the program's path stays the same, and that alone
//! can be a quarter of a call's time. Whoever compares two programs therefore gives both the same place, drawn anew for each pair: so no place
//! speaks for one of them.

use anyhow::{Result, bail};
use crossover_protocol::HEAP_OFFSET;

/// The heap itself begins at one.
const PAGE: usize = 4096;

/// Puts the heap there, if the variable says where.
pub fn begin(offset: Option<&str>) -> Result<()> {
    let Some(offset) = offset else { return Ok(()) };
    let Some(bytes) = offset.parse().ok().filter(|bytes| *bytes < PAGE) else {
        bail!("{HEAP_OFFSET} is {offset:?}, expected a number of bytes below {PAGE}");
    };
    // Written, so that nobody finds out that it is not needed.
    std::hint::black_box(vec![1_u8; bytes].leak());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_number_of_bytes_within_a_page() {
        assert!(begin(None).is_ok() && begin(Some("0000")).is_ok() && begin(Some("4080")).is_ok());
        for wrong in ["", "x", "-16", "4096"] {
            assert!(begin(Some(wrong)).unwrap_err().to_string().contains("expected a number of bytes below 4096"), "{wrong}");
        }
    }
}
