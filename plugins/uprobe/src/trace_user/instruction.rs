//! Whether the kernel can put a breakpoint at an instruction.
//!
//! It refuses instructions that it cannot run at another address. One refused probe makes enabling its event fail.

/// Whether the first instruction of a function can be probed.
pub fn can_be_probed(code: &[u8]) -> bool {
    if cfg!(target_arch = "aarch64") { aarch64(code) } else { x86_64(code) }
}

/// `uprobe_init_insn`, `branch_setup_xol_ops` and `good_insns_64` in the kernel's arch/x86/kernel/uprobes.c.
fn x86_64(code: &[u8]) -> bool {
    // Operand and address size, FS, GS, REPNE and REP; then REX.
    let prefixes = code.iter().take_while(|byte| matches!(byte, 0x64..=0x67 | 0xf2 | 0xf3)).count();
    let (prefixes, code) = code.split_at(prefixes);
    let has_operand_size = prefixes.contains(&0x66);
    let code = match code {
        [0x40..=0x4f, code @ ..] => code,
        code => code,
    };
    match *code {
        // Vector instructions begin with VEX, of two or three bytes, or EVEX. The kernel looks their opcodes up as if they
        // were those of ordinary instructions.
        [0xc5, _, opcode, ..] | [0xc4, _, _, opcode, ..] | [0x62, _, _, _, opcode, ..] => {
            opcode != 0x0f && !is_refused(opcode)
        }
        [0xc4 | 0xc5 | 0x62, ..] | [] => false,
        // LOCK and the other segment prefixes, and what must come before REX.
        [0xf0 | 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf2 | 0xf3, ..] => false,
        // Processors of different makers disagree about branches with this prefix.
        [0x0f, 0x80..=0x8f, ..] | [0x70..=0x7f | 0xe8 | 0xe9 | 0xeb, ..] if has_operand_size => false,
        [0x0f, opcode, ..] => !is_refused_second(opcode),
        // It would load the stack segment.
        [0x8e, operands, ..] if operands >> 3 & 7 == 2 => false,
        [opcode, ..] => !is_refused(opcode),
    }
}

fn is_refused(opcode: u8) -> bool {
    match opcode {
        // Not valid in 64-bit mode.
        0x06 | 0x07 | 0x0e | 0x16 | 0x17 | 0x1e | 0x1f | 0x27 | 0x2f | 0x37 | 0x3f => true,
        0x60..=0x62 | 0x82 | 0x9a | 0xce | 0xd4..=0xd6 | 0xea => true,
        // Input and output, breakpoints, interrupts, HLT, CLI, STI.
        0x6c..=0x6f | 0xcc | 0xcd | 0xcf | 0xe4..=0xe7 | 0xec..=0xef | 0xf1 | 0xf4 | 0xfa | 0xfb => true,
        // Without its second byte.
        0x0f => true,
        _ => false,
    }
}

/// The second byte of an opcode that begins with 0x0f (`good_2byte_insns`).
fn is_refused_second(opcode: u8) -> bool {
    match opcode {
        // System instructions, SYSCALL, UD2, VMREAD, VMWRITE, and the group of FXSAVE and the fences.
        0x00 | 0x01 | 0x05..=0x09 | 0x0b | 0x30 | 0x34 | 0x35 | 0x37 | 0x78 | 0x79 | 0xae => true,
        // Opcodes of three bytes.
        0x38 | 0x3a => true,
        _ => false,
    }
}

/// `arm_probe_decode_insn` in the kernel's arch/arm64/kernel/probes/decode-insn.c, with the masks of
/// arch/arm64/include/asm/insn.h.
fn aarch64(code: &[u8]) -> bool {
    let Some(code) = code.first_chunk() else { return false };
    let instruction = u32::from_le_bytes(*code);
    let is = |mask: u32, value: u32| instruction & mask == value;
    let is_exception = is(0xff00_0000, 0xd400_0000);
    let sets_state = is(0xfff8_f01f, 0xd500_401f) || is(0xfff0_0000, 0xd510_0000);
    // Load and store exclusive, but not load-acquire and store-release.
    let is_exclusive = is(0x3f80_0000, 0x0800_0000);
    let copies_memory = is(0x3b20_0c00, 0x1900_0400);
    // NOP, PAC and BTI are accepted; YIELD, WFE and others are not.
    let hint = instruction >> 5 & 0x7f;
    let waits = is(0xffff_f01f, 0xd503_201f)
        && !matches!(hint, 0x00 | 0x07 | 0x08 | 0x0a | 0x18..=0x1b | 0x20..=0x26);
    !(is_exception || sets_state || is_exclusive || copies_memory || waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_that_the_kernel_refuses_are_recognised() {
        // pthread_spin_lock of glibc: lock decl (%rdi)
        assert!(!x86_64(&[0xf0, 0xff, 0x0f, 0x75]));
        assert!(!x86_64(&[0xf4]) && !x86_64(&[]) && !x86_64(&[0x66]));
        // endbr64, push %rbp, mov %fs:0x28,%rax
        assert!(x86_64(&[0xf3, 0x0f, 0x1e, 0xfa]));
        assert!(x86_64(&[0x55, 0x48]));
        assert!(x86_64(&[0x64, 0x48, 0x8b, 0x04]));
        // Of vector instructions: vmovups %ymm0,(%rdi), vucomiss %xmm1,%xmm0, but not vpxor %xmm0,%xmm0,%xmm0, vmovdqu (%rdi),%ymm0 (VEX, in both
        // lengths), vmovdqu64 (%rsi),%zmm16 (EVEX)
        assert!(x86_64(&[0xc5, 0xfc, 0x11, 0x07]) && x86_64(&[0xc5, 0xf8, 0x2e, 0xc1]));
        assert!(!x86_64(&[0xc5, 0xf9, 0xef, 0xc0]) && !x86_64(&[0xc5, 0xfe, 0x6f, 0x07]));
        assert!(!x86_64(&[0xc4, 0xc1, 0x7e, 0x6f, 0x00]) && !x86_64(&[0x62, 0xe1, 0xfe, 0x48, 0x6f, 0x06]));
        assert!(x86_64(&[0x62, 0xf1, 0x7c, 0x48, 0x10, 0x06]) && !x86_64(&[0xc5, 0xf9]));
        // vpalignr $1,%xmm0,%xmm0,%xmm0; pshufb (%rdi),%xmm0; syscall; ud2; lfence; but not movups (%rdi),%xmm0
        assert!(!x86_64(&[0xc4, 0xe3, 0x79, 0x0f, 0xc0, 0x01]) && !x86_64(&[0x66, 0x0f, 0x38, 0x00, 0x07]));
        assert!(!x86_64(&[0x0f, 0x05]) && !x86_64(&[0x0f, 0x0b]) && !x86_64(&[0x0f, 0xae, 0xe8]));
        assert!(x86_64(&[0x0f, 0x10, 0x07]) && !x86_64(&[0x0f]));
        // data16 jmp; data16 je; jmp; mov %eax,%ss; mov %eax,%fs; a prefix after REX
        assert!(!x86_64(&[0x66, 0xe9, 0, 0, 0, 0]) && !x86_64(&[0x66, 0x0f, 0x84, 0, 0, 0, 0]));
        assert!(x86_64(&[0xe9, 0, 0, 0, 0]) && !x86_64(&[0x8e, 0xd0]) && x86_64(&[0x8e, 0xe0]));
        assert!(!x86_64(&[0x48, 0x66, 0x90]));
        // paciasp, stp x29, x30, [sp, #-32]!, svc #0, ldxr x0, [x0], brk #0
        assert!(aarch64(&0xd503_233f_u32.to_le_bytes()));
        assert!(aarch64(&0xa9be_7bfd_u32.to_le_bytes()));
        assert!(!aarch64(&0xd400_0001_u32.to_le_bytes()));
        assert!(!aarch64(&0xc85f_7c00_u32.to_le_bytes()));
        assert!(!aarch64(&0xd420_0000_u32.to_le_bytes()));
        // ldar w0, [x0], nop, bti c, mrs x0, tpidr_el0; msr tpidr_el0, x0, yield, cpyfp [x0]!, [x1]!, x2!
        let steps = [0x88df_fc00_u32, 0xd503_201f, 0xd503_245f, 0xd53b_d040];
        assert!(steps.iter().all(|instruction| aarch64(&instruction.to_le_bytes())));
        let refused = [0xd51b_d040_u32, 0xd503_203f, 0x1901_0440];
        assert!(!refused.iter().any(|instruction| aarch64(&instruction.to_le_bytes())));
    }
}
