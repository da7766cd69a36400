use std::io::{self, ErrorKind};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Capabilities, Capability, HookError, HostInfo, Result};

/// Where the kernel that is to be traced shows itself, and what a session may do with it.
///
/// A hook must look here, not in `/proc` and `/sys`: in a container those may be another view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Environment {
    /// The mount point of the host's procfs. Process ids are meant as this procfs shows them.
    pub procfs: PathBuf,
    /// The mount point of the host's sysfs.
    pub sysfs: PathBuf,
    /// The capabilities that a session has. A probe has none, wherever the kernel lets the host take them away.
    ///
    /// `None`: the host does not tell, and a probe has what a session has.
    #[serde(default)]
    pub session_capabilities: Option<Capabilities>,
    /// The host that has loaded the plugin, and what it offers.
    #[serde(default)]
    pub host: HostInfo,
}

impl Environment {
    /// An environment with these mount points, in which a session has the capabilities of this process.
    pub fn new(procfs: impl Into<PathBuf>, sysfs: impl Into<PathBuf>) -> Self {
        Self {
            procfs: procfs.into(),
            sysfs: sysfs.into(),
            session_capabilities: None,
            host: HostInfo::default(),
        }
    }

    /// An environment in which a session has these capabilities.
    pub fn with_session_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.session_capabilities = Some(capabilities);
        self
    }

    /// Sets the host.
    pub fn with_host(mut self, host: HostInfo) -> Self {
        self.host = host;
        self
    }

    /// Checks that a session has at least one of these capabilities.
    ///
    /// # Errors
    ///
    /// It has none of them; the message names them.
    pub fn check_any(&self, any_of: &[Capability]) -> Result<()> {
        let has = self.session_capabilities.unwrap_or_else(Capabilities::in_effect);
        if any_of.iter().any(|capability| has.contains(*capability)) {
            return Ok(());
        }
        let names: Vec<String> = any_of.iter().map(Capability::to_string).collect();
        Err(HookError::new(format!("it takes {}", names.join(" or "))))
    }

    /// What a probe can tell from a system call that it has tried, for which any of these capabilities would do.
    ///
    /// A probe has no privilege, so that it may be refused what a session is not. `None`: it was refused, but a session
    /// has the privilege; whether anything else is in the way remains to be seen.
    ///
    /// ```
    /// # use std::io;
    /// # use trace_hook_api::{Capability, Environment, Result};
    /// # fn open_perf_event() -> io::Result<()> { Ok(()) }
    /// fn probe(environment: &Environment) -> Result<()> {
    ///     environment.judge(open_perf_event(), &[Capability::Perfmon, Capability::SysAdmin])?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The kernel refused it for another reason (`ENOSYS`: it has no such thing), or a session lacks the privilege too.
    pub fn judge<T>(&self, tried: io::Result<T>, any_of: &[Capability]) -> Result<Option<T>> {
        match tried {
            Ok(value) => Ok(Some(value)),
            // EPERM and EACCES
            Err(error) if error.kind() == ErrorKind::PermissionDenied => match self.check_any(any_of) {
                Ok(()) => Ok(None),
                Err(lacking) => Err(HookError::new(format!("{error}; {lacking}"))),
            },
            Err(error) => Err(error.into()),
        }
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::new("/proc", "/sys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERFMON: u64 = 1 << 38;
    const NEEDED: [Capability; 2] = [Capability::Perfmon, Capability::SysAdmin];

    fn with(bits: u64) -> Environment {
        Environment::default().with_session_capabilities(Capabilities::from_bits(bits))
    }

    fn refusal(errno: i32) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn a_refusal_counts_only_where_a_session_would_be_refused_too() {
        for errno in [1, 13] {
            assert_eq!(with(PERFMON).judge(refusal(errno), &NEEDED), Ok(None));
            let lacking = with(!PERFMON & !(1 << 21)).judge(refusal(errno), &NEEDED).unwrap_err();
            assert!(lacking.message().contains("it takes CAP_PERFMON or CAP_SYS_ADMIN"), "{lacking}");
        }
        assert!(
            with(u64::MAX).judge(refusal(38), &NEEDED).unwrap_err().message().contains("not implemented")
        );
        assert_eq!(with(0).judge(Ok(7), &NEEDED), Ok(Some(7)));
    }

    #[test]
    fn a_host_that_does_not_tell_is_an_older_one() {
        let older: Environment = serde_json::from_str(r#"{"procfs":"/proc","sysfs":"/sys"}"#).unwrap();
        assert_eq!(older, Environment::default());
        let newer =
            r#"{"procfs":"/proc","sysfs":"/sys","session_capabilities":274877906944,"weather":"fair"}"#;
        assert_eq!(serde_json::from_str::<Environment>(newer).unwrap(), with(PERFMON));
    }

    #[test]
    fn hosts_are_asked_for_extensions_by_id() {
        let text =
            r#"{"procfs":"/p","sysfs":"/s","host":{"version":"1.3.0","extensions":["clear"],"name":"x"}}"#;
        let environment: Environment = serde_json::from_str(text).unwrap();
        assert_eq!(environment.host, HostInfo::new("1.3.0", ["clear"]));
        assert!(environment.host.offers("clear") && !environment.host.offers("cgroups"));
        let without: Environment = serde_json::from_str(r#"{"procfs":"/p","sysfs":"/s","host":{}}"#).unwrap();
        assert_eq!(without.host, HostInfo::default());
    }
}
