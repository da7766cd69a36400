use std::io::Read;

use lzma_rust2::XzReader;

/// In KiB. xz takes 9 MiB for what it packs by default, 65 MiB at most.
const MEMORY: u32 = 128 << 10;

/// Unpacks MiniDebugInfo: the symbols that a stripped program keeps, an ELF file packed by xz in the section
/// `.gnu_debugdata` (the GDB manual, "MiniDebugInfo"). Of more than so many bytes, these. Nothing, where it is not what it
/// should be.
pub fn unpack_mini_debug_info(packed: &[u8], largest: u64) -> Option<Vec<u8>> {
    let mut elf = Vec::new();
    XzReader::new_mem_limit(packed, true, MEMORY).take(largest).read_to_end(&mut elf).ok()?;
    Some(elf)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lzma_rust2::{XzOptions, XzWriter};

    use super::*;

    #[test]
    fn no_more_comes_out_than_is_wanted() {
        let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
        writer.write_all(&[7; 1 << 20]).unwrap();
        let packed = writer.finish().unwrap();
        assert_eq!(unpack_mini_debug_info(&packed, 1 << 30).map(|elf| elf.len()), Some(1 << 20));
        assert_eq!(unpack_mini_debug_info(&packed, 1000).map(|elf| elf.len()), Some(1000));
        assert_eq!(unpack_mini_debug_info(&packed[..packed.len() / 2], 1 << 30), None);
        assert_eq!(unpack_mini_debug_info(b"no xz", 1 << 30), None);
    }
}
