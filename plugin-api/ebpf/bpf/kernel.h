/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The kernel structures that the programs read, with only the members that they read. The loader takes the offset of each
 * member from the running kernel's type information (CO-RE), so one object works on all kernels and machines.
 */
#pragma once

#include <linux/types.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/*
 * All programs are of type `raw_tp`: of those that see system calls begin and return, the cheapest to run and to load.
 * Integers of the current task are read directly, since the verifier knows its type; everything else through helpers: for each
 * pointer that is followed directly, the verifier searches the names of all types, which takes a millisecond.
 */

/* Its first member on every kernel. */
struct list_head {
	struct list_head *next;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* CO-RE ignores a suffix after three underscores: these are one structure on two machines. */
struct pt_regs___x86 {
	unsigned long di, si, dx, r10, r8, r9, bx, cx, bp, sp, orig_ax;
};
struct pt_regs___arm {
	__u64 regs[31];
	__u64 sp;
	__u64 orig_x0;
	__s32 syscallno;
};
struct thread_info___x86 {
	__u32 status;
};
struct thread_info___arm {
	unsigned long flags;
};

typedef struct {
	int counter;
} atomic_t;
struct signal_struct {
	atomic_t live;
	struct list_head thread_head;
	int group_exit_code;
	unsigned int flags;
	unsigned long long sum_sched_runtime;
};
struct sched_entity {
	__u64 sum_exec_runtime;
};
struct kernel_siginfo {
	int si_code;
};
struct sigaction___kernel {
	void *sa_handler;
	unsigned long sa_flags;
};
struct k_sigaction {
	struct sigaction___kernel sa;
};
struct qstr {
	const unsigned char *name;
};
struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};
struct super_block {
	unsigned long s_magic;
};
struct inode {
	__u16 i_mode;
	__u32 i_rdev;
	unsigned long i_ino;
	struct super_block *i_sb;
	void *i_private;
};
struct upid {
	int nr;
};
struct pid {
	unsigned int level;
	struct upid numbers[];
};
struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
};
struct vfsmount {
	struct dentry *mnt_root;
};
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};
struct in6_addr {
	__u8 bytes[16];
};
struct proto {
	char name[32];
};
struct sock_common {
	struct proto *skc_prot;
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport;
	__u16 skc_num;
	__u16 skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};
struct socket {
	struct sock *sk;
	short type;
};
/* An inode follows its socket. */
struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	struct socket *sk_socket;
};
struct sockaddr_un {
	char sun_path[108];
};
struct unix_address {
	int len;
	struct sockaddr_un name[];
};
struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};
struct netlink_sock {
	__u32 portid;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct mm_struct {
	unsigned long arg_start, arg_end, env_end;
	unsigned long exec_vm;
	struct file *exe_file;
};
/* A program that is being executed. */
struct linux_binprm {
	int argc;
	const char *filename;
	const char *interp;
};
struct files_struct {
	struct fdtable *fdt;
};
struct fs_struct {
	struct path root;
	struct path pwd;
};
struct kernfs_node {
	__u64 id;
};
struct cgroup_subsys_state {
	struct cgroup_subsys_state *parent;
};
struct cgroup_root {
	int hierarchy_id;
};
struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};
struct css_set {
	struct cgroup *dfl_cgrp;
};
struct task_struct {
	int pid;
	int tgid;
	unsigned int flags;
	int exit_code;
	char comm[16];
	void *stack;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct list_head thread_node;
	__u64 start_boottime;
	struct sched_entity se;
	struct mm_struct *mm;
	struct css_set *cgroups;
	struct signal_struct *signal;
	struct fs_struct *fs;
	struct files_struct *files;
};
struct task_struct___state {
	unsigned int __state;
};
struct task_struct___before_5_14 {
	long state;
};
struct task_struct___x86 {
	struct thread_info___x86 thread_info;
};
struct task_struct___arm {
	struct thread_info___arm thread_info;
};

struct open_how___kernel {
	__u64 flags, mode, resolve;
};
struct filename {
	const char *name;
};
/* A request to io_uring; if its opcode is openat or openat2, it is an io_open as well. */
struct io_cqe {
	__s32 res;
};
struct io_kiocb {
	__u8 opcode;
	struct io_cqe cqe;
};
struct io_open {
	int dfd;
	struct filename *filename;
	struct open_how___kernel how;
};

#pragma clang attribute pop
