/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What differs for kernels before 6.1. Each source is compiled twice: `NAME.o`, and `NAME-older.o` with `OLDER`, which does
 * without bpf_get_current_task_btf, bpf_task_pt_regs, bpf_loop, storage of tasks, and hash maps that allocate elements as they
 * are added: before 6.1 the kernel warns of them in its log, since a traced task may be inside the allocator.
 */
#pragma once

#include "kernel.h"

#ifdef OLDER

#define current_task() ((struct task_struct *)bpf_get_current_task())
#define registers_of(task, argument) (argument)
/* The verifier does not know the types of pointers. */
#define READ(pointer, member) BPF_CORE_READ(pointer, member)
/* Elements are allocated when the map is created. */
#define ALLOCATED_FLAGS 0

/* A map of a value for each task in a system call, by thread id. */
#define TASK_MAP(name, value_type, entries) \
	struct { \
		__uint(type, BPF_MAP_TYPE_HASH); \
		__uint(max_entries, entries); \
		__type(key, __u32); \
		__type(value, value_type); \
	} name SEC(".maps"); \
 \
	static value_type name##_new; \
 \
	/* Calls that end the task do not return. */ \
	SEC("raw_tp/sched_process_exit") \
	int BPF_PROG(name##_ended, struct task_struct *task) \
	{ \
		__u32 thread = BPF_CORE_READ(task, pid); \
 \
		bpf_map_delete_elem(&name, &thread); \
		return 0; \
	}

#define with_thread(task, work) \
	({ \
		__u32 thread = READ(task, pid); \
 \
		work; \
	})
#define task_value(name, task) with_thread(task, bpf_map_lookup_elem(&name, &thread))
#define new_task_value(name, task) \
	with_thread(task, (bpf_map_update_elem(&name, &thread, &name##_new, BPF_ANY), bpf_map_lookup_elem(&name, &thread)))
#define remove_task_value(name, task) with_thread(task, bpf_map_delete_elem(&name, &thread))

#else

#define current_task() ((struct task_struct *)bpf_get_current_task_btf())
#define registers_of(task, argument) ((void *)bpf_task_pt_regs((void *)task))
#define READ(pointer, member) ((pointer)->member)
#define ALLOCATED_FLAGS BPF_F_NO_PREALLOC

#define TASK_MAP(name, value_type, entries) \
	struct { \
		__uint(type, BPF_MAP_TYPE_TASK_STORAGE); \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
		__type(key, int); \
		__type(value, value_type); \
	} name SEC(".maps")

#define task_value(name, task) bpf_task_storage_get(&name, task, 0, 0)
#define new_task_value(name, task) bpf_task_storage_get(&name, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE)
/* It is used again by the next call, and freed with the task. */
#define remove_task_value(name, task) ((void)0)

#endif
