//! Runs sessions of a hook, each on a process that is started for it.

use trace_hook_api::{Format, HookInfo, TaskSelection};

use super::kernel_objects::KernelObjects;
use super::trial::{self, Step};
use super::workload::Workload;
use super::{Examination, Passed, finding_of};
use crate::arguments::{self, HookArguments};
use crate::error::{Error, Result};
use crate::patience::patient;
use crate::session::orphans;
use crate::session::record::Record;
use crate::session::run_directory::RunDirectory;
use crate::worker::protocol::{Answer, Finding};
use crate::worker::{Confinement, Orphan, Worker};

impl Examination<'_> {
    /// Checks the hook's sessions.
    pub fn check_sessions(&mut self, position: u32, hook: &HookInfo) -> Result<()> {
        let words = match trial::synthetic_arguments(hook) {
            Ok(words) => words,
            Err(needed) => {
                let why = format!("it needs --{needed}, for which no value can be chosen automatically");
                return self.report.skip(Some(hook), &trial::names(hook), &why);
            }
        };
        match self.try_session(position, hook, &words, &trial::STEPS)? {
            Passed::Yes => drop(self.try_session(position, hook, &words, &trial::END_STEPS)?),
            Passed::No => self.report.skip(Some(hook), &["end"], "a session failed already")?,
        }
        if hook.formats.contains(&Format::Json) {
            let words = [&words[..], &["--format=json".to_owned()]].concat();
            self.try_session(position, hook, &words, &trial::JSON_STEPS)?;
        }
        if hook.honours_view {
            let words = [words, vec![format!("--where={}", trial::NOTHING)]].concat();
            self.try_session(position, hook, &words, &trial::VIEW_STEPS)?;
        }
        Ok(())
    }

    /// Takes a session through these steps, on a process that is started for it.
    fn try_session(
        &mut self,
        position: u32,
        hook: &HookInfo,
        words: &[String],
        steps: &'static [Step],
    ) -> Result<Passed> {
        let workload = Workload::start(&self.environment.procfs)?;
        let words = [&["--pid".to_owned(), workload.pid.to_string()], words].concat();
        let arguments = match arguments::parse(hook, &HookArguments(words)) {
            Err(Error::Usage(problem)) => {
                let finding = Finding::Failed(format!(
                    "it rejects arguments that match its own declaration: {problem}"
                ));
                return self.fail(hook, steps, 0, finding);
            }
            arguments => arguments?,
        };
        let directory = RunDirectory::open()?;
        let path = std::path::absolute(&self.plugin.path).unwrap_or_default();
        // If this process is killed, the next call finds the record and sweeps.
        let record = Record::create(&directory, &path)?;
        let tasks = TaskSelection::of([workload.pid]);
        let request = arguments.request(hook, &record.session, tasks, self.environment);
        let mut worker =
            Worker::start(self.plugin.code(), Orphan::Dies, Confinement::Tracing, &[], |plugin, channel| {
                Ok(trial::run(plugin, position, &request, steps, channel))
            })?;
        let passed = self.follow(hook, &mut worker, workload, steps);
        drop(worker);
        let mut is_clean = true;
        if !matches!(passed, Ok(Passed::Yes))
            && let Err(error) = orphans::sweep_with(&self.plugin, self.environment)
        {
            log::warn!("cannot remove everything that the session created: {error}");
            is_clean = false;
        }
        // Removes also what the plugin's own sweep misses.
        if let Err(error) = KernelObjects::of(&record.session, self.environment).remove() {
            log::warn!("cannot remove everything that the session created in tracefs: {error}");
            is_clean = false;
        }
        if is_clean {
            record.remove()?;
        }
        passed
    }

    /// Ends `workload` when the worker requests it, at the latest when the session ends.
    fn follow(
        &mut self,
        hook: &HookInfo,
        worker: &mut Worker,
        workload: Workload,
        steps: &[Step],
    ) -> Result<Passed> {
        let mut workload = Some(workload);
        for (index, step) in steps.iter().enumerate() {
            let mut answer = worker.answer(patient(step.limit), self.interrupts);
            if let Ok(Answer::Recording) = answer {
                workload = None;
                answer = worker.answer(patient(step.limit), self.interrupts);
            }
            let finding = finding_of(answer)?;
            if let Finding::Failed(_) = finding {
                return self.fail(hook, steps, index, finding);
            }
            self.report.add(Some(hook), step.check, finding)?;
        }
        drop(workload);
        Ok(Passed::Yes)
    }

    /// Reports a failed step. The steps after it are skipped.
    fn fail(&mut self, hook: &HookInfo, steps: &[Step], failed: usize, finding: Finding) -> Result<Passed> {
        let check = steps[failed].check;
        let rest: Vec<_> = steps[failed + 1..].iter().map(|step| step.check).collect();
        self.report.add(Some(hook), check, finding)?;
        let why = format!("not possible after {check} failed");
        self.report.skip(Some(hook), &rest, &why)?;
        Ok(Passed::No)
    }
}
