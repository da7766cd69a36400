use std::fmt;

use serde::{Deserialize, Serialize};

/// A privilege that tracing may take: a capability of the kernel, by its number (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Capability {
    /// Reading and writing everybody's files: what tracefs takes, unless one is root, who owns it.
    DacOverride = 1,
    /// Reading everybody's files and directories.
    DacReadSearch = 2,
    /// eBPF programs on the network.
    NetAdmin = 12,
    /// More locked memory than the limit: large perf buffers.
    IpcLock = 14,
    /// Looking into other users' processes.
    SysPtrace = 19,
    /// Mounting tracefs; before Linux 5.8, also what [`Perfmon`](Self::Perfmon) and [`Bpf`](Self::Bpf) are for now.
    SysAdmin = 21,
    /// Raising one's own limits.
    SysResource = 24,
    /// The addresses of the kernel's functions.
    Syslog = 34,
    /// perf events of other users' tasks, of everybody, and of the kernel; attaching eBPF programs that trace.
    Perfmon = 38,
    /// Loading eBPF programs.
    Bpf = 39,
    /// Other processes' mapped files.
    CheckpointRestore = 40,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::IpcLock => "CAP_IPC_LOCK",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::Syslog => "CAP_SYSLOG",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
            Self::CheckpointRestore => "CAP_CHECKPOINT_RESTORE",
        })
    }
}

/// A set of capabilities, also of those that have no name here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The set in which the bits of these numbers are set, as `/proc/PID/status` shows it.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether this is one of them.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }

    /// Those that are in effect for this process.
    pub(crate) fn in_effect() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Self(bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default())
    }
}
