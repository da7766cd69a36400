/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The path of a directory, as a process sees it. */
#pragma once

#include "kernel.h"

#define MOST_STEPS 256
/* A name with its NUL. */
#define NAME_SIZE 256
/*
 * Room for a path that is relative to a directory, and for the names of that. With all that is around it, it must stay
 * below two pages: since Linux 6.19, a task's storage has no room for more (`kmalloc_nolock` in mm/slub.c).
 */
#define TEXT_SIZE (2 * 4096 - 512)

/* How far a path goes. */
#define REACHED_ROOT 1	/* up to the root of the process */
#define CUT 2		/* not so far: it is deeper, or longer, than there is room for */
#define DELETED 4	/* the directory itself is gone */

/* The way up from a directory. */
struct climb {
	struct path at;
	struct path root;
	/* Where the names go, which has TEXT_SIZE bytes, and how many are filled. */
	char *text;
	__u32 filled;
	__u32 ended;
};

/* Returns 1 at the end of the way. */
static long step(__u64 number, struct climb *climb)
{
	struct dentry *dentry = climb->at.dentry;
	struct vfsmount *mnt = climb->at.mnt;
	struct dentry *parent;
	long added;

	if (dentry == climb->root.dentry && mnt == climb->root.mnt) {
		climb->ended = REACHED_ROOT;
		return 1;
	}
	parent = BPF_CORE_READ(dentry, d_parent);
	if (dentry == BPF_CORE_READ(mnt, mnt_root) || dentry == parent) {
		struct mount *mount = container_of(mnt, struct mount, mnt);
		struct mount *below = BPF_CORE_READ(mount, mnt_parent);

		/* Nothing is mounted below: there is no way from here to the root of the process. */
		if (mount == below || !below) {
			climb->ended = 0;
			return 1;
		}
		climb->at.dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		climb->at.mnt = &below->mnt;
		return 0;
	}
	if (climb->filled > TEXT_SIZE - NAME_SIZE)
		return 1;
	added = bpf_probe_read_kernel_str(climb->text + climb->filled, NAME_SIZE, BPF_CORE_READ(dentry, d_name.name));
	if (added < 0)
		return 1;
	climb->filled += added;
	climb->at.dentry = parent;
	return 0;
}

/*
 * Writes the names on the way up to the root of the process, the innermost first, each with its NUL.
 *
 * The kernel locks the tree for this. We cannot, so a directory that is moved meanwhile may show as in either place.
 */
static __always_inline void go_up(struct climb *climb)
{
	struct dentry *dentry = climb->at.dentry;
	bool is_deleted = !BPF_CORE_READ(dentry, d_hash.pprev) && dentry != BPF_CORE_READ(dentry, d_parent);

	climb->ended = CUT;
	bpf_loop(MOST_STEPS, step, climb, 0);
	if (is_deleted)
		climb->ended |= DELETED;
}
