use std::fmt;

use serde::{Deserialize, Serialize};

/// A capability of the kernel that tracing may need, by its number. See capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Capability {
    /// Bypasses permission checks of files. Users other than root need it for tracefs.
    DacOverride = 1,
    /// Bypasses permission checks of reading files and directories.
    DacReadSearch = 2,
    /// Attaches eBPF programs to the network.
    NetAdmin = 12,
    /// Locks more memory than the limit, for large perf buffers.
    IpcLock = 14,
    /// Inspects processes of other users.
    SysPtrace = 19,
    /// Mounts tracefs. Before Linux 5.8 it includes [`Perfmon`](Self::Perfmon) and [`Bpf`](Self::Bpf).
    SysAdmin = 21,
    /// Raises resource limits.
    SysResource = 24,
    /// Reads the addresses of kernel functions.
    Syslog = 34,
    /// Opens perf events of other users' tasks, of all tasks and of the kernel, and attaches tracing eBPF programs.
    Perfmon = 38,
    /// Loads eBPF programs.
    Bpf = 39,
    /// Opens the mapped files of other processes.
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

/// A set of capabilities, which may include some that [`Capability`] does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Creates a set from its bits, as in `/proc/PID/status`.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns whether the set contains a capability.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }

    /// Returns the effective capabilities of this process.
    pub(crate) fn in_effect() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Self(bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default())
    }
}
