//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};

/// Describes the events of every kind, and those of a summary.
pub fn events() -> Vec<EventInfo> {
    let mut events = Vec::new();
    events.extend(pages());
    events.extend([page_fault(), kmalloc(), rss()]);
    events.extend(reclaim());
    events.extend(oom());
    events.extend(summary());
    events
}

fn bytes(name: &str, meaning: &str) -> FieldInfo {
    FieldInfo::number(name, meaning).unit("bytes")
}

fn order() -> FieldInfo {
    FieldInfo::number("order", "power of two of the number of pages")
}

fn flags() -> FieldInfo {
    FieldInfo::word("flags", "GFP flags of the allocation, such as GFP_KERNEL")
}

fn pages() -> [EventInfo; 2] {
    let pfn = || FieldInfo::address("pfn", "page frame number of the first page");
    [
        EventInfo::new("page_alloc", "--kind pages: the kernel has allocated a block of pages")
            .field(bytes("size", "size of the block"))
            .field(FieldInfo::flag("failed", "there was no free block").optional())
            .field(pfn().optional())
            .field(order())
            .field(flags()),
        EventInfo::new("page_free", "--kind pages: the kernel has freed a block of pages")
            .field(bytes("size", "size of the block"))
            .field(pfn())
            .field(order()),
    ]
}

fn page_fault() -> EventInfo {
    EventInfo::new(
        "page_fault",
        "--kind faults: memory was accessed that is not mapped, or not for this access",
    )
    .field(FieldInfo::address("address", "the accessed address"))
    .field(
        FieldInfo::word("access", "kind of access; x86_64 only").words(["read", "write", "exec"]).optional(),
    )
    .field(FieldInfo::flag("present", "the page is mapped, but not for this access; x86_64 only").optional())
    .field(FieldInfo::word("caller", "address of the instruction; with in_kernel, its function"))
    .field(FieldInfo::flag("in_kernel", "the kernel accessed the memory of the program").optional())
}

fn kmalloc() -> EventInfo {
    EventInfo::new("kmalloc", "--kind kmalloc: the kernel has allocated memory for itself")
        .field(bytes("size", "size that was allocated"))
        .field(bytes("requested", "size that was requested"))
        .field(FieldInfo::address("address", "address of the memory"))
        .field(FieldInfo::word("caller", "function that allocated"))
        .field(flags())
}

fn rss() -> EventInfo {
    EventInfo::new("rss", "--kind rss: a resident set size has changed")
        .field(FieldInfo::word("pages", "kind of pages: file, anon, swap, shmem"))
        .field(bytes("size", "new size"))
        .field(bytes("change", "change since the previous line about the same size, if that is known").optional())
        .field(FieldInfo::address("space", "identifies the address space"))
        .field(FieldInfo::flag(
            "other_space",
            "the address space is not the task's own, but that of a child that it forks or of a program that it is about to \
             execute",
        ))
}

fn reclaim() -> [EventInfo; 3] {
    [
        EventInfo::new(
            "reclaim",
            "--kind reclaim: direct reclaim: the task freed memory itself before its allocation",
        )
        .field(FieldInfo::word("cause", "limit that was reached").words(["direct", "cgroup", "node"]))
        .field(bytes("size", "size that was freed"))
        .field(order().optional())
        .field(FieldInfo::duration("duration", "time that it took").optional()),
        EventInfo::new(
            "reclaim_throttled",
            "--kind reclaim: the task was throttled while other tasks reclaimed memory",
        )
        .field(FieldInfo::duration("duration", "time that it waited")),
        EventInfo::new(
            "wakeup_kswapd",
            "--kind reclaim: the task woke kswapd, which frees memory in the background",
        )
        .field(FieldInfo::number("node", "NUMA node"))
        .field(order()),
    ]
}

fn oom() -> [EventInfo; 2] {
    let size = |name: &str, meaning: &str| bytes(name, meaning).optional();
    [
        EventInfo::new("oom_kill", "--kind oom: the task needed memory, and the OOM killer killed a task")
            .field(FieldInfo::number("victim_tid", "thread that was killed"))
            .field(FieldInfo::text("victim_comm", "its name; Linux 6.9 and later").optional())
            .field(size("virtual", "its virtual memory; Linux 6.9 and later"))
            .field(size("anon", "its resident anonymous memory"))
            .field(size("file", "its resident file mappings"))
            .field(size("shmem", "its resident shared memory"))
            .field(size("page_tables", "its page tables")),
        EventInfo::new("oom_score_adj", "--kind oom: the task changed the OOM score adjustment of a thread")
            .field(FieldInfo::number("of_tid", "the thread"))
            .field(FieldInfo::text("of_comm", "its name"))
            .field(FieldInfo::number("score", "its oom_score_adj (proc(5))")),
    ]
}

fn summary() -> [EventInfo; 3] {
    let totals = |event: EventInfo| {
        event
            .field(FieldInfo::number("count", "number of allocations or faults"))
            .field(bytes("size", "size of these; a page for each fault"))
    };
    let kind = || FieldInfo::word("kind", "kind of the events").words(["pages", "faults", "kmalloc"]);
    let call_site =
        EventInfo::new("call_site", "--summary: memory that one place in the code allocated").field(kind());
    let call_site = call_site.field(FieldInfo::text(
        "caller",
        "function of the kernel; for a page fault in a program FILE+OFFSET, or the address alone if the file is not known",
    ));
    let others = EventInfo::new(
        "other_call_sites",
        "--summary: what all places without a line of their own allocated",
    );
    let all = EventInfo::new("all_call_sites", "--summary: what all places allocated");
    [totals(call_site), totals(others.field(kind())), totals(all.field(kind()))]
}
