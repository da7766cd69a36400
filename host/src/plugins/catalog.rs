//! All plugins and their hooks.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use trace_hook_api::{Environment, HookInfo, PluginInfo, abi::LoadedPlugin};

use super::{PluginFile, directory, rules};
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::worker::{Answer, Confinement, Orphan, Worker, within};

/// How long a plugin may take to say what it is.
const DISCOVERY_LIMIT: Duration = Duration::from_secs(2);

/// The plugins that are there.
pub struct Catalog {
    /// In the order in which they own hooks: by directory, then by file name.
    pub plugins: Vec<KnownPlugin>,
    /// What is wrong with the others.
    pub complaints: Vec<Error>,
    /// Have nothing to do any more. Their end is not waited for before the answer is given.
    workers: Vec<Worker>,
}

/// A plugin that has said what it is.
pub struct KnownPlugin {
    pub file: PluginFile,
    pub info: PluginInfo,
    /// For each hook the reason why it cannot run here. Empty where that was not asked.
    unavailable: Vec<Option<String>>,
}

/// A hook of a plugin.
#[derive(Clone, Copy)]
pub struct KnownHook<'a> {
    pub plugin: &'a KnownPlugin,
    pub info: &'a HookInfo,
    /// Why it cannot run here.
    pub unavailable: Option<&'a str>,
    /// The plugin that owns the name.
    pub shadowed_by: Option<&'a str>,
}

/// A hook that is about to be run.
pub struct RunnableHook {
    /// A copy, which does not keep anybody from replacing the plugin meanwhile.
    pub plugin: PluginFile,
    pub info: HookInfo,
}

impl KnownHook<'_> {
    /// Whether a user can run it by its name.
    pub fn is_callable(&self) -> bool {
        self.unavailable.is_none() && self.shadowed_by.is_none()
    }

    fn complaint(&self) -> Option<Error> {
        let hook = self.info.name.clone();
        match (self.shadowed_by, self.unavailable) {
            (Some(owner), _) => {
                Some(Error::Hidden { plugin: self.plugin.file.name.clone(), hook, owner: owner.to_owned() })
            }
            (None, Some(reason)) => Some(Error::Unavailable { hook, reason: reason.to_owned() }),
            (None, None) => None,
        }
    }
}

impl Catalog {
    /// Asks every plugin what it is, all at the same time; with an environment, also which of its hooks can run there.
    ///
    /// # Errors
    ///
    /// A signal came. What is wrong with a plugin is a complaint.
    pub fn load(
        directories: &[PathBuf],
        probe_in: Option<&Environment>,
        interrupts: &Interrupts,
    ) -> Result<Self> {
        let mut catalog = Self { plugins: Vec::new(), complaints: Vec::new(), workers: Vec::new() };
        let files = catalog.read_files(directories);
        let deadline = within(DISCOVERY_LIMIT);
        let workers: Vec<Result<Worker>> = files.iter().map(|file| inspect(file, probe_in)).collect();
        for (file, worker) in files.into_iter().zip(workers) {
            let known = worker.and_then(|mut worker| {
                let known = KnownPlugin::ask(file, &mut worker, deadline, interrupts);
                catalog.workers.push(worker);
                known
            });
            match known {
                Ok(plugin) => catalog.plugins.push(plugin),
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => catalog.complaints.push(error),
            }
        }
        Ok(catalog)
    }

    /// The hook of this name, taken out to be run: nothing else is kept open.
    ///
    /// # Errors
    ///
    /// There is none, or there is no memory for its code.
    pub fn into_hook(mut self, name: &str) -> Result<RunnableHook> {
        let hook = self.hook(name)?;
        let info = hook.info.clone();
        let plugin = hook.plugin.file.path.clone();
        let position = self.plugins.iter().position(|known| known.file.path == plugin);
        let known = self.plugins.swap_remove(position.unwrap_or_default());
        Ok(RunnableHook { plugin: known.file.copied()?, info })
    }

    /// The same plugins, none of whose hooks can run, for this reason.
    pub fn without_any_available(mut self, reason: &str) -> Self {
        for plugin in &mut self.plugins {
            plugin.unavailable = vec![Some(reason.to_owned()); plugin.info.hooks.len()];
        }
        self
    }

    fn read_files(&mut self, directories: &[PathBuf]) -> Vec<PluginFile> {
        let mut files = Vec::new();
        for directory in directories {
            match directory::plugin_paths(directory) {
                Ok(paths) => files.extend(paths.iter().map(|path| PluginFile::open(path))),
                Err(error) => self.complaints.push(error),
            }
        }
        let mut good: Vec<PluginFile> = Vec::new();
        for file in files {
            match file {
                Ok(file) => match good.iter().find(|other| other.name == file.name) {
                    // So that PLUGIN/HOOK always names one exactly.
                    Some(other) => self.complaints.push(file.same_name_as(other)),
                    None => good.push(file),
                },
                Err(error) => self.complaints.push(error),
            }
        }
        good
    }

    /// All hooks, sorted by name.
    pub fn hooks(&self) -> Vec<KnownHook<'_>> {
        let mut hooks: Vec<KnownHook<'_>> = Vec::new();
        for mut hook in self.plugins.iter().flat_map(KnownPlugin::hooks) {
            let owner = hooks.iter().find(|owner| owner.info.name == hook.info.name);
            hook.shadowed_by = owner.map(|owner| owner.plugin.file.name.as_str());
            hooks.push(hook);
        }
        // A stable sort: of one name, the owner stays first.
        hooks.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        hooks
    }

    /// Everything that a user should know beside the list of hooks.
    pub fn remarks(&self) -> Vec<String> {
        let about_hooks: Vec<Error> = self.hooks().iter().filter_map(KnownHook::complaint).collect();
        self.complaints.iter().chain(&about_hooks).flat_map(Error::lines).collect()
    }

    /// The hook of this name, or of this `PLUGIN/HOOK`.
    ///
    /// # Errors
    ///
    /// There is none; the message names the nearest.
    pub fn hook(&self, name: &str) -> Result<KnownHook<'_>> {
        let hooks = self.hooks();
        let found = hooks.iter().find(|hook| match name.split_once('/') {
            Some((plugin, name)) => hook.plugin.file.name == plugin && hook.info.name == name,
            None => hook.info.name == name,
        });
        found
            .copied()
            .ok_or_else(|| Error::UnknownHook { hook: name.to_owned(), hint: self.hint(name, &hooks) })
    }

    fn hint(&self, name: &str, hooks: &[KnownHook<'_>]) -> String {
        let likeness = |hook: &&KnownHook<'_>| (strsim::jaro(name, &hook.info.name) * 1000.0) as u32;
        match hooks.iter().max_by_key(likeness) {
            Some(hook) if likeness(&hook) > 750 => format!("; did you mean '{}'?", hook.info.name),
            Some(_) => "; see --get-all".to_owned(),
            None => match self.complaints.first() {
                Some(complaint) => format!("; there are no hooks: {complaint}"),
                None => "; there are no hooks".to_owned(),
            },
        }
    }
}

impl KnownPlugin {
    fn ask(
        file: PluginFile,
        worker: &mut Worker,
        deadline: Instant,
        interrupts: &Interrupts,
    ) -> Result<Self> {
        match worker.answer(deadline, interrupts) {
            Ok(Answer::Inspected { info, unavailable }) => match rules::check(&info) {
                Ok(()) => Ok(Self { file, info, unavailable }),
                Err(problem) => Err(Error::Plugin { plugin: file.name, problem }),
            },
            Ok(answer) => {
                Err(Error::Plugin { plugin: file.name, problem: format!("it answered with {answer:?}") })
            }
            Err(Error::Hook { hook, error }) => {
                Err(Error::Plugin { plugin: hook, problem: error.to_string() })
            }
            Err(error) => Err(error),
        }
    }

    fn hooks(&self) -> impl Iterator<Item = KnownHook<'_>> {
        self.info.hooks.iter().enumerate().map(|(index, info)| KnownHook {
            plugin: self,
            info,
            unavailable: self.unavailable.get(index).and_then(Option::as_deref),
            shadowed_by: None,
        })
    }
}

fn inspect(file: &PluginFile, probe_in: Option<&Environment>) -> Result<Worker> {
    Worker::start(file, "say what it is", Orphan::Dies, Confinement::Discovery, &[], |plugin, _| {
        let info = plugin.describe()?;
        let unavailable = probe_in.map(|environment| probe_all(plugin, &info, environment));
        Ok(Answer::Inspected { info, unavailable: unavailable.unwrap_or_default() })
    })
}

fn probe_all(plugin: &LoadedPlugin, info: &PluginInfo, environment: &Environment) -> Vec<Option<String>> {
    let reason = |hook: &HookInfo| plugin.probe(&hook.name, environment).err().map(|error| error.to_string());
    info.hooks.iter().map(reason).collect()
}
