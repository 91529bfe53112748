//! Which build this is: the same fingerprint means the same program.
//!
//! The linker's build id, a checksum of all that it wrote, where the program has one (ELF, which the build script asks for): it is read in a
//! millisecond. The program has some 90 MB with its symbols: to read them all made a start of 7 ms one of 65 ms, on a machine whose kernel copies
//! 1.7 GB a second. Elsewhere it is a checksum of the file.

use std::fs::File;
use std::io::{Read, Result, Seek};

use object::elf::{ELF_NOTE_GNU, FileHeader64, NT_GNU_BUILD_ID};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef};

/// Read in pieces: a fresh buffer as large as the program would cost more than the checksum.
const PIECE: usize = 256 << 10;

/// Identity and size of the running program, with the compiler and the target features for people.
pub fn build() -> String {
    let identity = identity().unwrap_or_else(|error| format!("unreadable: {error}"));
    let compiler = env!("CROSSOVER_RUSTC");
    let (target, level) = (env!("CROSSOVER_TARGET"), env!("CROSSOVER_OPT_LEVEL"));
    format!("{identity} ({compiler}, {target}, opt-level {level}, features {})", env!("CROSSOVER_CARGO_CFG_TARGET_FEATURE"))
}

/// The size stands beside it, as a program without its symbols has the same build id.
fn identity() -> Result<String> {
    let mut program = own_program()?;
    let size = program.metadata()?.len();
    if let Some(id) = build_id(&ReadCache::new(&program)) {
        return Ok(format!("{id}-{size}"));
    }
    program.rewind()?;
    Ok(format!("{:08x}-{size}", checksum(program)?))
}

/// By a path of one length wherever it lies, where there is one: what is allocated for it moves what is allocated later.
fn own_program() -> Result<File> {
    File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?))
}

/// What the linker wrote into the program's notes, in hexadecimal digits; of no program, and of one without, there is none.
fn build_id<'data>(program: impl ReadRef<'data>) -> Option<String> {
    let header = FileHeader64::<Endianness>::parse(program).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, program).ok()? {
        let Ok(Some(mut notes)) = segment.notes(endian, program) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == ELF_NOTE_GNU && note.n_type(endian) == NT_GNU_BUILD_ID {
                return Some(note.desc().iter().map(|byte| format!("{byte:02x}")).collect());
            }
        }
    }
    None
}

fn checksum(mut program: impl Read) -> Result<u32> {
    let (mut hasher, mut piece) = (crc32fast::Hasher::new(), vec![0; PIECE]);
    loop {
        match program.read(&mut piece)? {
            0 => return Ok(hasher.finalize()),
            read => hasher.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_build_id_or_its_checksum() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let id = build_id(own.as_slice());
        if cfg!(target_os = "linux") {
            assert!(identity().unwrap().starts_with(&format!("{}-", id.clone().unwrap())));
        }
        // Of damaged programs there is none, wherever the damage is.
        for length in [0, 3, 63, 64, 200] {
            assert_eq!(build_id(&own[..length]), None);
        }
        assert_eq!(build_id(b"#!/bin/sh\n".as_slice()), None);
        assert_eq!(checksum(b"123456789".as_slice()).unwrap(), 0xcbf4_3926);
    }
}
