use std::io::Read;
use std::sync::Arc;

use lzma_rust2::XzReader;

use super::error::ElfError;
use super::limits::MAX_MINI_DEBUG_INFO;
use crate::memory_budget::{MemoryBudget, Reservation};

/// What xz may take, in KiB. It takes 9 MiB for what it compresses by default, as MiniDebugInfo is.
const XZ_MEMORY: u32 = 16 << 10;

/// Bytes that are decompressed at a time.
const STEP: u64 = 1 << 20;

/// Decompresses MiniDebugInfo: the symbols that a stripped program keeps, an ELF file compressed by xz in the section
/// `.gnu_debugdata` (the GDB manual, "MiniDebugInfo").
pub fn decompress(compressed: &[u8], budget: &Arc<MemoryBudget>) -> Result<(Vec<u8>, Reservation), ElfError> {
    let _alone = budget.decompression();
    let mut reader = XzReader::new_mem_limit(compressed, true, XZ_MEMORY);
    let mut reservation = budget.reserve(0).ok_or(ElfError::TooLarge)?;
    let mut elf = Vec::new();
    loop {
        if elf.len() as u64 >= MAX_MINI_DEBUG_INFO || !reservation.grow(STEP) {
            return Err(ElfError::TooLarge);
        }
        let count = reader.by_ref().take(STEP).read_to_end(&mut elf).map_err(|_| ElfError::Malformed)?;
        if (count as u64) < STEP {
            return Ok((elf, reservation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::synthetic::compressed;

    #[test]
    fn decompression_stays_within_the_budget() {
        let plenty = MemoryBudget::new(1 << 30);
        let xz = compressed(&vec![7; 3 << 20]);
        assert_eq!(decompress(&xz, &plenty).unwrap().0, vec![7; 3 << 20]);
        assert!(matches!(decompress(&xz, &MemoryBudget::new(4 << 20)), Err(ElfError::TooLarge)));
        assert!(matches!(decompress(&xz[..xz.len() / 2], &plenty), Err(ElfError::Malformed)));
        assert!(matches!(decompress(b"no xz", &plenty), Err(ElfError::Malformed)));
    }
}
