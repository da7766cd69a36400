// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Every file that traced processes open or try to open: the arguments are read when the call begins, the result when it
 * returns.
 */
/*
 * Space for a relative path and for the components of its directory. With what surrounds it, it must stay below two pages:
 * since Linux 6.19, task storage cannot be larger (`kmalloc_nolock` in mm/slub.c).
 */
#define TEXT_SIZE (2 * 4096 - 512)

#include "calls.h"
#include "descriptors.h"
#include "losses.h"
#include "processes.h"

#define PATH_MAX 4096
#define RESOLVE_IN_ROOT 0x10
#define IORING_OP_OPENAT 18
#define IORING_OP_OPENAT2 28

/* The kind of a record. Order as in src/trace_open/record.rs. */
enum kind {
	OPEN,
	CREAT,
	OPENAT,
	OPENAT2,
	KINDS,
	URING_OPENAT = KINDS,
	URING_OPENAT2,
	NONE,
};

/* The numbers of the calls in the native and in the 32-bit interface; -1: the interface has no such call. */
const volatile __s32 native_numbers[KINDS] = { -1, -1, -1, -1 };
const volatile __s32 compat_numbers[KINDS] = { -1, -1, -1, -1 };
/* Whether to record failed calls only. */
const volatile __u8 failed_only = 0;

/* Bits of `known`, besides those of directory.h. */
#define HAS_DIRECTORY 8
#define NAME_UNREAD 16	/* the memory of the path could not be read */
#define NAME_LATE 32	/* the path is stored after the directory, not before it */
#define NAME_CUT 64
#define IS_COMPAT 128
#define BEGIN_UNSEEN 256	/* only the return was seen; `time` is that */
#define HOW_UNREAD 512		/* the memory of `flags`, `mode` and `resolve` could not be read */

/* Read by src/trace_open/record.rs. */
struct open_record {
	__u64 time; /* when it began, in nanoseconds since boot */
	__u64 duration;
	__u64 lost; /* lost records of this CPU since its previous record */
	__u64 flags;
	__u64 mode;
	__u64 resolve;
	__s64 result;
	__u32 cpu;
	__u32 pid;
	__u32 tid;
	__s32 dirfd;
	__u32 name_length;
	__u32 directory_length;
	__u16 kind;
	__u16 known;
	char comm[16];
	__u32 unused;
};

/* A call that has not returned. */
struct call {
	struct open_record record;
	/* The path and the components of the directory. */
	char text[TEXT_SIZE];
	__u64 name;
	__u32 is_open;
};

/* The kernel prepends less than 256 bytes. */
_Static_assert(sizeof(struct call) <= 2 * 4096 - 256, "a task has no storage for so much");

TASK_MAP(calls, struct call, 1024);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* set by the loader */
} records SEC(".maps");

static __always_inline __u32 kind_of(long number, bool compat)
{
	__s32 call = (__s32)number & ~X32_SYSCALL_BIT;
	int kind;

#pragma unroll
	for (kind = 0; kind < KINDS; kind++)
		if (call == (compat ? compat_numbers[kind] : native_numbers[kind]))
			return kind;
	return NONE;
}

static __always_inline void read_how(struct open_record *record, const void *how, __u64 size)
{
	struct open_how___user {
		__u64 flags, mode, resolve;
	} copy = {};

	if (size >= sizeof(copy) && !bpf_probe_read_user(&copy, sizeof(copy), how)) {
		record->flags = copy.flags;
		record->mode = copy.mode;
		record->resolve = copy.resolve;
		record->known &= ~HOW_UNREAD;
	} else {
		record->known |= HOW_UNREAD;
	}
}

/* Reads the path from user memory. */
static __always_inline void read_name(struct call *call)
{
	struct open_record *record = &call->record;
	__u32 begin = record->directory_length;
	long length;

	if (begin > TEXT_SIZE - PATH_MAX)
		return;
	length = bpf_probe_read_user_str(call->text + begin, PATH_MAX, (const void *)call->name);
	if (length < 0) {
		record->known |= NAME_UNREAD;
		return;
	}
	record->known &= ~NAME_UNREAD;
	if (length == PATH_MAX)
		record->known |= NAME_CUT;
	record->name_length = length;
}

/* Reads the components of the directory that the path is relative to. */
static __always_inline void read_directory(struct task_struct *task, struct call *call)
{
	struct open_record *record = &call->record;
	struct climb climb = { .text = call->text, .filled = record->name_length };

	struct fs_struct *fs = BPF_CORE_READ(task, fs);

	if (!find_base(task, record->dirfd, &climb.at))
		return;
	climb.root.mnt = BPF_CORE_READ(fs, root.mnt);
	climb.root.dentry = BPF_CORE_READ(fs, root.dentry);
	go_up(&climb);
	record->directory_length = climb.filled - record->name_length;
	record->known |= HAS_DIRECTORY | climb.ended;
}

static __always_inline void begin(struct call *call, struct task_struct *task, __u32 kind, bool compat)
{
	struct open_record *record = &call->record;

	__builtin_memset(record, 0, sizeof(*record));
	record->kind = kind;
	record->known = compat ? IS_COMPAT : 0;
	record->dirfd = AT_FDCWD;
	record->pid = READ(task, tgid);
	record->tid = READ(task, pid);
	bpf_get_current_comm(record->comm, sizeof(record->comm));
	call->is_open = 1;
}

/* A relative path needs its directory; so may one that could not be read yet. */
static __always_inline bool needs_directory(struct call *call)
{
	return call->record.name_length == 0 || call->text[0] != '/' || (call->record.resolve & RESOLVE_IN_ROOT) ||
	       (call->record.known & HOW_UNREAD);
}

static __always_inline void read_arguments(struct call *call, void *regs, __u32 kind, bool compat, bool is_over)
{
	struct open_record *record = &call->record;
	__u64 first = argument(regs, compat, 0, is_over), second = argument(regs, compat, 1, is_over);
	__u64 third = argument(regs, compat, 2, is_over), fourth = argument(regs, compat, 3, is_over);

	if (kind == OPEN || kind == CREAT) {
		call->name = first;
		/* creat(2): O_CREAT|O_WRONLY|O_TRUNC */
		record->flags = kind == OPEN ? (__u32)second : 01101;
		record->mode = kind == OPEN ? (__u32)third : (__u32)second;
		return;
	}
	record->dirfd = (__s32)first;
	call->name = second;
	if (kind == OPENAT) {
		record->flags = (__u32)third;
		record->mode = (__u32)fourth;
	} else {
		read_how(record, (const void *)third, fourth);
	}
}

static __always_inline void read_call(struct call *call, struct task_struct *task, void *regs, __u32 kind, bool compat,
				      bool is_over)
{
	begin(call, task, kind, compat);
	read_arguments(call, regs, kind, compat, is_over);
	read_name(call);
	if (needs_directory(call))
		read_directory(task, call);
	call->record.time = bpf_ktime_get_boot_ns();
}

SEC("raw_tp/sys_enter")
int BPF_PROG(entered, void *tracepoint_regs, long number)
{
	struct task_struct *task = current_task();
	void *regs = registers_of(task, tracepoint_regs);
	bool compat = is_compat(task);
	__u32 kind = kind_of(number, compat);
	struct call *call;

	if (kind == NONE || !is_traced(task))
		return 0;
	/* Without storage, the call is read when it returns, or counted as lost. */
	call = new_task_value(calls, task);
	if (call)
		read_call(call, task, regs, kind, compat, false);
	return 0;
}

static __always_inline void report(struct call *call, long result)
{
	struct open_record *record = &call->record;
	__u64 size = sizeof(*record) + record->name_length + record->directory_length;
	struct losses *here = losses_here();

	if (!here || (failed_only && result >= 0))
		return;
	record->result = result;
	record->duration = bpf_ktime_get_boot_ns() - record->time;
	record->cpu = bpf_get_smp_processor_id();
	record->lost = here->lost - here->reported;
	if (size > sizeof(*record) + sizeof(call->text) ||
	    /* The collector polls; waking it would cost the traced task an interrupt. */
	    bpf_ringbuf_output(&records, record, size, BPF_RB_NO_WAKEUP))
		goto lost;
	here->reported = here->lost;
	here->kept++;
	return;
lost:
	here->lost++;
}

SEC("raw_tp/sys_exit")
int BPF_PROG(returned, void *tracepoint_regs, long result)
{
	struct task_struct *task = current_task();
	void *regs = registers_of(task, tracepoint_regs);
	bool compat = is_compat(task);
	__u32 kind = kind_of(number_of(regs), compat);
	struct call *call;

	if (kind == NONE)
		return 0;
	call = task_value(calls, task);
	if (!call || !call->is_open) {
		/* A call that a seccomp filter answers has no sys_enter, yet it may have opened a file. */
		if (!is_traced(task) || is_rolled_back(regs, result))
			return 0;
		call = new_task_value(calls, task);
		if (!call) {
			lose();
			return 0;
		}
		read_call(call, task, regs, kind, compat, true);
		call->record.known |= BEGIN_UNSEEN;
	}
	call->is_open = 0;
	/* Memory that was paged out when the call began has been paged in by now. */
	if (call->record.known & HOW_UNREAD)
		read_how(&call->record, (const void *)argument(regs, compat, 2, true), argument(regs, compat, 3, true));
	if (call->record.known & NAME_UNREAD) {
		call->record.known |= NAME_LATE;
		read_name(call);
	}
	report(call, result);
	remove_task_value(calls, task);
	return 0;
}

/* Kernels that need the older build have other tracepoints of io_uring. */
#ifndef OLDER

/* The calls of io_uring requests, by address. Requests that suppress their completion are never removed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct call);
} requests SEC(".maps");

static struct call nothing;

/* The kernel has copied the path from user memory already. */
static __always_inline void read_request(struct call *call, struct io_open *request)
{
	struct open_record *record = &call->record;
	long length;

	record->dirfd = BPF_CORE_READ(request, dfd);
	record->flags = BPF_CORE_READ(request, how.flags);
	record->mode = BPF_CORE_READ(request, how.mode);
	record->resolve = BPF_CORE_READ(request, how.resolve);
	length = bpf_probe_read_kernel_str(call->text, PATH_MAX, BPF_CORE_READ(request, filename, name));
	if (length < 0)
		record->known |= NAME_UNREAD;
	else
		record->name_length = length;
}

SEC("raw_tp/io_uring_submit_req")
int BPF_PROG(submitted, struct io_kiocb *request)
{
	struct task_struct *task = current_task();
	__u8 opcode = BPF_CORE_READ(request, opcode);
	__u64 address = (__u64)request;
	struct call *call;

	if (opcode != IORING_OP_OPENAT && opcode != IORING_OP_OPENAT2)
		return 0;
	/* An earlier request at this address may have ended without a completion. */
	bpf_map_delete_elem(&requests, &address);
	if (!is_traced(task))
		return 0;
	bpf_map_update_elem(&requests, &address, &nothing, BPF_ANY);
	call = bpf_map_lookup_elem(&requests, &address);
	if (!call) {
		lose();
		return 0;
	}
	begin(call, task, opcode == IORING_OP_OPENAT ? URING_OPENAT : URING_OPENAT2, false);
	read_request(call, (struct io_open *)request);
	if (needs_directory(call))
		read_directory(task, call);
	call->record.time = bpf_ktime_get_boot_ns();
	return 0;
}

SEC("raw_tp/io_uring_complete")
int BPF_PROG(completed, void *ring, struct io_kiocb *request)
{
	__u64 address = (__u64)request;
	struct call *call = bpf_map_lookup_elem(&requests, &address);

	if (!call)
		return 0;
	report(call, BPF_CORE_READ(request, cqe.res));
	bpf_map_delete_elem(&requests, &address);
	return 0;
}

#endif

char LICENSE[] SEC("license") = "Dual MIT/GPL";
