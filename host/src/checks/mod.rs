//! `--check`: checks that a plugin keeps the rules of the plugin interface.
//!
//! Each check has a name and one finding. The plugin runs in workers, as for every other action, so a crash or a hang
//! is a finding too.

mod descriptions;
mod kernel_objects;
mod line_format;
mod process_resources;
mod report;
mod sessions;
mod stopwatch;
mod trial;
mod workload;

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use trace_hook_api::{Environment, ErrorKind, HookError, HookInfo, PluginInfo};

pub use report::Report;

use crate::environment;
use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::patience::patient;
use crate::plugins::{PluginFile, Trust, open_trusted, rules};
use crate::worker::protocol::{Answer, Finding};
use crate::worker::{Confinement, Orphan, Worker};

/// The time limit for every call into a plugin, except those of a session.
const LIMIT: Duration = Duration::from_secs(2);
/// The time limit for a probe. Discovery waits for the slowest one.
const PROBE_LIMIT: Duration = Duration::from_millis(500);

/// Checks the plugin in this file.
///
/// # Errors
///
/// The checks could not be performed. Their findings are in the report.
pub fn check(
    path: &Path,
    trust: Trust,
    environment: &Environment,
    interrupts: &Interrupts,
    report: &mut Report,
) -> Result<()> {
    let Some(plugin) = check_file(path, trust, report)? else {
        return report.skip(
            None,
            &["interface", "description", "constancy", "sweep"],
            "the plugin is not loaded",
        );
    };
    let mut examination = Examination { plugin, environment, interrupts, report, unavailable: 0 };
    let Some(info) = examination.check_description()? else {
        return examination.report.skip(None, &["sweep"], "the plugin could not be described");
    };
    examination.check_hooks(&info.hooks)?;
    if examination.unavailable == info.hooks.len() {
        return examination.report.skip(
            None,
            &["sweep"],
            "no hook can run here, so there is nothing to sweep",
        );
    }
    examination.check_sweep()
}

/// Checks what can be checked of the file without running any of its code.
fn check_file(path: &Path, trust: Trust, report: &mut Report) -> Result<Option<PluginFile>> {
    let code = match open_trusted(path, trust) {
        Ok(code) => code,
        Err(problem) => {
            report.add(None, "file", Finding::Failed(format!("{} {problem}", path.display())))?;
            report.skip(None, &["library"], "it cannot be read")?;
            return Ok(None);
        }
    };
    report.add(
        None,
        "file",
        match trust {
            Trust::Required => Finding::Ok("only root and you can change the file".to_owned()),
            Trust::Waived => {
                Finding::Skipped("--allow-untrusted: any user may be able to change it".to_owned())
            }
        },
    )?;
    // A private copy, because the file may be rebuilt during the checks.
    match PluginFile::with_code(path, code, trust).and_then(PluginFile::copied) {
        Ok(plugin) => {
            report.add(None, "library", Finding::Ok(library(&plugin, trust)))?;
            Ok(Some(plugin))
        }
        Err(error) => {
            report.add(None, "library", finding_of(Err(error))?)?;
            Ok(None)
        }
    }
}

/// What the file contains, and the libraries that are loaded with it.
fn library(plugin: &PluginFile, trust: Trust) -> String {
    let contains = "a shared library for this machine that exports a plugin";
    let brought: Vec<String> = plugin.libraries().map(|path| path.display().to_string()).collect();
    match (brought.is_empty(), trust) {
        (true, _) => contains.to_owned(),
        (false, Trust::Required) => {
            format!(
                "{contains}; only root and you can change the libraries it brings: {}",
                brought.join(", ")
            )
        }
        (false, Trust::Waived) => format!("{contains}; it brings the libraries {}", brought.join(", ")),
    }
}

struct Examination<'a> {
    plugin: PluginFile,
    environment: &'a Environment,
    interrupts: &'a Interrupts,
    report: &'a mut Report,
    /// The number of hooks whose probe reported that they cannot run here.
    unavailable: usize,
}

impl Examination<'_> {
    /// Returns the plugin's description, if it keeps the rules.
    fn check_description(&mut self) -> Result<Option<PluginInfo>> {
        let mut worker = Worker::start(
            self.plugin.code(),
            Orphan::Dies,
            Confinement::Discovery,
            &[],
            |plugin, channel| {
                let ours = trace_hook_api::VERSION;
                let loaded = Finding::Ok(format!(
                    "compatible with trace-hook-api {ours}, the version of this manager"
                ));
                let _ = channel.sender().send(&Answer::Found(loaded));
                let info = plugin.describe()?;
                if let Err(problem) = rules::check_plugin(&info, info.hooks.len()) {
                    return Ok(Answer::Found(Finding::Failed(problem)));
                }
                let _ = channel.sender().send(&Answer::Described(info.clone()));
                Ok(Answer::Found(match plugin.describe()? == info {
                    true => Finding::Ok("it returns the same description each time".to_owned()),
                    false => Finding::Failed(
                        "it returns a different description each time; info() must not".to_owned(),
                    ),
                }))
            },
        )?;
        let loaded = finding_of(worker.answer(patient(LIMIT), self.interrupts))?;
        if self.report.add(None, "interface", loaded)? == Passed::No {
            self.report.skip(None, &["description", "constancy"], "it cannot be loaded")?;
            return Ok(None);
        }
        let (info, finding) = match worker.answer(patient(LIMIT), self.interrupts) {
            Ok(Answer::Described(info)) => {
                let finding = description(&info);
                (Some(info), finding)
            }
            other => (None, finding_of(other)?),
        };
        if self.report.add(None, "description", finding)? == Passed::No {
            self.report.skip(None, &["constancy"], "the description breaks a rule")?;
            return Ok(None);
        }
        let again = finding_of(worker.answer(patient(LIMIT), self.interrupts))?;
        self.report.add(None, "constancy", again)?;
        Ok(info)
    }

    fn check_hooks(&mut self, hooks: &[HookInfo]) -> Result<()> {
        for (position, hook) in (0..).zip(hooks) {
            let declaration = match rules::check_hook(hook, &hooks[..position as usize]) {
                Ok(()) => Finding::Ok(hook.summary.clone()),
                Err(problem) => Finding::Failed(problem),
            };
            if self.report.add(Some(hook), "declaration", declaration)? == Passed::No {
                self.report.skip(Some(hook), &["help", "probe"], "the hook cannot be used")?;
                self.report.skip(Some(hook), &trial::names(hook), "the hook cannot be used")?;
                continue;
            }
            self.report.add(Some(hook), "help", descriptions::check(hook))?;
            if let Some(obstacle) = self.check_probe(position, hook)? {
                self.report.skip(Some(hook), &trial::names(hook), &obstacle)?;
            } else {
                self.check_sessions(position, hook)?;
            }
        }
        Ok(())
    }

    /// Returns the reason why the hook cannot run here, if it cannot.
    fn check_probe(&mut self, position: u32, hook: &HookInfo) -> Result<Option<String>> {
        if let Err(error) = environment::check(self.environment) {
            self.report.skip(Some(hook), &["probe"], &error.to_string())?;
            return Ok(Some("there is nothing to trace".to_owned()));
        }
        let environment = self.environment;
        let mut worker =
            Worker::start(self.plugin.code(), Orphan::Dies, Confinement::Discovery, &[], |plugin, _| {
                let began = std::time::Instant::now();
                let refusal = plugin.probe(position, &hook.name, environment).err();
                Ok(Answer::Probed { refusal, took: began.elapsed() })
            })?;
        let (obstacle, finding) = match worker.answer(patient(LIMIT), self.interrupts) {
            Ok(Answer::Probed { refusal, took }) => {
                let obstacle = refusal.as_ref().map(|_| "it cannot run here".to_owned());
                let is_refused = |error: &HookError| error.kind() != ErrorKind::Panic;
                self.unavailable += usize::from(refusal.as_ref().is_some_and(is_refused));
                (obstacle, probe_finding(refusal, took))
            }
            other => (Some("its probe fails".to_owned()), finding_of(other)?),
        };
        self.report.add(Some(hook), "probe", finding)?;
        Ok(obstacle)
    }

    fn check_sweep(&mut self) -> Result<()> {
        if let Err(error) = environment::check(self.environment) {
            return self.report.skip(None, &["sweep"], &error.to_string());
        }
        let environment = self.environment;
        let mut worker =
            Worker::start(self.plugin.code(), Orphan::Dies, Confinement::Tracing, &[], |plugin, _| {
                plugin.sweep(environment)?;
                Ok(Answer::Found(Finding::Ok("it reports no error".to_owned())))
            })?;
        let finding = finding_of(worker.answer(patient(LIMIT), self.interrupts))?;
        self.report.add(None, "sweep", finding).map(drop)
    }
}

/// Whether a check passed or was skipped, rather than failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    Yes,
    No,
}

/// The finding of a worker; a crash or a failure of its plugin is one too.
fn finding_of(answer: Result<Answer>) -> Result<Finding> {
    match answer {
        Ok(Answer::Found(finding)) => Ok(finding),
        Ok(other) => Ok(Finding::Failed(format!("its worker answered with {other:?}"))),
        Err(Error::Hook { error, .. }) => Ok(Finding::Failed(error.to_string())),
        Err(Error::Plugin { problem, .. }) => Ok(Finding::Failed(problem)),
        Err(error) => Err(error),
    }
}

fn description(info: &PluginInfo) -> Finding {
    let PluginInfo { version, api_version, hooks, .. } = info;
    match rules::check_plugin(info, hooks.len()) {
        Err(problem) => Finding::Failed(problem),
        Ok(()) => Finding::Ok(format!(
            "version {version}, built against trace-hook-api {api_version}, hooks: {}",
            hooks.len()
        )),
    }
}

fn probe_finding(refusal: Option<HookError>, took: Duration) -> Finding {
    match refusal {
        _ if took > patient(PROBE_LIMIT) => Finding::Failed(format!(
            "it took {} ms; every discovery waits for it, so at most {} ms are allowed",
            took.as_millis(),
            patient(PROBE_LIMIT).as_millis()
        )),
        Some(error) if error.kind() == ErrorKind::Panic => Finding::Failed(error.to_string()),
        Some(error) if is_bare_refusal(error.message()) => Finding::Failed(format!(
            "it reports only {:?}; a probe has no privilege, so a session might succeed: use Environment::judge to report \
             what a session lacks",
            error.message()
        )),
        Some(error) => match descriptions::check_sentence(error.message()) {
            Ok(()) => Finding::Ok(format!("it cannot run here, and reports why: {error}")),
            Err(problem) => Finding::Failed(format!("the reason why it cannot run here {problem}")),
        },
        None => Finding::Ok(format!("it can run here ({} ms)", took.as_millis())),
    }
}

/// Whether the message contains nothing but the kernel's refusal.
fn is_bare_refusal(message: &str) -> bool {
    [Errno::EPERM, Errno::EACCES].iter().any(|errno| {
        message.ends_with(&std::io::Error::from(*errno).to_string()) || message.ends_with(&errno.to_string())
    })
}
