use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use trace_tasks::mapped_ranges;

/// The vDSO, read from the memory of this process: an ELF file that the kernel maps into every process as `[vdso]` (vdso(7)).
/// `None`, if the kernel maps none.
pub fn vdso_image() -> Option<Vec<u8>> {
    let maps = fs::read("/proc/self/maps").ok()?;
    let addresses = mapped_ranges(&maps).find(|range| *range.path == *b"[vdso]")?.addresses;
    let mut image = vec![0; usize::try_from(addresses.end - addresses.start).ok()?];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut image, addresses.start).ok()?;
    Some(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    use crate::{ElfFile, Function, MemoryBudget};

    #[test]
    fn the_vdso_has_functions() {
        let (image, budget) = (vdso_image().unwrap(), MemoryBudget::new(1 << 20));
        let elf = ElfFile::parse(&image[..], &budget).unwrap();
        let mut has_clock = false;
        let visit = |function: Function<'_>| {
            has_clock |= function.name.ends_with(b"clock_gettime");
            ControlFlow::Continue(())
        };
        elf.visit_functions(visit).unwrap();
        assert!(has_clock);
    }
}
