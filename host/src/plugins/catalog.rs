//! All plugins and their hooks.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use trace_hook_api::{Environment, HookInfo, PluginInfo};

use super::hook_name::HookName;
use super::inspection::{self, Aspects, Inspected};
use super::{PluginFile, Trust, directory, rules};
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::worker::Worker;
use crate::worker::protocol::{InspectedHook, Inspection};

/// The plugins in the plugin directories.
pub struct Catalog {
    /// In the order in which they own hooks: by directory, then by file name.
    pub plugins: Vec<KnownPlugin>,
    /// Why the other plugins cannot be used.
    pub complaints: Vec<Error>,
    /// Workers that have finished. Their exit is not awaited.
    workers: Vec<Worker>,
}

/// A plugin that was described.
pub struct KnownPlugin {
    pub file: PluginFile,
    pub info: PluginInfo,
    /// For each hook, the reason why it cannot run here. Empty if the hooks were not probed.
    unavailable: Vec<Option<String>>,
    /// For each hook, its position in the plugin, which may also have hooks that cannot be used.
    positions: Vec<u32>,
    /// The hooks whose description breaks a rule.
    rejected: Vec<RejectedHook>,
}

/// A hook that breaks a rule.
struct RejectedHook {
    name: String,
    problem: String,
}

/// A hook of a plugin.
#[derive(Clone, Copy)]
pub struct KnownHook<'a> {
    pub plugin: &'a KnownPlugin,
    pub info: &'a HookInfo,
    /// Its position in the plugin.
    pub position: u32,
    /// Why it cannot run here.
    pub unavailable: Option<&'a str>,
    /// The plugin that owns the name.
    pub shadowed_by: Option<&'a str>,
}

/// A hook that is about to be run.
pub struct RunnableHook {
    /// A copy, so that the plugin can be replaced in the meantime.
    pub plugin: PluginFile,
    pub info: HookInfo,
    /// Its position in the plugin.
    pub position: u32,
}

impl KnownHook<'_> {
    /// Returns whether a user can run it by its name.
    pub fn is_callable(&self) -> bool {
        self.unavailable.is_none() && self.shadowed_by.is_none()
    }

    fn complaint(&self) -> Option<Error> {
        let (plugin, hook) = (self.plugin.file.name.clone(), self.info.name.clone());
        match (self.shadowed_by, self.unavailable) {
            (Some(owner), _) => Some(Error::Hidden { plugin, hook, owner: owner.to_owned() }),
            (None, Some(reason)) => Some(Error::Unavailable { plugin, hook, reason: reason.to_owned() }),
            (None, None) => None,
        }
    }
}

impl Catalog {
    /// Describes all plugins in parallel. With an environment, also probes their hooks in it.
    ///
    /// # Errors
    ///
    /// A signal was received. A faulty plugin is not an error; the reason is in `complaints`.
    pub fn load(
        directories: &[PathBuf],
        trust: Trust,
        probe_in: Option<&Environment>,
        interrupts: &Interrupts,
    ) -> Result<Self> {
        let mut catalog = Self { plugins: Vec::new(), complaints: Vec::new(), workers: Vec::new() };
        let files = catalog.read_files(directories, trust);
        catalog.take_all(inspection::inspect(
            files,
            Aspects { probe_in, events_of: None },
            |_| false,
            interrupts,
        )?);
        Ok(catalog)
    }

    /// Describes plugins until the owner of this hook is known: all of them for a name without its prefix, which another hook may
    /// have as its whole name. With an environment, also probes their hooks in it.
    ///
    /// # Errors
    ///
    /// A signal was received. A fault of a plugin is not an error, but a complaint.
    pub fn load_for(
        hook: &str,
        directories: &[PathBuf],
        trust: Trust,
        probe_in: Option<&Environment>,
        interrupts: &Interrupts,
    ) -> Result<Self> {
        let mut catalog = Self { plugins: Vec::new(), complaints: Vec::new(), workers: Vec::new() };
        let mut files = catalog.read_files(directories, trust);
        let name = HookName::of(hook);
        if files.iter().any(|file| name.may_be_of(&file.name)) {
            files.retain(|file| name.may_be_of(&file.name));
        }
        let has_hook = |inspection: &Inspection| name.is_in(inspection);
        let aspects = Aspects { probe_in, events_of: Some(name) };
        catalog.take_all(inspection::inspect(files, aspects, has_hook, interrupts)?);
        Ok(catalog)
    }

    fn take_all(&mut self, inspected: Vec<Inspected>) {
        for Inspected { file, result, worker } in inspected {
            match result.and_then(|inspection| KnownPlugin::new(file, inspection)) {
                Ok((plugin, faults)) => {
                    self.plugins.push(plugin);
                    self.complaints.extend(faults);
                }
                Err(error) => self.complaints.push(error),
            }
            self.workers.extend(worker);
        }
    }

    /// Returns the hook of this name in order to run it. Everything else is closed.
    ///
    /// # Errors
    ///
    /// There is no such hook, or no memory for its code.
    pub fn into_hook(mut self, name: &str) -> Result<RunnableHook> {
        let hook = self.hook(name)?;
        let (info, position) = (hook.info.clone(), hook.position);
        let plugin = hook.plugin.file.path.clone();
        let owner = self.plugins.iter().position(|known| known.file.path == plugin);
        let known = self.plugins.swap_remove(owner.unwrap_or_default());
        Ok(RunnableHook { plugin: known.file.copied()?, info, position })
    }

    /// Marks all hooks as unavailable, for this reason.
    pub fn without_any_available(mut self, reason: &str) -> Self {
        for plugin in &mut self.plugins {
            plugin.unavailable = vec![Some(reason.to_owned()); plugin.info.hooks.len()];
        }
        self
    }

    fn read_files(&mut self, directories: &[PathBuf], trust: Trust) -> Vec<PluginFile> {
        let mut paths = Vec::new();
        for directory in directories {
            match directory::plugin_paths(directory) {
                Ok(found) => paths.extend(found),
                Err(error) => self.complaints.push(error),
            }
        }
        let mut files: Vec<PluginFile> = Vec::new();
        for path in paths {
            match PluginFile::open(&path, trust) {
                // The file was removed after the directory was read.
                Err(_) if is_gone(&path) => {}
                Ok(file) => match files.iter().find(|other| other.name == file.name) {
                    // PLUGIN/HOOK must be unambiguous.
                    Some(other) => self.complaints.push(file.same_name_as(other)),
                    None => files.push(file),
                },
                Err(error) => self.complaints.push(error),
            }
        }
        files
    }

    /// Returns all hooks, sorted by name.
    pub fn hooks(&self) -> Vec<KnownHook<'_>> {
        let mut hooks: Vec<KnownHook<'_>> = Vec::new();
        for mut hook in self.plugins.iter().flat_map(KnownPlugin::hooks) {
            let owner = hooks.iter().find(|owner| owner.info.name == hook.info.name);
            hook.shadowed_by = owner.map(|owner| owner.plugin.file.name.as_str());
            hooks.push(hook);
        }
        // The sort is stable: among hooks of one name, the owner stays first.
        hooks.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        hooks
    }

    /// Returns the lines to print on standard error with the names of the hooks that can run.
    pub fn remarks(&self) -> Vec<String> {
        let about_hooks: Vec<Error> = self.hooks().iter().filter_map(KnownHook::complaint).collect();
        self.remarks_about_plugins().into_iter().chain(about_hooks.iter().flat_map(Error::lines)).collect()
    }

    /// The same with a list that has the reason of each hook that cannot run.
    pub fn remarks_about_plugins(&self) -> Vec<String> {
        let about_plugins: Vec<Error> = self.plugins.iter().filter_map(KnownPlugin::complaint).collect();
        self.complaints.iter().chain(&about_plugins).flat_map(Error::lines).collect()
    }

    /// Returns the hook of this name, or of this `PLUGIN/HOOK`. If there is none, the prefix `trace_` may be missing.
    ///
    /// # Errors
    ///
    /// There is no such hook. The message suggests the most similar name.
    pub fn hook(&self, name: &str) -> Result<KnownHook<'_>> {
        let hooks = self.hooks();
        let wanted = HookName::of(name);
        let of_plugin = || hooks.iter().filter(|known| wanted.may_be_of(&known.plugin.file.name));
        let exact = of_plugin().find(|known| known.info.name == wanted.hook);
        if let Some(found) =
            exact.or_else(|| of_plugin().find(|known| wanted.omits_prefix_of(&known.info.name)))
        {
            return Ok(*found);
        }
        let matches =
            |known: &KnownPlugin, name: &str| wanted.may_mean(name) && wanted.may_be_of(&known.file.name);
        let rejected =
            self.plugins.iter().flat_map(|plugin| plugin.rejected.iter().map(move |hook| (plugin, hook)));
        match rejected.into_iter().find(|(plugin, hook)| matches(plugin, &hook.name)) {
            Some((plugin, hook)) => Err(plugin.problem(hook.to_string())),
            None => Err(self.no_such_hook(name, wanted.plugin, &hooks)),
        }
    }

    /// If a plugin that cannot be used may have the hook, the error reports why it cannot be used.
    fn no_such_hook(&self, name: &str, plugin: Option<&str>, hooks: &[KnownHook<'_>]) -> Error {
        let faults = self.complaints.iter().filter(|complaint| match (plugin, complaint.plugin()) {
            (Some(wanted), Some(faulty)) => wanted == faulty,
            (Some(_), None) => false,
            (None, _) => true,
        });
        let faults: Vec<&Error> = faults.collect();
        if let Some(error) = faults.iter().find_map(|fault| owner_not_inspected(name, plugin, fault)) {
            return error;
        }
        let faults: Vec<String> = faults.into_iter().flat_map(Error::lines).collect();
        let nearest = nearest(HookName::of(name), hooks);
        let is_similar = faults.is_empty() && nearest.is_some();
        let hint = match (faults.as_slice(), nearest) {
            ([], Some(near)) => format!("; did you mean '{near}'?"),
            ([], None) if hooks.is_empty() => "; there are no hooks".to_owned(),
            ([], None) => "; see --list".to_owned(),
            ([fault], _) => format!("; it may be one that cannot be used: {fault}"),
            ([fault, others @ ..], _) => {
                let count = others.len();
                format!("; it may be one that cannot be used: {fault} (and {count} more, see --list)")
            }
        };
        Error::UnknownHook { hook: name.to_owned(), hint, is_similar }
    }
}

/// The error of a plugin that may have the hook of this name, but could not be inspected. One that cannot be used for another
/// reason, such as its owner, counts only if it is named.
fn owner_not_inspected(hook: &str, named: Option<&str>, fault: &Error) -> Option<Error> {
    let (plugin, problem) = match fault {
        Error::NotInspected { plugin, problem } => (plugin, problem),
        Error::Plugin { plugin, problem } if named.is_some() => (plugin, problem),
        _ => return None,
    };
    Some(Error::OwnerNotInspected { hook: hook.to_owned(), plugin: plugin.clone(), problem: problem.clone() })
}

/// Returns the most similar name, if any is similar.
fn nearest<'a>(name: HookName<'a>, hooks: &[KnownHook<'a>]) -> Option<&'a str> {
    let names = || hooks.iter().map(|hook| name.in_same_form(&hook.info.name));
    let similarity = |other: &&str| (strsim::jaro(name.hook, other) * 1000.0) as u32;
    names().max_by_key(similarity).filter(|nearest| similarity(nearest) > 750)
}

impl KnownPlugin {
    /// Returns the plugin, and the faults of hooks that could not be described.
    fn new(file: PluginFile, inspection: Inspection) -> Result<(Self, Vec<Error>)> {
        let Inspection { plugin: info, hooks } = inspection;
        if let Err(problem) = rules::check_plugin(&info, hooks.len()) {
            return Err(Error::Plugin { plugin: file.name, problem });
        }
        let mut known =
            Self { file, info, unavailable: Vec::new(), positions: Vec::new(), rejected: Vec::new() };
        let mut faults = Vec::new();
        for (position, hook) in (0..).zip(hooks) {
            match hook {
                Ok(hook) => known.take(position, hook),
                Err(reason) => faults.push(Error::NotInspected {
                    plugin: known.file.name.clone(),
                    problem: format!("hook number {}: {reason}", position + 1),
                }),
            }
        }
        Ok((known, faults))
    }

    fn take(&mut self, position: u32, hook: InspectedHook) {
        let InspectedHook { info, unavailable } = hook;
        match rules::check_hook(&info, &self.info.hooks) {
            Ok(()) => {
                self.info.hooks.push(info);
                self.unavailable.push(unavailable);
                self.positions.push(position);
            }
            Err(problem) => self.rejected.push(RejectedHook { name: info.name, problem }),
        }
    }

    /// Returns one error, whatever the number of rejected hooks.
    fn complaint(&self) -> Option<Error> {
        let first = self.rejected.first()?;
        Some(self.problem(match self.rejected.len() - 1 {
            0 => first.to_string(),
            1 => format!("{first} (and so is another)"),
            more => format!("{first} (and so are {more} others)"),
        }))
    }

    fn problem(&self, problem: String) -> Error {
        Error::Plugin { plugin: self.file.name.clone(), problem }
    }

    fn hooks(&self) -> impl Iterator<Item = KnownHook<'_>> {
        self.info.hooks.iter().enumerate().map(|(index, info)| KnownHook {
            plugin: self,
            info,
            position: self.positions.get(index).copied().unwrap_or_default(),
            unavailable: self.unavailable.get(index).and_then(Option::as_deref),
            shadowed_by: None,
        })
    }
}

impl fmt::Display for RejectedHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its hook {:?} is left out: {}", rules::shortened(&self.name), self.problem)
    }
}

fn is_gone(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}
