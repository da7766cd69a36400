// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The system calls of traced processes, with what their arguments lead to: what a call gives to the kernel is read when it
 * begins, what it gets back when it returns.
 *
 * What is read is data: user space enters a plan for each call.
 */
/*
 * Space for what is read. With what surrounds it, it must stay below two pages: since Linux 6.19, task storage cannot be larger
 * (`kmalloc_nolock` in mm/slub.c).
 */
#define TEXT_SIZE (2 * 4096 - 512)

#include "calls.h"
#include "descriptors.h"
#include "losses.h"
#include "processes.h"

#define ARGUMENTS 6
/* Stands for the result where the number of an argument is expected. */
#define RESULT ARGUMENTS
/* The argument before points to the number: a `socklen_t *`. */
#define BY_POINTER 8
#define NO_COUNT 255

/* What a step reads. Order as in src/trace_calls/plan.rs. */
enum kind {
	STRING,
	BYTES,
	DESCRIPTOR,
	DESCRIPTORS,
	STRINGS,
	COUNT,
	VECTORS,
	MESSAGE,
	DESCRIPTOR_SET,
};

/* When it does. */
enum when {
	ENTRY,
	RETURN,		/* if the call succeeded */
	ANY_RETURN,
	INTERRUPTED,	/* if a signal interrupted it */
};

#define EINTR 4
#define ERESTART_RESTARTBLOCK 516

#define MOST_READS 16

/* One thing to read. Written by src/trace_calls/plan.rs. */
struct step {
	__u8 kind;
	__u8 argument;
	__u8 when;
	__u8 count_from;	/* where the number of units is: an argument, RESULT or NO_COUNT */
	__u16 unit;		/* bytes */
	__u16 most;		/* bytes, or bytes of each string or buffer; descriptors, if nothing says how many */
};

#define WANTED 1
#define NEVER_RETURNS 2
#define REPLACES_MEMORY 4	/* execve: after a success, addresses of before mean nothing */
#define FORKS 8			/* it returns a second time, in the child */

struct plan {
	__u32 flags;
	__u32 steps;
	struct step step[MOST_READS];
};

#define COMPAT_PLANS MOST_CALLS
#define PLANS (2 * MOST_CALLS)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PLANS);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

/* Whether to record failed calls only, and calls that took this many nanoseconds only. */
const volatile __u8 failed_only = 0;
const volatile __u64 least_duration = 0;

/* Bits of `known`. */
#define IS_COMPAT 1
#define BEGIN_UNSEEN 2	/* only the return was seen; `time` is that */
#define UNFINISHED 4	/* the return was not seen */
#define CUT_RECORD 8	/* not all data found room */

/* Read by src/trace_calls/record.rs. */
struct call_record {
	__u64 time; /* when it began, in nanoseconds since boot */
	__u64 duration;
	__u64 lost; /* lost records of this CPU since its previous record */
	__s64 result;
	__u64 arguments[ARGUMENTS];
	__u32 cpu;
	__u32 pid;
	__u32 tid;
	__u32 number;
	__u32 filled;
	__u32 known;
	char comm[16];
};

/* A call that has not returned. */
struct call {
	struct call_record record;
	/* Pieces: each a header, and its bytes. */
	char text[TEXT_SIZE];
	__u32 is_open;
	__u32 unread; /* the steps whose memory could not be read when the call began: a bit each */
	__u32 index;  /* of its plan */
	__u8 is_returning;
	__u8 is_missing; /* the step could not read some memory */
	__u8 is_own_program; /* the program that was executed is the one that was asked for, not its interpreter */
};

/* The kernel prepends less than 256 bytes. */
_Static_assert(sizeof(struct call) <= 2 * 4096 - 256, "a task has no storage for so much");

TASK_MAP(calls, struct call, 1024);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* set by the loader */
} records SEC(".maps");

/* The state of a piece. Read by src/trace_calls/record.rs. */
enum state {
	WHOLE,
	UNREAD,	/* the memory could not be read */
	SHORT,	/* there is more than was asked for */
	CUT_OFF,	/* there was no room for the rest */
};

/* What of its step a piece is. */
enum part {
	ITSELF,
	NAME,		/* of a message */
	VECTOR,		/* the length of a buffer; if unread, the array */
	DATA,		/* in a buffer */
	CONTROL,	/* of a message */
};

struct piece {
	__u8 step;
	__u8 part;
	__u8 state;
	__u8 is_late; /* it was read when the call returned */
	__u32 length;
	__u64 extra;
};

/* The sizes that a piece may have, so that the verifier sees that there is room. The largest takes any path. */
#define LARGE 4104
#define MIDDLE 2048
#define SMALL 512
#define TINY 64

#define READ_WITHIN(limit) \
	do { \
		room = size < limit ? size : limit; \
		forget(room); \
		if (room > limit) \
			return 0; \
		got = read_user(call->text + begin, room, from, is_string); \
	} while (0)

static __always_inline struct call *call_here(void)
{
	struct task_struct *task = current_task();

	return task_value(calls, task);
}

/* The compiler must not combine what it knows of a value before and after. */
#define forget(value) asm volatile("" : "+r"(value))

static __always_inline struct piece *new_piece(struct call *call, __u32 step, __u32 part)
{
	__u32 begin = call->record.filled;
	struct piece *piece;

	forget(begin);
	if (begin > TEXT_SIZE - sizeof(struct piece)) {
		call->record.known |= CUT_RECORD;
		return 0;
	}
	piece = (struct piece *)(call->text + begin);
	piece->step = step;
	piece->part = part;
	piece->state = WHOLE;
	piece->is_late = call->is_returning;
	piece->length = 0;
	piece->extra = 0;
	return piece;
}

static __always_inline void end_piece(struct call *call, struct piece *piece, __u32 length)
{
	piece->length = length;
	call->record.filled += sizeof(*piece) + ((length + 7) & ~7u);
}

/* Of `what` below: the step, the part, and how to read. */
#define AS_STRING 0x10000
#define AS_SHORT 0x20000 /* there is more than is read */
#define WHAT(step, part) ((step) | (part) << 8)

static __always_inline long read_user(char *to, __u32 size, __u64 from, bool is_string)
{
	if (is_string)
		return bpf_probe_read_user_str(to, size, (const void *)from);
	return bpf_probe_read_user(to, size, (const void *)from);
}

/* Adds a piece with bytes of user memory. Returns its length, or a negative number if the memory could not be read. */
__noinline int put(__u64 from, __u32 size, __u32 what)
{
	struct call *call = call_here();
	bool is_string = what & AS_STRING;
	struct piece *piece;
	__u32 begin, room, asked = size;
	long got;

	if (!call)
		return -1;
	piece = new_piece(call, what & 0xff, what >> 8 & 0xff);
	if (!piece)
		return 0;
	begin = call->record.filled + sizeof(*piece);
	forget(begin);
	/* Strings that end earlier take only what they need. */
	if (begin <= TEXT_SIZE - LARGE) {
		READ_WITHIN(LARGE);
	} else if (begin <= TEXT_SIZE - MIDDLE) {
		READ_WITHIN(MIDDLE);
	} else if (begin <= TEXT_SIZE - SMALL) {
		READ_WITHIN(SMALL);
	} else if (begin <= TEXT_SIZE - TINY) {
		READ_WITHIN(TINY);
	} else {
		room = 0;
		got = 0;
	}
	piece->extra = from;
	if (got < 0) {
		piece->state = UNREAD;
		call->is_missing = 1;
		end_piece(call, piece, 0);
		return -1;
	}
	if (!is_string)
		got = room;
	if (room < asked && (!is_string || got == room)) {
		piece->state = CUT_OFF;
		call->record.known |= CUT_RECORD;
	} else if (is_string ? got == room : what & AS_SHORT) {
		piece->state = SHORT;
	}
	if (got < 0 || got > LARGE)
		return 0;
	end_piece(call, piece, got);
	return got;
}

/* Adds a piece that is a number. */
static __always_inline void put_number(struct call *call, __u32 step, __u32 part, __u32 state, __u64 number)
{
	struct piece *piece = new_piece(call, step, part);

	if (!piece)
		return;
	piece->state = state;
	piece->extra = number;
	if (state == UNREAD)
		call->is_missing = 1;
	end_piece(call, piece, 0);
}

/* The pointer or the size at an address of the traced program. */
static __always_inline long read_word(__u64 *word, __u64 at, bool compat)
{
	*word = 0;
	return bpf_probe_read_user(word, compat ? 4 : 8, (const void *)at);
}

#define MOST_STRINGS 33
#define COUNTED_AT_ONCE 64
#define MOST_BLOCKS 64

/* One string of `argv`. Returns 0 if there is another. */
__noinline int put_string(__u64 array, __u32 number, __u32 size, __u32 step)
{
	struct call *call = call_here();
	__u64 string;
	bool compat;

	if (!call)
		return 1;
	compat = call->record.known & IS_COMPAT;
	if (read_word(&string, array + number * (compat ? 4 : 8), compat)) {
		put_number(call, step, VECTOR, UNREAD, array);
		return 1;
	}
	if (!string)
		return 1;
	if (number == MOST_STRINGS - 1) {
		put_number(call, step, DATA, SHORT, 0);
		return 1;
	}
	put(string, size, WHAT(step, DATA) | AS_STRING);
	return 0;
}

/* The number of pointers before the one that is 0, up to a block. Negative: memory could not be read. */
__noinline int count_block(__u64 array, __u32 compat)
{
	__u32 number;
	__u64 word;

	for (number = 0; number < COUNTED_AT_ONCE; number++) {
		if (read_word(&word, array + number * (compat ? 4 : 8), compat))
			return -1;
		if (!word)
			break;
	}
	return number;
}

/* Counts pointers up to the one that is 0. */
__noinline int put_count(__u64 array, __u32 step)
{
	struct call *call = call_here();
	__u32 count = 0, block;
	bool compat;
	int more;

	if (!call)
		return 0;
	compat = call->record.known & IS_COMPAT;
	for (block = 0; block < MOST_BLOCKS; block++) {
		more = count_block(array + count * (compat ? 4 : 8), compat);
		if (more < 0) {
			put_number(call, step, VECTOR, UNREAD, array);
			return 0;
		}
		count += more;
		if (more < COUNTED_AT_ONCE)
			break;
	}
	put_number(call, step, ITSELF, block == MOST_BLOCKS ? SHORT : WHOLE, count);
	return 0;
}

#define MOST_VECTORS 32
/* No more is left to show of the data in buffers. */
#define ALL_SHOWN -1
#define NO_LIMIT 0x7fffffff

/* One buffer of an array, of which at most `left` bytes hold data. Returns how many of them remain. */
__noinline int put_vector(__u64 at, __u32 most, __u32 step, __u32 left)
{
	struct call *call = call_here();
	__u64 base, length;
	__u32 word, size;
	bool compat;

	if (!call)
		return 0;
	compat = call->record.known & IS_COMPAT;
	word = compat ? 4 : 8;
	if (read_word(&base, at, compat) || read_word(&length, at + word, compat)) {
		put_number(call, step, VECTOR, UNREAD, at);
		return -1;
	}
	put_number(call, step, VECTOR, WHOLE, length);
	size = length < left ? length : left;
	left -= left == NO_LIMIT ? 0 : size;
	if (size > 0)
		put(base, size < most ? size : most, WHAT(step, DATA) | (size > most ? AS_SHORT : 0));
	else
		put_number(call, step, DATA, WHOLE, base);
	return left;
}

static __always_inline void put_vectors(__u64 array, __u64 count, struct step *step, __u32 index, __u32 left, bool compat)
{
	__u32 number, most = step->most;
	int rest = left;

	for (number = 0; number < MOST_VECTORS; number++) {
		if (number >= count)
			return;
		rest = put_vector(array + number * (compat ? 8 : 16), most, index, rest);
		if (rest < 0)
			return;
	}
}

/* The number of units that a step reads. */
static __always_inline __u64 count_of(struct call *call, struct step *step)
{
	__u32 from = step->count_from;
	__u32 count = 0;

	if (from == NO_COUNT)
		return 1;
	if (from == RESULT)
		return call->record.result < 0 ? 0 : call->record.result;
	if (from & BY_POINTER) {
		bpf_probe_read_user(&count, sizeof(count), (const void *)call->record.arguments[from & 7]);
		return count;
	}
	/* The verifier sees that this is within the record. */
	return call->record.arguments[from & 7];
}

/* A unit of 0 stands for a bit of an array of words. */
static __always_inline __u64 bytes_of(__u64 count, __u32 unit)
{
	if (count > 0xffffff)
		count = 0xffffff;
	return unit ? count * unit : (count + 63) / 64 * 8;
}

static __always_inline void put_bytes(struct call *call, struct step *step, __u32 index, __u64 from)
{
	__u64 size = bytes_of(count_of(call, step), step->unit);
	bool is_short = size > step->most;

	if (size)
		put(from, is_short ? step->most : size, WHAT(index, ITSELF) | (is_short ? AS_SHORT : 0));
	else
		put_number(call, index, ITSELF, WHOLE, from);
}

/* The memory of a message's header. */
struct message {
	__u64 name, vectors, vector_count, control, control_size;
	__u32 name_size;
};

static __always_inline long read_message(struct message *message, __u64 at, bool compat)
{
	__u32 words[7];
	__u64 long_words[6];

	if (compat) {
		if (bpf_probe_read_user(words, sizeof(words), (const void *)at))
			return -1;
		message->name = words[0];
		message->name_size = words[1];
		message->vectors = words[2];
		message->vector_count = words[3];
		message->control = words[4];
		message->control_size = words[5];
		return 0;
	}
	if (bpf_probe_read_user(long_words, sizeof(long_words), (const void *)at))
		return -1;
	message->name = long_words[0];
	message->name_size = long_words[1];
	message->vectors = long_words[2];
	message->vector_count = long_words[3];
	message->control = long_words[4];
	message->control_size = long_words[5];
	return 0;
}

#define MESSAGE_SIZE 56
#define COMPAT_MESSAGE_SIZE 28
#define MOST_NAME 128
#define MOST_CONTROL 256

static __always_inline void put_message(struct call *call, struct step *step, __u32 index, __u64 at)
{
	bool compat = call->record.known & IS_COMPAT;
	struct message message;
	__u32 left = step->when == ENTRY ? NO_LIMIT : call->record.result;

	if (read_message(&message, at, compat)) {
		put_number(call, index, VECTOR, UNREAD, at);
		return;
	}
	put(at, compat ? COMPAT_MESSAGE_SIZE : MESSAGE_SIZE, WHAT(index, ITSELF));
	if (message.name && message.name_size)
		put(message.name, message.name_size < MOST_NAME ? message.name_size : MOST_NAME, WHAT(index, NAME));
	put_vectors(message.vectors, message.vector_count, step, index, left, compat);
	if (message.control && message.control_size)
		put(message.control, message.control_size < MOST_CONTROL ? message.control_size : MOST_CONTROL,
		    WHAT(index, CONTROL));
}

/* What the descriptor of this number is. */
__noinline int put_descriptor(int number, __u32 step, __u32 part)
{
	struct task_struct *task = current_task();
	struct call *call = task_value(calls, task);
	struct description *description;
	struct climb climb = {};
	struct vfsmount *mount;
	struct dentry *dentry;
	struct fs_struct *fs;
	struct file *file = 0;
	struct inode *inode = 0;
	struct piece *piece;
	__u32 begin;

	if (!call)
		return 0;
	fs = BPF_CORE_READ(task, fs);
	if (number == AT_FDCWD) {
		bpf_core_read(&climb.at, sizeof(climb.at), &fs->pwd);
	} else {
		file = file_of(task, number);
		if (!file)
			return 0;
		path_of(file, &climb.at);
	}
	dentry = climb.at.dentry;
	mount = climb.at.mnt;
	if (!dentry)
		return 0;
	piece = new_piece(call, step, part);
	if (!piece)
		return 0;
	begin = call->record.filled + sizeof(*piece);
	forget(begin);
	if (begin > TEXT_SIZE - sizeof(*description) - sizeof(struct socket_description) - NAME_SIZE) {
		call->record.known |= CUT_RECORD;
		return 0;
	}
	description = (struct description *)(call->text + begin);
	description->number = number;
	description->mode = 0;
	description->device = 0;
	description->magic = 0;
	description->inode = 0;
	if (file) {
		inode = BPF_CORE_READ(file, f_inode);
		description->mode = BPF_CORE_READ(inode, i_mode);
		description->device = BPF_CORE_READ(inode, i_rdev);
		description->magic = BPF_CORE_READ(inode, i_sb, s_magic);
		description->inode = BPF_CORE_READ(inode, i_ino);
	}
	climb.text = call->text;
	climb.filled = begin + sizeof(*description);
	if (description->magic == SOCKFS_MAGIC) {
		struct socket_description *socket = (struct socket_description *)(call->text + begin + sizeof(*description));
		__u32 length = sizeof(*description) + sizeof(*socket);

		description->ended = IS_SOCKET;
		describe_socket(socket, file);
		if (socket->family == AF_UNIX)
			length += read_unix_path((char *)(socket + 1), file);
		end_piece(call, piece, length);
		return 0;
	}
	if (dentry == BPF_CORE_READ(dentry, d_parent) && dentry != BPF_CORE_READ(mount, mnt_root)) {
		long length = bpf_probe_read_kernel_str(call->text + begin + sizeof(*description), NAME_SIZE,
							BPF_CORE_READ(dentry, d_name.name));

		description->ended = PSEUDO;
		if (description->magic == PIDFS_MAGIC)
			description->device = process_of(inode);
		end_piece(call, piece, sizeof(*description) + (length > 0 ? length : 0));
		return 0;
	}
	bpf_core_read(&climb.root, sizeof(climb.root), &fs->root);
	go_up(&climb);
	description->ended = climb.ended;
	if (climb.ended & CUT)
		call->record.known |= CUT_RECORD;
	end_piece(call, piece, climb.filled - begin);
	return 0;
}

#define MOST_DESCRIPTORS 32

/* The descriptors at the beginning of each element of an array, such as of `pollfd`. */
static __always_inline void put_descriptors(struct call *call, struct step *step, __u32 index, __u64 array)
{
	__u64 count = step->count_from == NO_COUNT ? step->most : count_of(call, step);
	__u32 number;
	__s32 descriptor;

	for (number = 0; number < MOST_DESCRIPTORS; number++) {
		if (number >= count)
			return;
		if (bpf_probe_read_user(&descriptor, sizeof(descriptor), (const void *)(array + number * step->unit))) {
			put_number(call, index, VECTOR, UNREAD, array);
			return;
		}
		if (descriptor >= 0)
			put_descriptor(descriptor, index, DATA);
	}
}

/* The descriptors in a word of an `fd_set`. */
__noinline int put_set(__u64 at, __u32 first, __u32 count, __u32 step)
{
	__u64 word;
	__u32 bit;

	if (bpf_probe_read_user(&word, sizeof(word), (const void *)at))
		return -1;
	for (bit = 0; bit < 64; bit++) {
		if (first + bit >= count)
			return 0;
		if (word >> bit & 1)
			put_descriptor(first + bit, step, DATA);
	}
	return 0;
}

/* As many as FD_SETSIZE. */
#define MOST_WORDS 16

static __always_inline void put_descriptor_set(struct call *call, struct step *step, __u32 index, __u64 set)
{
	__u64 count = count_of(call, step);
	__u32 word;

	for (word = 0; word < MOST_WORDS; word++) {
		if (word * 64 >= count || put_set(set + word * 8, word * 64, count, index) < 0)
			return;
	}
}

static __always_inline void put_strings(struct step *step, __u32 index, __u64 array)
{
	__u32 number;

	for (number = 0; number < MOST_STRINGS; number++)
		if (put_string(array, number, step->most, index))
			return;
}

/*
 * What execve was given, which its success has replaced: the kernel has copied it to the new stack. `argc` is at the stack
 * pointer, `argv` follows; the path is behind the environment.
 */
static __always_inline void read_new_memory(struct call *call, struct task_struct *task, struct plan *plan, void *regs)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	__u64 array = stack_pointer(regs) + (is_compat(task) ? 4 : 8);
	struct step *step;
	__u32 index;

	for (index = 0; index < MOST_READS; index++) {
		if (index >= plan->steps)
			return;
		step = &plan->step[index];
		if (!(call->unread >> index & 1))
			continue;
		if (step->kind == STRING)
			put(BPF_CORE_READ(mm, env_end), step->most, WHAT(index, ITSELF) | AS_STRING);
		else if (step->kind == STRINGS)
			put_strings(step, index, array);
	}
}

static __always_inline void read_step(struct call *call, struct step *step, __u32 index)
{
	__u64 value = step->argument == RESULT ? (__u64)call->record.result : call->record.arguments[step->argument & 7];

	if (step->kind == DESCRIPTOR) {
		put_descriptor(value, index, ITSELF);
		return;
	}
	/* A null pointer leads to nothing. */
	if (!value)
		return;
	switch (step->kind) {
	case STRING:
		put(value, step->most, WHAT(index, ITSELF) | AS_STRING);
		break;
	case BYTES:
		put_bytes(call, step, index, value);
		break;
	case DESCRIPTORS:
		put_descriptors(call, step, index, value);
		break;
	case DESCRIPTOR_SET:
		put_descriptor_set(call, step, index, value);
		break;
	case STRINGS:
		put_strings(step, index, value);
		break;
	case COUNT:
		put_count(value, index);
		break;
	case VECTORS:
		put_vectors(value, count_of(call, step), step, index, step->when == ENTRY ? NO_LIMIT : call->record.result,
			    call->record.known & IS_COMPAT);
		break;
	case MESSAGE:
		put_message(call, step, index, value);
		break;
	}
}

/* Takes a step of the call's plan. Returns a negative number if memory could not be read. */
__noinline int take(__u32 index)
{
	struct call *call = call_here();
	struct plan *plan;

	if (!call || index >= MOST_READS)
		return 0;
	plan = bpf_map_lookup_elem(&plans, &call->index);
	if (!plan)
		return 0;
	call->is_missing = 0;
	read_step(call, &plan->step[index], index);
	return call->is_missing ? -1 : 0;
}

/* The index of a call's plan. Numbers that are no call share the last one. */
static __always_inline __u32 index_of(long number, bool compat)
{
	__u32 call = (__u32)number & ~X32_SYSCALL_BIT;

	return (call < MOST_CALLS ? call : MOST_CALLS - 1) + (compat ? COMPAT_PLANS : 0);
}

static __always_inline void begin(struct call *call, struct task_struct *task, void *regs, long number, bool compat, bool is_over)
{
	struct call_record *record = &call->record;
	int index;

	record->time = bpf_ktime_get_boot_ns();
	record->duration = 0;
	record->result = 0;
#pragma unroll
	for (index = 0; index < ARGUMENTS; index++)
		record->arguments[index] = argument(regs, compat, index, is_over);
	record->pid = READ(task, tgid);
	record->tid = READ(task, pid);
	record->number = (__u32)number & ~X32_SYSCALL_BIT;
	record->filled = 0;
	record->known = (compat ? IS_COMPAT : 0) | (is_over ? BEGIN_UNSEEN : 0);
	bpf_get_current_comm(record->comm, sizeof(record->comm));
	call->index = index_of(number, compat);
	call->unread = 0;
	call->is_returning = 0;
	call->is_own_program = 0;
	call->is_open = 1;
}

static __always_inline void read_entry(struct call *call, struct plan *plan)
{
	__u32 index;

	for (index = 0; index < MOST_READS; index++) {
		if (index >= plan->steps)
			return;
		if (plan->step[index].when == ENTRY && take(index) < 0)
			call->unread |= 1u << index;
	}
}

static __always_inline void report(struct call *call)
{
	struct call_record *record = &call->record;
	__u64 size = sizeof(*record) + record->filled;
	struct losses *here = losses_here();

	if (!here)
		return;
	record->cpu = bpf_get_smp_processor_id();
	record->lost = here->lost - here->reported;
	if (size > sizeof(*record) + sizeof(call->text) ||
	    /* The collector polls; waking it would cost the traced task an interrupt. */
	    bpf_ringbuf_output(&records, record, size, BPF_RB_NO_WAKEUP)) {
		here->lost++;
		return;
	}
	here->reported = here->lost;
	here->kept++;
}

/* Reports a call that does not return. */
static __always_inline void report_unfinished(struct call *call)
{
	if (failed_only || least_duration)
		return;
	call->record.known |= UNFINISHED;
	report(call);
}

SEC("raw_tp/sys_enter")
int BPF_PROG(entered, void *tracepoint_regs, long number)
{
	struct task_struct *task = current_task();
	void *regs = registers_of(task, tracepoint_regs);
	bool compat = is_compat(task);
	__u32 index = index_of(number, compat);
	struct plan *plan = bpf_map_lookup_elem(&plans, &index);
	struct call *call;

	if (!plan || !(plan->flags & WANTED) || !is_traced(task))
		return 0;
	/* Without storage, the call is read when it returns, or counted as lost. */
	call = new_task_value(calls, task);
	if (!call)
		return 0;
	begin(call, task, regs, number, compat, false);
	read_entry(call, plan);
	if (plan->flags & NEVER_RETURNS) {
		call->is_open = 0;
		report_unfinished(call);
		remove_task_value(calls, task);
	}
	return 0;
}

/* Memory that was paged out when the call began has been paged in by now, if the kernel has read it. */
static __always_inline void read_return(struct call *call, struct plan *plan)
{
	bool failed = call->record.result < 0 && call->record.result >= -4095;
	bool is_interrupted = call->record.result == -EINTR || call->record.result == -ERESTART_RESTARTBLOCK;
	bool is_replaced = plan->flags & REPLACES_MEMORY && !failed;
	__u32 index, when, due;

	for (index = 0; index < MOST_READS; index++) {
		if (index >= plan->steps)
			return;
		when = plan->step[index].when;
		due = when == ENTRY	? !is_replaced && call->unread >> index & 1
		      : when == RETURN	? !failed
		      : when == ANY_RETURN ? 1
					   : is_interrupted;
		if (due)
			take(index);
	}
}

SEC("raw_tp/sys_exit")
int BPF_PROG(returned, void *tracepoint_regs, long result)
{
	struct task_struct *task = current_task();
	struct call *call = task_value(calls, task);
	struct plan *plan;
	__u64 duration;

	if (!call || !call->is_open) {
		void *regs = registers_of(task, tracepoint_regs);
		bool compat = is_compat(task);
		long number = number_of(regs);
		__u32 index = index_of(number, compat);

		/* It began before the session, or a seccomp filter has answered it. */
		plan = bpf_map_lookup_elem(&plans, &index);
		if (!plan || !(plan->flags & WANTED) || (plan->flags & NEVER_RETURNS) || !is_traced(task) ||
		    is_rolled_back(regs, result) || (plan->flags & FORKS && result == 0))
			return 0;
		call = new_task_value(calls, task);
		if (!call) {
			lose();
			return 0;
		}
		begin(call, task, regs, number, compat, true);
		read_entry(call, plan);
	}
	plan = bpf_map_lookup_elem(&plans, &call->index);
	if (!plan)
		return 0;
	call->is_open = 0;
	duration = bpf_ktime_get_boot_ns() - call->record.time;
	call->record.duration = duration;
	call->record.result = result;
	call->is_returning = 1;
	if ((failed_only && (result >= 0 || result < -4095)) || duration < least_duration) {
		remove_task_value(calls, task);
		return 0;
	}
	if (plan->flags & REPLACES_MEMORY && !result && call->unread && call->is_own_program)
		read_new_memory(call, task, plan, registers_of(task, tracepoint_regs));
	read_return(call, plan);
	report(call);
	remove_task_value(calls, task);
	return 0;
}

/* A thread that executes a program takes the id of its process. */
static __always_inline void rename_call(__u32 before, __u32 now)
{
#ifdef OLDER
	struct call *call;

	if (before == now)
		return;
	call = bpf_map_lookup_elem(&calls, &before);
	if (!call)
		return;
	bpf_map_update_elem(&calls, &now, call, BPF_ANY);
	bpf_map_delete_elem(&calls, &before);
#endif
}

SEC("raw_tp/sched_process_exec")
int BPF_PROG(executed, struct task_struct *executing, int old_id, struct linux_binprm *program)
{
	struct task_struct *task = current_task();
	struct call *call;

	rename_call(old_id, READ(task, pid));
	call = task_value(calls, task);
	if (call && call->is_open)
		call->is_own_program = BPF_CORE_READ(program, interp) == BPF_CORE_READ(program, filename);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
