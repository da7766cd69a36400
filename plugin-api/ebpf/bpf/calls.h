/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* System calls as the raw tracepoints sys_enter and sys_exit show them, on x86_64 and aarch64. */
#pragma once

#include "older.h"

#define TS_COMPAT 0x2		/* arch/x86/include/asm/thread_info.h */
#define TIF_32BIT 22		/* arch/arm64/include/asm/thread_info.h */
#define X32_SYSCALL_BIT 0x40000000 /* arch/x86/include/uapi/asm/unistd.h */

/* An upper bound of the numbers of system calls on any machine. */
#define MOST_CALLS 1024

/* A constant to the loader, so the verifier sees only one branch of each condition. */
#define IS_X86 bpf_core_field_exists(((struct pt_regs___x86 *)0)->orig_ax)

/* Whether the call is made through the 32-bit interface, whose numbers and argument registers differ. */
static __always_inline bool is_compat(struct task_struct *task)
{
	if (IS_X86)
		return READ((struct task_struct___x86 *)task, thread_info.status) & TS_COMPAT;
	return READ((struct task_struct___arm *)task, thread_info.flags) >> TIF_32BIT & 1;
}

/* The number of the returning call. */
static __always_inline long number_of(void *regs)
{
	if (IS_X86)
		return READ((struct pt_regs___x86 *)regs, orig_ax);
	return READ((struct pt_regs___arm *)regs, syscallno);
}

/* On aarch64, the result overwrites the register of the first argument when the call returns (`is_over`). */
static __always_inline __u64 argument(void *regs, bool compat, int number, bool is_over)
{
	struct pt_regs___x86 *x86 = regs;
	struct pt_regs___arm *arm = regs;
	__u64 value;

	if (!IS_X86)
		value = number == 0 ? (is_over ? READ(arm, orig_x0) : READ(arm, regs[0])) : number == 1 ? READ(arm, regs[1])
		      : number == 2 ? READ(arm, regs[2]) : number == 3 ? READ(arm, regs[3])
		      : number == 4 ? READ(arm, regs[4]) : READ(arm, regs[5]);
	else if (compat)
		value = number == 0 ? READ(x86, bx) : number == 1 ? READ(x86, cx) : number == 2 ? READ(x86, dx)
		      : number == 3 ? READ(x86, si) : number == 4 ? READ(x86, di) : READ(x86, bp);
	else
		value = number == 0 ? READ(x86, di) : number == 1 ? READ(x86, si) : number == 2 ? READ(x86, dx)
		      : number == 3 ? READ(x86, r10) : number == 4 ? READ(x86, r8) : READ(x86, r9);
	return compat ? (__u32)value : value;
}

static __always_inline __u64 stack_pointer(void *regs)
{
	if (IS_X86)
		return READ((struct pt_regs___x86 *)regs, sp);
	return READ((struct pt_regs___arm *)regs, sp);
}

/*
 * Whether a returning call was never made, because a seccomp filter answered it with a signal. Then the registers are as
 * they were before the call (`syscall_rollback` in asm/syscall.h).
 */
static __always_inline bool is_rolled_back(void *regs, long result)
{
	if (IS_X86)
		return result == number_of(regs);
	return (__s32)result == (__s32)READ((struct pt_regs___arm *)regs, orig_x0);
}
