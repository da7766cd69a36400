//! Whether the kernel can put a breakpoint at an instruction.
//!
//! It refuses what it could not run in another place. Enabling an event fails as a whole if it refuses one of its places.

/// Whether the first instruction of a function can be probed.
pub fn can_be_probed(code: &[u8]) -> bool {
    if cfg!(target_arch = "aarch64") { aarch64(code) } else { x86_64(code) }
}

/// `uprobe_init_insn` and `good_insns_64` in the kernel's arch/x86/kernel/uprobes.c.
fn x86_64(code: &[u8]) -> bool {
    for byte in code {
        match byte {
            // Operand and address size, FS, GS, REPNE, REP, and REX.
            0x66 | 0x67 | 0x64 | 0x65 | 0xf2 | 0xf3 | 0x40..=0x4f => {}
            // LOCK and the other segments.
            0xf0 | 0x26 | 0x2e | 0x36 | 0x3e => return false,
            // No instructions in 64-bit mode.
            0x06
            | 0x07
            | 0x0e
            | 0x16
            | 0x17
            | 0x1e
            | 0x1f
            | 0x27
            | 0x2f
            | 0x37
            | 0x3f
            | 0x60
            | 0x61
            | 0x82
            | 0x9a
            | 0xce
            | 0xd4..=0xd6
            | 0xea => return false,
            // Input and output, breakpoints, interrupts, HLT, CLI, STI.
            0x6c..=0x6f | 0xcc | 0xcd | 0xcf | 0xe4..=0xe7 | 0xec..=0xef | 0xf1 | 0xf4 | 0xfa | 0xfb => {
                return false;
            }
            _ => return true,
        }
    }
    false
}

/// `arm_probe_decode_insn` in the kernel's arch/arm64/kernel/probes/decode-insn.c.
fn aarch64(code: &[u8]) -> bool {
    let Some(code) = code.first_chunk() else { return false };
    let instruction = u32::from_le_bytes(*code);
    let is_exception = instruction & 0xff00_0000 == 0xd400_0000;
    let is_exclusive = instruction & 0x3f00_0000 == 0x0800_0000;
    let sets_state = instruction & 0xfff8_f01f == 0xd500_401f;
    !(is_exception || is_exclusive || sets_state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_known() {
        // pthread_spin_lock of glibc: lock decl (%rdi)
        assert!(!x86_64(&[0xf0, 0xff, 0x0f, 0x75]));
        assert!(!x86_64(&[0xf4]) && !x86_64(&[]) && !x86_64(&[0x66]));
        // endbr64, push %rbp, mov %fs:0x28,%rax
        assert!(x86_64(&[0xf3, 0x0f, 0x1e, 0xfa]));
        assert!(x86_64(&[0x55, 0x48]));
        assert!(x86_64(&[0x64, 0x48, 0x8b, 0x04]));
        // paciasp, stp x29, x30, [sp, #-32]!, svc #0, ldxr x0, [x0], brk #0
        assert!(aarch64(&0xd503_233f_u32.to_le_bytes()));
        assert!(aarch64(&0xa9be_7bfd_u32.to_le_bytes()));
        assert!(!aarch64(&0xd400_0001_u32.to_le_bytes()));
        assert!(!aarch64(&0xc85f_7c00_u32.to_le_bytes()));
        assert!(!aarch64(&0xd420_0000_u32.to_le_bytes()));
    }
}
