//! Checks the ELF file of a plugin without running any of its code.

use std::fs::File;

use object::elf::{EM_AARCH64, EM_X86_64, ET_DYN, FileHeader64, Machine, PT_LOAD};
use object::read::elf::{ElfFile64, ElfSymbol64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol, ReadCache, ReadRef};
use trace_hook_api::abi;
use trace_linkage::Linkage;

use super::c_library;

#[cfg(target_arch = "x86_64")]
const OUR_MACHINE: Machine = EM_X86_64;
#[cfg(target_arch = "aarch64")]
const OUR_MACHINE: Machine = EM_AARCH64;
/// The fifth byte of a 32-bit ELF file (`ELFCLASS32`).
const CLASS_32: u8 = 1;
/// The first bytes of a `staticlib` or an `rlib` (`ARMAG` in ar.h).
const STATIC_LIBRARY: &[u8] = b"!<arch>\n";

/// Checks that the file is a shared library for this machine and its C library, and exports a plugin. Returns what it needs.
///
/// # Errors
///
/// What the file is instead.
pub fn check(file: &File) -> Result<Linkage, String> {
    // Reads only the parts of the file that are needed.
    let cache = ReadCache::new(file);
    check_parts(&cache)
}

/// Checks that the file is a shared library for this machine and its C library. Returns what it needs.
///
/// # Errors
///
/// What the file is instead.
pub fn check_library(file: &File) -> Result<Linkage, String> {
    let cache = ReadCache::new(file);
    checked_linkage(&shared_library(&cache)?)
}

fn check_parts<'data>(data: impl ReadRef<'data>) -> Result<Linkage, String> {
    let file = shared_library(data)?;
    let exported = |symbol: ElfSymbol64<'data, '_, Endianness, _>| {
        symbol.is_definition() && symbol.name_bytes() == Ok(abi::SYMBOL.as_bytes())
    };
    match file.dynamic_symbols().any(exported) {
        true => checked_linkage(&file),
        false => Err(format!(
            "is a shared library, but not a plugin: it exports no header of trace-hook-api {}; see export_plugin!",
            trace_hook_api::VERSION
        )),
    }
}

fn checked_linkage<'data, R: ReadRef<'data>>(
    file: &ElfFile64<'data, Endianness, R>,
) -> Result<Linkage, String> {
    let linkage = Linkage::read(file.data()).map_err(|error| format!("is a damaged ELF file: {error}"))?;
    c_library::check(file, &linkage)?;
    Ok(linkage)
}

fn shared_library<'data, R: ReadRef<'data>>(data: R) -> Result<ElfFile64<'data, Endianness, R>, String> {
    if data.read_bytes_at(0, STATIC_LIBRARY.len() as u64) == Ok(STATIC_LIBRARY) {
        let remedy = "build it with crate-type = [\"cdylib\"]";
        return Err(format!("is a static library, which cannot be loaded; {remedy}"));
    }
    if data.read_bytes_at(0, 4) != Ok(b"\x7fELF") {
        return Err("is not a shared library (not an ELF file); files that end in .so must be plugins here"
            .to_owned());
    }
    if data.read_bytes_at(4, 1) == Ok(&[CLASS_32]) {
        let ours = name(OUR_MACHINE);
        return Err(format!(
            "is built for a 32-bit machine, but this machine is {ours}; rebuild it for this machine"
        ));
    }
    let damaged = |error: object::Error| format!("is a damaged ELF file: {error}");
    let header = FileHeader64::<Endianness>::parse(data).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let machine = header.e_machine(endian);
    if machine != OUR_MACHINE {
        let (theirs, ours) = (name(machine), name(OUR_MACHINE));
        return Err(format!(
            "is built for {theirs}, but this machine is {ours}; rebuild it for this machine"
        ));
    }
    if header.e_type(endian) != ET_DYN {
        return Err(
            "is an ELF file, but not a shared library; build it with crate-type = [\"cdylib\"]".to_owned()
        );
    }
    let length = data.len().unwrap_or_default();
    let segments = header.program_headers(endian, data).map_err(damaged)?;
    // Access to a page that is mapped beyond the end of the file would raise SIGBUS.
    let is_whole = |segment: &_| {
        let segment: &<FileHeader64<Endianness> as FileHeader>::ProgramHeader = segment;
        let end = segment.p_offset(endian).checked_add(segment.p_filesz(endian));
        segment.p_type(endian) != PT_LOAD || end.is_some_and(|end| end <= length)
    };
    if !segments.iter().all(is_whole) {
        return Err("is cut off: its end is missing; copy it again".to_owned());
    }
    ElfFile64::parse(data).map_err(damaged)
}

fn name(machine: Machine) -> String {
    match machine {
        EM_X86_64 => "x86-64".to_owned(),
        EM_AARCH64 => "aarch64".to_owned(),
        Machine(other) => format!("ELF machine {other}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_executable_is_not_a_plugin() {
        let file = File::open("/proc/self/exe").unwrap();
        assert!(check(&file).unwrap_err().contains("but not a plugin"));
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        assert!(check_parts(&bytes[..bytes.len() / 2]).is_err());
    }

    #[test]
    fn a_script_is_not_a_shared_library() {
        assert!(check_parts(&b"#!/bin/sh\n"[..]).unwrap_err().starts_with("is not a shared library"));
    }

    #[test]
    fn a_static_library_is_recognized() {
        let problem =
            check_parts(&b"!<arch>\n/               0           0     0     0       8  "[..]).unwrap_err();
        assert!(problem.starts_with("is a static library") && problem.contains("cdylib"), "{problem}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let _ = check_parts(&bytes[..]);
            let head = [0x7f, b'E', b'L', b'F', 2, 1, 1];
            if bytes.len() > head.len() {
                bytes[..head.len()].copy_from_slice(&head);
                let _ = check_parts(&bytes[..]);
            }
        }
    }
}
