/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The selected cgroups, with all cgroups below them. */
#pragma once

#include "older.h"

/* The depth to which cgroups are looked at. */
#define MOST_LEVELS 64
#define VERSION_2 0

/* The hierarchies of the selected cgroups, by slot; -1: the slot is free. Version 2 is hierarchy 0. */
#define SLOTS 4
const volatile __s32 hierarchies[SLOTS] = { -1, -1, -1, -1 };

/* An id is unique in its hierarchy only. */
struct cgroup_key {
	__u64 id;
	__u32 hierarchy;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, ALLOCATED_FLAGS);
	__uint(max_entries, 1); /* set by the loader */
	__type(key, struct cgroup_key);
	__type(value, __u32);
} cgroups SEC(".maps");

/* The slot of a hierarchy; SLOTS if none of its cgroups is selected. */
static __always_inline int slot_of(__s32 hierarchy)
{
	int slot;

#pragma unroll
	for (slot = 0; slot < SLOTS; slot++)
		if (hierarchies[slot] == hierarchy)
			break;
	return slot;
}

/* Whether a cgroup is selected, or is below one that is. */
static __always_inline bool is_selected(struct cgroup *cgroup, __s32 hierarchy)
{
	struct cgroup_key key = { .hierarchy = hierarchy };
	struct cgroup_subsys_state *parent;
	int level;

	for (level = 0; level < MOST_LEVELS; level++) {
		key.id = BPF_CORE_READ(cgroup, kn, id);
		if (bpf_map_lookup_elem(&cgroups, &key))
			return true;
		parent = BPF_CORE_READ(cgroup, self.parent);
		if (!parent)
			return false;
		cgroup = container_of(parent, struct cgroup, self);
	}
	return false;
}
