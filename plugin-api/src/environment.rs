use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Capabilities, Capability, HookError, HostInfo, Result};

/// The kernel to trace, the privileges of a session, and the host.
///
/// A hook must use these paths and not `/proc` and `/sys`, which can be those of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Environment {
    /// The mount point of the host's procfs. Process ids are those of this procfs.
    pub procfs: PathBuf,
    /// The mount point of the host's sysfs.
    pub sysfs: PathBuf,
    /// The capabilities of a session. A probe has none, if the kernel lets the host drop them.
    ///
    /// `None`: they are not known, and a probe has those of a session.
    #[serde(default)]
    pub session_capabilities: Option<Capabilities>,
    /// The names of system calls that a seccomp profile forbids to a session, as far as the host knows.
    #[serde(default)]
    pub forbidden_calls: Vec<String>,
    /// The host that has loaded the plugin, and what it offers.
    #[serde(default)]
    pub host: HostInfo,
    /// The factor for time limits: more than 1 if the user or the host considers the machine to be slow.
    #[serde(default = "no_factor")]
    pub patience: u32,
}

impl Environment {
    /// Creates an environment with these mount points. A session has the capabilities of this process.
    pub fn new(procfs: impl Into<PathBuf>, sysfs: impl Into<PathBuf>) -> Self {
        Self {
            procfs: procfs.into(),
            sysfs: sysfs.into(),
            session_capabilities: None,
            forbidden_calls: Vec::new(),
            host: HostInfo::default(),
            patience: no_factor(),
        }
    }

    /// Sets the capabilities of a session.
    pub fn with_session_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.session_capabilities = Some(capabilities);
        self
    }

    /// Sets the system calls that are forbidden to a session.
    pub fn with_forbidden_calls(mut self, names: Vec<String>) -> Self {
        self.forbidden_calls = names;
        self
    }

    /// Sets the host.
    pub fn with_host(mut self, host: HostInfo) -> Self {
        self.host = host;
        self
    }

    /// Sets the factor for time limits.
    pub fn with_patience(mut self, factor: u32) -> Self {
        self.patience = factor;
        self
    }

    /// A time limit, multiplied by the factor.
    pub fn patient(&self, limit: Duration) -> Duration {
        limit.saturating_mul(self.patience)
    }

    /// Checks that a session has at least one of these capabilities.
    ///
    /// # Errors
    ///
    /// It has none of them. The message names them.
    pub fn check_any(&self, any_of: &[Capability]) -> Result<()> {
        let has = self.session_capabilities.unwrap_or_else(Capabilities::in_effect);
        if any_of.iter().any(|capability| has.contains(*capability)) {
            return Ok(());
        }
        let names: Vec<String> = any_of.iter().map(Capability::to_string).collect();
        Err(HookError::new(format!("a session needs {}", names.join(" or "))))
    }

    /// Whether the kernel is locked down for confidentiality (kernel_lockdown(7)): nothing may read its memory, so tracefs is
    /// empty, and eBPF programs cannot trace.
    pub fn is_confidential(&self) -> bool {
        match fs::read_to_string(self.sysfs.join("kernel/security/lockdown")) {
            Ok(mode) => mode.contains("[confidentiality]"),
            // securityfs is not mounted.
            Err(_) => self.has_empty_tracefs() || self.is_confidential_by_command_line(),
        }
    }

    /// Whether a tracefs without any file is mounted in its usual place.
    fn has_empty_tracefs(&self) -> bool {
        let point = self.sysfs.join("kernel/tracing");
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
        let is_mounted = device(&point).is_some_and(|inside| device(&self.sysfs) != Some(inside));
        let is_missing = |error: io::Error| error.kind() == ErrorKind::NotFound;
        is_mounted && fs::metadata(point.join("tracing_on")).is_err_and(is_missing)
    }

    fn is_confidential_by_command_line(&self) -> bool {
        let words = fs::read_to_string(self.procfs.join("cmdline")).unwrap_or_default();
        words.split_whitespace().any(|word| word == "lockdown=confidentiality")
    }

    /// Decides what the result of a system call in a probe means for a session. Any of these capabilities is enough for the call.
    ///
    /// A probe has no privileges, so the kernel can refuse it what a session may do. `None`: the call was refused, and a session
    /// has the privilege. The call may still fail for another reason then.
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
    /// The call failed for another reason, such as `ENOSYS`, or a session lacks the privilege, too.
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

fn no_factor() -> u32 {
    1
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
    fn refusal_is_an_error_only_if_a_session_would_be_refused() {
        for errno in [1, 13] {
            assert_eq!(with(PERFMON).judge(refusal(errno), &NEEDED), Ok(None));
            let lacking = with(!PERFMON & !(1 << 21)).judge(refusal(errno), &NEEDED).unwrap_err();
            assert!(lacking.message().contains("a session needs CAP_PERFMON or CAP_SYS_ADMIN"), "{lacking}");
        }
        assert!(
            with(u64::MAX).judge(refusal(38), &NEEDED).unwrap_err().message().contains("not implemented")
        );
        assert_eq!(with(0).judge(Ok(7), &NEEDED), Ok(Some(7)));
    }

    #[test]
    fn missing_and_unknown_fields_are_accepted() {
        let older: Environment = serde_json::from_str(r#"{"procfs":"/proc","sysfs":"/sys"}"#).unwrap();
        assert_eq!(older, Environment::default());
        let newer =
            r#"{"procfs":"/proc","sysfs":"/sys","session_capabilities":274877906944,"weather":"fair"}"#;
        assert_eq!(serde_json::from_str::<Environment>(newer).unwrap(), with(PERFMON));
    }

    #[test]
    fn time_limits_are_multiplied() {
        let second = Duration::from_secs(1);
        let patience = |text: &str| serde_json::from_str::<Environment>(text).unwrap().patient(second);
        assert_eq!(patience(r#"{"procfs":"/p","sysfs":"/s"}"#), second);
        assert_eq!(patience(r#"{"procfs":"/p","sysfs":"/s","patience":7}"#), 7 * second);
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
