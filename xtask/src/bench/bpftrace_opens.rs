//! opensnoop as shipped with bpftrace, limited to some processes, as ours are.

/// Of the process with this id.
pub fn of_process(pid: u32) -> String {
    of(&format!("pid == {pid}"))
}

/// Of the command that bpftrace starts.
pub fn of_command() -> String {
    of("pid == cpid")
}

fn of(condition: &str) -> String {
    format!(
        "tracepoint:syscalls:sys_enter_open, tracepoint:syscalls:sys_enter_openat /{condition}/ \
             {{ @filename[tid] = args->filename; }} \
         tracepoint:syscalls:sys_exit_open, tracepoint:syscalls:sys_exit_openat /@filename[tid]/ \
             {{ $ret = args->ret; $fd = $ret >= 0 ? $ret : -1; $errno = $ret >= 0 ? 0 : - $ret; \
             printf(\"%-6d %-16s %4d %3d %s\\n\", pid, comm, $fd, $errno, str(@filename[tid])); \
             delete(@filename[tid]); }}"
    )
}
