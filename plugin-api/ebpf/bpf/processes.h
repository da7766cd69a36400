/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The traced processes. User space adds the selected ones when recording begins; from then on, forks and exits keep the map
 * up to date. All threads of a process are traced alike. Ids are those of the initial pid namespace.
 */
#pragma once

#include "kernel.h"
#include "losses.h"

#define OWN 1		/* the process itself is traced */
#define CHILDREN 2	/* the processes that it forks are traced */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); /* set by the loader */
	__type(key, __u32);
	__type(value, __u32);
} processes SEC(".maps");

static __always_inline void miss_child(void)
{
	struct losses *here = losses_here();

	if (here)
		here->missed_children++;
}

static __always_inline bool is_traced(struct task_struct *task)
{
	__u32 process = task->tgid;
	__u32 *follow = bpf_map_lookup_elem(&processes, &process);

	return follow && (*follow & OWN);
}

SEC("raw_tp/sched_process_fork")
int BPF_PROG(forked, struct task_struct *parent, struct task_struct *child)
{
	__u32 process = BPF_CORE_READ(parent, tgid), new = BPF_CORE_READ(child, tgid);
	__u32 *follow, family = OWN | CHILDREN;

	if (process == new)
		return 0;
	follow = bpf_map_lookup_elem(&processes, &process);
	if (follow && (*follow & CHILDREN) && bpf_map_update_elem(&processes, &new, &family, BPF_ANY))
		miss_child();
	return 0;
}

SEC("raw_tp/sched_process_exit")
int BPF_PROG(exited, struct task_struct *task)
{
	__u32 process = BPF_CORE_READ(task, tgid);

	/* This is its last thread. */
	if (BPF_CORE_READ(task, signal, live.counter) == 0)
		bpf_map_delete_elem(&processes, &process);
	return 0;
}
