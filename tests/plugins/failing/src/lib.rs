//! Fails in a given call, in a given way: with `--when start --failure panic` in a session, and in discovery, where there are
//! no arguments, with `FAIL="info panic"` in the environment.

use trace_hook_api::{
    Environment, Hook, HookError, HookInfo, LineBuffer, Param, Progress, Request, Result, Session,
    export_plugin,
};

struct FailingLines;

impl Hook for FailingLines {
    fn info(&self) -> HookInfo {
        // `info` cannot return an error.
        let _ = Failure::from_environment().occur("info");
        HookInfo::new("failing_lines", "Fails as requested, for tests")
            .param(Param::text("failure", "KIND", "what goes wrong").choices(KINDS).default("fail"))
            .param(Param::text("when", "CALL", "where it goes wrong").choices(CALLS).required())
    }

    fn probe(&self, _: &Environment) -> Result<()> {
        Failure::from_environment().occur("probe")
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let text =
            |name| -> Result<String> { Ok(request.arguments.text(name)?.unwrap_or_default().to_owned()) };
        let failure = Failure { kind: text("failure")?, when: text("when")?, over: text("when")? != "stop" };
        failure.occur("start")?;
        Ok(Box::new(failure))
    }
}

const KINDS: [&str; 7] = ["fail", "refuse", "panic", "abort", "exit", "hang", "chatter"];
const CALLS: [&str; 4] = ["start", "read", "stop", "close"];

struct Failure {
    kind: String,
    when: String,
    over: bool,
}

impl Failure {
    fn from_environment() -> Self {
        let failure = std::env::var("FAIL").unwrap_or_default();
        let (when, kind) = failure.split_once(' ').unwrap_or_default();
        Self { kind: kind.to_owned(), when: when.to_owned(), over: false }
    }

    /// Fails, if this is the call to fail in.
    fn occur(&self, call: &str) -> Result<()> {
        if self.when != call {
            return Ok(());
        }
        match self.kind.as_str() {
            "fail" => Err(HookError::new("nothing works today")),
            "refuse" => Err(HookError::usage("ask for something else")),
            "panic" => panic!("no way out"),
            "abort" => std::process::abort(),
            "exit" => std::process::exit(0),
            "hang" => hang(),
            _ => {
                println!("output of a plugin");
                eprintln!("more output of a plugin");
                Ok(())
            }
        }
    }
}

/// Blocks forever. A thread named `hung` makes this visible.
fn hang() -> Result<()> {
    let hung = std::thread::Builder::new().name("hung".to_owned()).spawn(|| {
        loop {
            std::thread::park();
        }
    });
    hung?.join().map_err(|_| HookError::new("the thread has ended"))
}

impl Session for Failure {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        if self.when == "read" {
            lines.push("before the failure");
        }
        self.occur("read")?;
        if self.over {
            lines.push("after the failure");
        }
        Ok(if self.over { Progress::Finished } else { Progress::Idle })
    }

    fn stop(&mut self) -> Result<()> {
        self.over = true;
        self.occur("stop")
    }

    fn close(&mut self) -> Result<()> {
        self.occur("close")
    }
}

export_plugin!(FailingLines);
