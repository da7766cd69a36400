use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use trace_hook_api::{EventInfo, check_json_line};

use crate::built;

/// Checks the JSON lines of a session against its hook's description of them.
#[derive(Debug)]
pub(crate) struct JsonLines {
    hook: String,
    plugins: PathBuf,
}

impl JsonLines {
    /// The check for a session with this command line; `None` if its lines are not JSON.
    pub(crate) fn of_session(words: &[OsString]) -> Option<Self> {
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        let after =
            |option: &str| words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1));
        let is_json =
            ["--format json", "--format=json"].iter().any(|format| words.join(" ").contains(format));
        let (hook, plugins) = (after("--run")?, after("--plugins")?);
        is_json.then(|| Self { hook: (*hook).to_owned(), plugins: plugins.into() })
    }

    /// Checks that every line is as described. Every hook but those of the tests must describe its lines.
    #[track_caller]
    pub(crate) fn check<'a>(&self, lines: impl IntoIterator<Item = &'a String>) {
        let events = self.description();
        for line in lines {
            if let Err(difference) = check_line(&self.hook, &events, line) {
                panic!("{difference}");
            }
        }
    }

    /// The description, which is the same in every installation.
    fn description(&self) -> Arc<[EventInfo]> {
        static DESCRIPTIONS: Mutex<BTreeMap<String, Arc<[EventInfo]>>> = Mutex::new(BTreeMap::new());
        let mut descriptions = DESCRIPTIONS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        descriptions.entry(self.hook.clone()).or_insert_with(|| self.ask().into()).clone()
    }

    /// Asks the manager for the description.
    fn ask(&self) -> Vec<EventInfo> {
        let mut call = Command::new(built("manager"));
        call.arg("--plugins").arg(&self.plugins).args([
            "--allow-untrusted",
            "--describe",
            &self.hook,
            "--json",
        ]);
        for unset in ["TRACER_PLUGINS_PATH", "TRACER_PROCFS_PATH", "TRACER_SYSFS_PATH", "RUST_LOG"] {
            call.env_remove(unset);
        }
        let output = call.output().expect("the manager can be started");
        let mut description: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{} is not described: {error}: {output:?}", self.hook));
        serde_json::from_value(description["events"].take()).expect("the events are descriptions")
    }
}

/// Checks a line of a hook. The error names the hook, the event and the field.
fn check_line(hook: &str, events: &[EventInfo], line: &str) -> Result<(), String> {
    let is_shipped = hook.rsplit('/').next().is_some_and(|name| name.starts_with("trace_"));
    if events.is_empty() && is_shipped {
        return Err(format!("{hook} does not describe its lines"));
    }
    check_json_line(events, line.as_bytes()).map_err(|difference| format!("{hook}: {difference}: {line}"))
}

#[cfg(test)]
mod tests {
    use trace_hook_api::FieldInfo;

    use super::*;

    fn difference(line: &str) -> String {
        let events = [
            EventInfo::new("open", "a file was opened")
                .field(FieldInfo::text("path", "path of the file"))
                .field(FieldInfo::number("result", "descriptor").optional())
                .field(FieldInfo::duration("took", "time").optional())
                .field(FieldInfo::word("call", "system call").words(["open", "openat"]).optional()),
            EventInfo::new("close", "a file was closed"),
        ];
        check_line("trace_files", &events, line).err().unwrap_or_default()
    }

    #[test]
    fn lines_as_described_are_accepted() {
        assert_eq!(
            difference(r#"{"time":1.5,"tid":7,"comm":"x","event":"open","path":"/x","took_ns":5}"#),
            ""
        );
        assert_eq!(difference(r#"{"time":1.5,"event":"close"}"#), "");
        assert_eq!(difference(r#"{"event":"lost","cpu":1,"count":17}"#), "");
    }

    #[test]
    fn differences_are_reported_with_hook_event_and_field() {
        for (line, event, field) in [
            (r#"{"time":1.5,"event":"opened","path":"/x"}"#, "'opened'", "is not described"),
            (r#"{"time":1.5,"event":"open"}"#, "open", "'path' is missing"),
            (r#"{"event":"open","path":"/x"}"#, "open", "'time' is missing"),
            (r#"{"time":1.5,"event":"open","path":7}"#, "open", "'path' is described as text"),
            (
                r#"{"time":1.5,"event":"open","path":"/x","result":"3"}"#,
                "open",
                "'result' is described as number",
            ),
            (
                r#"{"time":1.5,"event":"open","path":"/x","result":1.5}"#,
                "open",
                "'result' is described as number",
            ),
            (r#"{"time":1.5,"event":"open","path":"/x","took":5}"#, "open", "'took' is not described"),
            (
                r#"{"time":1.5,"event":"open","path":"/x","took_ns":5.5}"#,
                "open",
                "'took_ns' is described as duration",
            ),
            (
                r#"{"time":1.5,"event":"open","path":"/x","call":"creat"}"#,
                "open",
                "'call' is described as one of",
            ),
            (r#"{"time":1.5,"event":"close","path":"/x"}"#, "close", "'path' is not described"),
        ] {
            let difference = difference(line);
            for part in ["trace_files: ", event, field, line] {
                assert!(difference.contains(part), "no {part:?} in {difference:?}");
            }
        }
    }

    #[test]
    fn shipped_hooks_must_describe_their_lines() {
        let line = r#"{"time":1.5,"event":"open"}"#;
        assert_eq!(check_line("trace_x", &[], line), Err("trace_x does not describe its lines".to_owned()));
        assert_eq!(check_line("valid_lines", &[], line), Ok(()));
    }

    #[test]
    fn sessions_in_json_are_recognised() {
        let hook = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            JsonLines::of_session(&words).map(|lines| lines.hook)
        };
        let run = ["--plugins", "/p", "--run", "trace_x", "--args"];
        assert_eq!(hook(&[&run[..], &["--pid 1 --format json"]].concat()).as_deref(), Some("trace_x"));
        assert_eq!(
            hook(&[&run[..], &["--pid", "1", "--format", "json"]].concat()).as_deref(),
            Some("trace_x")
        );
        assert_eq!(hook(&[&run[..], &["--pid 1 --format text"]].concat()), None);
    }
}
