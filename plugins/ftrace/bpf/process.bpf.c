// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Forks, execs and exits of the traced processes, and the signals that they send and receive. */

/* Space for the texts of an exec: the components of its file, its path, its interpreter, and its arguments. */
#define TEXT_SIZE (4 * 4096)

#include "calls.h"
#include "directory.h"
#include "interrupts.h"
#include "losses.h"
#include "processes.h"

#define PATH_MAX 4096
#define INTERPRETER_SIZE 256 /* BINPRM_BUF_SIZE in linux/binfmts.h */
/* How much of the arguments is recorded, with a NUL after each. */
#define ARGUMENTS_SIZE 4096
#define AT_FDCWD -100

#define SIGNAL_GROUP_EXIT 4	/* include/linux/sched/signal.h */
#define PF_EXITING 4		/* include/linux/sched.h */
#define PF_SIGNALED 0x400
#define SI_USER 0
#define SI_KERNEL 0x80
#define SI_TIMER -2
#define SIGILL 4
#define SIGTRAP 5
#define SIGBUS 7
#define SIGFPE 8
#define SIGKILL 9
#define SIGSEGV 11

/* The kind of a record. Order as in src/trace_process/recorded/record.rs. */
enum kind {
	FORK,
	EXEC,
	EXEC_FAILED,
	EXIT,
	SIGNAL_GENERATE,
	SIGNAL_DELIVER,
};

/* The calls that execute a program, and their numbers in the native and in the 32-bit interface. */
enum call_kind {
	EXECVE,
	EXECVEAT,
	CALLS,
	NONE = CALLS,
};
const volatile __s32 native_numbers[CALLS] = { -1, -1 };
const volatile __s32 compat_numbers[CALLS] = { -1, -1 };

/* What every record begins with. All of them are read by src/trace_process/recorded/record.rs. */
struct origin {
	__u64 time; /* in nanoseconds since boot */
	__u64 lost; /* lost records of this CPU since its previous record */
	__u32 cpu;
	__u32 pid;
	__u32 tid;
	__u32 kind;
	char comm[16];
};

struct fork_record {
	struct origin origin;
	__u64 flags;
	__u32 child_tid;
	__u32 child_pid;
	__u32 ppid;
	__u32 unused;
};

/* Bits of `known` of an exec, besides those of directory.h. */
#define HAS_FILE 8
#define ARGUMENTS_UNREAD 16
#define ARGUMENTS_CUT 32
#define PATH_UNREAD 64
#define PATH_CUT 128
#define HAS_DIRECTORY 256

struct exec_record {
	struct origin origin;
	__s64 result;
	__u32 old_tid;
	__u32 ppid;
	__u32 argc;
	__s32 dirfd;
	__u32 known;
	/* The lengths of the texts after the record. */
	__u32 file_length;
	__u32 path_length;
	__u32 interpreter_length;
	__u32 arguments_length;
	__u32 unused;
};

/* Bits of `how` of an exit. */
#define GROUP_DEAD 1
#define BY_EXEC 2	/* another thread of the process executes a program */

struct exit_record {
	struct origin origin;
	__u64 lifetime;
	__u64 cpu_time;
	__s32 status; /* as wait4(2) returns it */
	__u32 how;
	__u32 ppid;
	__u32 unused;
};

/* Bits of `how` of a sent signal. */
#define GROUP 1
#define INTERRUPT 2

struct generate_record {
	struct origin origin;
	__s32 signal;
	__s32 code;
	__u32 to_tid;
	__u32 to_pid;
	__s32 result;
	__u32 how;
	char to_comm[16];
};

struct deliver_record {
	struct origin origin;
	__u64 handler;
	__u64 flags;
	__s32 signal;
	__s32 code;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* set by the loader */
} records SEC(".maps");

/* An exec while its record is made. */
struct exec {
	struct exec_record record;
	char text[TEXT_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec);
} execs SEC(".maps");

/* A call that executes a program, and has not returned. */
struct call {
	struct exec_record record;
	char path[PATH_MAX];
	__u64 path_address;
	__u32 is_open;
	__u32 unused;
};

TASK_MAP(calls, struct call, 1024);

/* When the processes began whose end was reported last, by process. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} ended SEC(".maps");

static __always_inline void begin(struct origin *origin, enum kind kind)
{
	__u64 ids = bpf_get_current_pid_tgid();

	origin->time = bpf_ktime_get_boot_ns();
	origin->pid = ids >> 32;
	origin->tid = ids;
	origin->kind = kind;
	origin->cpu = bpf_get_smp_processor_id();
	bpf_get_current_comm(origin->comm, sizeof(origin->comm));
}

/* An interrupt may come in between, and count as well. */
static __always_inline void add(__u64 *count, __u64 number)
{
	__sync_fetch_and_add(count, number);
}

static __always_inline void emit(struct origin *origin, __u64 size)
{
	struct losses *here = losses_here();
	__u64 lost;

	if (!here)
		return;
	lost = here->lost - here->reported;
	origin->lost = lost;
	/* The collector polls; waking it would cost the traced task an interrupt. */
	if (bpf_ringbuf_output(&records, origin, size, BPF_RB_NO_WAKEUP)) {
		add(&here->lost, 1);
		return;
	}
	add(&here->reported, lost);
	add(&here->kept, 1);
}

static __always_inline __u32 parent_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, real_parent, tgid);
}

SEC("raw_tp/task_newtask")
int BPF_PROG(began, struct task_struct *child, unsigned long flags)
{
	struct task_struct *task = current_task();
	struct fork_record record = {};

	if (!is_traced(task))
		return 0;
	begin(&record.origin, FORK);
	record.flags = flags;
	record.child_tid = BPF_CORE_READ(child, pid);
	record.child_pid = BPF_CORE_READ(child, tgid);
	record.ppid = parent_of(child);
	emit(&record.origin, sizeof(record));
	return 0;
}

static __always_inline __u32 call_kind(long number, bool compat)
{
	__s32 call = (__s32)number & ~X32_SYSCALL_BIT;
	int kind;

#pragma unroll
	for (kind = 0; kind < CALLS; kind++)
		if (call == (compat ? compat_numbers[kind] : native_numbers[kind]))
			return kind;
	return NONE;
}

static __always_inline void read_path(struct call *call)
{
	long length = bpf_probe_read_user_str(call->path, PATH_MAX, (const void *)call->path_address);

	if (length < 0) {
		call->record.known |= PATH_UNREAD;
		return;
	}
	call->record.known &= ~PATH_UNREAD;
	if (length == PATH_MAX)
		call->record.known |= PATH_CUT;
	call->record.path_length = length;
}

static __always_inline void read_call(struct call *call, void *regs, __u32 kind, bool compat, bool is_over)
{
	struct exec_record *record = &call->record;

	__builtin_memset(record, 0, sizeof(*record));
	record->dirfd = AT_FDCWD;
	if (kind == EXECVEAT)
		record->dirfd = (__s32)argument(regs, compat, 0, is_over);
	call->path_address = argument(regs, compat, kind == EXECVEAT ? 1 : 0, is_over);
	call->is_open = 1;
	read_path(call);
}

SEC("raw_tp/sys_enter")
int BPF_PROG(entered, void *tracepoint_regs, long number)
{
	struct task_struct *task = current_task();
	void *regs = registers_of(task, tracepoint_regs);
	bool compat = is_compat(task);
	__u32 kind = call_kind(number, compat);
	struct call *call;

	if (kind == NONE || !is_traced(task))
		return 0;
	call = new_task_value(calls, task);
	if (call)
		read_call(call, regs, kind, compat, false);
	return 0;
}

/* An exec that has failed. One that has succeeded is reported by `executed`. */
SEC("raw_tp/sys_exit")
int BPF_PROG(returned, void *tracepoint_regs, long result)
{
	struct task_struct *task = current_task();
	void *regs = registers_of(task, tracepoint_regs);
	bool compat = is_compat(task);
	__u32 kind = call_kind(number_of(regs), compat);
	struct call *call;
	__u64 size;

	if (kind == NONE || result >= 0)
		return 0;
	call = task_value(calls, task);
	if (!call || !call->is_open) {
		/* A call that a seccomp filter answers has no sys_enter. */
		if (!is_traced(task) || is_rolled_back(regs, result))
			return 0;
		call = new_task_value(calls, task);
		if (!call) {
			lose();
			return 0;
		}
		read_call(call, regs, kind, compat, true);
	}
	call->is_open = 0;
	/* Memory that was paged out when the call began has been paged in by now. */
	if (call->record.known & PATH_UNREAD)
		read_path(call);
	begin(&call->record.origin, EXEC_FAILED);
	call->record.result = result;
	call->record.ppid = parent_of(task);
	size = sizeof(call->record) + call->record.path_length;
	if (size <= sizeof(call->record) + sizeof(call->path))
		emit(&call->record.origin, size);
	else
		lose();
	remove_task_value(calls, task);
	return 0;
}

/* Reads a text of the kernel. Returns its length with the NUL. */
static __always_inline __u32 read_text(struct exec *exec, __u32 begin, __u32 size, const char *text)
{
	long length;

	if (begin > TEXT_SIZE - PATH_MAX)
		return 0;
	length = bpf_probe_read_kernel_str(exec->text + begin, size, text);
	return length < 0 ? 0 : length;
}

/* Reads the arguments from where the kernel has just copied them for the new program. */
static __always_inline __u32 read_arguments(struct exec *exec, __u32 begin, struct mm_struct *mm)
{
	__u64 start = BPF_CORE_READ(mm, arg_start), size = BPF_CORE_READ(mm, arg_end) - start;

	if (begin > TEXT_SIZE - ARGUMENTS_SIZE)
		return 0;
	if (size > ARGUMENTS_SIZE) {
		exec->record.known |= ARGUMENTS_CUT;
		size = ARGUMENTS_SIZE;
	}
	if (bpf_probe_read_user(exec->text + begin, size, (const void *)start)) {
		exec->record.known |= ARGUMENTS_UNREAD;
		return 0;
	}
	return size;
}

/* Reads the components of the file that runs, the last first. */
static __always_inline __u32 read_file(struct exec *exec, struct task_struct *task, struct mm_struct *mm)
{
	struct climb climb = { .text = exec->text };
	struct file *file = BPF_CORE_READ(mm, exe_file);
	struct fs_struct *fs = BPF_CORE_READ(task, fs);

	if (!file)
		return 0;
	/* It is 0, but not to the verifier, which otherwise follows the walk with every number that it can have before each step. */
	climb.filled = *(volatile __u32 *)&exec->record.file_length;
	climb.at.mnt = BPF_CORE_READ(file, f_path.mnt);
	climb.at.dentry = BPF_CORE_READ(file, f_path.dentry);
	climb.root.mnt = BPF_CORE_READ(fs, root.mnt);
	climb.root.dentry = BPF_CORE_READ(fs, root.dentry);
	go_up(&climb);
	exec->record.known |= HAS_FILE | climb.ended;
	return climb.filled;
}

/* The call does not return to the program that made it. The thread may have got another id in it. */
static __always_inline void forget_call(struct task_struct *task, __u32 old_tid)
{
#ifdef OLDER
	bpf_map_delete_elem(&calls, &old_tid);
#else
	struct call *call = task_value(calls, task);

	if (call)
		call->is_open = 0;
#endif
}

SEC("raw_tp/sched_process_exec")
int BPF_PROG(executed, struct task_struct *executing, int old_tid, struct linux_binprm *program)
{
	struct task_struct *task = current_task();
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	const char *path = BPF_CORE_READ(program, filename), *interpreter = BPF_CORE_READ(program, interp);
	struct exec_record *record;
	struct exec *exec;
	__u32 only = 0, used;

	if (!is_traced(task))
		return 0;
	forget_call(task, old_tid);
	exec = bpf_map_lookup_elem(&execs, &only);
	if (!exec)
		return 0;
	record = &exec->record;
	__builtin_memset(record, 0, sizeof(*record));
	begin(&record->origin, EXEC);
	record->old_tid = old_tid;
	record->ppid = parent_of(task);
	record->argc = BPF_CORE_READ(program, argc);
	used = record->file_length = read_file(exec, task, mm);
	used += record->path_length = read_text(exec, used, PATH_MAX, path);
	if (interpreter != path)
		used += record->interpreter_length = read_text(exec, used, INTERPRETER_SIZE, interpreter);
	used += record->arguments_length = read_arguments(exec, used, mm);
	if (used <= sizeof(exec->text))
		emit(&record->origin, sizeof(*record) + used);
	else
		lose();
	return 0;
}

/* A walk through the threads of a process. */
struct threads {
	struct list_head *at;
	struct list_head *end;
	__u64 cpu_time;
};

/* Returns 1 to end the walk. */
static long add_thread(__u64 number, struct threads *threads)
{
	struct task_struct *thread;

	if (!threads->at || threads->at == threads->end)
		return 1;
	thread = container_of(threads->at, struct task_struct, thread_node);
	threads->cpu_time += BPF_CORE_READ(thread, se.sum_exec_runtime);
	return bpf_probe_read_kernel(&threads->at, sizeof(threads->at), &threads->at->next) != 0;
}

#ifdef OLDER
#define MOST_THREADS 256
#else
#define MOST_THREADS (1 << 16)
#endif

/* The CPU time of a process: of the threads that are left, and of those that are not. */
static __always_inline __u64 cpu_time_of(struct signal_struct *signal)
{
	struct threads threads = {
		.at = BPF_CORE_READ(signal, thread_head.next),
		.end = (void *)signal + bpf_core_field_offset(struct signal_struct, thread_head),
		.cpu_time = BPF_CORE_READ(signal, sum_sched_runtime),
	};
#ifdef OLDER
	int number;

	for (number = 0; number < MOST_THREADS; number++)
		if (add_thread(number, &threads))
			break;
#else
	bpf_loop(MOST_THREADS, add_thread, &threads, 0);
#endif
	return threads.cpu_time;
}

/*
 * Threads that exit at the same time may all find that none is left. The first that is reported ends the process.
 * Returns whether the end of the process of this thread was reported.
 */
static __always_inline bool has_ended(__u32 process, __u64 began)
{
	__u64 *ended_one = bpf_map_lookup_elem(&ended, &process);

	return ended_one && *ended_one == began;
}

SEC("raw_tp/sched_process_exit")
int BPF_PROG(exiting, struct task_struct *exiting_task)
{
	struct task_struct *task = current_task();
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	bool is_last = BPF_CORE_READ(signal, live.counter) == 0;
	bool exits_together = BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT;
	__u64 began = BPF_CORE_READ(leader, start_boottime);
	__u32 process = BPF_CORE_READ(task, tgid);
	struct exit_record record = {};
	bool was_ended = has_ended(process, began);

	if (!was_ended && !is_traced(task))
		return 0;
	begin(&record.origin, EXIT);
	record.ppid = parent_of(task);
	if (is_last && !was_ended) {
		bpf_map_update_elem(&ended, &process, &began, BPF_ANY);
		record.how = GROUP_DEAD;
		record.status = exits_together ? BPF_CORE_READ(signal, group_exit_code) : BPF_CORE_READ(leader, exit_code);
		record.lifetime = record.origin.time - began;
		record.cpu_time = cpu_time_of(signal);
	} else {
		record.status = BPF_CORE_READ(task, exit_code);
		if (BPF_CORE_READ(task, flags) & PF_SIGNALED && !exits_together)
			record.how = BY_EXEC;
		record.lifetime = record.origin.time - BPF_CORE_READ(task, start_boottime);
		record.cpu_time = BPF_CORE_READ(task, se.sum_exec_runtime);
	}
	emit(&record.origin, sizeof(record));
	return 0;
}

static __always_inline int code_of(struct kernel_siginfo *info)
{
	/* SEND_SIG_NOINFO and SEND_SIG_PRIV in linux/sched/signal.h. */
	if ((__u64)info <= 1)
		return info ? SI_KERNEL : SI_USER;
	return BPF_CORE_READ(info, si_code);
}

/* Whether a fault of the task itself raises the signal. */
static __always_inline bool is_of_fault(int signal)
{
	return signal == SIGILL || signal == SIGTRAP || signal == SIGBUS || signal == SIGFPE || signal == SIGSEGV;
}

/*
 * Whether the signal was sent in an interrupt, which is not related to the current task. On x86, one that interrupts user mode
 * runs on the stack of the task; those that send signals are timers.
 */
static __always_inline bool in_interrupt(void *context, struct task_struct *task, int signal, int code)
{
	if (on_other_stack(context, task))
		return true;
	if (!IS_X86 || (code != SI_TIMER && code != SI_KERNEL) || is_of_fault(signal) ||
	    BPF_CORE_READ(task, flags) & PF_EXITING)
		return false;
	return number_of(user_registers(task)) < 0;
}

SEC("raw_tp/signal_generate")
int BPF_PROG(generated, int signal, struct kernel_siginfo *info, struct task_struct *receiver, int group, int result)
{
	struct task_struct *task = current_task();
	__u32 process = BPF_CORE_READ(receiver, tgid);
	int code = code_of(info);
	bool interrupt = in_interrupt(ctx, task, signal, code);
	struct generate_record record = {};

	if (!is_traced_process(process) && (interrupt || !is_traced(task)))
		return 0;
	begin(&record.origin, SIGNAL_GENERATE);
	record.signal = signal;
	record.code = code;
	record.to_tid = BPF_CORE_READ(receiver, pid);
	record.to_pid = process;
	record.result = result;
	record.how = (group ? GROUP : 0) | (interrupt ? INTERRUPT : 0);
	BPF_CORE_READ_INTO(&record.to_comm, receiver, comm);
	emit(&record.origin, sizeof(record));
	return 0;
}

/*
 * A fatal signal without core dump becomes a SIGKILL for each thread (`complete_signal` in kernel/signal.c). The process has
 * the signal that was sent.
 */
static __always_inline int sent_signal(struct task_struct *task, int signal)
{
	struct signal_struct *shared = BPF_CORE_READ(task, signal);
	int sent = BPF_CORE_READ(shared, group_exit_code) & 0x7f;

	if (signal == SIGKILL && sent && BPF_CORE_READ(shared, flags) & SIGNAL_GROUP_EXIT)
		return sent;
	return signal;
}

SEC("raw_tp/signal_deliver")
int BPF_PROG(delivered, int signal, struct kernel_siginfo *info, struct k_sigaction *action)
{
	struct task_struct *task = current_task();
	struct deliver_record record = {};

	if (!is_traced(task))
		return 0;
	begin(&record.origin, SIGNAL_DELIVER);
	record.signal = sent_signal(task, signal);
	record.code = code_of(info);
	record.handler = (__u64)BPF_CORE_READ(action, sa.sa_handler);
	record.flags = BPF_CORE_READ(action, sa.sa_flags);
	emit(&record.origin, sizeof(record));
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
