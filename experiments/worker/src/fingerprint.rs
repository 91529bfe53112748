//! Which build this is: the same fingerprint means the same bytes of program.

use std::fs::File;
use std::io::Read;

/// Read in pieces: a fresh buffer as large as the program would cost more than the checksum.
const PIECE: usize = 256 << 10;

/// Checksum and size of the running program, with the compiler and the target features for people.
pub fn build() -> String {
    let identity = identity().unwrap_or_else(|error| format!("unreadable: {error}"));
    let compiler = env!("CROSSOVER_RUSTC");
    let (target, level) = (env!("CROSSOVER_TARGET"), env!("CROSSOVER_OPT_LEVEL"));
    format!("{identity} ({compiler}, {target}, opt-level {level}, features {})", env!("CROSSOVER_CARGO_CFG_TARGET_FEATURE"))
}

fn identity() -> std::io::Result<String> {
    let mut program = File::open(std::env::current_exe()?)?;
    let (mut hasher, mut size, mut piece) = (crc32fast::Hasher::new(), 0u64, vec![0; PIECE]);
    loop {
        match program.read(&mut piece)? {
            0 => return Ok(format!("{:08x}-{size}", hasher.finalize())),
            read => {
                hasher.update(&piece[..read]);
                size += read as u64;
            }
        }
    }
}
