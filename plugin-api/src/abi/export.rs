//! The plugin's side: the functions of the tables call the author's traits.

use std::io::Write;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RResult, RStr, RString};
use log::{LevelFilter, Log, Metadata, Record};
use serde::de::DeserializeOwned;

use super::chunk::Chunk;
use super::panics;
use super::tables::object::SessionObject;
use super::tables::{
    DESCRIBE_HOOK, DescribeHook, Header, HostTable, PluginTable, PluginTableRef, SessionBox,
};
use crate::{
    EventInfo, Format, Hook, HookError, LineBuffer, PluginDefinition, PluginInfo, Progress, Result, Session,
    Stats, check_json_line,
};

/// The header that a plugin exports under [`SYMBOL`](super::SYMBOL).
pub const fn export<D: PluginDefinition>() -> Header {
    // SAFETY: `Shims::<D>::module` returns a `PluginTableRef`, which is the type named here.
    unsafe { Header::from_constructor::<PluginTableRef>(Shims::<D>::module, CheckTypeLayout::Yes) }
}

/// The functions of [`PluginTable`] for one plugin.
struct Shims<D>(PhantomData<D>);

impl<D: PluginDefinition> Shims<D> {
    extern "C" fn module() -> RootModuleResult {
        __call_root_module_loader(Self::table)
    }

    fn table() -> PluginTableRef {
        PluginTable {
            attach: Self::attach,
            describe: Self::describe,
            probe: Self::probe,
            start: Self::start,
            sweep: Self::sweep,
            reset: Self::reset,
            extension: Self::extension,
        }
        .leak_into_prefix()
    }

    extern "C" fn attach(host: HostTable) {
        let forwarder = Box::leak(Box::new(Forwarder(host)));
        // After a second `attach`, the logger of the first stays in place and does the same.
        if log::set_logger(forwarder).is_ok() {
            log::set_max_level(LevelFilter::iter().nth(host.max_level).unwrap_or(LevelFilter::Trace));
        }
        panics::record_locations();
    }

    extern "C" fn describe() -> RResult<RString, RString> {
        guarded(|| {
            let hooks = D::PLUGIN.hooks.iter().map(|hook| hook.info()).collect();
            Ok(RString::from(serde_json::to_string(&PluginInfo::new(D::PLUGIN.version, hooks))?))
        })
    }

    extern "C" fn probe(hook: RStr<'_>, environment: RStr<'_>) -> RResult<(), RString> {
        guarded(|| Self::hook(hook.as_str())?.probe(&parsed(environment)?))
    }

    extern "C" fn start(request: RStr<'_>) -> RResult<SessionBox, RString> {
        guarded(|| {
            let mut request: crate::Request = parsed(request)?;
            let hook = Self::hook(&request.hook)?;
            let info = hook.info();
            request.arguments.declare(&info.params);
            let session = hook.start(&request)?;
            let lines = LineBuffer::default().in_format(request.format).in_view(&request.view);
            let guard = SessionGuard {
                session: Some(session),
                lines,
                events: info.events,
                has_view: !request.view.is_default(),
                failure: None,
            };
            Ok(SessionBox::from_value(guard, TD_Opaque))
        })
    }

    extern "C" fn sweep(environment: RStr<'_>) -> RResult<(), RString> {
        guarded(|| D::PLUGIN.cleanup.sweep(&parsed(environment)?))
    }

    extern "C" fn reset(environment: RStr<'_>) -> RResult<(), RString> {
        guarded(|| D::PLUGIN.cleanup.reset(&parsed(environment)?))
    }

    extern "C" fn extension(id: RStr<'_>) -> *const () {
        match id.as_str() {
            DESCRIBE_HOOK => {
                let describe_hook: DescribeHook = Self::describe_hook;
                describe_hook as *const ()
            }
            _ => std::ptr::null(),
        }
    }

    extern "C" fn describe_hook(position: usize) -> RResult<RString, RString> {
        guarded(|| {
            let info = D::PLUGIN.hooks.get(position).map(|hook| hook.info());
            if let Some(info) = &info {
                described().push((info.name.clone(), position));
            }
            let hooks = info.into_iter().collect();
            Ok(RString::from(serde_json::to_string(&PluginInfo::new(D::PLUGIN.version, hooks))?))
        })
    }

    fn hook(name: &str) -> Result<&'static dyn Hook> {
        let position = described().iter().find(|(known, _)| known == name).map(|(_, position)| *position);
        let hook = match position {
            Some(position) => D::PLUGIN.hooks.get(position),
            None => D::PLUGIN.hooks.iter().find(|hook| hook.info().name == name),
        };
        hook.copied().ok_or_else(|| HookError::new(format!("the plugin has no hook '{name}'")))
    }
}

/// The names and positions of the hooks that were described one by one. A library has one plugin.
fn described() -> MutexGuard<'static, Vec<(String, usize)>> {
    static DESCRIBED: Mutex<Vec<(String, usize)>> = Mutex::new(Vec::new());
    DESCRIBED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session behind the interface, and the lines of its last read.
struct SessionGuard {
    // `None` once it is closed.
    session: Option<Box<dyn Session>>,
    lines: LineBuffer,
    /// The descriptions of the lines, as they are without a view.
    events: Vec<EventInfo>,
    has_view: bool,
    /// The error of the last read, if that returned lines. The next read returns the error.
    failure: Option<RString>,
}

impl SessionGuard {
    /// Returns the result of a read. Lines that were pushed before an error are returned first, and the error by the next read.
    fn after_lines(&mut self, progress: RResult<Progress, RString>) -> RResult<Progress, RString> {
        let RResult::RErr(failure) = progress else { return progress };
        if self.lines.entries().is_empty() {
            return RResult::RErr(failure);
        }
        self.failure = Some(failure);
        RResult::ROk(Progress::More)
    }

    /// In debug builds, which tests use, each line in JSON is compared with its description.
    fn check_lines(&self) -> Result<(), RString> {
        if !cfg!(debug_assertions) || self.lines.format() != Format::Json || self.has_view {
            return Ok(());
        }
        let mut lines = self.lines.iter();
        let checked = lines.try_for_each(|(_, line)| {
            check_json_line(&self.events, line).map_err(|problem| {
                let line = String::from_utf8_lossy(line);
                HookError::new(format!(
                    "a line does not match its description: {problem}; in {}",
                    line.trim_end()
                ))
            })
        });
        checked.map_err(|error| as_json(&error))
    }

    fn session(&mut self) -> Result<&mut Box<dyn Session>> {
        self.session.as_mut().ok_or_else(|| HookError::new("the session is closed"))
    }
}

impl SessionObject for SessionGuard {
    fn read(&mut self, room: usize) -> RResult<Chunk<'_>, RString> {
        if let Some(failure) = self.failure.take() {
            return RResult::RErr(failure);
        }
        self.lines.reset(room);
        let progress = guarded(|| match self.session.as_mut() {
            Some(session) => session.read(&mut self.lines),
            None => Ok(Progress::Finished),
        });
        if let Err(error) = self.check_lines() {
            return RResult::RErr(error);
        }
        let progress = self.after_lines(progress);
        progress.map(|progress| Chunk::new(&self.lines, progress))
    }

    fn wakes(&self) -> RResult<i32, RString> {
        guarded(|| {
            let descriptor = self.session.as_ref().and_then(|session| session.wakes());
            Ok(descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd()))
        })
    }

    fn stop(&mut self) -> RResult<(), RString> {
        guarded(|| self.session()?.stop())
    }

    fn stats(&self) -> RResult<RString, RString> {
        guarded(|| {
            let stats = self.session.as_ref().map(|session| session.stats()).transpose()?;
            let stats = Stats { left_out: self.lines.left_out(), ..stats.unwrap_or_default() };
            Ok(RString::from(serde_json::to_string(&stats)?))
        })
    }

    fn close(&mut self) -> RResult<(), RString> {
        guarded(|| {
            let closed = self.session()?.close();
            self.session = None;
            closed
        })
    }

    fn extension(&self, _id: RStr<'_>) -> *const () {
        std::ptr::null()
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let session = self.session.take();
        if let RResult::RErr(error) = guarded(|| {
            drop(session);
            Ok(())
        }) {
            log::error!("cannot drop a session: {error}");
        }
    }
}

/// Calls a plugin's code. A panic becomes an error, and an error its JSON.
fn guarded<T>(call: impl FnOnce() -> Result<T>) -> RResult<T, RString> {
    let result = panics::caught(call);
    // Each library has its own buffer of standard output, and nothing else flushes it.
    let _ = std::io::stdout().flush();
    result.map_err(|error| as_json(&error)).into()
}

fn as_json(error: &HookError) -> RString {
    RString::from(serde_json::json!(error).to_string())
}

fn parsed<T: DeserializeOwned>(json: RStr<'_>) -> Result<T> {
    serde_json::from_str(json.as_str())
        .map_err(|error| HookError::new(format!("the host's request is not valid: {error}")))
}

/// The plugin's logger. It passes everything on to the host's.
struct Forwarder(HostTable);

impl Log for Forwarder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() as usize <= self.0.max_level
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            (self.0.log)(record.level() as usize, RStr::from(record.args().to_string().as_str()));
        }
    }

    fn flush(&self) {}
}
