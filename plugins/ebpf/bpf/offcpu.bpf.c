// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Where traced tasks wait: what a task was doing is read when it loses its CPU, who wakes it when it is woken, and the record is
 * written when it has a CPU again.
 */
#include "interrupts.h"
#include "losses.h"
#include "processes.h"

#define PF_EXITING 4 /* include/linux/sched.h */

/* As many as the kernel has by default (kernel.perf_event_max_stack). */
#define MOST_FRAMES 127
#define STACK_SIZE (MOST_FRAMES * sizeof(__u64))

/* The calls whose first argument is the address of a futex; -1: the interface has no such call. */
#define FUTEX_CALLS 3
const volatile __s32 native_futexes[FUTEX_CALLS] = { -1, -1, -1 };
const volatile __s32 compat_futexes[FUTEX_CALLS] = { -1, -1, -1 };
/* Waits that take no longer are left out, in nanoseconds. */
const volatile __u64 longer_than = 0;

/* The kind of a record. All of them are read by src/trace_offcpu/record.rs. */
enum kind {
	WAIT,
	CODE,
};

/* Bits of `known`. */
#define IS_COMPAT 1
#define HAS_FUTEX 2
#define HAS_WAKER 4
#define BY_INTERRUPT 8

struct wait_record {
	__u64 kind;
	__u64 lost;	/* lost records of this CPU since its previous record */
	__u64 time;	/* when it began, in nanoseconds since boot */
	__u64 duration;
	__u64 woken;	/* when it was woken */
	__u64 memory;	/* identifies the memory of the process */
	__u64 futex;
	__u32 cpu;
	__u32 pid;
	__u32 tid;
	__u32 state;
	__s32 call; /* -1: none */
	__u32 known;
	__u32 waker_pid;
	__u32 waker_tid;
	char comm[16];
	char waker_comm[16];
	/* The lengths of the stacks after the record. */
	__u32 kernel_length;
	__u32 user_length;
};

/* A process that is about to wait has mapped code that its stacks may have. */
struct code_record {
	__u64 kind;
	__u64 memory;
	__u32 pid;
	__u32 unused;
};

/* What is known of a task. */
struct wait {
	struct wait_record record;
	/* That of the kernel, then that of the program. */
	char stacks[2 * STACK_SIZE];
	__u64 memory;
	__u64 code; /* how much of it was reported */
	__u64 is_waiting;
};

/* By thread id. Elements are allocated when the map is created: a task that is about to wait cannot wait for memory. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096); /* set by the loader */
	__type(key, __u32);
	__type(value, struct wait);
} waits SEC(".maps");

static struct wait nothing;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* set by the loader */
} records SEC(".maps");

static __always_inline struct wait *wait_of(__u32 thread)
{
	struct wait *wait = bpf_map_lookup_elem(&waits, &thread);

	if (wait)
		return wait;
	bpf_map_update_elem(&waits, &thread, &nothing, BPF_NOEXIST);
	return bpf_map_lookup_elem(&waits, &thread);
}

static __always_inline bool is_futex(__s32 number, bool compat)
{
	int call;

#pragma unroll
	for (call = 0; call < FUTEX_CALLS; call++)
		if (number == (compat ? compat_futexes[call] : native_futexes[call]))
			return true;
	return false;
}

static __always_inline void read_call(struct wait_record *record, struct task_struct *task)
{
	void *regs = user_registers(task);
	bool compat = is_compat(task);
	__s32 number = number_of(regs);

	record->call = -1;
	if (number < 0)
		return;
	number &= ~X32_SYSCALL_BIT;
	record->call = number;
	if (compat)
		record->known |= IS_COMPAT;
	if (is_futex(number, compat)) {
		record->known |= HAS_FUTEX;
		record->futex = argument(regs, compat, 0, true);
	}
}

static __always_inline void read_stacks(void *context, struct wait *wait, bool has_memory)
{
	struct wait_record *record = &wait->record;
	long length = bpf_get_stack(context, wait->stacks, STACK_SIZE, 0);

	record->kernel_length = length < 0 ? 0 : length;
	record->user_length = 0;
	if (record->kernel_length > STACK_SIZE || !has_memory)
		return;
	length = bpf_get_stack(context, wait->stacks + record->kernel_length, STACK_SIZE, BPF_F_USER_STACK);
	record->user_length = length < 0 ? 0 : length;
}

/* Reports code that the process has mapped since its last report: its mappings can be read while the task waits. */
static __always_inline void report_code(struct wait *wait, struct mm_struct *memory)
{
	__u64 code = BPF_CORE_READ(memory, exec_vm);
	struct code_record record = { .kind = CODE, .memory = (__u64)memory, .pid = wait->record.pid };

	if (wait->memory == record.memory && wait->code == code)
		return;
	if (bpf_ringbuf_output(&records, &record, sizeof(record), BPF_RB_NO_WAKEUP))
		return;
	wait->memory = record.memory;
	wait->code = code;
}

static __always_inline void begin(void *context, struct task_struct *task, __u32 state)
{
	struct mm_struct *memory = BPF_CORE_READ(task, mm);
	__u32 thread = READ(task, pid);
	struct wait_record *record;
	struct wait *wait;

	if (thread == 0 || READ(task, flags) & PF_EXITING || !is_traced(task))
		return;
	wait = wait_of(thread);
	if (!wait) {
		lose();
		return;
	}
	record = &wait->record;
	record->kind = WAIT;
	record->pid = READ(task, tgid);
	record->tid = thread;
	record->state = state;
	/* Who wakes it can have been seen already: another CPU may do it as soon as the state is set. */
	record->known &= HAS_WAKER | BY_INTERRUPT;
	record->memory = (__u64)memory;
	record->call = -1;
	bpf_get_current_comm(record->comm, sizeof(record->comm));
	if (memory) {
		read_call(record, task);
		report_code(wait, memory);
	}
	read_stacks(context, wait, memory);
	record->time = bpf_ktime_get_boot_ns();
	wait->is_waiting = 1;
}

static __always_inline void report(struct wait *wait)
{
	struct wait_record *record = &wait->record;
	struct losses *here = losses_here();
	__u64 size;

	record->duration = bpf_ktime_get_boot_ns() - record->time;
	if (!here || record->duration <= longer_than)
		return;
	record->cpu = bpf_get_smp_processor_id();
	record->lost = here->lost - here->reported;
	size = sizeof(*record) + record->kernel_length + record->user_length;
	if (size > sizeof(*record) + sizeof(wait->stacks) ||
	    bpf_ringbuf_output(&records, record, size, BPF_RB_NO_WAKEUP)) {
		here->lost++;
		return;
	}
	here->reported = here->lost;
	here->kept++;
}

static __always_inline void end(__u32 thread)
{
	struct wait *wait = bpf_map_lookup_elem(&waits, &thread);

	if (!wait || !wait->is_waiting)
		return;
	wait->is_waiting = 0;
	report(wait);
	wait->record.known = 0;
}

#ifdef OLDER

/* The last argument of the tracepoint is newer. */
static __always_inline __u32 state_of(struct task_struct *task, __u64 *arguments)
{
	if (bpf_core_field_exists(((struct task_struct___state *)0)->__state))
		return BPF_CORE_READ((struct task_struct___state *)task, __state);
	return BPF_CORE_READ((struct task_struct___before_5_14 *)task, state);
}

#else

static __always_inline __u32 state_of(struct task_struct *task, __u64 *arguments)
{
	return arguments[3];
}

#endif

/* A task that was preempted is runnable, whatever it was about to do. */
SEC("raw_tp/sched_switch")
int BPF_PROG(switched, bool preempted, struct task_struct *from, struct task_struct *to)
{
	end(BPF_CORE_READ(to, pid));
	begin(ctx, current_task(), preempted ? 0 : state_of(from, ctx));
	return 0;
}

SEC("raw_tp/sched_waking")
int BPF_PROG(waking, struct task_struct *task)
{
	__u32 thread = BPF_CORE_READ(task, pid);
	struct wait *wait = bpf_map_lookup_elem(&waits, &thread);
	struct task_struct *waker = current_task();
	struct wait_record *record;

	if (!wait)
		return 0;
	record = &wait->record;
	record->woken = bpf_ktime_get_boot_ns();
	record->waker_pid = READ(waker, tgid);
	record->waker_tid = READ(waker, pid);
	bpf_get_current_comm(record->waker_comm, sizeof(record->waker_comm));
	/* On x86, an interrupt of user mode runs on the stack of the task. */
	if (record->waker_tid == 0 || on_other_stack(ctx, waker) || (IS_X86 && number_of(user_registers(waker)) < 0))
		record->known = (record->known & ~HAS_WAKER) | BY_INTERRUPT;
	else
		record->known = (record->known & ~BY_INTERRUPT) | HAS_WAKER;
	return 0;
}

SEC("raw_tp/sched_process_exit")
int BPF_PROG(ended, struct task_struct *task)
{
	__u32 thread = BPF_CORE_READ(task, pid);

	bpf_map_delete_elem(&waits, &thread);
	return 0;
}

/* The thread that executes a program gets the id of the first one. */
SEC("raw_tp/sched_process_exec")
int BPF_PROG(executed, struct task_struct *task, __u32 old_thread)
{
	if (old_thread != BPF_CORE_READ(task, pid))
		bpf_map_delete_elem(&waits, &old_thread);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
