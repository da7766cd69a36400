/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The traced processes. User space adds the selected ones when recording begins; from then on, forks, exits and moves between
 * cgroups keep the map up to date. All threads of a process are traced alike. Ids are those of the initial pid namespace.
 */
#pragma once

#include "cgroups.h"
#include "losses.h"
#include "older.h"

#define OWN 1		/* the process itself is traced */
#define CHILDREN 2	/* the processes that it forks are traced */
/* The process is in a selected cgroup of the hierarchy with this slot. */
#define IN_CGROUP(slot) (4u << (slot))

/* Whether all processes are traced, except those that the map has without any flag. */
const volatile __u8 trace_all = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, ALLOCATED_FLAGS);
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

static __always_inline bool is_traced_process(__u32 process)
{
	__u32 *follow = bpf_map_lookup_elem(&processes, &process);

	return follow ? *follow & ~CHILDREN : trace_all;
}

static __always_inline bool is_traced(struct task_struct *task)
{
	return is_traced_process(READ(task, tgid));
}

SEC("raw_tp/sched_process_fork")
int BPF_PROG(forked, struct task_struct *parent, struct task_struct *child)
{
	__u32 process = BPF_CORE_READ(parent, tgid), new = BPF_CORE_READ(child, tgid);
	__u32 *follow, flags = 0;
	int version_2 = slot_of(VERSION_2);

	if (process == new)
		return 0;
	follow = bpf_map_lookup_elem(&processes, &process);
	if (follow) {
		flags = *follow & ~(OWN | CHILDREN);
		if (*follow & CHILDREN)
			flags |= OWN | CHILDREN;
	}
	/* In version 2, a process can begin in another cgroup than its parent's (CLONE_INTO_CGROUP). */
	if (version_2 < SLOTS) {
		flags &= ~IN_CGROUP(version_2);
		if (is_selected(BPF_CORE_READ(child, cgroups, dfl_cgrp), VERSION_2))
			flags |= IN_CGROUP(version_2);
	}
	if (flags && bpf_map_update_elem(&processes, &new, &flags, BPF_ANY))
		miss_child();
	return 0;
}

/* All threads of a process are moved together, except by the file `tasks` of version 1: then its first thread counts. */
SEC("raw_tp/cgroup_attach_task")
int BPF_PROG(attached, struct cgroup *to, const char *path, struct task_struct *task, bool all_threads)
{
	__u32 process = BPF_CORE_READ(task, tgid), *follow, flags = 0;
	__s32 hierarchy = BPF_CORE_READ(to, root, hierarchy_id);
	int slot = slot_of(hierarchy);

	if (slot == SLOTS || (!all_threads && BPF_CORE_READ(task, pid) != process))
		return 0;
	follow = bpf_map_lookup_elem(&processes, &process);
	if (follow)
		flags = *follow & ~IN_CGROUP(slot);
	if (is_selected(to, hierarchy))
		flags |= IN_CGROUP(slot);
	if (!flags)
		bpf_map_delete_elem(&processes, &process);
	else if (bpf_map_update_elem(&processes, &process, &flags, BPF_ANY))
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
