//! The host's side of the interface: a safe wrapper of a loaded plugin's tables.

use std::fmt;
use std::os::fd::RawFd;

use abi_stable::library::{AbiHeader, AbiHeaderRef, LibHeader, LibraryError};
use abi_stable::std_types::{RResult, RStr, RString};
use log::Level;
use serde::Serialize;

use super::tables::{DESCRIBE_HOOK, DescribeHook, HostTable, PluginTableRef, SessionBox};
use crate::{Environment, HookError, LineBuffer, PluginInfo, Progress, Request, Result, Stats};

/// The symbol that makes a shared library a plugin.
pub const SYMBOL: &str = "_1as_0lib_1header_0root_bmodule_bloader";

/// In bytes. Hundreds of hooks with many parameters and events fit.
const LONGEST_DESCRIPTION: usize = 4 << 20;
/// In bytes, of an error or a log message.
const LONGEST_MESSAGE: usize = 64 << 10;

/// A plugin in this process.
pub struct LoadedPlugin {
    table: PluginTableRef,
    /// The version of this crate in the plugin's header, which was checked when the plugin was loaded.
    api_version: String,
}

/// Why a library with the right symbol cannot be used as a plugin.
#[derive(Debug, Clone)]
pub struct LoadError {
    /// The version of this crate that the plugin was built against, if known.
    pub plugin_api: Option<String>,
    /// The reason, in a few words.
    pub obstacle: String,
    /// A detailed description of the difference. It may be long.
    pub details: String,
}

impl LoadedPlugin {
    /// Returns the plugin with this header, if its tables have the same layout as the host's.
    ///
    /// # Safety
    ///
    /// `header` must be the address of [`SYMBOL`] in a library that is never unloaded.
    ///
    /// # Errors
    ///
    /// The plugin was built against an incompatible interface.
    pub unsafe fn from_header(header: *const ()) -> Result<Self, LoadError> {
        // SAFETY: `AbiHeaderRef` is a transparent reference to the header that every library with this symbol begins
        // with (the caller's promise); `upgrade` checks its magic string before anything else is looked at.
        let header: AbiHeaderRef = unsafe { std::mem::transmute(header) };
        let header = header.upgrade().map_err(|error| LoadError::new(None, &error))?;
        let table = header
            .init_root_module::<PluginTableRef>()
            .map_err(|error| LoadError::new(Some(header), &error))?;
        Ok(Self { table, api_version: header.version_strings().version.to_string() })
    }

    /// Connects the plugin's logger to the host's.
    pub fn attach(&self) {
        let max_level = log::max_level() as usize;
        (self.table.attach())(HostTable { log: log_for_plugin, max_level, extension: no_extension });
    }

    /// Describes the plugin.
    ///
    /// # Errors
    ///
    /// The plugin panicked, or its description is not valid.
    pub fn describe(&self) -> Result<PluginInfo> {
        self.with_checked_version(parsed(checked((self.table.describe())())?))
    }

    /// Describes the plugin with only the hook at this position, or with none past the last.
    ///
    /// `None` means that the plugin cannot describe single hooks: use [`describe`](Self::describe).
    ///
    /// # Errors
    ///
    /// The hook panicked, or its description is not valid.
    pub fn describe_hook(&self, position: usize) -> Option<Result<PluginInfo>> {
        let address = (self.table.extension())(RStr::from(DESCRIBE_HOOK));
        if address.is_null() {
            return None;
        }
        // SAFETY: the interface fixes the type of what a plugin returns for this id, and a plugin is never unloaded.
        let describe_hook = unsafe { std::mem::transmute::<*const (), DescribeHook>(address) };
        Some(self.with_checked_version(checked(describe_hook(position)).and_then(parsed)))
    }

    /// The header has the version that was checked; a description may repeat another one.
    fn with_checked_version(&self, info: Result<PluginInfo>) -> Result<PluginInfo> {
        info.map(|info| PluginInfo { api_version: self.api_version.clone(), ..info })
    }

    /// Checks whether the hook of this name can run in this environment.
    ///
    /// # Errors
    ///
    /// The reason why it cannot run.
    pub fn probe(&self, hook: &str, environment: &Environment) -> Result<()> {
        checked((self.table.probe())(hook.into(), RStr::from(json(environment)?.as_str())))
    }

    /// Starts a session.
    ///
    /// # Errors
    ///
    /// The reason why it could not be started.
    pub fn start(&self, request: &Request) -> Result<LoadedSession> {
        let session = checked((self.table.start())(RStr::from(json(request)?.as_str())))?;
        Ok(LoadedSession { session })
    }

    /// Removes the remains of dead sessions.
    ///
    /// # Errors
    ///
    /// What could not be removed, and why.
    pub fn sweep(&self, environment: &Environment) -> Result<()> {
        checked((self.table.sweep())(RStr::from(json(environment)?.as_str())))
    }

    /// Resets the trace sub-system.
    ///
    /// # Errors
    ///
    /// What could not be reset, and why.
    pub fn reset(&self, environment: &Environment) -> Result<()> {
        checked((self.table.reset())(RStr::from(json(environment)?.as_str())))
    }
}

/// A session of a loaded plugin. See [`Session`](crate::Session).
pub struct LoadedSession {
    session: SessionBox,
}

impl LoadedSession {
    /// Fills `lines` up to its room with text, and with the entries and losses that describe it.
    ///
    /// # Errors
    ///
    /// The session failed, or its entries do not describe its text. Then nothing is appended.
    pub fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        checked(self.session.read(lines.room()))?.take(lines)
    }

    /// Returns a descriptor that polls as readable when there are lines. It is open until the session is closed.
    ///
    /// # Errors
    ///
    /// The session failed.
    pub fn wakes(&self) -> Result<Option<RawFd>> {
        Ok(checked(self.session.wakes())?)
            .map(|descriptor| Some(descriptor).filter(|descriptor| *descriptor >= 0))
    }

    /// Stops recording.
    ///
    /// # Errors
    ///
    /// The session failed.
    pub fn stop(&mut self) -> Result<()> {
        checked(self.session.stop())
    }

    /// Returns how many events were recorded and lost so far.
    ///
    /// # Errors
    ///
    /// The session failed, or its reply is not valid.
    pub fn stats(&self) -> Result<Stats> {
        let json = utf8(checked(self.session.stats())?)?;
        serde_json::from_str(&json)
            .map_err(|error| HookError::new(format!("the session's stats are not valid: {error}")))
    }

    /// Removes what the session created.
    ///
    /// # Errors
    ///
    /// What could not be removed, and why.
    pub fn close(&mut self) -> Result<()> {
        checked(self.session.close())
    }
}

impl LoadError {
    fn new(header: Option<&LibHeader>, error: &LibraryError) -> Self {
        let plugin_api = header.map(|header| header.version_strings().version.to_string());
        let ours = crate::VERSION;
        let obstacle = match (error, &plugin_api) {
            (LibraryError::InvalidAbiHeader(theirs), _) => abi_obstacle(theirs),
            (LibraryError::InvalidCAbi { .. }, _) => "it has another C calling convention".to_owned(),
            (LibraryError::RootModule { .. }, _) => "its constructor failed".to_owned(),
            (LibraryError::IncompatibleVersionNumber { .. }, Some(theirs)) => {
                format!("it was built against trace-hook-api {theirs}, this manager uses {ours}")
            }
            (_, Some(theirs)) => format!(
                "its interface is called trace-hook-api {theirs}, but differs from this manager's {ours}"
            ),
            (_, None) => "it was built against an unknown interface".to_owned(),
        };
        Self { plugin_api, obstacle, details: error.to_string() }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; rebuild it against trace-hook-api {}", self.obstacle, crate::VERSION)
    }
}

impl std::error::Error for LoadError {}

/// Describes the difference to the header of another version of `abi_stable`.
fn abi_obstacle(theirs: &AbiHeader) -> String {
    let ours = AbiHeader::VALUE;
    match theirs.magic_string == ours.magic_string {
        true => format!(
            "it was built with abi_stable {}.{}, this manager with {}.{}",
            theirs.abi_major, theirs.abi_minor, ours.abi_major, ours.abi_minor
        ),
        false => "it has no header of abi_stable".to_owned(),
    }
}

fn checked<T>(result: RResult<T, RString>) -> Result<T> {
    result.into_result().map_err(|json| {
        let error = utf8(json).and_then(|json| Ok(serde_json::from_str::<HookError>(&json)?));
        let error =
            error.unwrap_or_else(|problem| HookError::new(format!("its error is not valid: {problem}")));
        error.shortened_to(LONGEST_MESSAGE)
    })
}

fn parsed(info: RString) -> Result<PluginInfo> {
    let json = utf8(info)?;
    if json.len() > LONGEST_DESCRIPTION {
        let length = json.len();
        return Err(HookError::new(format!(
            "its description has {length} bytes; at most {LONGEST_DESCRIPTION} are allowed"
        )));
    }
    serde_json::from_str(&json)
        .map_err(|error| HookError::new(format!("its description is not valid: {error}")))
}

/// Checks a text of the plugin, which may have written any bytes into it.
fn utf8(text: RString) -> Result<String> {
    String::from_utf8(text.into_bytes().into_vec()).map_err(|_| HookError::new("its reply is not UTF-8"))
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

extern "C" fn log_for_plugin(level: usize, message: RStr<'_>) {
    let level = Level::iter().find(|known| *known as usize == level).unwrap_or(Level::Trace);
    let message = String::from_utf8_lossy(message.as_str().as_bytes());
    let (message, _) = message.split_at(message.floor_char_boundary(LONGEST_MESSAGE));
    log::log!(target: "plugin", level, "{message}");
}

extern "C" fn no_extension(_id: RStr<'_>) -> *const () {
    std::ptr::null()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbol_is_that_of_abi_stable() {
        assert_eq!(SYMBOL, abi_stable::library::ROOT_MODULE_LOADER_NAME);
    }
}
