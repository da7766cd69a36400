// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Histograms of the duration of the system calls of traced processes, by call and CPU. */
#include "calls.h"
#include "losses.h"
#include "processes.h"

/* Set in the key of a call of the 32-bit interface, which numbers calls differently. */
#define COMPAT (1u << 31)
/* The key of all numbers that are no call, so that a program cannot fill the map with invented ones. */
#define NO_CALL (MOST_CALLS - 1)

/* The greatest number of an error (MAX_ERRNO in linux/err.h). */
#define MOST_ERRNO 4095

/* Classes in each power of two nanoseconds, from 16 to 2^43 (two hours). */
#define PARTS_LOG2 4
#define PARTS (1 << PARTS_LOG2)
#define HIGHEST_POWER 43
#define CLASSES ((HIGHEST_POWER - PARTS_LOG2 + 2) * PARTS)

/* Read by src/trace_latency/counts.rs. */
struct distribution {
	__u64 total;
	__u64 max;
	__u64 errors;
	__u64 classes[CLASSES];
};

/* All calls, and as many as programs make where each takes memory from the beginning. */
#ifdef OLDER
#define DISTRIBUTIONS 512
#else
#define DISTRIBUTIONS (2 * MOST_CALLS)
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, ALLOCATED_FLAGS);
	__uint(max_entries, DISTRIBUTIONS);
	__type(key, __u32);
	__type(value, struct distribution);
} distributions SEC(".maps");

/* A call that has not returned. */
struct call {
	__u64 began; /* 0: there is none */
	__u32 number;
};

TASK_MAP(calls, struct call, 1 << 16);

static struct distribution nothing;

/*
 * Calls whose distribution could not be added: the kernel allocates the first elements of a map in the background, and has
 * none in a burst of different calls. The session adds them. Allocated when it is created.
 */
struct late_call {
	__u64 took;
	__u32 number;
	__u32 failed;
};

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4096);
	__type(value, struct late_call);
} late_calls SEC(".maps");

static __always_inline void count_late(__u32 number, __u64 took, __u32 failed)
{
	struct late_call late = { .took = took, .number = number, .failed = failed };

	if (bpf_map_push_elem(&late_calls, &late, 0))
		lose();
}

/* Not all kernels have an instruction for this. */
static __always_inline __u32 log2(__u64 value)
{
	__u32 power = 0;

	if (value >> 32) {
		value >>= 32;
		power += 32;
	}
	if (value >> 16) {
		value >>= 16;
		power += 16;
	}
	if (value >> 8) {
		value >>= 8;
		power += 8;
	}
	if (value >> 4) {
		value >>= 4;
		power += 4;
	}
	if (value >> 2) {
		value >>= 2;
		power += 2;
	}
	return power + (value >> 1);
}

static __always_inline __u32 class_of(__u64 value)
{
	__u32 power;

	if (value < PARTS)
		return value;
	power = log2(value);
	if (power > HIGHEST_POWER)
		return CLASSES - 1;
	return (power - PARTS_LOG2 + 1) * PARTS + (value >> (power - PARTS_LOG2) & (PARTS - 1));
}

SEC("raw_tp/sys_enter")
int BPF_PROG(entered, void *regs, long number)
{
	struct task_struct *task = current_task();
	struct call *call;

	/* Negative numbers are no calls: a program invented it, or a tracer cancels the call. */
	if (number < 0 || !is_traced(task))
		return 0;
	call = new_task_value(calls, task);
	if (!call) {
		lose();
		return 0;
	}
	number &= ~X32_SYSCALL_BIT;
	call->number = (number < NO_CALL ? number : NO_CALL) | (is_compat(task) ? COMPAT : 0);
	call->began = bpf_ktime_get_ns();
	return 0;
}

SEC("raw_tp/sys_exit")
int BPF_PROG(returned, void *regs, long result)
{
	struct task_struct *task = current_task();
	struct call *call = task_value(calls, task);
	struct distribution *here;
	__u64 took;
	__u32 class, failed;

	if (!call || !call->began)
		return 0;
	took = bpf_ktime_get_ns() - call->began;
	call->began = 0;
	here = bpf_map_lookup_elem(&distributions, &call->number);
	if (!here) {
		/* Another CPU may have added the entry meanwhile: do not overwrite it. The lookup shows whether it failed. */
		bpf_map_update_elem(&distributions, &call->number, &nothing, BPF_NOEXIST);
		here = bpf_map_lookup_elem(&distributions, &call->number);
	}
	class = class_of(took);
	failed = result < 0 && result >= -MOST_ERRNO;
	if (!here || class >= CLASSES) {
		count_late(call->number, took, failed);
		return 0;
	}
	here->total += took;
	here->errors += failed;
	here->classes[class]++;
	if (took > here->max)
		here->max = took;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
