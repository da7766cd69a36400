/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Counts of kept and lost records, by CPU. */
#pragma once

#include "kernel.h"

/* Read by src/losses.rs. */
struct losses {
	__u64 kept;
	__u64 lost;
	__u64 reported; /* lost records that a later record has reported */
	__u64 missed_children; /* forked processes that are not traced: the map was full */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct losses);
} losses SEC(".maps");

static __always_inline struct losses *losses_here(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&losses, &only);
}

static __always_inline void lose(void)
{
	struct losses *here = losses_here();

	if (here)
		here->lost++;
}
