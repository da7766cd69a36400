//! What can be told of a plugin without running any of its code.

use std::fs::File;

use object::elf::{EM_AARCH64, EM_X86_64, ET_DYN, FileHeader64, Machine};
use object::read::elf::{ElfFile64, ElfSymbol64, FileHeader};
use object::{Endianness, Object, ObjectSymbol, ReadCache, ReadRef};
use trace_hook_api::abi;

#[cfg(target_arch = "x86_64")]
const OUR_MACHINE: Machine = EM_X86_64;
#[cfg(target_arch = "aarch64")]
const OUR_MACHINE: Machine = EM_AARCH64;

/// Checks that the file is a shared library for this machine that exports a plugin.
///
/// # Errors
///
/// What it is instead.
pub fn check(file: &File) -> Result<(), String> {
    // Only the few parts that are looked at are read.
    let cache = ReadCache::new(file);
    check_parts(&cache)
}

fn check_parts<'data>(data: impl ReadRef<'data>) -> Result<(), String> {
    if data.read_bytes_at(0, 4) != Ok(b"\x7fELF") {
        return Err("is not a shared library (no ELF file)".to_owned());
    }
    let damaged = |error: object::Error| format!("is a damaged ELF file: {error}");
    let header = FileHeader64::<Endianness>::parse(data).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let machine = header.e_machine(endian);
    if machine != OUR_MACHINE {
        return Err(format!("is built for {}, this machine is {}", name(machine), name(OUR_MACHINE)));
    }
    if header.e_type(endian) != ET_DYN {
        return Err("is an ELF file, but no shared library".to_owned());
    }
    let file = ElfFile64::<Endianness, _>::parse(data).map_err(damaged)?;
    let exported = |symbol: ElfSymbol64<'data, '_, Endianness, _>| {
        symbol.is_definition() && symbol.name_bytes() == Ok(abi::SYMBOL.as_bytes())
    };
    match file.dynamic_symbols().any(exported) {
        true => Ok(()),
        false => Err("is a shared library, but no plugin (it exports no trace-hook-api header)".to_owned()),
    }
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
    fn an_executable_of_this_machine_is_no_plugin() {
        let file = File::open("/proc/self/exe").unwrap();
        assert!(check(&file).unwrap_err().contains("but no plugin"));
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        assert!(check_parts(&bytes[..bytes.len() / 2]).is_err());
    }

    #[test]
    fn a_text_is_no_library() {
        assert_eq!(check_parts(&b"#!/bin/sh\n"[..]).unwrap_err(), "is not a shared library (no ELF file)");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let _ = check_parts(&bytes[..]);
            let head = [0x7f, b'E', b'L', b'F', 2, 1, 1];
            if bytes.len() > head.len() {
                bytes[..head.len()].copy_from_slice(&head);
                let _ = check_parts(&bytes[..]);
            }
        }
    }
}
