/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the file descriptors of a process are. */
#pragma once

#include "directory.h"

#define AT_FDCWD -100
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define SOCKFS_MAGIC 0x534F434B
#define PIDFS_MAGIC 0x50494446
#define UNIX_PATH_SIZE 108
/* The family of a unix address is before its path. */
#define UNIX_PATH_AT 2

/* In `ended` of a description, besides the bits of directory.h: the text is one name in a pseudo filesystem. */
#define PSEUDO 8
#define IS_SOCKET 16

/* Read by src/trace_calls/descriptor.rs. After it come the socket, if it is one, and the components of the path. */
struct description {
	__s32 number;
	__u16 mode;
	__u16 ended;
	__u32 device;
	__u32 magic;
	__u64 inode;
};

/* After it comes the path of a unix socket. */
struct socket_description {
	__u64 peer; /* the inode of a unix socket */
	__u16 family;
	__u16 type;
	__u16 protocol;
	__u16 local_port;
	__u16 remote_port;
	__u16 state;
	__u32 port_id; /* of a netlink socket */
	__u8 local[16];
	__u8 remote[16];
	char protocol_name[16];
};

/* The open file of this number; 0 if there is none. */
static __always_inline struct file *file_of(struct task_struct *task, int number)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files, *file;

	if (number < 0 || (__u32)number >= BPF_CORE_READ(table, max_fds))
		return 0;
	files = BPF_CORE_READ(table, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), files + (__u32)number))
		return 0;
	return file;
}

/* The path of an open file. */
static __always_inline void path_of(struct file *file, struct path *path)
{
	bpf_core_read(path, sizeof(*path), &file->f_path);
}

/* The directory that a relative path starts from. */
static __always_inline bool find_base(struct task_struct *task, int number, struct path *base)
{
	struct fs_struct *fs;
	struct file *file;

	if (number == AT_FDCWD) {
		fs = BPF_CORE_READ(task, fs);
		bpf_core_read(base, sizeof(*base), &fs->pwd);
		return base->dentry;
	}
	file = file_of(task, number);
	if (!file)
		return false;
	path_of(file, base);
	return base->dentry;
}

static __always_inline void describe_internet(struct socket_description *it, struct sock_common *common)
{
	it->local_port = BPF_CORE_READ(common, skc_num);
	it->remote_port = BPF_CORE_READ(common, skc_dport);
	if (it->family == AF_INET) {
		*(__u32 *)it->local = BPF_CORE_READ(common, skc_rcv_saddr);
		*(__u32 *)it->remote = BPF_CORE_READ(common, skc_daddr);
	} else if (bpf_core_field_exists(common->skc_v6_daddr)) {
		bpf_core_read(it->local, 16, &common->skc_v6_rcv_saddr);
		bpf_core_read(it->remote, 16, &common->skc_v6_daddr);
	}
}

/* The id, in the initial namespace, of the process that an inode of pidfs stands for. */
static __always_inline __u32 process_of(struct inode *inode)
{
	struct pid *pid = BPF_CORE_READ(inode, i_private);
	__u32 id = 0;

	/* It is the first member of the first element. */
	bpf_core_read(&id, sizeof(id), &pid->numbers);
	return id;
}

/* The inode of a socket that is not the current task's. */
static __always_inline __u64 inode_of(struct sock *sock)
{
	struct socket *socket = sock ? BPF_CORE_READ(sock, sk_socket) : 0;

	if (!socket)
		return 0;
	return BPF_CORE_READ((struct socket_alloc *)socket, vfs_inode.i_ino);
}

static __always_inline void describe_socket(struct socket_description *it, struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sock = BPF_CORE_READ(socket, sk);
	struct sock_common *common = &sock->__sk_common;
	struct proto *kind;

	__builtin_memset(it, 0, sizeof(*it));
	it->type = BPF_CORE_READ(socket, type);
	it->family = BPF_CORE_READ(common, skc_family);
	it->protocol = BPF_CORE_READ(sock, sk_protocol);
	it->state = BPF_CORE_READ(common, skc_state);
	kind = BPF_CORE_READ(common, skc_prot);
	bpf_core_read_str(it->protocol_name, sizeof(it->protocol_name), &kind->name);
	if (it->family == AF_INET || it->family == AF_INET6)
		describe_internet(it, common);
	else if (it->family == AF_NETLINK && bpf_core_type_exists(struct netlink_sock))
		it->port_id = BPF_CORE_READ((struct netlink_sock *)sock, portid);
	else if (it->family == AF_UNIX && bpf_core_type_exists(struct unix_sock))
		it->peer = inode_of(BPF_CORE_READ((struct unix_sock *)sock, peer));
}

/* Reads the address of a unix socket; returns its length. */
static __always_inline __u32 read_unix_path(char *to, struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct unix_sock *sock = (struct unix_sock *)BPF_CORE_READ(socket, sk);
	struct unix_address *address;
	__u32 length;

	if (!bpf_core_type_exists(struct unix_sock))
		return 0;
	address = BPF_CORE_READ(sock, addr);
	if (!address)
		return 0;
	length = BPF_CORE_READ(address, len) - UNIX_PATH_AT;
	if (length > UNIX_PATH_SIZE)
		return 0;
	if (bpf_probe_read_kernel(to, length, (const char *)address->name + UNIX_PATH_AT))
		return 0;
	return length;
}
