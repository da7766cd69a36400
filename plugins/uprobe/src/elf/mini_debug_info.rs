//! MiniDebugInfo: the symbols that a stripped program keeps, packed by xz in a section of their own (the GDB manual,
//! "MiniDebugInfo").

use std::io::Read;

use lzma_rust2::XzReader;

/// What the symbols of a large program come to, unpacked, many times over.
const LARGEST: u64 = 256 << 20;
/// In KiB. xz takes 9 MiB for what it packs by default, 65 MiB at most.
const MEMORY: u32 = 128 << 10;

/// Unpacks the section. Nothing, where it is not what it should be.
pub fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut elf = Vec::new();
    XzReader::new_mem_limit(packed, true, MEMORY).take(LARGEST).read_to_end(&mut elf).ok()?;
    Some(elf)
}
