//! What can be told of a plugin without running any of its code.

use object::elf::{EM_AARCH64, EM_X86_64, ET_DYN, FileHeader64, Machine};
use object::read::elf::FileHeader;
use object::{Endianness, Object, ObjectSymbol};
use trace_hook_api::abi;

#[cfg(target_arch = "x86_64")]
const OUR_MACHINE: Machine = EM_X86_64;
#[cfg(target_arch = "aarch64")]
const OUR_MACHINE: Machine = EM_AARCH64;

/// Checks that the bytes are a shared library for this machine that exports a plugin.
///
/// # Errors
///
/// What they are instead.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err("is not a shared library (no ELF file)".to_owned());
    }
    let damaged = |error: object::Error| format!("is a damaged ELF file: {error}");
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let machine = header.e_machine(endian);
    if machine != OUR_MACHINE {
        return Err(format!("is built for {}, this machine is {}", name(machine), name(OUR_MACHINE)));
    }
    if header.e_type(endian) != ET_DYN {
        return Err("is an ELF file, but no shared library".to_owned());
    }
    let file = object::read::elf::ElfFile64::<Endianness>::parse(bytes).map_err(damaged)?;
    let exported = |symbol: object::read::elf::ElfSymbol64<'_, '_>| {
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
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        assert!(check(&bytes).unwrap_err().contains("but no plugin"));
        assert!(check(&bytes[..bytes.len() / 2]).is_err());
    }

    #[test]
    fn a_text_is_no_library() {
        assert_eq!(check(b"#!/bin/sh\n").unwrap_err(), "is not a shared library (no ELF file)");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let _ = check(&bytes);
            let head = [0x7f, b'E', b'L', b'F', 2, 1, 1];
            if bytes.len() > head.len() {
                bytes[..head.len()].copy_from_slice(&head);
                let _ = check(&bytes);
            }
        }
    }
}
