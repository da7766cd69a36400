/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the current task was doing when the kernel was entered, and whether an interrupt has interrupted it. */
#pragma once

#include "calls.h"

/* The size of the stack of a task in the kernel. */
const volatile __u64 stack_size = 4 * 4096;

/*
 * The registers of a task in user mode, which the kernel keeps at the top of the stack. In programs that are not called with
 * them, unlike those of system calls.
 */
static __always_inline void *user_registers(struct task_struct *task)
{
	return registers_of(task, BPF_CORE_READ(task, stack) + stack_size -
				   (IS_X86 ? bpf_core_type_size(struct pt_regs___x86) : bpf_core_type_size(struct pt_regs___arm)));
}

/* Whether this runs on another stack than the task's, as interrupts do; on x86 only those of the kernel. */
static __always_inline bool on_other_stack(void *context, struct task_struct *task)
{
	/* The arguments of the tracepoint are on the stack. The verifier allows no arithmetic with a pointer to them. */
	void *volatile pointer = context;
	__u64 place = 0;

	bpf_probe_read_kernel(&place, sizeof(place), (void *)&pointer);
	return place - (__u64)BPF_CORE_READ(task, stack) >= stack_size;
}
