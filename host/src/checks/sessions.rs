//! The sessions of a hook, each on a process made for it.

use trace_hook_api::{Format, HookInfo};

use super::kernel_objects::KernelObjects;
use super::trial::{self, Step};
use super::workload::Workload;
use super::{Examination, Passed, finding_of};
use crate::arguments::{self, HookArguments};
use crate::error::{Error, Result};
use crate::session::orphans;
use crate::session::record::Record;
use crate::session::run_directory::RunDirectory;
use crate::worker::protocol::{Answer, Finding};
use crate::worker::{Confinement, Orphan, Worker, within};

impl Examination<'_> {
    /// Runs the hook a few times.
    pub fn check_sessions(&mut self, position: u32, hook: &HookInfo) -> Result<()> {
        let words = match trial::synthetic_arguments(hook) {
            Ok(words) => words,
            Err(needed) => {
                let why = format!("it needs --{needed}, and what to give it only its author knows");
                return self.report.skip(Some(hook), &trial::names(hook), &why);
            }
        };
        match self.try_session(position, hook, &words, &trial::STEPS)? {
            Passed::Yes => drop(self.try_session(position, hook, &words, &trial::END_STEPS)?),
            Passed::No => self.report.skip(Some(hook), &["end"], "a session failed already")?,
        }
        if hook.formats.contains(&Format::Json) {
            let words = [words, vec!["--format=json".to_owned()]].concat();
            self.try_session(position, hook, &words, &trial::JSON_STEPS)?;
        }
        Ok(())
    }

    /// Takes a session through these steps, on a process of our own.
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
                let finding = Finding::Failed(format!("what it declares it does not take itself: {problem}"));
                return self.fail(hook, steps, 0, finding);
            }
            arguments => arguments?,
        };
        let directory = RunDirectory::open()?;
        let path = std::path::absolute(&self.plugin.path).unwrap_or_default();
        // If this is killed, the next call finds the record, and has the plugin sweep.
        let record = Record::create(&directory, &path)?;
        let request = arguments.request(hook, &record.session, self.environment);
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
            log::warn!("something is left of the session: {error}");
            is_clean = false;
        }
        // Also where the plugin does not see to it.
        if let Err(error) = KernelObjects::of(&record.session, self.environment).remove() {
            log::warn!("something is left of the session in tracefs: {error}");
            is_clean = false;
        }
        if is_clean {
            record.remove()?;
        }
        passed
    }

    /// `workload` ends when the worker says that it records, or with the session.
    fn follow(
        &mut self,
        hook: &HookInfo,
        worker: &mut Worker,
        workload: Workload,
        steps: &[Step],
    ) -> Result<Passed> {
        let mut workload = Some(workload);
        for (index, step) in steps.iter().enumerate() {
            let deadline = within(step.limit);
            let mut answer = worker.answer(deadline, self.interrupts);
            if let Ok(Answer::Recording) = answer {
                workload = None;
                answer = worker.answer(deadline, self.interrupts);
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

    /// Without the step that failed, those after it cannot be taken.
    fn fail(&mut self, hook: &HookInfo, steps: &[Step], failed: usize, finding: Finding) -> Result<Passed> {
        let check = steps[failed].check;
        let rest: Vec<_> = steps[failed + 1..].iter().map(|step| step.check).collect();
        self.report.add(Some(hook), check, finding)?;
        let why = format!("after {check} failed there is no session to try it on");
        self.report.skip(Some(hook), &rest, &why)?;
        Ok(Passed::No)
    }
}
