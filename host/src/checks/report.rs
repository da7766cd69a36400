//! What the checks found.

use serde::Serialize;
use trace_hook_api::HookInfo;

use super::Passed;
use crate::error::Result;
use crate::output;
use crate::plugins::rules;
use crate::worker::protocol::Finding;

/// The findings. As text, each is printed immediately.
pub struct Report {
    as_json: bool,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    check: &'static str,
    hook: Option<String>,
    #[serde(flatten)]
    finding: Finding,
}

impl Report {
    /// An empty report.
    pub fn new(as_json: bool) -> Self {
        Self { as_json, checks: Vec::new() }
    }

    /// Adds a finding about a hook, or about the plugin as a whole.
    ///
    /// # Errors
    ///
    /// It cannot be printed.
    pub fn add(&mut self, hook: Option<&HookInfo>, check: &'static str, finding: Finding) -> Result<Passed> {
        let passed = if matches!(finding, Finding::Failed(_)) { Passed::No } else { Passed::Yes };
        let check = Check { check, hook: hook.map(|hook| rules::shortened(&hook.name)), finding };
        if !self.as_json {
            output::print(&check.line())?;
        }
        self.checks.push(check);
        Ok(passed)
    }

    /// Adds checks that are skipped.
    ///
    /// # Errors
    ///
    /// They cannot be printed.
    pub fn skip(&mut self, hook: Option<&HookInfo>, checks: &[&'static str], why: &str) -> Result<()> {
        checks.iter().try_for_each(|check| self.add(hook, check, Finding::Skipped(why.to_owned())).map(drop))
    }

    /// Ends the report. Returns the first check that failed, and the number of those that did.
    ///
    /// # Errors
    ///
    /// It cannot be printed.
    pub fn finish(&self) -> Result<Option<(String, usize)>> {
        let count = |is: fn(&Finding) -> bool| self.checks.iter().filter(|check| is(&check.finding)).count();
        let failed = count(|finding| matches!(finding, Finding::Failed(_)));
        let skipped = count(|finding| matches!(finding, Finding::Skipped(_)));
        let ok = self.checks.len() - failed - skipped;
        if self.as_json {
            let json = serde_json::json!({
                "ok": ok, "failed": failed, "skipped": skipped, "checks": self.checks
            });
            output::print(&output::plain_json(&format!("{json:#}\n")))?;
        } else {
            output::print(&format!("summary: {ok} ok, {failed} failed, {skipped} skipped\n"))?;
        }
        let first = self.checks.iter().find(|check| matches!(check.finding, Finding::Failed(_)));
        Ok(first.map(|check| (check.name(), failed)))
    }
}

impl Check {
    fn name(&self) -> String {
        match &self.hook {
            Some(hook) => format!("{hook} {}", self.check),
            None => self.check.to_owned(),
        }
    }

    fn line(&self) -> String {
        let (status, text) = match &self.finding {
            Finding::Ok(text) => ("ok", text),
            Finding::Failed(text) => ("FAILED", text),
            Finding::Skipped(text) => ("skipped", text),
        };
        format!("{}\n", output::one_line(&format!("{status:7}  {}: {text}", self.name())))
    }
}
