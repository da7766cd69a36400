/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The path of a directory or a file, as a process sees it. */
#pragma once

#include "older.h"

#define MOST_STEPS 256
/* One component of a path, with its NUL. */
#define NAME_SIZE 256
/* TEXT_SIZE is the size of the buffer for the components, and for what the program has before them. */

/* How far the components reach, and the state of the directory. */
#define REACHED_ROOT 1	/* the root of the process */
#define CUT 2		/* not that far: the path is too deep or too long */
#define DELETED 4	/* the directory itself is deleted */

/* A walk from a directory towards the root. */
struct climb {
	struct path at;
	struct path root;
	/* The root of the mount that the walk is in. */
	struct dentry *top;
	/* The buffer for the components, of TEXT_SIZE bytes, and how much of it is used. */
	char *text;
	__u32 filled;
	__u32 ended;
};

/* Returns 1 to end the walk. */
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
	if (dentry == climb->top || dentry == parent) {
		struct mount *mount = container_of(mnt, struct mount, mnt);
		struct mount *below = BPF_CORE_READ(mount, mnt_parent);

		/* The topmost mount: the root of the process is not above this directory. */
		if (mount == below || !below) {
			climb->ended = 0;
			return 1;
		}
		climb->at.dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		climb->at.mnt = &below->mnt;
		climb->top = BPF_CORE_READ(below, mnt.mnt_root);
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

static __always_inline void climb_all(struct climb *climb)
{
#ifdef OLDER
	int number;

	for (number = 0; number < MOST_STEPS; number++)
		if (step(number, climb))
			break;
#else
	bpf_loop(MOST_STEPS, step, climb, 0);
#endif
}

/*
 * Writes the components up to the root of the process, the innermost first, each with its NUL.
 *
 * The kernel locks the tree for this. A program cannot, so a directory that is being moved may appear in either place.
 */
static __always_inline void go_up(struct climb *climb)
{
	struct dentry *dentry = climb->at.dentry;
	struct vfsmount *mnt = climb->at.mnt;
	bool is_deleted = !BPF_CORE_READ(dentry, d_hash.pprev) && dentry != BPF_CORE_READ(dentry, d_parent);

	climb->top = BPF_CORE_READ(mnt, mnt_root);
	climb->ended = CUT;
	climb_all(climb);
	if (is_deleted)
		climb->ended |= DELETED;
}
